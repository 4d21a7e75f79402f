//! VideoSessionService without its transport. Each method parses the request, calls the application once, and writes the
//! answer.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use tracing::Span;

use super::requests::{EventsQuery, ParsedUpdate, ParticipantKey};
use super::{Config, answers, events, requests, session_page};
use crate::app::{App, IssuedJoin, SessionKey};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::id::SessionId;
use crate::domain::role::Role;
use crate::domain::session::Session;
use crate::proto::v1;

/// The caller: every edge has checked the internal secret.
pub(super) const BACKEND: Actor = Actor::Backend;

/// The answers of WatchSession. The stream ends with an error, or when the caller drops it.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<v1::WatchSessionResponse, Error>> + Send>>;

/// The methods of the API. They take and return the messages of the proto; docs/errors.md lists their errors.
#[derive(Clone)]
pub struct Api {
    pub(super) app: Arc<App>,
    config: Config,
}

impl Api {
    /// Answers from `app`.
    pub fn new(app: Arc<App>, config: Config) -> Self {
        Self { app, config }
    }

    pub(super) fn session(&self, session: Session) -> Option<v1::Session> {
        Some(answers::session(session, &self.config.links))
    }

    fn join_response(&self, issued: IssuedJoin, role: Role) -> v1::JoinSessionResponse {
        let url = self.app.nodes.url(&issued.session.place.node_id).to_owned();
        answers::join_response(issued, role, url, &self.config.links)
    }
}

/// Adds the session to the call's span and log line. A malformed id is left out, because it may be a user id sent by mistake.
pub(super) fn record_session_id(session_id: &SessionId) {
    if session_id.is_well_formed() {
        Span::current().record("session_id", session_id.as_str());
    }
}

#[expect(
    missing_docs,
    clippy::missing_errors_doc,
    reason = "the methods are documented in the proto"
)]
impl Api {
    pub async fn create_session(
        &self,
        request: v1::CreateSessionRequest,
    ) -> Result<v1::CreateSessionResponse, Error> {
        let request = requests::parse_create(request, self.config.participants_max)?;
        let outcome = self.app.sessions.create(&BACKEND, request).await?;
        record_session_id(&outcome.session.session_id);
        Ok(v1::CreateSessionResponse {
            session: self.session(outcome.session),
            created: outcome.created,
        })
    }

    pub async fn join_session(
        &self,
        request: v1::JoinSessionRequest,
    ) -> Result<v1::JoinSessionResponse, Error> {
        let request = requests::parse_join(request)?;
        record_session_id(&request.session_id);
        let issued = self.app.sessions.join(&BACKEND, &request).await?;
        Ok(self.join_response(issued, request.role))
    }

    pub async fn get_session(
        &self,
        request: v1::GetSessionRequest,
    ) -> Result<v1::GetSessionResponse, Error> {
        let key = requests::parse_get(request)?;
        if let SessionKey::Session(session_id) = &key {
            record_session_id(session_id);
        }
        let session = self.app.sessions.get(&BACKEND, &key).await?;
        if let SessionKey::Appointment(_) = key {
            record_session_id(&session.session_id);
        }
        Ok(v1::GetSessionResponse {
            session: self.session(session),
        })
    }

    pub async fn list_sessions(
        &self,
        request: v1::ListSessionsRequest,
    ) -> Result<v1::ListSessionsResponse, Error> {
        let mut query = requests::parse_list(&request)?;
        let page_size = query.limit;
        // One more than requested shows whether there is another page.
        query.limit += 1;
        let found = self.app.sessions.list(&BACKEND, &query).await?;
        Ok(session_page::fill_page(
            &request,
            page_size,
            found,
            &self.config.links,
        ))
    }

    pub async fn update_session(
        &self,
        request: v1::UpdateSessionRequest,
    ) -> Result<v1::UpdateSessionResponse, Error> {
        let ParsedUpdate {
            session_id,
            update,
            expected_version,
        } = requests::parse_update(request)?;
        record_session_id(&session_id);
        let session = self
            .app
            .sessions
            .update(&BACKEND, &session_id, &update, expected_version)
            .await?;
        Ok(v1::UpdateSessionResponse {
            session: self.session(session),
        })
    }

    pub async fn end_session(
        &self,
        request: v1::EndSessionRequest,
    ) -> Result<v1::EndSessionResponse, Error> {
        let (session_id, reason) = requests::parse_end(request)?;
        record_session_id(&session_id);
        let session = self
            .app
            .sessions
            .end(&BACKEND, &session_id, Some(&reason))
            .await?;
        Ok(v1::EndSessionResponse {
            session: self.session(session),
        })
    }

    pub async fn list_session_events(
        &self,
        request: v1::ListSessionEventsRequest,
    ) -> Result<v1::ListSessionEventsResponse, Error> {
        let EventsQuery {
            session_id,
            after,
            limit,
        } = requests::parse_list_events(request)?;
        record_session_id(&session_id);
        let events = self
            .app
            .events
            .list(&BACKEND, &session_id, after, limit)
            .await?;
        Ok(v1::ListSessionEventsResponse {
            next_sequence: events.last().map_or(after, |event| event.sequence),
            events: events.into_iter().map(events::event).collect(),
        })
    }

