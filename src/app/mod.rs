//! What the service does, once a request has been understood and before anything is stored: one file a noun.

mod changes;
mod events;
mod feed;
mod liveness;
mod nodes;
mod participants;
mod sessions;
pub mod signalling;
mod turns;
mod unreadable;
mod upkeep;

pub use events::EventStream;
pub use liveness::{Liveness, LivenessTimes};
pub use sessions::{Created, JoinGrant, JoinRequest, SessionKey};
pub use unreadable::UnreadableConfig;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::token::Tokens;
use crate::bus::Bus;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, random_id};
use crate::domain::node::Rotation;
use crate::domain::session::JoinWindow;
use crate::hub::Hub;
use crate::hub::connections::Connections;
use crate::store::{StoreError, Stores};
use crate::telemetry::metrics::Metrics;
use changes::Changes;
use feed::Followed;
use signalling::IceConfig;
use unreadable::{Part, Unreadable};
use upkeep::ClockWatch;

/// The limits and times that the application keeps to.
#[derive(Debug, Clone)]
pub struct Config {
    /// How much earlier and later than scheduled a session may be joined.
    pub window: JoinWindow,
    /// How long a join token is good.
    pub token_ttl_secs: u64,
    /// How long a call may wait for the store, all its operations together.
    pub store_timeout: Duration,
    /// What a caller is told to wait before it tries again.
    pub retry_after: Duration,
    /// How often a change is tried again when other instances change the same session.
    pub commit_attempts_max: u32,
    /// For how long it is tried again.
    pub contention_wait: Duration,
    /// How often a watched session is looked at for changes that other instances made.
    pub watch_poll: Duration,
    /// How many sessions may be watched at once.
    pub watch_streams_max: usize,
    /// How long a page may stay, or come back, without a new join link.
    pub stay_secs: u64,
    /// How long a participant whose connection was lost is still taken to be there.
    pub reconnect_grace: Duration,
    /// How long a session may be empty before it ends; `None`: for ever.
    pub empty_timeout: Option<Duration>,
    /// What becomes of sessions that cannot be read.
    pub unreadable: UnreadableConfig,
    /// How far this machine's clock and the store's may differ without a warning.
    pub clock_skew_warn: Duration,
}

/// The application: its ports and its limits.
pub struct App {
    stores: Stores,
    bus: Arc<dyn Bus>,
    tokens: Arc<Tokens>,
    rotation: Arc<Rotation>,
    metrics: Arc<Metrics>,
    connections: Arc<Connections>,
    hub: Arc<dyn Hub>,
    ice: IceConfig,
    /// Names this process, for as long as it runs.
    instance_id: String,
    config: Config,
    changes: Arc<Changes>,
    followed: Arc<Followed>,
    watch_permits: Arc<Semaphore>,
    unreadable: Unreadable,
    /// What was found over when sessions were last looked for, and did not end.
    still_over: Mutex<HashSet<SessionId>>,
    clock_watch: ClockWatch,
    /// What the application does beside answering.
    tasks: TaskTracker,
    /// Cancelled when streams are to end.
    closing: CancellationToken,
}

/// What an application stands on.
pub struct Parts {
    /// Where things are kept.
    pub stores: Stores,
    /// Carries news of changes.
    pub bus: Arc<dyn Bus>,
    /// The connections of this process.
    pub connections: Arc<Connections>,
    /// Carries what participants say to each other.
    pub hub: Arc<dyn Hub>,
    /// Issues and verifies credentials.
    pub tokens: Arc<Tokens>,
    /// The SFU nodes.
    pub rotation: Arc<Rotation>,
    /// STUN and TURN.
    pub ice: IceConfig,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
}

impl App {
    /// An application over these ports. Cancelling `closing` ends its streams.
    pub fn new(parts: Parts, config: Config, closing: CancellationToken) -> Self {
        let Parts {
            stores,
            bus,
            connections,
            hub,
            tokens,
            rotation,
            ice,
            metrics,
        } = parts;
        Self {
            watch_permits: Arc::new(Semaphore::new(config.watch_streams_max)),
            changes: Arc::default(),
            followed: Arc::default(),
            tasks: TaskTracker::new(),
            instance_id: random_id(),
            unreadable: Unreadable::new(config.unreadable, Arc::clone(&metrics)),
            still_over: Mutex::default(),
            clock_watch: ClockWatch::default(),
            stores,
            bus,
            connections,
            hub,
            tokens,
            rotation,
            ice,
            metrics,
            config,
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

    /// The SFU nodes.
    pub fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    /// What to say when the instance takes no more work because it goes away.
    pub fn shutting_down(&self) -> Error {
        Error::ShuttingDown {
            retry_after: self.config.retry_after,
        }
    }

    /// Gives up on a call's store operations, taken together, after `store_timeout`.
    async fn within_budget<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::time::timeout(self.config.store_timeout, work)
            .await
            .unwrap_or_else(|_| Err(self.impatient()))
    }

    /// What a caller is told when the store took too long.
    fn impatient(&self) -> Error {
        tracing::warn!("the store did not answer within STORE_TIMEOUT_MS");
        Error::StoreUnavailable {
            retry_after: self.config.retry_after,
        }
    }

    /// What a caller is told of a store's failure; what happened inside has been logged by the store. A session that
    /// cannot be read is set aside.
    fn store_error(&self, error: &StoreError) -> Error {
        self.error_about(Part::Record, error)
    }

    /// As [`App::store_error`], of a read of the events after a sequence: whose session can be changed all the same.
    fn events_error(&self, after: i64, error: &StoreError) -> Error {
        self.error_about(Part::Events { after }, error)
    }

    /// As [`App::store_error`], of a commit.
    fn commit_error(&self, error: &StoreError) -> Error {
        self.error_about(Part::Commit, error)
    }

    fn error_about(&self, part: Part, error: &StoreError) -> Error {
        let retry_after = self.config.retry_after;
        match error {
            StoreError::Unavailable(_) => Error::StoreUnavailable { retry_after },
            StoreError::Overloaded => Error::Overloaded { retry_after },
            StoreError::Corrupt { session_id, .. } => {
                if let Some(session_id) = session_id {
                    self.unreadable
                        .set_aside(session_id, part, error, Instant::now());
                }
                Error::Internal
            }
        }
    }
}
