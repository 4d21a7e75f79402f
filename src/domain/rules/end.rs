//! How a session ends.

use std::time::Duration;

use super::events::left;
use crate::domain::change::Change;
use crate::domain::event::EventKind;
use crate::domain::participant::LeaveCause;
use crate::domain::session::{EndCause, JoinWindow, Session, SessionState};
use crate::domain::time::Timestamp;

impl Session {
    /// The session after its end; `None` when it has ended already.
    pub fn ended(&self, cause: EndCause, reason: String, now: Timestamp) -> Option<Change> {
        self.require_live().ok()?;
        let mut kinds: Vec<_> = self
            .participants
            .iter()
            .map(|participant| left(participant, LeaveCause::SessionEnded))
            .collect();
        kinds.push(EventKind::Ended {
            cause,
            reason: reason.clone(),
        });
        Some(self.changed(now, kinds, |session| {
            session.participants.clear();
            session.state = SessionState::Ended;
            session.end_time = Some(session.update_time);
            session.end_cause = Some(cause);
            session.end_reason = reason;
        }))
    }

    /// What ends the session by itself at this time, if anything does.
    pub fn ends_by_itself(
        &self,
        window: &JoinWindow,
        empty_timeout: Option<Duration>,
        now: Timestamp,
    ) -> Option<EndCause> {
        let is_over = self.is_past_window(window, now);
        let was_left = self
            .empty_since
            .zip(empty_timeout)
            .is_some_and(|(since, timeout)| since.plus_secs(timeout.as_secs()) < now);
        match (is_over, was_left) {
            (true, _) => Some(EndCause::TimeOver),
            (false, true) => Some(EndCause::Empty),
            (false, false) => None,
        }
    }
}
