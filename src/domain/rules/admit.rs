//! Admits waiting participants, and asks participants to mute.

use super::events::admitted_events;
use crate::domain::access::permit;
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::id::UserId;
use crate::domain::participant::ParticipantStatus;
use crate::domain::role::Action;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

impl Session {
    /// Admits a waiting participant. `None` if they are in the call already.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::NotAllowed`]; [`Error::ParticipantNotFound`]
    pub fn admit_participant(
        &self,
        user_id: &UserId,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        self.require_live()?;
        permit(self, actor, Action::Admit)?;
        let participant = self
            .participant(user_id)
            .ok_or(Error::ParticipantNotFound)?;
        if participant.status == ParticipantStatus::Admitted {
            return Ok(None);
        }
        let kinds = admitted_events(user_id, participant.role, actor.user_id());
        let change = self.next_version(actor, now, kinds, |session| {
            session.set_admitted(user_id);
            if !session.admitted_users.contains(user_id) {
                let mut admitted_users = std::mem::take(&mut session.admitted_users);
                session.forget_strangers(&mut admitted_users, |admitted| admitted);
                admitted_users.push(user_id.clone());
                session.admitted_users = admitted_users;
            }
        });
        Ok(Some(change.with_needed_medium(actor, now)))
    }

    /// Asks a participant to mute.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::ParticipantNotFound`]
    pub fn request_mute(
        &self,
        user_id: &UserId,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Change, Error> {
        self.require_live()?;
        permit(self, actor, Action::Mute)?;
        self.participant(user_id)
            .filter(|participant| participant.status == ParticipantStatus::Admitted)
            .ok_or(Error::ParticipantNotFound)?;
        let kind = EventKind::ParticipantMuted {
            user_id: user_id.clone(),
            by: actor.user_id().cloned(),
        };
        Ok(self.next_version(actor, now, vec![kind], |_| ()))
    }
}
