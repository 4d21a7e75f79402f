//! Who may enter: what a credential says, and what the session says to it.

use std::time::Duration;

use super::Signalling;
use crate::app::changes::Decision;
use crate::auth::token::{Claims, InvalidToken, Purpose};
use crate::domain::access::{Role, permit_entry, tells_of_issue};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::session::Session;

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLetIn {
    /// The credential was ours, and its time is over.
    Expired,
    /// The credential is not one of ours.
    Forged,
    /// The credential is for another session.
    OtherSession,
    /// The session, or the store, says no.
    Session(Error),
}

/// Somebody who may enter a session now.
#[derive(Debug, Clone)]
pub struct Pass {
    /// What their credential says.
    pub claims: Claims,
    /// The session.
    pub session_id: SessionId,
    /// Who.
    pub user_id: UserId,
    /// In which role.
    pub role: Role,
    /// The name to show: the link's, or the one that they gave themselves; may be empty.
    pub name: String,
}

impl Signalling {
    /// Who the bearer of a credential is. Asks nobody but the keys: whether the session lets them in is another question.
    ///
    /// # Errors
    /// [`NotLetIn`], all but [`NotLetIn::Session`]
    pub fn recognise(
        &self,
        jwt: &str,
        purpose: Purpose,
        session_id: &SessionId,
    ) -> Result<Pass, NotLetIn> {
        let claims = self
            .tokens
            .verify(jwt, purpose)
            .map_err(|error| match error {
                InvalidToken::Expired => NotLetIn::Expired,
                InvalidToken::Forged => NotLetIn::Forged,
            })?;
        if claims.session_id != session_id.as_str() {
            return Err(NotLetIn::OtherSession);
        }
        let role = Role::from_name(&claims.role).ok_or(NotLetIn::Forged)?;
        let user_id = UserId::parse(claims.sub.as_str()).map_err(|_| NotLetIn::Forged)?;
        Ok(Pass {
            name: claims.name.clone(),
            claims,
            session_id: session_id.clone(),
            user_id,
            role,
        })
    }

    /// The session of somebody who belongs to it, if not necessarily now.
    ///
    /// # Errors
    /// [`NotLetIn::Expired`] when the session knows nothing of the credential's issue, as after its store was restored from an
    /// earlier backup. [`NotLetIn::Session`] with [`Error::JoinTooLate`]; those of [`permit_entry`];
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn session_of(&self, pass: &Pass) -> Result<Session, NotLetIn> {
        let session = self.admitting_session(pass).await;
        let session = session.map_err(NotLetIn::Session)?;
        let issued = self.issued(pass).await.map_err(NotLetIn::Session)?;
        if issued {
            Ok(session)
        } else {
            Err(NotLetIn::Expired)
        }
    }

    async fn admitting_session(&self, pass: &Pass) -> Result<Session, Error> {
        let session = self.access.session(&pass.session_id).await?;
        let issued_at = pass.claims.issued_at_sequence;
        let now = self.clock.now();
        session.require_not_over(&self.window)?;
        permit_entry(&session, pass.role, &pass.user_id, issued_at, now)?;
        Ok(session)
    }

    /// Whether the session's events tell of the issue of a credential.
    async fn issued(&self, pass: &Pass) -> Result<bool, Error> {
        let issued_at = pass.claims.issued_at_sequence;
        let before = issued_at.saturating_sub(1);
        let events = self.access.events(&pass.session_id, before, 1).await?;
        Ok(events.first().is_some_and(|event| {
            event.sequence == issued_at
                && tells_of_issue(event, pass.role, &pass.user_id, &pass.claims.jti)
        }))
    }

    /// Whether a credential lets its bearer into a session now.
    ///
    /// # Errors
    /// [`NotLetIn`]
    pub async fn let_in(
        &self,
        jwt: &str,
        purpose: Purpose,
        session_id: &SessionId,
    ) -> Result<Pass, NotLetIn> {
        let mut pass = self.recognise(jwt, purpose, session_id)?;
        let session = self.session_of(&pass).await?;
        let window = &self.window;
        session
            .require_open(window, self.clock.now())
            .map_err(NotLetIn::Session)?;
        if pass.name.is_empty() {
            session.given_name(&pass.user_id).clone_into(&mut pass.name);
        }
        Ok(pass)
    }

    /// Keeps the name that somebody gives whose link came without one.
    ///
    /// # Errors
    /// [`Error::NameGiven`] when the link came with a name, or they gave another one before; [`Error::SessionEnded`];
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn name_participant(&self, pass: &Pass, name: &str) -> Result<(), Error> {
        if !pass.claims.name.is_empty() {
            return Err(Error::NameGiven);
        }
        let actor = Actor::Participant {
            role: pass.role,
            user_id: pass.user_id.clone(),
        };
        self.changes
            .change(&pass.session_id, |session| {
                let change = session.named(name, &actor, self.clock.now())?;
                Ok(match change {
                    Some(change) => Decision::Commit(Box::new(change), ()),
                    None => Decision::Keep(()),
                })
            })
            .await
    }

    /// The credential that a page keeps in the place of its join token, and for how long. It may outlast the session's
    /// window, which is looked at whenever it is used: an appointment that is prolonged must not need another link.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn stay_credential(&self, pass: &Pass) -> Result<(String, Duration), Error> {
        let good_for = Duration::from_secs(self.stay.secs);
        let until = self.clock.now().plus_secs(self.stay.secs);
        let jwt = self
            .tokens
            .exchange(&pass.claims, until.as_secs())
            .map_err(|_| Error::Internal)?;
        Ok((jwt, good_for))
    }
}
