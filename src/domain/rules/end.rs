//! How a session ends.

use std::time::Duration;

use super::events::left_event;
use crate::domain::access::permit;
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::participant::LeaveCause;
use crate::domain::role::Action;
use crate::domain::session::{JoinWindow, Session, SessionState};
use crate::domain::time::Timestamp;

impl Session {
    /// The session after its end; `None` when it has ended already. Without a `reason`, the words for the cause are noted.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]
    pub fn end(
        &self,
        reason: Option<String>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        if self.state == SessionState::Ended {
            return Ok(None);
        }
        permit(self, actor, Action::EndSession)?;
        let cause = actor.end_cause();
        let reason = reason.unwrap_or_else(|| cause.reason().to_owned());
        let mut kinds: Vec<_> = self
            .participants
            .iter()
            .map(|participant| left_event(participant, LeaveCause::SessionEnded))
            .collect();
        kinds.push(EventKind::Ended {
            cause,
            reason: reason.clone(),
        });
        Ok(Some(self.next_version(actor, now, kinds, |session| {
            session.participants.clear();
            session.state = SessionState::Ended;
            session.end_time = Some(session.update_time);
            session.end_cause = Some(cause);
            session.end_reason = reason;
        })))
    }

    /// Why the service ends the session at this time, if it does.
    pub fn due_end_cause(
        &self,
        window: &JoinWindow,
        empty_timeout: Option<Duration>,
        now: Timestamp,
    ) -> Option<SystemCause> {
        let is_over = self.is_join_window_closed(window, now);
        let was_left = self
            .empty_since
            .zip(empty_timeout)
            .is_some_and(|(since, timeout)| since.plus_secs(timeout.as_secs()) < now);
        match (is_over, was_left) {
            (true, _) => Some(SystemCause::TimeOver),
            (false, true) => Some(SystemCause::Empty),
            (false, false) => None,
        }
    }
}
