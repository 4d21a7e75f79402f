//! What happened to a session, in order.

use super::access::Role;
use super::id::{AppointmentId, NodeId, SessionId, UserId, random_id};
use super::participant::LeaveCause;
use super::session::EndCause;
use super::time::Timestamp;

/// Something that happened to a session; committed in the same write as the change that it tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// 1, 2, 3… within the session, without a gap; equals the session's version after the change.
    pub sequence: i64,
    /// The session.
    pub session_id: SessionId,
    /// When.
    pub time: Timestamp,
    /// Marks this very write, so that one whose outcome was lost can be recognised. Not shown to callers.
    pub write_id: String,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The session was created.
    Created {
        /// For this appointment.
        appointment_id: AppointmentId,
        /// On this node.
        sfu_node_id: NodeId,
    },
    /// Fields of it were changed.
    Updated {
        /// Their names, as in UpdateSessionRequest.
        fields: Vec<String>,
    },
    /// A join token was issued.
    Joined {
        /// To whom.
        user_id: UserId,
        /// In which role.
        role: Role,
        /// The token's id.
        jti: String,
        /// When the token expires.
        expire_time: Timestamp,
    },
    /// It ended.
    Ended {
        /// What ended it.
        cause: EndCause,
        /// The reason given.
        reason: String,
    },
    /// Somebody connected and waits.
    ParticipantWaiting {
        /// Who.
        user_id: UserId,
        /// In which role.
        role: Role,
    },
    /// Somebody who waited was let in.
    ParticipantAdmitted {
        /// Who.
        user_id: UserId,
        /// By whom; `None`: the backend, or the session's rule.
        by: Option<UserId>,
    },
    /// Somebody is in the call.
    ParticipantJoined {
        /// Who.
        user_id: UserId,
        /// In which role.
        role: Role,
        /// They were there before, on another instance.
        resumed: bool,
    },
    /// Somebody is gone.
    ParticipantLeft {
        /// Who.
        user_id: UserId,
        /// In which role.
        role: Role,
        /// Why.
        cause: LeaveCause,
    },
    /// Somebody was removed.
    ParticipantRemoved {
        /// Who.
        user_id: UserId,
        /// By whom; `None`: the backend.
        by: Option<UserId>,
        /// Whether they get no new token.
        keep_out: bool,
    },
    /// Somebody was asked to mute.
    ParticipantMuted {
        /// Who.
        user_id: UserId,
        /// By whom; `None`: the backend.
        by: Option<UserId>,
    },
    /// Somebody was invited.
    ParticipantInvited {
        /// Who.
        user_id: UserId,
        /// In which role.
        role: Role,
    },
    /// A participant whose link came without a name gave one.
    ParticipantNamed {
        /// Who.
        user_id: UserId,
        /// In which role.
        role: Role,
    },
}

impl EventKind {
    /// The type's name on the wire and in stores.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "session.created",
            Self::Updated { .. } => "session.updated",
            Self::Joined { .. } => "session.joined",
            Self::Ended { .. } => "session.ended",
            Self::ParticipantWaiting { .. } => "participant.waiting",
            Self::ParticipantAdmitted { .. } => "participant.admitted",
            Self::ParticipantJoined { .. } => "participant.joined",
            Self::ParticipantLeft { .. } => "participant.left",
            Self::ParticipantRemoved { .. } => "participant.removed",
            Self::ParticipantMuted { .. } => "participant.muted",
            Self::ParticipantInvited { .. } => "participant.invited",
            Self::ParticipantNamed { .. } => "participant.named",
        }
    }
}

impl Event {
    /// A new event, with a write mark of its own.
    pub fn new(sequence: i64, session_id: SessionId, time: Timestamp, kind: EventKind) -> Self {
        Self {
            sequence,
            session_id,
            time,
            write_id: random_id(),
            kind,
        }
    }
}
