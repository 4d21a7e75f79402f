//! The people of a session, as the backend and the host deal with them.
//!
//! Nobody's page is told of anything here: what is committed reaches every page, on whichever instance, through the
//! session's events.

use std::sync::Arc;

use super::changes::{Changes, Decision};
use super::clock::Clock;
use super::joins::{IssuedJoin, JoinRequest, Joins};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::participant::{Invite, Participant};
use crate::domain::session::Session;
use crate::telemetry::metrics::Metrics;

/// Admits, removes, mutes and invites participants.
pub struct Participants {
    pub(super) changes: Arc<Changes>,
    pub(super) joins: Arc<Joins>,
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
                let change = session.admit_participant(user_id, actor, self.clock.now())?;
                Ok(Decision::commit_or_keep(change, session))
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
                let change =
                    session.remove_participant(user_id, actor, keep_out, self.clock.now())?;
                Ok(Decision::commit_or_keep(change, session))
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
                let change = session.request_mute(user_id, actor, self.clock.now())?;
                Ok(Decision::commit_or_keep(Some(change), session))
            })
            .await?;
        connected(&session, user_id)
    }

    /// Invites somebody, or somebody again, and issues their link.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; those of [`Session::invite_user`] and of [`Session::join_deadline`]; [`Error::StoreUnavailable`]
    pub async fn invite(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        invite: &Invite,
    ) -> Result<IssuedJoin, Error> {
        let request = JoinRequest {
            session_id: session_id.clone(),
            role: invite.role,
            user_id: invite.user_id.clone(),
            display_name: invite.display_name.clone(),
        };
        let issued = self
            .joins
            .change_with_ticket(&request, |session, ticket| {
                // One write: an invitation without its link would be of no use to anybody.
                let now = self.clock.now();
                let invited = session.invite_user(invite.clone(), actor, now)?;
                let session = invited.as_ref().map_or(session, |change| &change.session);
                // Links are handed out ahead of time; until the door opens, theirs says when that is.
                let opens = self.joins.window.opens_at(&session.schedule);
                let good_from = opens.map_or(now, |opens| opens.max(now));
                if invite
                    .expire_time
                    .is_some_and(|expires| expires <= good_from)
                {
                    return Err(Error::field("expire_time", "must lie after the door opens"));
                }
                Ok(
                    match self
                        .joins
                        .decide_join(&request, session, ticket, actor, good_from)?
                    {
                        Decision::Commit(joined, issued) => {
                            let change = match invited.clone() {
                                Some(invited) => invited.then(*joined),
                                None => *joined,
                            };
                            Decision::Commit(Box::new(change), issued)
                        }
                        Decision::Keep(issued) => Decision::Keep(issued),
                    },
                )
            })
            .await?;
        self.metrics.token_issued(invite.role.name());
        Ok(issued)
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
                let change = session.revoke_invite(user_id, actor, self.clock.now())?;
                Ok(Decision::commit_or_keep(change, session))
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
