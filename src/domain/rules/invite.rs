//! Invites users.

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
    /// Invites a user. `None` if the same invitation is active already.
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
            return Err(Error::field("expire_time", "must be in the future"));
        }
        if invite.user_id == self.doctor_id || invite.user_id == self.patient_id {
            return Err(Error::field(
                "user_id",
                "must not be the doctor or the patient of this session",
            ));
        }
        let existing = self
            .invites
            .iter()
            .find(|existing| existing.user_id == invite.user_id);
        let kept_out = self.is_kept_out(&invite.user_id);
        let full = existing.is_none() && self.invites.len() >= INVITES_MAX;
        let unneeded = full.then(|| self.reusable_invite(now)).flatten();
        let existing_since = existing.map(|existing| existing.since);
        let invite = Invite {
            since: match existing {
                Some(existing) if !kept_out => existing.since,
                _ => self.version + 1,
            },
            ..invite
        };
        match existing {
            Some(existing) if *existing == invite && !kept_out => return Ok(None),
            Some(existing) if existing.role != invite.role && !kept_out => {
                return Err(Error::field(
                    "role",
                    "differs from the role of the existing invitation",
                ));
            }
            None if full && unneeded.is_none() => {
                return Err(Error::field(
                    "session_id",
                    format!("the session has reached its limit of {INVITES_MAX} invitations"),
                ));
            }
            _ => {}
        }
        let kind = EventKind::ParticipantInvited {
            user_id: invite.user_id.clone(),
            role: invite.role,
        };
        Ok(Some(self.next_version(actor, now, vec![kind], |session| {
            // The user may join again, but earlier credentials stay revoked.
            for removal in &mut session.removals {
                removal.keep_out &= removal.user_id != invite.user_id;
            }
            session.invites.retain(|existing| {
                existing.user_id != invite.user_id && Some(&existing.user_id) != unneeded.as_ref()
            });
            if existing_since != Some(invite.since) {
                // Admission under an earlier invitation does not count for this one.
                session
                    .admitted_users
                    .retain(|admitted| *admitted != invite.user_id);
            }
            session.invites.push(invite);
        })))
    }

    /// The user of an invitation that can be replaced: it was revoked or has expired, so no credential for it is valid, and its
    /// user is not connected.
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
