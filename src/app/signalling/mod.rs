//! Participants' connections: who may connect, what they may send, and what becomes of the session when they come and go.
//!
//! An edge verifies a credential ([`Signalling::authorize_participant`]), connects its bearer
//! ([`Signalling::connect_participant`]), sends the page what the [`Outbox`] holds, passes on what the page sends
//! ([`Signalling::handle_message`]), and reports the end of the connection ([`Signalling::disconnect_participant`]).

mod announce;
mod close;
mod connecting;
mod credentials;
mod describe;
mod disconnecting;
mod follow;
pub mod message;
mod outbox;
mod receiving;
mod room;
mod rooms;
mod sdp;

pub use close::CloseCode;
pub use credentials::{AuthorizedParticipant, EntryRefusal, ParticipantIdentity};
pub use disconnecting::Departure;
pub use outbox::{Outbox, ToPage};
pub use receiving::MessageOutcome;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::App;
use super::tickets::Tickets;
use crate::auth::token::Tokens;
use crate::bus::Bus;
use crate::domain::access::Role;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::session::JoinWindow;
use crate::telemetry::metrics::Metrics;
use room::{ConnectionId, Room};
use rooms::Rooms;

/// Participants' connections to this instance.
pub struct Signalling {
    /// Reads and changes sessions.
    app: Arc<App>,
    rooms: Rooms,
    bus: Arc<dyn Bus>,
    tokens: Arc<Tokens>,
    tickets: Arc<Tickets>,
    metrics: Arc<Metrics>,
    /// Names this process in the sessions whose participants it holds.
    instance_id: String,
    limits: Limits,
    tasks: TaskTracker,
    /// Cancelled when connections are to end.
    closing: CancellationToken,
}

/// The settings that signalling keeps to; see [`super::Config`].
struct Limits {
    window: JoinWindow,
    stay: Duration,
    reconnect_grace: Duration,
    retry_after: Duration,
}

/// A participant's connection, from its introduction to its end.
pub struct ParticipantConnection {
    id: ConnectionId,
    room: Arc<Room>,
    user_id: UserId,
    role: Role,
}

impl ParticipantConnection {
    /// The session.
    fn session_id(&self) -> &SessionId {
        self.room.session_id()
    }
}

impl Signalling {
    /// Over the sessions of an application, whose ports and settings it shares.
    pub fn new(app: Arc<App>) -> Self {
        Self {
            rooms: Rooms::default(),
            bus: Arc::clone(&app.bus),
            tokens: Arc::clone(&app.tokens),
            tickets: Arc::clone(&app.tickets),
            metrics: Arc::clone(&app.metrics),
            instance_id: app.instance_id.clone(),
            limits: Limits {
                window: app.config.window,
                stay: Duration::from_secs(app.config.stay_secs),
                reconnect_grace: app.config.reconnect_grace,
                retry_after: app.config.retry_after,
            },
            tasks: app.tasks.clone(),
            closing: app.closing.clone(),
            app,
        }
    }

    /// Counts the end of a connection, with the code that it was closed with, if it was.
    pub fn count_end(&self, code: Option<CloseCode>) {
        self.metrics.signalling_ended(code.map(CloseCode::number));
    }

    /// Counts a connection as open until the answer is dropped.
    pub fn count_connection(&self) -> impl Drop + use<> {
        CountedConnection::new(Arc::clone(&self.metrics))
    }

    fn contention(&self) -> Error {
        Error::Contention {
            retry_after: self.limits.retry_after,
        }
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
