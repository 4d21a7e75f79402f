//! Authorizes credentials: verifies the token, then checks it against the session.

use std::time::Duration;

use super::Signalling;
use crate::app::changes::Decision;
use crate::app::media::Ice;
use crate::auth::short_code::ShortCode;
use crate::auth::token::{Claims, InvalidToken, Purpose};
use crate::domain::access::{permit_entry, records_issue_of};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::role::Role;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

/// Why a credential does not authorize entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryDenied {
    /// The service issued the credential, but it has expired.
    Expired,
    /// The service did not issue the credential.
    Forged,
    /// The credential is for another session.
    OtherSession,
    /// The session does not authorize its bearer, or the store failed.
    Session(Error),
}

/// A verified credential.
#[derive(Debug, Clone)]
pub struct VerifiedCredential {
    /// Its claims.
    pub claims: Claims,
    /// Its bearer.
    pub identity: ParticipantIdentity,
}

/// Who a participant is.
#[derive(Debug, Clone)]
pub struct ParticipantIdentity {
    /// The session.
    pub session_id: SessionId,
    /// The user.
    pub user_id: UserId,
    /// Their role.
    pub role: Role,
    /// The name to show: the link's, or the one that the participant chose; may be empty.
    pub name: String,
    /// Whether the name is the link's.
    pub is_named_by_link: bool,
    /// The sequence of the event that records the issue of their credential. A guest without one may enter as of this version.
    pub issued_at_sequence: i64,
}

/// A participant who may enter their session now.
#[derive(Debug, Clone)]
pub struct AuthorizedParticipant {
    /// The participant.
    pub identity: ParticipantIdentity,
    /// The session at the time of that decision.
    pub session: Session,
}

impl Signalling {
    /// Verifies a credential's signature and claims, without the session.
    ///
    /// # Errors
    /// [`EntryDenied`], all but [`EntryDenied::Session`]
    pub fn verify_credential(
        &self,
        jwt: &str,
        purpose: Purpose,
        session_id: &SessionId,
    ) -> Result<VerifiedCredential, EntryDenied> {
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
        VerifiedCredential::of(claims, session_id)
    }

    /// Finds the link that a code belongs to, and returns what its bearer may do with it: the same as with a join token that was issued
    /// when the link was.
    ///
    /// # Errors
    /// [`EntryDenied::Forged`] if there is no such link, or its signing key is not configured any more;
    /// [`EntryDenied::Session`] with [`Error::StoreUnavailable`]
    pub async fn find_short_link(
        &self,
        code: &ShortCode,
    ) -> Result<VerifiedCredential, EntryDenied> {
        let session = self.access.session_by_short_link(&code.digest()).await;
        let session = session.map_err(EntryDenied::Session)?;
        let session = session.ok_or(EntryDenied::Forged)?;
        let digest = code.digest();
        let link = (session.short_links.iter())
            .find(|link| link.digest == digest)
            .filter(|link| {
                self.tokens
                    .short_code_of(&session.session_id, link)
                    .is_some()
            })
            .ok_or(EntryDenied::Forged)?;
        let claims = self
            .tokens
            .claims_of_short_link(&session, link, self.clock.now());
        VerifiedCredential::of(claims, &session.session_id)
    }

    /// The code of the participant's short link, if they have one that admits them.
    pub fn short_code_of(
        &self,
        session: &Session,
        identity: &ParticipantIdentity,
    ) -> Option<ShortCode> {
        let ParticipantIdentity { user_id, role, .. } = identity;
        let link = session.valid_short_link(user_id, *role, self.clock.now())?;
        self.tokens.short_code_of(&session.session_id, link)
    }

    /// The code of the short link of a credential's bearer, if they have one and the session can be read.
    pub async fn find_short_code(&self, credential: &VerifiedCredential) -> Option<ShortCode> {
        let identity = &credential.identity;
        let session = self.read_session(&identity.session_id).await.ok()?;
        self.short_code_of(&session, identity)
    }

