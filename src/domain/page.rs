//! What a caller may ask of a list.

use super::id::{AppointmentId, NodeId, SessionId, UserId};
use super::session::SessionState;
use super::time::Timestamp;

/// The page size when none is asked for.
pub const PAGE_SIZE_DEFAULT: usize = 50;
/// The largest page.
pub const PAGE_SIZE_MAX: usize = 500;

/// The page size that a request gets: 0 asks for the default, too much for the most.
pub fn page_size(asked: u32) -> usize {
    match usize::try_from(asked).unwrap_or(PAGE_SIZE_MAX) {
        0 => PAGE_SIZE_DEFAULT,
        size => size.min(PAGE_SIZE_MAX),
    }
}

/// Which sessions to list; what is set must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SessionFilter {
    /// In this state.
    pub state: Option<SessionState>,
    /// Of this appointment.
    pub appointment_id: Option<AppointmentId>,
    /// With this doctor or this patient.
    pub user_id: Option<UserId>,
    /// On this node.
    pub sfu_node_id: Option<NodeId>,
    /// Created later than this.
    pub created_after: Option<Timestamp>,
    /// Created earlier than this.
    pub created_before: Option<Timestamp>,
}

/// A page of sessions, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionQuery {
    /// Which sessions.
    pub filter: SessionFilter,
    /// Only sessions whose ids sort before this one: where the previous page ended.
    pub before: Option<SessionId>,
    /// How many at the most.
    pub limit: usize,
}
