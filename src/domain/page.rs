//! Queries for lists of sessions.

use super::id::{AppointmentId, NodeId, SessionId, UserId};
use super::session::SessionState;
use super::time::Timestamp;

/// The page size if the caller requests none.
pub const PAGE_SIZE_DEFAULT: usize = 50;
/// The largest page.
pub const PAGE_SIZE_MAX: usize = 500;

/// The page size for a request: the default for 0, at most [`PAGE_SIZE_MAX`].
pub fn page_size(asked: u32) -> usize {
    match usize::try_from(asked).unwrap_or(PAGE_SIZE_MAX) {
        0 => PAGE_SIZE_DEFAULT,
        size => size.min(PAGE_SIZE_MAX),
    }
}

/// A filter for sessions; all set fields must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SessionFilter {
    /// The state.
    pub state: Option<SessionState>,
    /// The appointment.
    pub appointment_id: Option<AppointmentId>,
    /// The doctor or the patient.
    pub user_id: Option<UserId>,
    /// The node.
    pub sfu_node_id: Option<NodeId>,
    /// Created later than this.
    pub created_after: Option<Timestamp>,
    /// Created earlier than this.
    pub created_before: Option<Timestamp>,
}

/// A query for a page of sessions, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionQuery {
    /// The sessions to list.
    pub filter: SessionFilter,
    /// Only sessions whose ids sort before this one: where the previous page ended.
    pub before: Option<SessionId>,
    /// The maximum number of sessions.
    pub limit: usize,
}
