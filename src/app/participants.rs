//! The people of a session, as the backend and the host deal with them.
//!
//! Nobody's page is told of anything here: what is committed reaches every page, on whichever instance, through the
//! session's events.

use std::sync::Arc;

use super::changes::{Changes, Decision};
use super::clock::Clock;
use super::grants::{Grants, JoinGrant, JoinRequest};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::participant::{Invite, Participant};
use crate::domain::session::Session;
use crate::telemetry::metrics::Metrics;

/// Admits, removes, mutes and invites participants.
pub struct Participants {
    pub(super) changes: Arc<Changes>,
    pub(super) grants: Arc<Grants>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
}

impl Participants {
    /// Admits a waiting participant.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::SessionEnded`]; [`Error::ParticipantNotFound`]; [`Error::StoreUnavailable`]
    pub async fn admit(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        user_id: &UserId,
    ) -> Result<Participant, Error> {
        let session = self
            .changes
            .change(session_id, |session| {
                let change = session.admitted_by(user_id, actor, self.clock.now())?;
                Ok(Decision::of(change, session))
            })
            .await?;
        connected(&session, user_id)
    }

    /// Disconnects a participant and revokes what they were given.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::SessionEnded`]; [`Error::ParticipantNotFound`]; [`Error::StoreUnavailable`]
    pub async fn remove(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        user_id: &UserId,
        keep_out: bool,
    ) -> Result<Session, Error> {
        self.changes
            .change(session_id, |session| {
                let change = session.removed(user_id, actor, keep_out, self.clock.now())?;
                Ok(Decision::of(change, session))
            })
            .await
    }

    /// Asks a participant's page to mute.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::SessionEnded`]; [`Error::ParticipantNotFound`]; [`Error::StoreUnavailable`]
    pub async fn mute(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        user_id: &UserId,
    ) -> Result<Participant, Error> {
        let session = self
            .changes
            .change(session_id, |session| {
                let change = session.asked_to_mute(user_id, actor, self.clock.now())?;
                Ok(Decision::of(Some(change), session))
            })
            .await?;
        connected(&session, user_id)
    }

    /// Invites somebody, or somebody again, and issues their link.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; those of [`Session::invited`] and of [`Session::may_join`]; [`Error::StoreUnavailable`]
    pub async fn invite(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        invite: &Invite,
    ) -> Result<JoinGrant, Error> {
        let request = JoinRequest {
            session_id: session_id.clone(),
            role: invite.role,
            user_id: invite.user_id.clone(),
            display_name: invite.display_name.clone(),
        };
        let grant = self
            .grants
            .change_with_ticket(&request, |session, ticket| {
                // One write: an invitation without its link would be of no use to anybody.
                let now = self.clock.now();
                let invited = session.invited(invite.clone(), actor, now)?;
                let session = invited.as_ref().map_or(session, |change| &change.session);
                // Links are handed out ahead of time; until the door opens, theirs says when that is.
                let opens = self.grants.window.opens(&session.schedule);
                let good_from = opens.map_or(now, |opens| opens.max(now));
                if invite
                    .expire_time
                    .is_some_and(|expires| expires <= good_from)
                {
                    return Err(Error::field("expire_time", "must lie after the door opens"));
                }
                Ok(
                    match self
                        .grants
                        .grant(&request, session, ticket, actor, good_from)?
                    {
                        Decision::Commit(joined, grant) => {
                            let change = match invited.clone() {
                                Some(invited) => invited.then(*joined),
                                None => *joined,
                            };
                            Decision::Commit(Box::new(change), grant)
                        }
                        Decision::Keep(grant) => Decision::Keep(grant),
                    },
                )
            })
            .await?;
        self.metrics.count_token(invite.role.name());
        Ok(grant)
    }

    /// Takes an invitation back, and removes who came by it.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::SessionEnded`]; [`Error::ParticipantNotFound`] when there is no such
    /// invitation; [`Error::StoreUnavailable`]
    pub async fn revoke_invite(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        user_id: &UserId,
    ) -> Result<Session, Error> {
        self.changes
            .change(session_id, |session| {
                let change = session.invite_revoked(user_id, actor, self.clock.now())?;
                Ok(Decision::of(change, session))
            })
            .await
    }
}

fn connected(session: &Session, user_id: &UserId) -> Result<Participant, Error> {
    session
        .participant(user_id)
        .cloned()
        .ok_or(Error::ParticipantNotFound)
}
