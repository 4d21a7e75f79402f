//! Participants' connections: authorization, messages, and their effect on the session.
//!
//! An edge verifies a credential ([`Signalling::authorize_participant`]), connects its bearer
//! ([`Signalling::connect_participant`]), sends the page the values of the [`Outbox`], passes on the page's messages
//! ([`Signalling::handle_message`]), and reports the end of the connection ([`Signalling::disconnect_participant`]).

mod announce;
mod close;
mod connecting;
mod credentials;
mod describe;
mod disconnecting;
mod door;
mod follow;
pub mod message;
mod outbox;
mod receiving;
mod room;
mod rooms;
mod sdp;

pub use close::CloseCode;
pub use connecting::PageAddress;
pub use credentials::{
    AuthorizedParticipant, EntryDenied, ParticipantIdentity, VerifiedCredential,
};
pub use disconnecting::DisconnectCause;
pub use door::{DoorAccess, DoorClosed, DoorPass};
pub use outbox::{Outbox, ToPage};
pub use receiving::MessageOutcome;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::StoreAccess;
use super::changes::Changes;
use super::clock::Clock;
use super::drivers::Drivers;
use super::events::Events;
use super::media::PageMediaSource;
use super::nodes::Nodes;
use super::participants::Participants;
use super::sessions::Sessions;
use crate::auth::token::Tokens;
use crate::bus::Bus;
use crate::domain::actor::Actor;
use crate::domain::id::{SessionId, UserId};
use crate::domain::role::Role;
use crate::domain::session::JoinWindow;
use crate::telemetry::metrics::{Gauge, Metrics};

use room::{ConnectionId, Room};
pub(super) use rooms::Rooms;

/// How long participants may return without a new join link, and after a lost connection.
#[derive(Debug, Clone, Copy)]
pub struct SignallingTimes {
    /// The lifetime of a page's credential: how long it may reconnect without a new join link.
    pub page_ttl: Duration,
    /// How long a participant whose connection was lost may reconnect.
    pub reconnect_grace: Duration,
}

/// Participants' connections to this instance.
pub struct Signalling {
    pub(super) access: Arc<StoreAccess>,
    pub(super) changes: Arc<Changes>,
    pub(super) events: Arc<Events>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) participants: Arc<Participants>,
    pub(super) rooms: Rooms,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) page_media: Arc<PageMediaSource>,
    pub(super) drivers: Arc<Drivers>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) window: JoinWindow,
    pub(super) times: SignallingTimes,
    /// How long pages may stay in the room of a node that their call has left.
    pub(super) move_overlap_secs: u64,
    /// Whether the clinic allows hosts to take still pictures of the others.
    pub(super) allows_stills: bool,
    /// Identifies this process in the sessions whose participants are connected to it.
    pub(super) instance_id: String,
    /// Disconnects are committed after their connections have ended.
    pub(super) tasks: TaskTracker,
    /// Cancelled when connections must end.
    pub(super) closing: CancellationToken,
}

/// A participant's connection.
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

    /// The participant as an actor.
    fn actor(&self) -> Actor {
        Actor::Participant {
            role: self.role,
            user_id: self.user_id.clone(),
        }
    }
}

impl Signalling {
    /// Whether the clinic allows hosts to take still pictures of the others.
    pub fn allows_stills(&self) -> bool {
        self.allows_stills
    }

    /// Counts the end of a connection; `None`: the connection broke.
    pub fn count_connection_end(&self, code: Option<CloseCode>) {
        self.metrics
            .count_signalling_end(code.map(CloseCode::number));
    }

    /// Counts a connection as open until the returned guard is dropped.
    pub fn count_connection(&self) -> impl Drop + use<> {
        CountedConnection::new(&self.metrics.signalling_connections)
    }

    /// Keeps the service from stopping until it is dropped: for a connection that must still be closed properly.
    pub fn hold_open(&self) -> impl Drop + use<> {
        self.tasks.token()
    }

    /// Counts a connection through the door as open until the returned guard is dropped.
    pub fn count_door(&self) -> impl Drop + use<> {
        CountedConnection::new(&self.metrics.door_connections)
    }
}

struct CountedConnection(Gauge);

impl CountedConnection {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        // A clone counts on the same gauge.
        Self(gauge.clone())
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
