//! How users are invited.

use crate::domain::access::permit_service;
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::id::UserId;
use crate::domain::participant::{INVITES_MAX, Invite};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

impl Session {
    /// Somebody further may join. `None` when the same invitation stands already.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::NotAllowed`]; [`Error::Validation`] when the user has another role, or there are too many invitations.
    pub fn invite_user(
        &self,
        invite: Invite,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        self.require_live()?;
        permit_service(actor)?;
        if !invite.is_open(now) {
            return Err(Error::field("expire_time", "must lie in the future"));
        }
        if invite.user_id == self.doctor_id || invite.user_id == self.patient_id {
            return Err(Error::field(
                "user_id",
                "is the doctor or the patient of this session",
            ));
        }
        let standing = self
            .invites
            .iter()
            .find(|standing| standing.user_id == invite.user_id);
        let kept_out = self.is_kept_out(&invite.user_id);
        let full = standing.is_none() && self.invites.len() >= INVITES_MAX;
        let spent = full.then(|| self.reusable_invite(now)).flatten();
        let standing_since = standing.map(|standing| standing.since);
        let invite = Invite {
            since: match standing {
                Some(standing) if !kept_out => standing.since,
                _ => self.version + 1,
            },
            ..invite
        };
        match standing {
            Some(standing) if *standing == invite && !kept_out => return Ok(None),
            Some(standing) if standing.role != invite.role && !kept_out => {
                return Err(Error::field(
                    "role",
                    "is another than the user was invited in",
                ));
            }
            None if full && spent.is_none() => {
                return Err(Error::field(
                    "session_id",
                    format!("the session has {INVITES_MAX} invitations, which is the most"),
                ));
            }
            _ => {}
        }
        let kind = EventKind::ParticipantInvited {
            user_id: invite.user_id.clone(),
            role: invite.role,
        };
        Ok(Some(self.next_version(actor, now, vec![kind], |session| {
            // Whoever was kept out and is invited again may come; what they were given before stays dead.
            for removal in &mut session.removals {
                removal.keep_out &= removal.user_id != invite.user_id;
            }
            session.invites.retain(|standing| {
                standing.user_id != invite.user_id && Some(&standing.user_id) != spent.as_ref()
            });
            if standing_since != Some(invite.since) {
                // An earlier invitation's admission does not hold for this one.
                session
                    .admitted_users
                    .retain(|admitted| *admitted != invite.user_id);
            }
            session.invites.push(invite);
        })))
    }

    /// Whose invitation makes room for another: it was taken back or has expired, so that nothing issued for it is good,
    /// and they are gone.
    fn reusable_invite(&self, now: Timestamp) -> Option<UserId> {
        self.invites
            .iter()
            .find(|invite| {
                let spent = self.is_kept_out(&invite.user_id) || !invite.is_open(now);
                spent && self.participant(&invite.user_id).is_none()
            })
            .map(|invite| invite.user_id.clone())
    }
}
