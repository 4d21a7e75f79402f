//! VideoSessionService: each method parses, asks the application once, and writes the answer.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use tonic::{Request, Response, Status};
use tracing::Span;

use super::status::status;
use super::{Config, page_token, wire};
use crate::app::{App, JoinGrant, SessionKey};
use crate::domain::access::Role;
use crate::domain::actor::Actor;
use crate::domain::id::SessionId;
use crate::proto::v1;
use crate::proto::v1::video_session_service_server::VideoSessionService;

/// A page ends early once it is this large: clients refuse messages over 4 MiB unless told otherwise, and one session can
/// have 50 kB of labels.
const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Who holds the internal secret acts as the backend.
const BACKEND: Actor = Actor::Backend;

pub(super) struct SessionService {
    app: Arc<App>,
    client_base_url: String,
    participants_max: u16,
}

impl SessionService {
    pub(super) fn new(app: Arc<App>, config: &Config) -> Self {
        Self {
            app,
            client_base_url: config.client_base_url.clone(),
            participants_max: config.participants_max,
        }
    }
}

impl SessionService {
    fn granted(&self, grant: JoinGrant, role: Role) -> v1::JoinSessionResponse {
        let sfu_url = self.app.nodes.url(&grant.session.place.node_id);
        wire::grant(grant, role, sfu_url, &self.client_base_url)
    }
}

/// Names the session in the call's span, and so in its log line. What is no session's id may be a user's, sent in its place.
fn record(session_id: &SessionId) {
    if session_id.is_well_formed() {
        Span::current().record("session_id", session_id.as_str());
    }
}

#[tonic::async_trait]
impl VideoSessionService for SessionService {
    async fn create_session(
        &self,
        request: Request<v1::CreateSessionRequest>,
    ) -> Result<Response<v1::CreateSessionResponse>, Status> {
        let request = wire::create(request.into_inner(), self.participants_max).map_err(status)?;
        let outcome = self
            .app
            .sessions
            .create(&BACKEND, request)
            .await
            .map_err(status)?;
        record(&outcome.session.session_id);
        Ok(Response::new(v1::CreateSessionResponse {
            session: Some(wire::session(outcome.session, &self.client_base_url)),
            created: outcome.created,
        }))
    }

