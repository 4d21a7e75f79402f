//! The real program in a process of its own, with no environment but the settings given; killed, with -9, when dropped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use video_session::proto::v1::video_session_service_client::VideoSessionServiceClient;

const SECRET: &str = "a-secret-of-the-tests";

pub(crate) type Client = VideoSessionServiceClient<InterceptedService<Channel, Secret>>;

/// Shows the internal secret with every call.
#[derive(Clone)]
pub(crate) struct Secret;

impl Interceptor for Secret {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let secret = AsciiMetadataValue::from_static(SECRET);
        request.metadata_mut().insert("x-internal-secret", secret);
        Ok(request)
    }
}

/// A running service.
pub(crate) struct Service {
    /// Where it serves gRPC.
    pub(crate) grpc: SocketAddr,
    /// The log line that says where it listens.
    pub(crate) listening: serde_json::Value,
    /// Its process.
    pub(crate) child: Child,
}

/// The program, with what every start needs.
pub(crate) fn program() -> Command {
    configure(Command::new(env!("CARGO_BIN_EXE_video-session")))
}

/// Gives a command the settings that every start needs, and nothing else.
pub(crate) fn configure(mut command: Command) -> Command {
    command
        .env_clear()
        .env("GRPC_ADDR", "127.0.0.1:0")
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .env("HTTP_ADDR", "127.0.0.1:0")
        .env("INTERNAL_SECRET", SECRET)
        .env("VIDEO_JWT_SECRET", "0123456789abcdef0123456789abcdef")
        .env("SFU_NODES", "sfu-1,sfu-2,sfu-3")
        .env("LOG_FORMAT", "json")
        // A .env of whoever runs the tests is none of their business.
        .current_dir(std::env::temp_dir());
    command
}

impl Service {
    /// Starts it and waits until it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, listening) = mpsc::channel();
        // Reads to the end, so that the service never waits for its own log.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(entry) = serde_json::from_str::<serde_json::Value>(&line) else {
                    continue;
                };
                if std::env::var_os("TEST_SHOW_LOG").is_some() {
                    println!("{line}");
                }
                if entry["message"] == "listening" {
                    let _ = sender.send(entry);
                }
            }
        });
        let listening = listening.recv().expect("the service says where it listens");
        let grpc = listening["grpc_addr"].as_str().expect("an address");
        Self {
            grpc: grpc.parse().expect("an address"),
            listening,
            child,
        }
    }

    /// A client on a connection of its own.
    pub(crate) async fn client(&self) -> Client {
        connect(self.grpc).await.expect("the service listens")
    }
}

/// A client on a connection of its own.
pub(crate) async fn connect(addr: SocketAddr) -> Result<Client, tonic::transport::Error> {
    let channel = Endpoint::from_shared(format!("http://{addr}"))?
        .connect()
        .await?;
    Ok(VideoSessionServiceClient::with_interceptor(channel, Secret))
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
