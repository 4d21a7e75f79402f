//! The yardstick: a tonic server without any layer that answers every GetSession with the same session. What it costs is
//! what the wire costs.

use std::io::Read as _;
use std::pin::Pin;

use futures::Stream;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use video_session::proto::v1;
use video_session::proto::v1::video_session_service_server::{
    VideoSessionService, VideoSessionServiceServer,
};

use crate::Outcome;

/// Serves until standard input ends, so that a benchmark that dies leaves no echo behind.
pub(crate) async fn serve() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let echo = VideoSessionServiceServer::new(Echo { session: session() });
    // With a listener of one's own the builder's tcp_nodelay has no effect, and each answer would wait 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .add_service(echo)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

struct Echo {
    session: v1::Session,
}

/// As large as the sessions that the service answers with.
fn session() -> v1::Session {
    let time = |seconds| {
        Some(prost_types::Timestamp {
            seconds,
            nanos: 123_000_000,
        })
    };
    let session_id = "sess_019a0b1c2d3e7f0081a2b3c4d5e6f708";
    v1::Session {
        session_id: session_id.into(),
        appointment_id: "appt-3f2c1b0a9d8e7f6a5b4c3d2e1f0a9b8c".into(),
        doctor_id: "doctor-1234".into(),
        patient_id: "patient-123456".into(),
        room_name: format!("room_{session_id}"),
        sfu_node_id: "sfu-1".into(),
        base_url: format!("{}/join/{session_id}", crate::process::CLIENT_BASE_URL),
        state: v1::SessionState::Created.into(),
        create_time: time(1_790_000_000),
        update_time: time(1_790_000_000),
        end_time: None,
        scheduled_start_time: time(1_790_000_000),
        scheduled_end_time: time(1_790_001_800),
        end_reason: String::new(),
        end_cause: 0,
        labels: crate::calls::labels(),
        version: 1,
        admission: v1::Admission::WhenHostPresent.into(),
        max_participants: 8,
        participants: Vec::new(),
    }
}

/// Of every other method.
fn not_an_echo() -> Status {
    Status::unimplemented("the echo only knows GetSession")
}

#[tonic::async_trait]
impl VideoSessionService for Echo {
    async fn get_session(
        &self,
        _: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        Ok(Response::new(v1::GetSessionResponse {
            session: Some(self.session.clone()),
        }))
    }

    async fn create_session(
        &self,
        _: Request<v1::CreateSessionRequest>,
    ) -> Result<Response<v1::CreateSessionResponse>, Status> {
        Err(not_an_echo())
    }

    async fn join_session(
        &self,
        _: Request<v1::JoinSessionRequest>,
    ) -> Result<Response<v1::JoinSessionResponse>, Status> {
        Err(not_an_echo())
    }

    async fn list_sessions(
        &self,
        _: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        Err(not_an_echo())
    }

    async fn update_session(
        &self,
        _: Request<v1::UpdateSessionRequest>,
    ) -> Result<Response<v1::UpdateSessionResponse>, Status> {
        Err(not_an_echo())
    }

    async fn end_session(
        &self,
        _: Request<v1::EndSessionRequest>,
    ) -> Result<Response<v1::EndSessionResponse>, Status> {
        Err(not_an_echo())
    }

    async fn list_session_events(
        &self,
        _: Request<v1::ListSessionEventsRequest>,
    ) -> Result<Response<v1::ListSessionEventsResponse>, Status> {
        Err(not_an_echo())
    }

    async fn list_participants(
        &self,
        _: Request<v1::ListParticipantsRequest>,
    ) -> Result<Response<v1::ListParticipantsResponse>, Status> {
        Err(not_an_echo())
    }

    async fn admit_participant(
        &self,
        _: Request<v1::AdmitParticipantRequest>,
    ) -> Result<Response<v1::AdmitParticipantResponse>, Status> {
        Err(not_an_echo())
    }

    async fn remove_participant(
        &self,
        _: Request<v1::RemoveParticipantRequest>,
    ) -> Result<Response<v1::RemoveParticipantResponse>, Status> {
        Err(not_an_echo())
    }

    async fn mute_participant(
        &self,
        _: Request<v1::MuteParticipantRequest>,
    ) -> Result<Response<v1::MuteParticipantResponse>, Status> {
        Err(not_an_echo())
    }

    async fn invite_participant(
        &self,
        _: Request<v1::InviteParticipantRequest>,
    ) -> Result<Response<v1::InviteParticipantResponse>, Status> {
        Err(not_an_echo())
    }

    async fn revoke_invite(
        &self,
        _: Request<v1::RevokeInviteRequest>,
    ) -> Result<Response<v1::RevokeInviteResponse>, Status> {
        Err(not_an_echo())
    }

    type WatchSessionStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchSessionResponse, Status>> + Send>>;

    async fn watch_session(
        &self,
        _: Request<v1::WatchSessionRequest>,
    ) -> Result<Response<Self::WatchSessionStream>, Status> {
        Err(not_an_echo())
    }
}