    /// Reads the session and checks that the bearer still belongs to it; the join window may be closed.
    ///
    /// # Errors
    /// [`EntryDenied::Expired`] when the session has no record of the credential's issue, for example after its store was
    /// restored from an earlier backup. [`EntryDenied::Session`] with [`Error::JoinTooLate`]; those of [`permit_entry`];
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn authorized_session(
        &self,
        credential: &VerifiedCredential,
    ) -> Result<Session, EntryDenied> {
        let session = self.read_authorized_session(&credential.identity).await;
        let session = session.map_err(EntryDenied::Session)?;
        let is_issued = self.is_issue_recorded(credential).await;
        if is_issued.map_err(EntryDenied::Session)? {
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
        session.require_not_ended(&self.window)?;
        identity.permit_entry(&session, self.clock.now())?;
        Ok(session)
    }

    /// Whether the session's events record the issue of a credential.
    async fn is_issue_recorded(&self, credential: &VerifiedCredential) -> Result<bool, Error> {
        let VerifiedCredential { claims, identity } = credential;
        let issued_at = identity.issued_at_sequence;
        let before = issued_at.saturating_sub(1);
        let session_id = &identity.session_id;
        let events = self.access.events(session_id, before, 1).await?;
        let (user_id, jti) = (&identity.user_id, &claims.jti);
        Ok(events.first().is_some_and(|event| {
            event.sequence == issued_at && records_issue_of(event, identity.role, user_id, jti)
        }))
    }

    /// Verifies a credential, and checks that its bearer may enter the session now.
    ///
    /// # Errors
    /// [`EntryDenied`]
    pub async fn authorize_participant(
        &self,
        jwt: &str,
        purpose: Purpose,
        session_id: &SessionId,
    ) -> Result<AuthorizedParticipant, EntryDenied> {
        let credential = self.verify_credential(jwt, purpose, session_id)?;
        let session = self.authorized_session(&credential).await?;
        let mut identity = credential.identity;
        session
            .require_join_window_open(&self.window, self.clock.now())
            .map_err(EntryDenied::Session)?;
        if identity.name.is_empty() {
            let given = session.given_name(&identity.user_id);
            given.clone_into(&mut identity.name);
        }
        Ok(AuthorizedParticipant { identity, session })
    }

    /// Lets a new guest into a session that is open to guests: they need no credential, and are nobody who was there before.
    ///
    /// # Errors
    /// Those of [`Session::join_deadline`]; [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn authorize_guest(
        &self,
        session_id: &SessionId,
    ) -> Result<ParticipantIdentity, Error> {
        let session = self.read_session(session_id).await?;
        let (user_id, role) = (UserId::generate(), Role::Guest);
        session.join_deadline(role, &user_id, &self.window, self.clock.now())?;
        Ok(ParticipantIdentity {
            session_id: session.session_id,
            user_id,
            role,
            name: String::new(),
            is_named_by_link: false,
            issued_at_sequence: session.version,
        })
    }

    /// Stores the name that a participant chooses if their link has none.
    ///
    /// # Errors
    /// [`Error::NameGiven`] when the link has a name, or they have already chosen another one; [`Error::SessionEnded`];
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn name_participant(
        &self,
        identity: &ParticipantIdentity,
        name: &str,
    ) -> Result<(), Error> {
        if identity.is_named_by_link {
            return Err(Error::NameGiven);
        }
        let actor = Actor::Participant {
            role: identity.role,
            user_id: identity.user_id.clone(),
        };
        self.changes
            .change(&identity.session_id, |session| {
                let change = session.set_given_name(name, &actor, self.clock.now())?;
                Ok(match change {
                    Some(change) => Decision::Commit(Box::new(change), ()),
                    None => Decision::Keep(()),
                })
            })
            .await
    }

    /// What a participant's page needs to test its connection before it joins: what `connected` has, but for a short time.
    pub fn ice_for_test(&self, _: &AuthorizedParticipant) -> Ice {
        self.page_media.ice_for_test()
    }

    /// Issues the credential that a page keeps instead of its join token. Returns it with its lifetime, which counts from the opening
    /// of the session's join window if that is still to come: the page may stay open until then. It may outlast the join window, which is checked at every use: a prolonged appointment needs no new link.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn issue_page_credential(
        &self,
        credential: &VerifiedCredential,
        session: Option<&Session>,
    ) -> Result<(String, Duration), Error> {
        let now = self.clock.now();
        let opens = session.and_then(|session| self.window.opens_at(&session.schedule));
        let from = opens.map_or(now, |opens| opens.max(now));
        let until = from.plus_secs(self.times.page_ttl.as_secs());
        let lifetime = until.since(now);
        let jwt = self
            .tokens
            .issue_page_credential(&credential.claims, until.as_secs())
            .map_err(|_| Error::Internal)?;
        Ok((jwt, lifetime))
    }

    pub(super) async fn read_session(&self, session_id: &SessionId) -> Result<Session, Error> {
        self.access.session(session_id).await
    }
}

impl VerifiedCredential {
    fn of(claims: Claims, session_id: &SessionId) -> Result<Self, EntryDenied> {
        let role = Role::from_name(&claims.role).ok_or(EntryDenied::Forged)?;
        let user_id = UserId::parse(claims.sub.as_str()).map_err(|_| EntryDenied::Forged)?;
        let identity = ParticipantIdentity {
            session_id: session_id.clone(),
            user_id,
            role,
            name: claims.name.clone(),
            is_named_by_link: !claims.name.is_empty(),
            issued_at_sequence: claims.issued_at_sequence,
        };
        Ok(Self { claims, identity })
    }
}

impl ParticipantIdentity {
    /// Checks that a session authorizes the bearer of this credential.
    pub(super) fn permit_entry(&self, session: &Session, now: Timestamp) -> Result<(), Error> {
        let issued_at = self.issued_at_sequence;
        permit_entry(session, self.role, &self.user_id, issued_at, now)
    }
}
