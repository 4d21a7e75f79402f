//! Credentials: whom a credential names, and whether the session lets its bearer in.

use std::time::Duration;

use super::Signalling;
use crate::app::changes::Decision;
use crate::auth::token::{Claims, InvalidToken, Purpose};
use crate::domain::access::{permit_entry, tells_of_issue};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::role::Role;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

/// Why the bearer of a credential may not enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryDenied {
    /// The service issued the credential, and its time is over.
    Expired,
    /// The service did not issue the credential.
    Forged,
    /// The credential is for another session.
    OtherSession,
    /// The session refuses its bearer, or the store failed.
    Session(Error),
}

/// Whom a valid credential names.
#[derive(Debug, Clone)]
pub struct ParticipantIdentity {
    /// What the credential says.
    pub claims: Claims,
    /// The session.
    pub session_id: SessionId,
    /// The user.
    pub user_id: UserId,
    /// Their role.
    pub role: Role,
    /// The name to show: the link's, or the one that they gave themselves; may be empty.
    pub name: String,
}

/// A participant who may enter their session now.
#[derive(Debug, Clone)]
pub struct AuthorizedParticipant {
    /// The participant.
    pub identity: ParticipantIdentity,
    /// The session as it was when that was decided.
    pub session: Session,
}

impl Signalling {
    /// Verifies a credential by the keys alone; the session may still refuse its bearer.
    ///
    /// # Errors
    /// [`EntryDenied`], all but [`EntryDenied::Session`]
    pub fn verify_credential(
        &self,
        jwt: &str,
        purpose: Purpose,
        session_id: &SessionId,
    ) -> Result<ParticipantIdentity, EntryDenied> {
        let claims = self
            .tokens
            .verify(jwt, purpose)
            .map_err(|error| match error {
                InvalidToken::Expired => EntryDenied::Expired,
                InvalidToken::Forged => EntryDenied::Forged,
            })?;
        if claims.session_id != session_id.as_str() {
            return Err(EntryDenied::OtherSession);
        }
        let role = Role::from_name(&claims.role).ok_or(EntryDenied::Forged)?;
        let user_id = UserId::parse(claims.sub.as_str()).map_err(|_| EntryDenied::Forged)?;
        Ok(ParticipantIdentity {
            name: claims.name.clone(),
            claims,
            session_id: session_id.clone(),
            user_id,
            role,
        })
    }

    /// The session of a participant who belongs to it, even if it is not open yet.
    ///
    /// # Errors
    /// [`EntryDenied::Expired`] when the session knows nothing of the credential's issue, as after its store was restored
    /// from an earlier backup. [`EntryDenied::Session`] with [`Error::JoinTooLate`]; those of [`permit_entry`];
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn authorized_session(
        &self,
        identity: &ParticipantIdentity,
    ) -> Result<Session, EntryDenied> {
        let session = self.read_authorized_session(identity).await;
        let session = session.map_err(EntryDenied::Session)?;
        let was_issued = self.is_issue_recorded(identity).await;
        if was_issued.map_err(EntryDenied::Session)? {
            Ok(session)
        } else {
            Err(EntryDenied::Expired)
        }
    }

    async fn read_authorized_session(
        &self,
        identity: &ParticipantIdentity,
    ) -> Result<Session, Error> {
        let session = self.read_session(&identity.session_id).await?;
        session.require_not_over(&self.window)?;
        identity.permit_entry(&session, self.clock.now())?;
        Ok(session)
    }

    /// Whether the session's events tell of the issue of a credential.
    async fn is_issue_recorded(&self, identity: &ParticipantIdentity) -> Result<bool, Error> {
        let issued_at = identity.claims.issued_at_sequence;
        let before = issued_at.saturating_sub(1);
        let session_id = &identity.session_id;
        let events = self.access.events(session_id, before, 1).await?;
        let (user_id, jti) = (&identity.user_id, &identity.claims.jti);
        Ok(events.first().is_some_and(|event| {
            event.sequence == issued_at && tells_of_issue(event, identity.role, user_id, jti)
        }))
    }

    /// Verifies a credential, and that its bearer may enter the session now.
    ///
    /// # Errors
    /// [`EntryDenied`]
    pub async fn authorize_participant(
        &self,
        jwt: &str,
        purpose: Purpose,
        session_id: &SessionId,
    ) -> Result<AuthorizedParticipant, EntryDenied> {
        let mut identity = self.verify_credential(jwt, purpose, session_id)?;
        let session = self.authorized_session(&identity).await?;
        session
            .require_open(&self.window, self.clock.now())
            .map_err(EntryDenied::Session)?;
        if identity.name.is_empty() {
            let given = session.given_name(&identity.user_id);
            given.clone_into(&mut identity.name);
        }
        Ok(AuthorizedParticipant { identity, session })
    }

    /// Stores the name that a participant gives whose link came without one.
    ///
    /// # Errors
    /// [`Error::NameGiven`] when the link came with a name, or they gave another one before; [`Error::SessionEnded`];
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn name_participant(
        &self,
        identity: &ParticipantIdentity,
        name: &str,
    ) -> Result<(), Error> {
        if !identity.claims.name.is_empty() {
            return Err(Error::NameGiven);
        }
        let actor = Actor::Participant {
            role: identity.role,
            user_id: identity.user_id.clone(),
        };
        self.changes
            .change(&identity.session_id, |session| {
                let change = session.named(name, &actor, self.clock.now())?;
                Ok(match change {
                    Some(change) => Decision::Commit(Box::new(change), ()),
                    None => Decision::Keep(()),
                })
            })
            .await
    }

    /// The credential that a page keeps in the place of its join token, and for how long. It may outlast the session's
    /// window, which is checked whenever it is used: an appointment that is prolonged must not need another link.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn issue_page_credential(
        &self,
        identity: &ParticipantIdentity,
    ) -> Result<(String, Duration), Error> {
        let good_for = self.times.page_ttl;
        let until = self.clock.now().plus_secs(good_for.as_secs());
        let jwt = self
            .tokens
            .issue_page_credential(&identity.claims, until.as_secs())
            .map_err(|_| Error::Internal)?;
        Ok((jwt, good_for))
    }

    pub(super) async fn read_session(&self, session_id: &SessionId) -> Result<Session, Error> {
        self.access.session(session_id).await
    }
}

impl ParticipantIdentity {
    /// Whether a session lets the bearer of this credential in.
    pub(super) fn permit_entry(&self, session: &Session, now: Timestamp) -> Result<(), Error> {
        let issued_at = self.claims.issued_at_sequence;
        permit_entry(session, self.role, &self.user_id, issued_at, now)
    }
}