    async fn join_session(
        &self,
        request: Request<v1::JoinSessionRequest>,
    ) -> Result<Response<v1::JoinSessionResponse>, Status> {
        let request = wire::join(request.into_inner()).map_err(status)?;
        record(&request.session_id);
        let grant = self
            .app
            .sessions
            .join(&BACKEND, &request)
            .await
            .map_err(status)?;
        Ok(Response::new(self.granted(grant, request.role)))
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        let key = wire::get(request.into_inner()).map_err(status)?;
        if let SessionKey::Session(session_id) = &key {
            record(session_id);
        }
        let session = self
            .app
            .sessions
            .get(&BACKEND, &key)
            .await
            .map_err(status)?;
        if let SessionKey::Appointment(_) = key {
            record(&session.session_id);
        }
        Ok(Response::new(v1::GetSessionResponse {
            session: Some(wire::session(session, &self.client_base_url)),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let request = request.into_inner();
        let mut query = wire::list(&request).map_err(status)?;
        let page_size = query.limit;
        // One more than asked for tells whether there is another page.
        query.limit += 1;
        let mut found = self
            .app
            .sessions
            .list(&BACKEND, &query)
            .await
            .map_err(status)?;
        let mut more = found.len() > page_size;
        found.truncate(page_size);
        let mut page = v1::ListSessionsResponse::default();
        let mut last = None;
        let mut room_bytes = PAGE_BYTES_MAX;
        for row in found {
            if room_bytes == 0 {
                more = true;
                break;
            }
            let session_id = match row {
                Ok(session) => {
                    let session = wire::session(session, &self.client_base_url);
                    room_bytes = room_bytes.saturating_sub(session.encoded_len());
                    let session_id = session.session_id.clone();
                    page.sessions.push(session);
                    session_id
                }
                Err(unreadable) => {
                    page.unreadable_session_ids.push(unreadable.to_string());
                    unreadable.to_string()
                }
            };
            last = Some(session_id);
        }
        page.next_page_token = last
            .filter(|_| more)
            .map(|last| page_token::mint(&request, &last))
            .unwrap_or_default();
        Ok(Response::new(page))
    }

    async fn update_session(
        &self,
        request: Request<v1::UpdateSessionRequest>,
    ) -> Result<Response<v1::UpdateSessionResponse>, Status> {
        let wire::Update {
            session_id,
            update,
            expected_version,
        } = wire::update(request.into_inner()).map_err(status)?;
        record(&session_id);
        let session = self
            .app
            .sessions
            .update(&BACKEND, &session_id, &update, expected_version)
            .await
            .map_err(status)?;
        Ok(Response::new(v1::UpdateSessionResponse {
            session: Some(wire::session(session, &self.client_base_url)),
        }))
    }

    async fn end_session(
        &self,
        request: Request<v1::EndSessionRequest>,
    ) -> Result<Response<v1::EndSessionResponse>, Status> {
        let (session_id, reason) = wire::end(request.into_inner()).map_err(status)?;
        record(&session_id);
        let session = self
            .app
            .sessions
            .end(&BACKEND, &session_id, Some(&reason))
            .await
            .map_err(status)?;
        Ok(Response::new(v1::EndSessionResponse {
            session: Some(wire::session(session, &self.client_base_url)),
        }))
    }

    async fn list_session_events(
        &self,
        request: Request<v1::ListSessionEventsRequest>,
    ) -> Result<Response<v1::ListSessionEventsResponse>, Status> {
        let wire::EventsQuery {
            session_id,
            after,
            limit,
        } = wire::list_events(request.into_inner()).map_err(status)?;
        record(&session_id);
        let events = self
            .app
            .events
            .list(&BACKEND, &session_id, after, limit)
            .await
            .map_err(status)?;
        Ok(Response::new(v1::ListSessionEventsResponse {
            next_sequence: events.last().map_or(after, |event| event.sequence),
            events: events.into_iter().map(wire::event).collect(),
        }))
    }

    type WatchSessionStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchSessionResponse, Status>> + Send>>;

    async fn watch_session(
        &self,
        request: Request<v1::WatchSessionRequest>,
    ) -> Result<Response<Self::WatchSessionStream>, Status> {
        let (session_id, after) = wire::watch(request.into_inner()).map_err(status)?;
        record(&session_id);
        let events = self
            .app
            .events
            .watch(&BACKEND, session_id, after)
            .await
            .map_err(status)?;
        let answers = events.map(|event| match event {
            Ok(event) => Ok(v1::WatchSessionResponse {
                event: Some(wire::event(event)),
            }),
            Err(error) => Err(status(error)),
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn list_participants(
        &self,
        request: Request<v1::ListParticipantsRequest>,
    ) -> Result<Response<v1::ListParticipantsResponse>, Status> {
        let session_id = wire::list_participants(request.into_inner()).map_err(status)?;
        record(&session_id);
        let key = SessionKey::Session(session_id);
        let session = self
            .app
            .sessions
            .get(&BACKEND, &key)
            .await
            .map_err(status)?;
        Ok(Response::new(v1::ListParticipantsResponse {
            invites: session
                .standing_invites()
                .cloned()
                .map(wire::invite)
                .collect(),
            participants: session
                .participants
                .into_iter()
                .map(wire::participant)
                .collect(),
        }))
    }

    async fn admit_participant(
        &self,
        request: Request<v1::AdmitParticipantRequest>,
    ) -> Result<Response<v1::AdmitParticipantResponse>, Status> {
        let v1::AdmitParticipantRequest {
            session_id,
            user_id,
        } = request.into_inner();
        let member = wire::member(session_id, user_id).map_err(status)?;
        record(&member.session_id);
        let participant = self
            .app
            .participants
            .admit(&BACKEND, &member.session_id, &member.user_id)
            .await
            .map_err(status)?;
        Ok(Response::new(v1::AdmitParticipantResponse {
            participant: Some(wire::participant(participant)),
        }))
    }

    async fn remove_participant(
        &self,
        request: Request<v1::RemoveParticipantRequest>,
    ) -> Result<Response<v1::RemoveParticipantResponse>, Status> {
        let v1::RemoveParticipantRequest {
            session_id,
            user_id,
            keep_out,
        } = request.into_inner();
        let member = wire::member(session_id, user_id).map_err(status)?;
        record(&member.session_id);
        let session = self
            .app
            .participants
            .remove(&BACKEND, &member.session_id, &member.user_id, keep_out)
            .await
            .map_err(status)?;
        Ok(Response::new(v1::RemoveParticipantResponse {
            session: Some(wire::session(session, &self.client_base_url)),
        }))
    }

    async fn mute_participant(
        &self,
        request: Request<v1::MuteParticipantRequest>,
    ) -> Result<Response<v1::MuteParticipantResponse>, Status> {
        let v1::MuteParticipantRequest {
            session_id,
            user_id,
        } = request.into_inner();
        let member = wire::member(session_id, user_id).map_err(status)?;
        record(&member.session_id);
        let participant = self
            .app
            .participants
            .mute(&BACKEND, &member.session_id, &member.user_id)
            .await
            .map_err(status)?;
        Ok(Response::new(v1::MuteParticipantResponse {
            participant: Some(wire::participant(participant)),
        }))
    }

    async fn invite_participant(
        &self,
        request: Request<v1::InviteParticipantRequest>,
    ) -> Result<Response<v1::InviteParticipantResponse>, Status> {
        let (session_id, invite) = wire::invite_request(request.into_inner()).map_err(status)?;
        record(&session_id);
        let grant = self
            .app
            .participants
            .invite(&BACKEND, &session_id, &invite)
            .await
            .map_err(status)?;
        let role = invite.role;
        Ok(Response::new(v1::InviteParticipantResponse {
            invite: Some(wire::invite(invite)),
            join: Some(self.granted(grant, role)),
        }))
    }

    async fn revoke_invite(
        &self,
        request: Request<v1::RevokeInviteRequest>,
    ) -> Result<Response<v1::RevokeInviteResponse>, Status> {
        let v1::RevokeInviteRequest {
            session_id,
            user_id,
        } = request.into_inner();
        let member = wire::member(session_id, user_id).map_err(status)?;
        record(&member.session_id);
        let session = self
            .app
            .participants
            .revoke_invite(&BACKEND, &member.session_id, &member.user_id)
            .await
            .map_err(status)?;
        Ok(Response::new(v1::RevokeInviteResponse {
            session: Some(wire::session(session, &self.client_base_url)),
        }))
    }
}