    pub async fn watch_session(
        &self,
        request: v1::WatchSessionRequest,
    ) -> Result<EventStream, Error> {
        let (session_id, after) = requests::parse_watch(request)?;
        record_session_id(&session_id);
        let events = self.app.events.watch(&BACKEND, session_id, after).await?;
        let answers = events.map(|event| {
            event.map(|event| v1::WatchSessionResponse {
                event: Some(events::event(event)),
            })
        });
        Ok(answers.boxed())
    }

    pub async fn list_participants(
        &self,
        request: v1::ListParticipantsRequest,
    ) -> Result<v1::ListParticipantsResponse, Error> {
        let session_id = requests::parse_list_participants(request)?;
        record_session_id(&session_id);
        let key = SessionKey::Session(session_id);
        let session = self.app.sessions.get(&BACKEND, &key).await?;
        Ok(v1::ListParticipantsResponse {
            invites: session
                .active_invites()
                .cloned()
                .map(answers::invite)
                .collect(),
            participants: session
                .participants
                .into_iter()
                .map(answers::participant)
                .collect(),
        })
    }

    pub async fn admit_participant(
        &self,
        request: v1::AdmitParticipantRequest,
    ) -> Result<v1::AdmitParticipantResponse, Error> {
        let v1::AdmitParticipantRequest {
            session_id,
            user_id,
        } = request;
        let ParticipantKey {
            session_id,
            user_id,
        } = requests::parse_participant_key(session_id, user_id)?;
        record_session_id(&session_id);
        let participant = self
            .app
            .participants
            .admit(&BACKEND, &session_id, &user_id)
            .await?;
        Ok(v1::AdmitParticipantResponse {
            participant: Some(answers::participant(participant)),
        })
    }

    pub async fn remove_participant(
        &self,
        request: v1::RemoveParticipantRequest,
    ) -> Result<v1::RemoveParticipantResponse, Error> {
        let v1::RemoveParticipantRequest {
            session_id,
            user_id,
            keep_out,
        } = request;
        let ParticipantKey {
            session_id,
            user_id,
        } = requests::parse_participant_key(session_id, user_id)?;
        record_session_id(&session_id);
        let session = self
            .app
            .participants
            .remove(&BACKEND, &session_id, &user_id, keep_out)
            .await?;
        Ok(v1::RemoveParticipantResponse {
            session: self.session(session),
        })
    }

    pub async fn mute_participant(
        &self,
        request: v1::MuteParticipantRequest,
    ) -> Result<v1::MuteParticipantResponse, Error> {
        let v1::MuteParticipantRequest {
            session_id,
            user_id,
        } = request;
        let ParticipantKey {
            session_id,
            user_id,
        } = requests::parse_participant_key(session_id, user_id)?;
        record_session_id(&session_id);
        let participant = self
            .app
            .participants
            .mute(&BACKEND, &session_id, &user_id)
            .await?;
        Ok(v1::MuteParticipantResponse {
            participant: Some(answers::participant(participant)),
        })
    }

    pub async fn invite_participant(
        &self,
        request: v1::InviteParticipantRequest,
    ) -> Result<v1::InviteParticipantResponse, Error> {
        let (session_id, invite, locale) = requests::parse_invite(request)?;
        record_session_id(&session_id);
        let issued = self
            .app
            .participants
            .invite(&BACKEND, &session_id, &invite, locale)
            .await?;
        let role = invite.role;
        Ok(v1::InviteParticipantResponse {
            invite: Some(answers::invite(invite)),
            join: Some(self.join_response(issued, role)),
        })
    }

    pub async fn revoke_invite(
        &self,
        request: v1::RevokeInviteRequest,
    ) -> Result<v1::RevokeInviteResponse, Error> {
        let v1::RevokeInviteRequest {
            session_id,
            user_id,
        } = request;
        let ParticipantKey {
            session_id,
            user_id,
        } = requests::parse_participant_key(session_id, user_id)?;
        record_session_id(&session_id);
        let session = self
            .app
            .participants
            .revoke_invite(&BACKEND, &session_id, &user_id)
            .await?;
        Ok(v1::RevokeInviteResponse {
            session: self.session(session),
        })
    }

    pub async fn create_doctor_link(
        &self,
        request: v1::CreateDoctorLinkRequest,
    ) -> Result<v1::CreateDoctorLinkResponse, Error> {
        let ttl_secs_max = self.config.doctor_link_ttl_secs_max;
        let request = requests::parse_doctor_link(request, ttl_secs_max)?;
        let issued = self.app.doctors.create_link(&BACKEND, &request)?;
        Ok(answers::doctor_link(issued, &self.config.links))
    }
}
