//! The bus between instances, over publish/subscribe of Redis. Nothing is stored there.
//!
//! Hints go to one channel that all instances hear; each instance has a channel of its own for the relays that others send to its
//! participants. What this instance publishes reaches its own subscribers directly, and is ignored when Redis sends it back.
//! While Redis is away, messages to other instances are dropped: relays are worth nothing later, and hints are replaced by
//! reading the store (`app/feed`). So that the others do so, heartbeats carry an epoch, which changes with each connection and with
//! each hint for which there is no room.

mod config;
mod link;
mod others;
mod outgoing;
mod server;
mod wire;

pub use config::{RedisConfig, RedisConfigError};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::local::LocalBus;
use super::{Bus, ChangeSubscription, Message, RelaySubscription};
use crate::domain::id::SessionId;
use crate::telemetry::metrics::Metrics;
use link::Link;
use others::Others;
use outgoing::{Outgoing, Queue};

/// A bus that reaches the subscribers of this process and, by Redis, those of the other instances.
pub struct RedisBus {
    shared: Arc<Shared>,
}

/// Keeps the connection to Redis.
pub struct RedisLink(Link);

/// What the bus and its connection share.
struct Shared {
    local: LocalBus,
    /// Identifies this process.
    instance_id: String,
    channels: Channels,
    queue: Queue,
    is_up: watch::Sender<bool>,
    others: Others,
    /// Notifies when another instance begins an epoch.
    gaps: watch::Sender<()>,
    /// This instance's epoch: changes when its hints may have been lost.
    epoch: AtomicU64,
    /// Asks for a heartbeat at once.
    epoch_began: Notify,
    metrics: Arc<Metrics>,
}

/// The names of channels.
struct Channels {
    prefix: String,
    /// For all instances.
    all: String,
    /// For this instance.
    own: String,
}

impl Channels {
    fn new(prefix: &str, instance_id: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            all: format!("{prefix}:all"),
            own: Self::name(prefix, instance_id),
        }
    }

    fn name(prefix: &str, instance_id: &str) -> String {
        format!("{prefix}:to:{instance_id}")
    }

    /// The channel of an instance.
    fn of(&self, instance_id: &str) -> String {
        Self::name(&self.prefix, instance_id)
    }
}

/// Why a message was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    /// Redis is away.
    Down,
    /// Too much is waiting.
    Full,
    /// It was sent, but Redis did not answer.
    Unanswered,
    /// A received message cannot be read.
    Unreadable,
}

impl Dropped {
    fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Full => "full",
            Self::Unanswered => "unanswered",
            Self::Unreadable => "unreadable",
        }
    }
}

impl RedisBus {
    /// A bus, and its connection, which does nothing before [`RedisLink::run`].
    ///
    /// # Errors
    /// See [`RedisConfigError`].
    pub fn new(
        config: &RedisConfig,
        instance_id: &str,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, RedisLink), RedisConfigError> {
        let server = config.server()?;
        let (queue, waiting) = Queue::new(config.queue_max, config.queue_bytes_max);
        metrics.set_bus_up(false);
        let shared = Arc::new(Shared {
            local: LocalBus::default(),
            instance_id: instance_id.to_owned(),
            channels: Channels::new(&config.channel_prefix, instance_id),
            queue,
            is_up: watch::Sender::new(false),
            others: Others::new(config.ping_interval),
            gaps: watch::Sender::new(()),
            epoch: AtomicU64::new(0),
            epoch_began: Notify::new(),
            metrics,
        });
        let link = Link::new(Arc::clone(&shared), server, config.clone(), waiting);
        Ok((Self { shared }, RedisLink(link)))
    }
}

impl RedisLink {
    /// Connects, and connects again whenever the connection breaks, until `stop` is cancelled; then sends what is waiting.
    pub async fn run(self, stop: CancellationToken) {
        self.0.run(stop).await;
    }
}

impl Shared {
    fn count_dropped(&self, why: Dropped, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.metrics.count_bus_dropped(why.name(), count);
    }

    /// Begins an epoch, because hints may have been lost, and asks for the heartbeat that says so.
    fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.epoch_began.notify_one();
    }

    /// Queues a message to other instances without waiting.
    fn send(&self, outgoing: Outgoing) {
        let is_hint = matches!(outgoing, Outgoing::Changed(_));
        let dropped = if *self.is_up.borrow() {
            self.queue.push(outgoing).err().map(|_| Dropped::Full)
        } else {
            Some(Dropped::Down)
        };
        if let Some(why) = dropped {
            self.count_dropped(why, 1);
            // What is dropped while Redis is away belongs to the epoch that ends when the connection is open again.
            if is_hint && why == Dropped::Full {
                self.begin_epoch();
            }
        }
    }

    /// Delivers a message from Redis to the subscribers here.
    fn receive(&self, text: &[u8]) {
        let Some(heard) = wire::read(text) else {
            self.count_dropped(Dropped::Unreadable, 1);
            return;
        };
        if heard.from == self.instance_id {
            return;
        }
        if self.others.note(heard.from, heard.epoch) {
            self.gaps.send_replace(());
        }
        if heard.relay.is_some() || !heard.changed.is_empty() {
            self.metrics.bus_received.inc();
        }
        for session_id in &heard.changed {
            self.local.publish_here(session_id);
        }
        if let Some(relay) = heard.relay {
            self.local.publish(Message::Relay {
                relay,
                instances: Vec::new(),
            });
        }
    }

    fn set_up(&self, up: bool) {
        self.metrics.set_bus_up(up);
        self.is_up.send_replace(up);
    }
}

impl Bus for RedisBus {
    fn publish(&self, message: Message) {
        let shared = &self.shared;
        let outgoing = match &message {
            Message::Changed(session_id) => Some(Outgoing::Changed(session_id.clone())),
            Message::Relay { instances, .. } if instances.is_empty() => None,
            Message::Relay { relay, instances } => Some(Outgoing::Relay {
                text: wire::relay(&shared.instance_id, relay),
                channels: instances
                    .iter()
                    .map(|instance_id| shared.channels.of(instance_id))
                    .collect(),
            }),
        };
        shared.local.publish(message);
        if let Some(outgoing) = outgoing {
            shared.send(outgoing);
        }
    }

    fn publish_here(&self, session_id: &SessionId) {
        self.shared.local.publish_here(session_id);
    }

    fn is_up(&self) -> watch::Receiver<bool> {
        self.shared.is_up.subscribe()
    }

    fn hears(&self, instance_id: &str) -> bool {
        self.shared.others.hears(instance_id)
    }

    fn gaps(&self) -> watch::Receiver<()> {
        self.shared.gaps.subscribe()
    }

    fn subscribe_changes(&self, session_id: &SessionId) -> ChangeSubscription {
        self.shared.local.subscribe_changes(session_id)
    }

    fn subscribe_relays(&self, session_id: &SessionId) -> RelaySubscription {
        self.shared.local.subscribe_relays(session_id)
    }
}
