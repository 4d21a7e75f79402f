//! The participants, invitations and removals of a session.

use strum::{EnumString, IntoStaticStr, VariantArray};

pub use super::cause::LeaveCause;
use super::id::UserId;
use super::named::named;
use super::role::Role;
use super::time::Timestamp;

/// The maximum number of invitations of a session.
pub const INVITES_MAX: usize = 32;

/// How many removals a session remembers: more than the users who may join it. Only removals of users who may not join are
/// forgotten, and a new entitlement revokes earlier credentials ([`Invite::since`],
/// [`Session::doctor_since`](super::session::Session::doctor_since)).
pub const REMOVALS_MAX: usize = 256;

/// Of how many guests whom nobody invited a session remembers that they were admitted, and their names.
pub const GUESTS_REMEMBERED_MAX: usize = 256;

/// When participants enter without waiting. The host never waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Admission {
    /// Always.
    Open,
    /// While the host is in the call.
    #[default]
    WhenHostPresent,
    /// After the host or the backend admitted them.
    Manual,
}

/// Whether a connected participant waits or is in the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ParticipantStatus {
    /// In the waiting room.
    Waiting,
    /// In the call.
    Admitted,
}

/// A participant who is connected or within the grace period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// The user id.
    pub user_id: UserId,
    /// The role.
    pub role: Role,
    /// The name shown to the others; may be empty.
    pub display_name: String,
    /// Waiting or admitted.
    pub status: ParticipantStatus,
    /// When they connected.
    pub connect_time: Timestamp,
    /// The instance that holds their connection.
    pub instance_id: String,
}

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// The user id.
    pub user_id: UserId,
    /// The role.
    pub role: Role,
    /// The name to show; may be empty.
    pub display_name: String,
    /// When it expires.
    pub expire_time: Option<Timestamp>,
    /// The sequence of the invitation's event: a credential issued up to then, for an earlier invitation, is revoked.
    pub since: i64,
}

impl Invite {
    /// An invitation that is not part of a session yet.
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

    /// Whether it has not expired.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.expire_time.is_none_or(|expires| now < expires)
    }
}

/// A removal: credentials issued up to it are revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The user id.
    pub user_id: UserId,
    /// The sequence of the removal's event; credentials issued up to it are revoked.
    pub sequence: i64,
    /// Whether the user may not get new credentials either.
    pub keep_out: bool,
}

/// A name that a participant chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenName {
    /// The user id.
    pub user_id: UserId,
    /// The name.
    pub name: String,
}

/// A request to connect a participant to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The user id.
    pub user_id: UserId,
    /// The role.
    pub role: Role,
    /// The name to show; may be empty.
    pub display_name: String,
    /// The instance that holds the connection.
    pub instance_id: String,
}

named!(Admission, ParticipantStatus);
