//! A session's next version, with the events that tell of it.

use super::actor::Actor;
use super::event::{Event, EventKind};
use super::session::Session;
use super::time::Timestamp;

/// A session as it becomes, and the events that tell of it: one atomic write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The session after the change.
    pub session: Session,
    /// The events, at least one, numbered on from the version before; the last one's sequence is the session's version.
    pub events: Vec<Event>,
}

impl Change {
    /// The version that it is a change of; it commits over no other.
    pub fn base_version(&self) -> i64 {
        self.session.version - i64::try_from(self.events.len()).unwrap_or(0)
    }

    /// This change and one of the session that it leads to, as one write.
    pub fn then(self, next: Self) -> Self {
        let mut events = self.events;
        events.extend(next.events);
        Self { events, ..next }
    }

    /// The mark by which the write can be recognised.
    pub fn write_id(&self) -> &str {
        self.events.first().map_or("", |event| &event.write_id)
    }
}

impl Session {
    /// The only way from one version to the next. Times never run backwards, even where the instances' clocks differ.
    pub(super) fn next_version(
        &self,
        actor: &Actor,
        now: Timestamp,
        kinds: Vec<EventKind>,
        apply: impl FnOnce(&mut Session),
    ) -> Change {
        let mut session = self.clone();
        session.update_time = now.max(self.update_time);
        let events: Vec<_> = (self.version + 1..)
            .zip(kinds)
            .map(|(sequence, kind)| {
                Event::new(
                    sequence,
                    session.session_id.clone(),
                    session.update_time,
                    actor.clone(),
                    kind,
                )
            })
            .collect();
        session.version = events.last().map_or(self.version, |event| event.sequence);
        apply(&mut session);
        Change { session, events }
    }
}
