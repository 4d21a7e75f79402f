//! Ends sessions.

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

impl Change {
    /// Ends the session as well if this change leaves it empty and it may not be empty at all.
    #[must_use]
    pub(super) fn with_end_if_deserted(self, now: Timestamp) -> Self {
        let is_deserted = self.session.empty_deadline.is_some()
            && self.session.empty_timeout_secs == Some(0)
            && self.session.state != SessionState::Ended;
        if !is_deserted {
            return self;
        }
        let ended = (self.session).ended(None, &Actor::System(SystemCause::Empty), now);
        self.then(ended)
    }
}

impl Session {
    /// Ends the session; `None` if it has ended already. Without a `reason`, the cause's text is stored.
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
        Ok(Some(self.ended(reason, actor, now)))
    }

    fn ended(&self, reason: Option<String>, actor: &Actor, now: Timestamp) -> Change {
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
        self.next_version(actor, now, kinds, |session| {
            session.participants.clear();
            session.state = SessionState::Ended;
            session.end_time = Some(session.update_time);
            session.end_cause = Some(cause);
            session.end_reason = reason;
        })
    }

    /// Why the service must end the session now; `None` if it must not.
    pub fn due_end_cause(
        &self,
        window: &JoinWindow,
        empty_timeout: Option<Duration>,
        now: Timestamp,
    ) -> Option<SystemCause> {
        let window_closed = self.is_join_window_closed(window, now);
        let empty_too_long = self
            .empty_since
            .zip(empty_timeout)
            .is_some_and(|(since, timeout)| since.plus_secs(timeout.as_secs()) < now);
        let deadline_passed = self.empty_deadline.is_some_and(|deadline| deadline < now);
        match (window_closed, empty_too_long || deadline_passed) {
            (true, _) => Some(SystemCause::TimeOver),
            (false, true) => Some(SystemCause::Empty),
            (false, false) => None,
        }
    }
}
