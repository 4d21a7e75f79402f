//! Participant operations of the backend and the host. They do not notify pages: every page, on any instance, follows the
//! session's events.

use std::sync::Arc;

use super::changes::{Changes, Decision};
use super::clock::Clock;
use super::joins::{IssuedJoin, JoinRequest, Joins};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::locale::Locale;
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
        connected_participant(&session, user_id)
    }

    /// Removes a participant and revokes their credentials.
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
        connected_participant(&session, user_id)
    }

    /// Invites a user, again if need be, and issues their link.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; those of [`Session::invite_user`] and of [`Session::join_deadline`]; [`Error::StoreUnavailable`]
    pub async fn invite(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        invite: &Invite,
        locale: Option<Locale>,
    ) -> Result<IssuedJoin, Error> {
        let request = JoinRequest {
            session_id: session_id.clone(),
            role: invite.role,
            user_id: invite.user_id.clone(),
            display_name: invite.display_name.clone(),
            // Until the join window opens, its page shows the opening time.
            before_window: true,
            locale,
            with_node_ticket: false,
        };
        let issued = self
            .changes
            .change(session_id, |session| {
                // One write, so that no invitation exists without its link.
                let now = self.clock.now();
                let invited = session.invite_user(invite.clone(), actor, now)?;
                let session = invited.as_ref().map_or(session, |change| &change.session);
                let valid_from = self.joins.valid_from(&request, session);
                if invite
                    .expire_time
                    .is_some_and(|expires| expires <= valid_from)
                {
                    return Err(Error::field(
                        "expire_time",
                        "must be after the join window opens",
                    ));
                }
                Ok(
                    match self
                        .joins
                        .decide_join(&request, session, actor, valid_from)?
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
        self.metrics.count_token(invite.role.name());
        Ok(issued)
    }

    /// Revokes an invitation and removes its participant.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::SessionEnded`]; [`Error::ParticipantNotFound`] if there is no such
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

fn connected_participant(session: &Session, user_id: &UserId) -> Result<Participant, Error> {
    session
        .participant(user_id)
        .cloned()
        .ok_or(Error::ParticipantNotFound)
}
