//! Stores names that participants choose because their links have none.

use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::participant::GivenName;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

impl Session {
    /// Stores the name that a participant chose. `None` if they chose the same name before.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::NotAllowed`] if the actor is not a participant; [`Error::NameGiven`] if they chose another name before.
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
            session.forget_strangers(&mut given_names, |given| &given.user_id);
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
