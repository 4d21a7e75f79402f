//! Removes participants and revokes their credentials.

use super::events::left_event;
use crate::domain::access::{permit, permit_service};
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::id::UserId;
use crate::domain::participant::{LeaveCause, REMOVALS_MAX, Removal};
use crate::domain::role::Action;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

impl Session {
    /// Removes a participant and revokes their credentials. `None` if they are kept out already, because then they have no valid
    /// credential. A later removal never undoes `keep_out`.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::ParticipantNotFound`] if no such user can be removed.
    pub fn remove_participant(
        &self,
        user_id: &UserId,
        actor: &Actor,
        keep_out: bool,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        self.require_live()?;
        permit(self, actor, Action::Remove)?;
        if self.is_kept_out(user_id) {
            return Ok(None);
        }
        if !self.is_removable(user_id) {
            return Err(Error::ParticipantNotFound);
        }
        let mut kinds = vec![EventKind::ParticipantRemoved {
            user_id: user_id.clone(),
            by: actor.user_id().cloned(),
            keep_out,
        }];
        let participant = self.participant(user_id);
        kinds.extend(participant.map(|participant| left_event(participant, LeaveCause::Removed)));
        let removed = self.next_version(actor, now, kinds, |session| {
            session.revoke_access(user_id, self.version + 1, keep_out, now);
        });
        Ok(Some(removed.with_end_if_deserted(now)))
    }

    /// Revokes an invitation and removes its participant. `None` if it is revoked already.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::ParticipantNotFound`] if there is no such invitation.
    pub fn revoke_invite(
        &self,
        user_id: &UserId,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        permit_service(actor)?;
        if !self.invites.iter().any(|invite| invite.user_id == *user_id) {
            return Err(Error::ParticipantNotFound);
        }
        self.remove_participant(user_id, actor, true, now)
    }

    /// Removes a user and revokes everything issued to them up to `sequence`.
    pub(super) fn revoke_access(
        &mut self,
        user_id: &UserId,
        sequence: i64,
        keep_out: bool,
        now: Timestamp,
    ) {
        self.remove_participants_where(now, |participant| participant.user_id == *user_id);
        self.admitted_users.retain(|admitted| admitted != user_id);
        self.removals.retain(|removal| removal.user_id != *user_id);
        self.removals.push(Removal {
            user_id: user_id.clone(),
            sequence,
            keep_out,
        });
        if self.removals.len() > REMOVALS_MAX {
            // There always is one: fewer users may join than there are removals.
            let unneeded =
                (self.removals.iter()).position(|removal| !self.is_entitled(&removal.user_id));
            if let Some(unneeded) = unneeded {
                self.removals.remove(unneeded);
            }
        }
    }
}
