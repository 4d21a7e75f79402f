//! The members of a room, and their state in it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::app::signalling::outbox::PageQueue;
use crate::domain::id::UserId;
use crate::domain::participant::ParticipantStatus;
use crate::domain::role::Role;

/// Identifies a connection on this instance.
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
    /// The page's view of the session; `None` before its initial messages.
    pub(in crate::app::signalling) page_state: Option<PageState>,
    /// The newest version of the session whose medium was announced to the page; 0 if only its initial messages told it.
    pub(in crate::app::signalling) media_version: i64,
    pub(in crate::app::signalling) queue: PageQueue,
    /// The path of the door for this participant.
    pub(in crate::app::signalling) door: Arc<str>,
}

/// A page's view of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app::signalling) struct PageState {
    /// The session's version in the initial messages; later events are announced one by one.
    pub(in crate::app::signalling) version: i64,
    /// The participant's status that the page was last sent.
    pub(in crate::app::signalling) status: ParticipantStatus,
}

impl RoomMember {
    /// Whether the page was notified of its admission.
    pub(in crate::app::signalling) fn is_admitted(&self) -> bool {
        self.page_state
            .is_some_and(|page_state| page_state.status == ParticipantStatus::Admitted)
    }

    /// Whether the page has its initial messages, of an older version than `version`.
    pub(in crate::app::signalling) fn is_behind(&self, version: i64) -> bool {
        self.page_state
            .is_some_and(|page_state| page_state.version < version)
    }

    /// Whether the page has its initial messages, and knows only the medium of an older version than `version`.
    pub(super) fn is_behind_media(&self, version: i64) -> bool {
        self.is_behind(version) && self.media_version < version
    }
}

/// The highest place of a raised hand: more than are raised in any session.
const HAND_MAX: u64 = 1_000_000;

/// The state of a participant's microphone, camera and hand, as last sent by the page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::app::signalling) struct MediaState {
    pub(in crate::app::signalling) muted: bool,
    pub(in crate::app::signalling) camera_off: bool,
    /// The place of their raised hand among all hands; 0: it is not raised.
    pub(in crate::app::signalling) hand: u64,
}

impl MediaState {
    /// The state that a `mute-status` of this payload tells.
    pub(in crate::app::signalling) fn of_payload(payload: &Map<String, Value>) -> Self {
        let field = |name| payload.get("data").and_then(|data| data.get(name));
        let flag = |name| field(name) == Some(&true.into());
        Self {
            muted: flag("muted"),
            camera_off: flag("camera_off"),
            hand: field("hand")
                .and_then(Value::as_u64)
                .unwrap_or(0)
                .min(HAND_MAX),
        }
    }

    /// The payload of a `mute-status` that tells this state.
    pub(in crate::app::signalling) fn payload(self) -> Map<String, Value> {
        let Self {
            muted,
            camera_off,
            hand,
        } = self;
        let data = json!({"muted": muted, "camera_off": camera_off, "hand": hand});
        Map::from_iter([("data".to_owned(), data)])
    }
}

/// The media states of a session's participants, including participants who are reconnecting.
#[derive(Default)]
pub(in crate::app::signalling) struct MediaStates(HashMap<UserId, MediaState>);

impl MediaStates {
    /// A participant's media state.
    pub(in crate::app::signalling) fn of(&self, user_id: &UserId) -> MediaState {
        self.0.get(user_id).copied().unwrap_or_default()
    }

    /// The participant's media state, if they sent any.
    pub(super) fn known(&self, user_id: &UserId) -> Option<MediaState> {
        self.0.get(user_id).copied()
    }

    pub(super) fn note(&mut self, user_id: &UserId, media: MediaState) {
        self.0.insert(user_id.clone(), media);
    }

    pub(super) fn forget(&mut self, user_id: &UserId) {
        self.0.remove(user_id);
    }

    pub(super) fn forget_all(&mut self) {
        self.0.clear();
    }
}
