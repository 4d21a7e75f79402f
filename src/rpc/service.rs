//! VideoSessionService: each method parses, asks the application once, and writes the answer.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use tonic::{Request, Response, Status};
use tracing::Span;

use super::status::status;
use super::{Config, page_token, wire};
use crate::app::{App, SessionKey};
use crate::domain::id::SessionId;
use crate::proto::v1;
use crate::proto::v1::video_session_service_server::VideoSessionService;

/// A page ends early once it is this large: clients refuse messages over 4 MiB unless told otherwise, and one session can
/// have 50 kB of labels.
const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024;

pub(super) struct SessionService {
    app: Arc<App>,
    client_base_url: String,
}

impl SessionService {
    pub(super) fn new(app: Arc<App>, config: &Config) -> Self {
        Self {
            app,
            client_base_url: config.client_base_url.clone(),
        }
    }
}

/// Names the session in the call's span.
fn record(session_id: &SessionId) {
    Span::current().record("session_id", session_id.as_str());
}

#[tonic::async_trait]
impl VideoSessionService for SessionService {
    async fn create_session(
        &self,
        request: Request<v1::CreateSessionRequest>,
    ) -> Result<Response<v1::CreateSessionResponse>, Status> {
        let request = wire::create(request.into_inner()).map_err(status)?;
        let outcome = self.app.create_session(request).await.map_err(status)?;
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
        let grant = self.app.join_session(&request).await.map_err(status)?;
        let sfu_url = self.app.rotation().url(&grant.session.sfu_node_id);
        let answer = wire::grant(grant, request.role, sfu_url, &self.client_base_url);
        Ok(Response::new(answer))
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        let key = wire::get(request.into_inner()).map_err(status)?;
        if let SessionKey::Session(session_id) = &key {
            record(session_id);
        }
        let session = self.app.get_session(&key).await.map_err(status)?;
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
        let sessions = self.app.list_sessions(&query).await.map_err(status)?;
        let found = sessions.len();
        let mut room_bytes = PAGE_BYTES_MAX;
        let page: Vec<_> = sessions
            .into_iter()
            .take(page_size)
            .map(|session| wire::session(session, &self.client_base_url))
            .take_while(|session| {
                let fits = room_bytes > 0;
                room_bytes = room_bytes.saturating_sub(session.encoded_len());
                fits
            })
            .collect();
        let next_page_token = page
            .last()
            .filter(|_| found > page.len())
            .map(|last| page_token::mint(&request, &last.session_id))
            .unwrap_or_default();
        Ok(Response::new(v1::ListSessionsResponse {
            sessions: page,
            next_page_token,
        }))
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
            .update_session(&session_id, &update, expected_version)
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
            .end_session(&session_id, &reason)
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
            .list_events(&session_id, after, limit)
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
        let events = Arc::clone(&self.app)
            .watch_session(session_id, after)
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
}
