//! The yardstick: a tonic server without any layer that answers every GetSession with the same session. What it costs is
//! what the wire costs.

use std::any::{Any, TypeId};
use std::io::Read as _;
use std::pin::Pin;

use futures::Stream;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use video_session::proto::v1;
use video_session::proto::v1::video_session_service_server::VideoSessionServiceServer;

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
        media: v1::Media::Auto.into(),
        medium: v1::Medium::PeerToPeer.into(),
        region: String::new(),
        end_to_end_encrypted: false,
        empty_timeout: None,
        open_to_guests: false,
        doctor_name: String::new(),
        participants: Vec::new(),
    }
}

impl Echo {
    /// The session, if that is what a method answers with.
    fn answer<T: Any>(&self) -> Result<Response<T>, Status> {
        if TypeId::of::<T>() == TypeId::of::<v1::GetSessionResponse>() {
            let mut answer = Some(v1::GetSessionResponse {
                session: Some(self.session.clone()),
            });
            let answer: Option<&mut Option<T>> = (&mut answer as &mut dyn Any).downcast_mut();
            if let Some(answer) = answer.and_then(Option::take) {
                return Ok(Response::new(answer));
            }
        }
        Err(Status::unimplemented("the echo only knows GetSession"))
    }
}

/// Implements a service; see src/rpc/adapter.rs.
macro_rules! adapt {
    (
        $service:ident in $server:ident;
        unary { $($method:ident($request:ident) -> $response:ident;)* }
        streams { $($watch:ident($watch_request:ident) -> $stream:ident of $item:ident;)* }
    ) => {
        #[tonic::async_trait]
        impl v1::$server::$service for Echo {
            $(
                async fn $method(
                    &self,
                    _: Request<v1::$request>,
                ) -> Result<Response<v1::$response>, Status> {
                    self.answer()
                }
            )*
            $(
                type $stream = Pin<Box<dyn Stream<Item = Result<v1::$item, Status>> + Send>>;

                async fn $watch(
                    &self,
                    _: Request<v1::$watch_request>,
                ) -> Result<Response<Self::$stream>, Status> {
                    self.answer()
                }
            )*
        }
    };
}

// build.rs invokes the macro for every service of the proto, with all its methods.
include!(concat!(env!("OUT_DIR"), "/adapter.rs"));
