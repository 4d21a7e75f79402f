//! The bus: messages about a session, from the code that publishes them to the code that subscribed to the session, on this
//! instance and, with a bus between instances, on the others.
//!
//! A bus promises, and tests/conformance/buses.rs holds each implementation to it:
//!
//! - **At most once.** A message can be lost, and it never arrives twice. A lost [`Message::Changed`] costs one poll of the
//!   store. A lost [`Relay`] is a message that a page repeats or does without, never a removal or an end: those follow from
//!   the session's events.
//! - **Gaps are announced.** While [`Bus::is_up`] is true and [`Bus::hears`] an instance, lost hints of that instance are followed
//!   by a notification of [`Bus::gaps`].
//! - **By session.** A subscription receives messages of its session only. The bus ignores [`Relay::to`], because it does
//!   not know where participants are connected. Signalling's rooms say which instances a relay goes to, and filter by target.
//! - **In order per sender.** A subscription receives the relays of one sender in the order in which they were published.
//! - **Asynchronous.** Publishing never waits and never runs a subscriber's code.
//! - **Bounded.** Hints that a subscriber has not read are merged into one. A subscription holds [`RELAYS_WAITING_MAX`] relays; when
//!   it is full, further relays are dropped for this subscription only, and it receives [`Delivery::Lagged`].
//!
//! Messages are plain values that can be written to a wire.

pub mod local;
pub mod redis;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};
use strum::{EnumString, IntoStaticStr};
use tokio::sync::{mpsc, watch};

use crate::domain::id::{SessionId, UserId};

/// How many unread relays a subscription holds. A call of ten participants sends about
/// 2,000 while they connect, within seconds.
pub const RELAYS_WAITING_MAX: usize = 1024;

/// A published message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A hint that a session changed, published after the commit. The store has the truth.
    Changed(SessionId),
    /// A message from one participant to others.
    Relay {
        /// The message.
        relay: Relay,
        /// The other instances that it goes to.
        instances: Vec<String>,
    },
}

/// A message from one participant to another, or to all others, of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Relay {
    /// The session.
    pub session_id: SessionId,
    /// The sender, as its credential says.
    pub from: UserId,
    /// The receiver; `None` for all other participants.
    pub to: Option<UserId>,
    /// The message's type.
    pub kind: RelayKind,
    /// The version of the session that the sender's room had announced. A room that has not announced it holds the message back,
    /// because the receiver may have been admitted by then.
    pub version: i64,
    /// The message's other fields, as the sender wrote them, without those that the service sets.
    pub payload: Map<String, Value>,
}

/// The types of relayed messages, as in docs/signalling.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(serialize_all = "kebab-case")]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub enum RelayKind {
    Offer,
    Answer,
    IceCandidate,
    MuteStatus,
    Emoji,
    Key,
    UnmuteRequest,
    Still,
    Network,
    LowerHand,
    Quality,
    Join,
    Leave,
}

impl RelayKind {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Carries messages by session; see the module's documentation for its promises.
pub trait Bus: Send + Sync {
    /// Hands a message to the subscriptions of its session: on this instance at once, and on the others: a hint on all of them, a
    /// relay on those that it names.
    fn publish(&self, message: Message);

    /// Hands a hint to the subscriptions of this instance only, because the others know already.
    fn publish_here(&self, session_id: &SessionId);

    /// Whether messages from other instances arrive; notifies of changes. Always `false` within one process.
    fn is_up(&self) -> watch::Receiver<bool>;

    /// Whether another instance was heard within the last seconds: then its hints arrive here.
    fn hears(&self, instance_id: &str) -> bool;

    /// Notifies when another instance is heard whose hints may have been lost until now. Never notifies within one process.
    fn gaps(&self) -> watch::Receiver<()>;

    /// Subscribes to [`Message::Changed`] of a session, from now on.
    fn subscribe_changes(&self, session_id: &SessionId) -> ChangeSubscription;

    /// Subscribes to [`Message::Relay`] of a session, from now on. Separate from the changes, so that code which only waits
    /// for changes holds no queue of relays.
    fn subscribe_relays(&self, session_id: &SessionId) -> RelaySubscription;
}

/// Receives the hints of one session until it is dropped.
pub struct ChangeSubscription {
    hints: watch::Receiver<()>,
    /// Dropped after `hints`.
    _unsubscribe: Unsubscribe,
}

impl ChangeSubscription {
    /// Waits for a hint that came after the last call; several at once count as one. Waits for ever when the bus is gone.
    pub async fn changed(&mut self) {
        if self.hints.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Receives the relays of one session until it is dropped.
pub struct RelaySubscription {
    relays: mpsc::Receiver<Arc<Relay>>,
    dropped: Arc<AtomicU64>,
    /// Dropped after `relays`.
    _unsubscribe: Unsubscribe,
}

/// What a subscription to relays receives.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// The next relay.
    Relay(Arc<Relay>),
    /// The number of relays dropped since the last call because the subscriber was too slow.
    Lagged(u64),
}

impl RelaySubscription {
    /// Waits for the next relay. Waits for ever when the bus is gone. Cancel-safe.
    pub async fn next(&mut self) -> Delivery {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            return Delivery::Lagged(dropped);
        }
        match self.relays.recv().await {
            Some(relay) => Delivery::Relay(relay),
            None => std::future::pending().await,
        }
    }
}

/// The sending end of a subscription to relays.
struct RelayQueue {
    relays: mpsc::Sender<Arc<Relay>>,
    dropped: Arc<AtomicU64>,
}

impl RelayQueue {
    /// A queue, and the subscription that takes from it and calls `unsubscribe` when it is dropped.
    fn new(unsubscribe: impl FnOnce() + Send + Sync + 'static) -> (Self, RelaySubscription) {
        let (sender, relays) = mpsc::channel(RELAYS_WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let subscription = RelaySubscription {
            relays,
            dropped: Arc::clone(&dropped),
            _unsubscribe: Unsubscribe::new(unsubscribe),
        };
        let queue = Self {
            relays: sender,
            dropped,
        };
        (queue, subscription)
    }

    fn push(&self, relay: Arc<Relay>) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.relays.try_send(relay) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn has_subscriber(&self) -> bool {
        !self.relays.is_closed()
    }
}

/// Calls a function when it is dropped.
struct Unsubscribe(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Unsubscribe {
    fn new(unsubscribe: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(unsubscribe)))
    }
}

impl Drop for Unsubscribe {
    fn drop(&mut self) {
        if let Some(unsubscribe) = self.0.take() {
            unsubscribe();
        }
    }
}
