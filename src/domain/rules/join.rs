//! Issues join tokens.

use crate::domain::access::{permit_entry, permit_join};
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::id::UserId;
use crate::domain::role::Role;
use crate::domain::session::{JoinWindow, Session};
use crate::domain::short_link::ShortLink;
use crate::domain::time::Timestamp;

impl Session {
    /// Checks that a user may join now in a role, and returns the time that no token of theirs may outlive.
    ///
    /// # Errors
    /// In this order: those of [`Session::require_not_ended`], [`Error::JoinTooEarly`], [`Error::JoinTooLate`],
    /// [`Error::NotAParticipant`], [`Error::ParticipantRemoved`].
    pub fn join_deadline(
        &self,
        role: Role,
        user_id: &UserId,
        window: &JoinWindow,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let closes = self.require_join_window_open(window, now)?;
        permit_join(self, role, user_id, now)?;
        let invite_ends = self
            .invites
            .iter()
            .find(|invite| invite.user_id == *user_id)
            .and_then(|invite| invite.expire_time);
        Ok([closes, invite_ends].into_iter().flatten().min())
    }

    /// Checks that the join window is open, and returns when it closes.
    ///
    /// # Errors
    /// Those of [`Session::require_not_ended`]; [`Error::JoinTooEarly`], [`Error::JoinTooLate`].
    pub fn require_join_window_open(
        &self,
        window: &JoinWindow,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        self.require_not_ended(window)?;
        if let Some(opens) = window.opens_at(&self.schedule).filter(|opens| now < *opens) {
            return Err(Error::JoinTooEarly { opens });
        }
        match window.closes_at(&self.schedule) {
            Some(closed) if self.is_join_window_closed(window, now) => {
                Err(Error::JoinTooLate { closed })
            }
            closes => Ok(closes),
        }
    }

    /// The short link of a user in a role, if it still admits them.
    pub fn valid_short_link(
        &self,
        user_id: &UserId,
        role: Role,
        now: Timestamp,
    ) -> Option<&ShortLink> {
        let link = self.short_link_of(user_id, role)?;
        let admits = permit_entry(self, role, user_id, link.since, now).is_ok();
        admits.then_some(link)
    }

    /// Records that a token was issued, with the user's short link.
    pub fn record_token(
        &self,
        jti: String,
        expire_time: Timestamp,
        link: ShortLink,
        actor: &Actor,
        now: Timestamp,
    ) -> Change {
        let kind = EventKind::Joined {
            user_id: link.user_id.clone(),
            role: link.role,
            jti,
            expire_time,
        };
        self.next_version(actor, now, vec![kind], |session| {
            session.set_short_link(link);
        })
    }

    fn set_short_link(&mut self, link: ShortLink) {
        let mut links = std::mem::take(&mut self.short_links);
        links.retain(|other| (&other.user_id, other.role) != (&link.user_id, link.role));
        self.forget_strangers(&mut links, |other| &other.user_id);
        links.push(link);
        self.short_links = links;
    }
}
