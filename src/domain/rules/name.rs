//! How participants name themselves whose links came without a name.

use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::participant::GivenName;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

impl Session {
    /// A participant whose link came without a name gives one. `None` when they gave the same one before.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::NotAllowed`] when no participant acts; [`Error::NameGiven`] when they gave another one before.
    pub fn set_given_name(
        &self,
        name: &str,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        self.require_live()?;
        let Actor::Participant { role, user_id } = actor else {
            return Err(Error::NotAllowed);
        };
        match self.given_name(user_id) {
            "" => {}
            given if given == name => return Ok(None),
            _ => return Err(Error::NameGiven),
        }
        let kind = EventKind::ParticipantNamed {
            user_id: user_id.clone(),
            role: *role,
        };
        Ok(Some(self.next_version(actor, now, vec![kind], |session| {
            let mut given_names = std::mem::take(&mut session.given_names);
            given_names.retain(|given| session.is_entitled(&given.user_id));
            given_names.push(GivenName {
                user_id: user_id.clone(),
                name: name.to_owned(),
            });
            session.given_names = given_names;
            session.update_participant(user_id, |participant| {
                if participant.display_name.is_empty() {
                    name.clone_into(&mut participant.display_name);
                }
            });
        })))
    }
}
