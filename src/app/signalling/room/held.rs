//! Relays that came before the announcement which admits their receiver.
//!
//! Instances learn of an admission at different times. A page that learned of it early sends its offer at once, and the offer may
//! overtake the news on its way to another instance.

use std::sync::Arc;

use crate::bus::Relay;

/// How many relays a room holds back: more than a page sends to another before it has an answer.
const HELD_MAX: usize = 256;

/// Relays that are held back, in the order of their arrival.
#[derive(Default)]
pub(super) struct HeldRelays(Vec<Arc<Relay>>);

impl HeldRelays {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether there is one of the same sender for the same receiver: then a later one must wait, too.
    pub(super) fn has_earlier(&self, later: &Relay) -> bool {
        let is_earlier = |relay: &Arc<Relay>| relay.from == later.from && relay.to == later.to;
        self.0.iter().any(is_earlier)
    }

    /// Holds a relay back. False if there are too many.
    pub(super) fn push(&mut self, relay: Arc<Relay>) -> bool {
        let has_place = self.0.len() < HELD_MAX;
        if has_place {
            self.0.push(relay);
        }
        has_place
    }

    /// Takes those that are due, unless an earlier one must wait.
    pub(super) fn take_due(&mut self, is_due: impl Fn(&Relay) -> bool) -> Vec<Arc<Relay>> {
        let (mut due, mut kept) = (Vec::new(), Self::default());
        for relay in std::mem::take(&mut self.0) {
            if is_due(&relay) && !kept.has_earlier(&relay) {
                due.push(relay);
            } else {
                kept.0.push(relay);
            }
        }
        *self = kept;
        due
    }
}
