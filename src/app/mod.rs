//! What the service does, once a request has been understood and before anything is stored: one file for each noun. Everything
//! is done by an [`Actor`](crate::domain::actor::Actor).

mod access;
mod changes;
pub mod clock;
mod events;
mod feed;
mod grants;
mod liveness;
mod nodes;
mod participants;
mod sessions;
pub mod signalling;
pub mod tickets;
mod turns;
mod unreadable;
mod upkeep;

pub use access::StorePatience;
pub use changes::ContentionConfig;
pub use events::{EventStream, Events, WatchConfig};
pub use feed::FeedReader;
pub use grants::{JoinGrant, JoinRequest};
pub use liveness::{Liveness, LivenessTimes};
pub use nodes::Nodes;
pub use participants::Participants;
pub use sessions::{Created, EndingConfig, SessionKey, Sessions};
pub use signalling::{Signalling, SignallingTimes};
pub use unreadable::UnreadableConfig;
pub use upkeep::{Upkeep, UpkeepConfig};

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::token::Tokens;
use crate::bus::Bus;
use crate::domain::error::Error;
use crate::domain::id::random_id;
use crate::store::Stores;
use crate::telemetry::metrics::Metrics;
use access::StoreAccess;
use changes::Changes;
use clock::Clock;
use feed::Followed;
use grants::Grants;
use tickets::Tickets;
use unreadable::Unreadable;

/// The limits and times that the application keeps to.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long a join token is good.
    pub token_ttl_secs: u64,
    /// How long calls wait for the store.
    pub store: StorePatience,
    /// How changes that race others are tried again.
    pub contention: ContentionConfig,
    /// How sessions are watched.
    pub watch: WatchConfig,
    /// How long pages and lost connections may return.
    pub signalling: SignallingTimes,
    /// When sessions end by themselves.
    pub ending: EndingConfig,
    /// What becomes of sessions that cannot be read.
    pub unreadable: UnreadableConfig,
    /// How far this machine's clock and the store's may differ without a warning.
    pub clock_skew_warn: Duration,
}

/// The application, by its nouns.
pub struct App {
    /// Sessions as a whole.
    pub sessions: Arc<Sessions>,
    /// The people of a session, as the backend and the host deal with them.
    pub participants: Arc<Participants>,
    /// What happened.
    pub events: Arc<Events>,
    /// Participants' connections.
    pub signalling: Arc<Signalling>,
    /// What becomes of sessions by themselves.
    pub upkeep: Arc<Upkeep>,
    /// The SFU nodes.
    pub nodes: Arc<Nodes>,
    /// What other instances do, for those who follow sessions here.
    pub feed: Arc<FeedReader>,
    access: Arc<StoreAccess>,
    /// What the application does beside answering.
    tasks: TaskTracker,
    /// Cancelled when streams are to end.
    closing: CancellationToken,
}

/// What an application stands on.
pub struct Parts {
    /// Where things are kept.
    pub stores: Stores,
    /// Carries hints of changes, and what participants relay to each other.
    pub bus: Arc<dyn Bus>,
    /// Issues and verifies credentials.
    pub tokens: Arc<Tokens>,
    /// The SFU nodes.
    pub nodes: Arc<Nodes>,
    /// Issues what participants need to exchange media.
    pub tickets: Arc<Tickets>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
}

impl App {
    #[expect(clippy::too_many_lines, reason = "a list of parts")]
    /// An application over these ports. Cancelling `closing` ends its streams.
    pub fn new(parts: Parts, config: &Config, closing: CancellationToken) -> Self {
        let Parts {
            stores,
            bus,
            tokens,
            nodes,
            tickets,
            clock,
            metrics,
        } = parts;
        let tasks = TaskTracker::new();
        let instance_id = random_id();
        let access = Arc::new(StoreAccess {
            sessions: Arc::clone(&stores.sessions),
            unreadable: Unreadable::new(config.unreadable, Arc::clone(&metrics)),
            patience: config.store,
        });
        let changes = Arc::new(Changes::new(
            Arc::clone(&access),
            Arc::clone(&bus),
            Arc::clone(&metrics),
            config.contention,
            tasks.clone(),
        ));
        let grants = Arc::new(Grants {
            changes: Arc::clone(&changes),
            tokens: Arc::clone(&tokens),
            tickets: Arc::clone(&tickets),
            clock: Arc::clone(&clock),
            window: config.ending.window,
            token_ttl_secs: config.token_ttl_secs,
        });
        let sessions = Arc::new(Sessions {
            access: Arc::clone(&access),
            changes: Arc::clone(&changes),
            grants: Arc::clone(&grants),
            nodes: Arc::clone(&nodes),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            config: config.ending,
            attempts_max: config.contention.attempts_max,
        });
        let participants = Arc::new(Participants {
            changes: Arc::clone(&changes),
            grants,
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
        });
        let is_shared = stores.health.is_shared();
        let followed = Arc::<Followed>::default();
        let feed = Arc::new(FeedReader {
            feed: stores.feed,
            bus: Arc::clone(&bus),
            followed: Arc::clone(&followed),
            is_shared,
            poll: config.watch.poll,
        });
        let events = Arc::new(Events::new(
            Arc::clone(&access),
            Arc::clone(&bus),
            Arc::clone(&metrics),
            Arc::clone(&followed),
            is_shared,
            config.watch.streams_max,
            closing.clone(),
        ));
        let signalling = Arc::new(Signalling {
            access: Arc::clone(&access),
            changes: Arc::clone(&changes),
            events: Arc::clone(&events),
            sessions: Arc::clone(&sessions),
            participants: Arc::clone(&participants),
            rooms: signalling::Rooms::default(),
            bus,
            tokens,
            tickets,
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            window: config.ending.window,
            times: config.signalling,
            instance_id: instance_id.clone(),
            tasks: tasks.clone(),
            closing: closing.clone(),
        });
        let upkeep = Arc::new(Upkeep {
            access: Arc::clone(&access),
            instances: stores.instances,
            store: stores.health,
            changes,
            sessions: Arc::clone(&sessions),
            clock,
            metrics,
            config: UpkeepConfig {
                ending: config.ending,
                clock_skew_warn: config.clock_skew_warn,
            },
            instance_id,
            still_over: std::sync::Mutex::default(),
            clock_watch: upkeep::ClockWatch::default(),
        });
        Self {
            sessions,
            participants,
            events,
            signalling,
            upkeep,
            nodes,
            feed,
            access,
            tasks,
            closing,
        }
    }

    /// Waits until everything is done that the application does beside answering; `closing` must have been cancelled.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// What is cancelled when connections are to end.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// What to say when the instance takes no more work because it drains.
    pub fn shutting_down(&self) -> Error {
        self.access.shutting_down()
    }
}
