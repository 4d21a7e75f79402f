//! Participants' connections: who may connect, what they may say, and what becomes of the session when they come and go.

mod close;
mod describe;
mod door;
mod entrance;
mod follow;
mod hearing;
mod ice;
mod leaving;
pub mod message;
mod sdp;

pub use close::CloseCode;
pub use door::{NotLetIn, Pass};
pub use hearing::Heard;
pub use ice::{Config as IceConfig, IcePolicy};

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::StoreAccess;
use super::changes::Changes;
use super::clock::Clock;
use super::events::Events;
use super::participants::Participants;
use super::sessions::Sessions;
use crate::auth::token::Tokens;
use crate::domain::actor::Actor;
use crate::domain::id::{SessionId, UserId};
use crate::domain::role::Role;
use crate::domain::session::JoinWindow;
use crate::hub::Hub;
use crate::hub::connections::Connections;
use crate::telemetry::metrics::Metrics;

/// How long participants stay without a new join link, and without a connection.
#[derive(Debug, Clone, Copy)]
pub struct StayConfig {
    /// How long a page may stay, or come back, without a new join link.
    pub secs: u64,
    /// How long a participant whose connection was lost is still taken to be there.
    pub reconnect_grace: Duration,
}

/// Participants' connections.
pub struct Signalling {
    pub(super) access: Arc<StoreAccess>,
    pub(super) changes: Arc<Changes>,
    pub(super) events: Arc<Events>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) participants: Arc<Participants>,
    pub(super) connections: Arc<Connections>,
    pub(super) hub: Arc<dyn Hub>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) ice: IceConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) window: JoinWindow,
    pub(super) stay: StayConfig,
    /// Names this process, for as long as it runs.
    pub(super) instance_id: String,
    /// Departures go on when their connections are gone.
    pub(super) tasks: TaskTracker,
    /// Cancelled when connections are to end.
    pub(super) closing: CancellationToken,
}

/// A connection that was taken in.
#[derive(Debug, Clone)]
pub struct Connection {
    id: u64,
    session_id: SessionId,
    user_id: UserId,
    role: Role,
}

impl Connection {
    /// Who speaks on it.
    fn actor(&self) -> Actor {
        Actor::Participant {
            role: self.role,
            user_id: self.user_id.clone(),
        }
    }
}

impl Signalling {
    /// Counts the end of a signalling connection, with the code that it was closed with, if it was.
    pub fn count_ending(&self, code: Option<u16>) {
        self.metrics.signalling_ended(code);
    }

    /// Counts a signalling connection as open until the answer is dropped.
    pub fn count_connection(&self) -> impl Drop + use<> {
        CountedConnection::new(Arc::clone(&self.metrics))
    }
}

struct CountedConnection(Arc<Metrics>);

impl CountedConnection {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.signalling_connections.inc();
        Self(metrics)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.signalling_connections.dec();
    }
}
