//! A member of a room, and what the room knows of it.

use std::collections::HashMap;
use std::fmt;

use crate::app::signalling::outbox::PageQueue;
use crate::domain::id::UserId;
use crate::domain::participant::ParticipantStatus;
use crate::domain::role::Role;

/// Tells a connection from the other connections of this instance, also those of the same participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app::signalling) struct ConnectionId(pub(in crate::app::signalling) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A participant's current connection to this instance.
pub(in crate::app::signalling) struct RoomMember {
    pub(in crate::app::signalling) connection_id: ConnectionId,
    pub(in crate::app::signalling) user_id: UserId,
    pub(in crate::app::signalling) role: Role,
    /// What the page knows of the session; `None` until its connection was page_state.
    pub(in crate::app::signalling) page_state: Option<PageState>,
    pub(in crate::app::signalling) queue: PageQueue,
}

/// What a page was told of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app::signalling) struct PageState {
    /// The session's version in the introduction; later events are announced one by one.
    pub(in crate::app::signalling) version: i64,
    /// The participant's status as the page was last told.
    pub(in crate::app::signalling) status: ParticipantStatus,
}

impl RoomMember {
    /// Whether the page was told that it is in the call.
    pub(in crate::app::signalling) fn is_admitted(&self) -> bool {
        self.page_state
            .is_some_and(|page_state| page_state.status == ParticipantStatus::Admitted)
    }

    /// Whether the page was page_state, and to an older version of the session.
    pub(in crate::app::signalling) fn is_behind(&self, version: i64) -> bool {
        self.page_state
            .is_some_and(|page_state| page_state.version < version)
    }
}

/// What a page last said of its microphone and camera.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::app::signalling) struct MediaState {
    pub(in crate::app::signalling) muted: bool,
    pub(in crate::app::signalling) camera_off: bool,
}

/// The media states of a session's participants, also of those who are away for a moment.
#[derive(Default)]
pub(in crate::app::signalling) struct MediaStates(HashMap<UserId, MediaState>);

impl MediaStates {
    /// A participant's media state.
    pub(in crate::app::signalling) fn of(&self, user_id: &UserId) -> MediaState {
        self.0.get(user_id).copied().unwrap_or_default()
    }

    pub(in crate::app::signalling) fn note(&mut self, user_id: &UserId, media: MediaState) {
        self.0.insert(user_id.clone(), media);
    }

    pub(in crate::app::signalling) fn forget(&mut self, user_id: &UserId) {
        self.0.remove(user_id);
    }

    pub(in crate::app::signalling) fn forget_all(&mut self) {
        self.0.clear();
    }
}
