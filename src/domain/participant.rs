//! The people of a session: who is connected, who is invited, who was removed.

use strum::{EnumString, IntoStaticStr, VariantArray};

pub use super::cause::LeaveCause;
use super::id::UserId;
use super::named::named;
use super::role::Role;
use super::time::Timestamp;

/// How many may be invited to one session.
pub const INVITES_MAX: usize = 32;

/// How many removals a session remembers. More than there can be people who may join it: only a removal of somebody who may
/// not is ever forgotten, and becoming entitled again voids what they were given before ([`Invite::since`],
/// [`Session::doctor_since`](super::session::Session::doctor_since)).
pub const REMOVALS_MAX: usize = 256;

/// Who gets past the waiting room by themselves. The host always does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Admission {
    /// Everybody, at once.
    Open,
    /// Everybody, once the host is there.
    #[default]
    WhenHostPresent,
    /// Those who are admitted one by one.
    Manual,
}

/// Where a connected participant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ParticipantStatus {
    /// In the waiting room.
    Waiting,
    /// In the call.
    Admitted,
}

/// Somebody connected to a session, or away for no longer than the grace allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Who.
    pub user_id: UserId,
    /// In which role.
    pub role: Role,
    /// The name shown to the others; may be empty.
    pub display_name: String,
    /// Waiting or admitted.
    pub status: ParticipantStatus,
    /// Since when they are connected.
    pub connect_time: Timestamp,
    /// The instance that holds their connection.
    pub instance_id: String,
}

/// Somebody whom the backend invited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Who.
    pub user_id: UserId,
    /// In which role.
    pub role: Role,
    /// The name to show; may be empty.
    pub display_name: String,
    /// Until when it lets in.
    pub expire_time: Option<Timestamp>,
    /// The sequence of the event that told of it: a credential issued until then, for an earlier invitation, is void.
    pub since: i64,
}

impl Invite {
    /// An invitation that no session knows of yet.
    pub fn new(
        user_id: UserId,
        role: Role,
        display_name: String,
        expire_time: Option<Timestamp>,
    ) -> Self {
        Self {
            user_id,
            role,
            display_name,
            expire_time,
            since: 0,
        }
    }

    /// Whether it still lets in.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.expire_time.is_none_or(|expires| now < expires)
    }
}

/// That somebody was removed: no credential issued until then lets them in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Who.
    pub user_id: UserId,
    /// The sequence of the event of the removal; credentials of this or an earlier one are dead.
    pub sequence: i64,
    /// Whether they get no new ones either.
    pub keep_out: bool,
}

/// The name that a participant gave themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenName {
    /// Who.
    pub user_id: UserId,
    /// The name.
    pub name: String,
}

/// Somebody whose connection has just been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Who.
    pub user_id: UserId,
    /// In which role.
    pub role: Role,
    /// The name to show; may be empty.
    pub display_name: String,
    /// The instance that holds the connection.
    pub instance_id: String,
}

named!(Admission, ParticipantStatus);
