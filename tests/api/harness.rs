//! Starts the real binary and talks to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost_types::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::{ErrorDetails, StatusExt as _};
use video_session::api::error::{CallError, CallFault, ErrorDescription};
use video_session::domain::error::{Error, Reason};
use video_session::proto::v1;
use video_session::proto::v1::sfu_node_service_client::SfuNodeServiceClient;
use video_session::proto::v1::video_session_service_client::VideoSessionServiceClient;
use video_session::rpc::{SERVICE_NAME, code_of};

pub(crate) const SECRET: &str = "internal-secret-of-the-tests";
pub(crate) const JWT_SECRET: &str = "jwt-secret-of-the-tests-0123456789abcdef";
/// Far more than anything takes, also on a machine that does much else: what exceeds it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Client = VideoSessionServiceClient<InterceptedService<Channel, Secret>>;
pub(crate) type NodeClient = SfuNodeServiceClient<InterceptedService<Channel, Secret>>;

/// Shows a secret with every call.
#[derive(Clone)]
pub(crate) struct Secret(AsciiMetadataValue);

impl Secret {
    pub(crate) fn new(secret: &str) -> Self {
        Self(secret.parse().unwrap())
    }
}

impl Interceptor for Secret {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("x-internal-secret", self.0.clone());
        Ok(request)
    }
}

/// How the binary is to be run. Nothing of the tests' own environment reaches it.
#[derive(Clone)]
pub(crate) struct Setup {
    args: Vec<String>,
    env: BTreeMap<String, String>,
    dir: Arc<TempDir>,
}

impl Setup {
    /// Arguments only, in an empty directory.
    pub(crate) fn bare(args: &[&str]) -> Self {
        Self {
            args: args.iter().map(ToString::to_string).collect(),
            env: BTreeMap::new(),
            dir: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    /// What production needs, and no pause before it drains.
    pub(crate) fn new() -> Self {
        Self::bare(&[])
            .set("INTERNAL_SECRET", SECRET)
            .set("VIDEO_JWT_SECRET", JWT_SECRET)
            .set("GRPC_ADDR", "127.0.0.1:0")
            .set("ADMIN_ADDR", "127.0.0.1:0")
            .set("HTTP_ADDR", "127.0.0.1:0")
            .set("DRAIN_DELAY_SECS", "0")
    }

    pub(crate) fn set(mut self, setting: &str, value: impl ToString) -> Self {
        self.env.insert(setting.to_owned(), value.to_string());
        self
    }

    pub(crate) fn unset(mut self, setting: &str) -> Self {
        self.env.remove(setting);
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(ToString::to_string).collect();
        self
    }

    /// A file beside the process.
    pub(crate) fn file(self, name: &str, contents: &str) -> Self {
        std::fs::write(self.path(name), contents).unwrap();
        self
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn spawn(&self) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_video-session"))
            .args(&self.args)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = watch::Sender::new(Vec::new());
        let readers = [
            tokio::spawn(collect(child.stdout.take().unwrap(), lines.clone())),
            tokio::spawn(collect(child.stderr.take().unwrap(), lines.clone())),
        ];
        Process {
            child,
            lines,
            readers,
            _dir: Arc::clone(&self.dir),
        }
    }

    /// Runs a command that ends of itself: its exit code and what it printed.
    pub(crate) async fn run(&self) -> (Option<i32>, String) {
        let mut process = self.spawn();
        let status = process.exit().await;
        (status.code(), process.output())
    }

    /// Starts the service and waits until it listens.
    pub(crate) async fn listen(&self) -> Service {
        let process = self.spawn();
        let line = process.line(|line| line.contains("listening")).await;
        Service {
            grpc: address(&line, "grpc_addr").unwrap(),
            admin: address(&line, "admin_addr").unwrap(),
            http: address(&line, "http_addr").unwrap(),
            health: address(&line, "health_addr"),
            rest: address(&line, "rest_addr"),
            legacy: address(&line, "legacy_addr"),
            process,
        }
    }

    /// Starts the service and waits until it is ready.
    pub(crate) async fn start(&self) -> Service {
        let service = self.listen().await;
        service.line(|line| line.contains("ready: the store")).await;
        service
    }
}

/// The loopback address that follows a field's name in a log line, whatever the line's format.
fn address(line: &str, field: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(field)?;
    let text = &rest[rest.find("127.0.0.1:")?..];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
    text[..end.unwrap_or(text.len())].parse().ok()
}

async fn collect(stream: impl AsyncRead + Unpin, lines: watch::Sender<Vec<String>>) {
    let mut reader = BufReader::new(stream).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        lines.send_modify(|lines| lines.push(line));
    }
}

/// A running binary; killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: watch::Sender<Vec<String>>,
    readers: [tokio::task::JoinHandle<()>; 2],
    _dir: Arc<TempDir>,
}

impl Process {
    /// The first line, printed before or to come, that is `wanted`.
    pub(crate) async fn line(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut news = self.lines.subscribe();
        let found = |lines: &Vec<String>| lines.iter().find(|line| wanted(line)).cloned();
        let seen = patiently(news.wait_for(|lines| found(lines).is_some())).await;
        let line = seen.ok().and_then(|lines| found(&lines));
        line.unwrap_or_else(|| panic!("no such line in:\n{}", self.output()))
    }

    /// All that was printed so far.
    pub(crate) fn output(&self) -> String {
        self.lines.borrow().join("\n")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("running")
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.id().to_string();
        let kill = std::process::Command::new("kill")
            .args(["-s", name, &pid])
            .status();
        assert!(kill.unwrap().success());
    }

    /// Waits until it has ended and everything that it printed was read.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let status = patiently(self.child.wait()).await.unwrap();
        for reader in &mut self.readers {
            patiently(reader).await.unwrap();
        }
        status
    }

    /// What it printed until it ended or printed a line that is `enough`.
    pub(crate) async fn exit_or(&mut self, enough: impl Fn(&str) -> bool) -> String {
        let mut news = self.lines.subscribe();
        let said = news.wait_for(|lines| lines.iter().any(|line| enough(line)));
        tokio::select! {
            _ = patiently(said) => {}
            _ = self.exit() => {}
        }
        self.output()
    }

    pub(crate) async fn kill(mut self) {
        self.child.start_kill().unwrap();
        self.exit().await;
    }

    /// Asks it to stop, and sees to it that it does so in good order.
    pub(crate) async fn terminate(&mut self) -> String {
        self.signal("TERM");
        let status = self.exit().await;
        assert_eq!(status.code(), Some(0), "{}", self.output());
        self.output()
    }
}

/// A service that listens.
pub(crate) struct Service {
    pub(crate) process: Process,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) health: Option<SocketAddr>,
    pub(crate) rest: Option<SocketAddr>,
    pub(crate) legacy: Option<SocketAddr>,
}

impl std::ops::Deref for Service {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Service {
    pub(crate) fn channel(&self) -> Channel {
        channel(self.grpc)
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(SECRET)
    }

    pub(crate) fn client_with(&self, secret: &str) -> Client {
        VideoSessionServiceClient::with_interceptor(self.channel(), Secret::new(secret))
    }

    pub(crate) fn nodes(&self) -> NodeClient {
        SfuNodeServiceClient::with_interceptor(self.channel(), Secret::new(SECRET))
    }

    pub(crate) fn health_client(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel())
    }

    /// What the admin address answers at a path.
    pub(crate) async fn admin(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.admin);
        let answer = reqwest::get(url).await.unwrap();
        answer.error_for_status().unwrap().text().await.unwrap()
    }
}

pub(crate) fn channel(addr: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{addr}"))
        .unwrap()
        .timeout(PATIENCE)
        .connect_lazy()
}

/// Fails the test when something hangs.
pub(crate) async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("this should have happened by now")
}

pub(crate) async fn readiness(health: &mut HealthClient<Channel>) -> ServingStatus {
    let request = HealthCheckRequest {
        service: SERVICE_NAME.to_owned(),
    };
    health.check(request).await.unwrap().into_inner().status()
}

/// A published reason of an error: the domain's, or an edge's.
pub(crate) trait Published {
    fn example(self) -> CallError;
}

impl Published for Reason {
    fn example(self) -> CallError {
        CallError::Domain(Error::example(self))
    }
}

impl Published for CallFault {
    fn example(self) -> CallError {
        CallError::Fault(self)
    }
}

/// The details of an error, which must be `reason` with its documented code, in the API's domain.
pub(crate) fn refused<T>(outcome: Result<T, Status>, reason: impl Published) -> ErrorDetails {
    let example = reason.example();
    let class = example.class();
    let reason = ErrorDescription::from(example).reason;
    let Err(status) = outcome else {
        panic!("this should have been refused with {reason}");
    };
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.reason, reason, "{status:?}");
    assert_eq!(info.domain, "videosession.v1");
    assert_eq!(status.code(), code_of(class), "{status:?}");
    assert!(!status.message().is_empty());
    let retriable = matches!(
        status.code(),
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted
    );
    let worth_repeating = !matches!(reason, "MESSAGE_TOO_LARGE" | "VERSION_MISMATCH");
    assert_eq!(
        details.retry_info().is_some(),
        retriable && worth_repeating,
        "{status:?}"
    );
    assert_eq!(
        details.precondition_failure().is_some(),
        status.code() == Code::FailedPrecondition
    );
    assert_eq!(
        details.bad_request().is_some(),
        reason == "VALIDATION_FAILED"
    );
    details
}

/// An ErrorInfo's metadata.
pub(crate) fn metadata<'a>(details: &'a ErrorDetails, key: &str) -> &'a str {
    &details.error_info().unwrap().metadata[key]
}

/// The fields that a BadRequest names.
pub(crate) fn fields(details: &ErrorDetails) -> Vec<&str> {
    let violations = &details.bad_request().unwrap().field_violations;
    violations
        .iter()
        .map(|fault| fault.field.as_str())
        .collect()
}

pub(crate) fn create(appointment_id: &str) -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        appointment_id: appointment_id.to_owned(),
        doctor_id: "doctor-1".to_owned(),
        patient_id: "patient-1".to_owned(),
        ..Default::default()
    }
}

/// A new session.
pub(crate) async fn created(client: &mut Client, request: v1::CreateSessionRequest) -> v1::Session {
    let answer = client.create_session(request).await.unwrap().into_inner();
    assert!(answer.created);
    answer.session.unwrap()
}

pub(crate) fn join(session_id: &str, role: v1::Role) -> v1::JoinSessionRequest {
    let user_id = match role {
        v1::Role::Doctor => "doctor-1",
        v1::Role::Patient => "patient-1",
        v1::Role::Guest => "guest-1",
        v1::Role::Interpreter => "interpreter-1",
        v1::Role::Observer => "observer-1",
        v1::Role::Unspecified => "",
    };
    v1::JoinSessionRequest {
        session_id: session_id.to_owned(),
        role: role.into(),
        user_id: user_id.to_owned(),
        display_name: String::new(),
        with_sfu_ticket: false,
        locale: String::new(),
    }
}

pub(crate) async fn get(client: &mut Client, session_id: &str) -> Result<v1::Session, Status> {
    let key = v1::get_session_request::Key::SessionId(session_id.to_owned());
    let request = v1::GetSessionRequest { key: Some(key) };
    let answer = client.get_session(request).await?;
    Ok(answer.into_inner().session.unwrap())
}

pub(crate) async fn end(client: &mut Client, session_id: &str, reason: &str) -> v1::Session {
    let request = v1::EndSessionRequest {
        session_id: session_id.to_owned(),
        reason: reason.to_owned(),
    };
    let answer = client.end_session(request).await.unwrap();
    answer.into_inner().session.unwrap()
}

/// So many seconds from now, in the whole milliseconds that are stored.
pub(crate) fn in_secs(secs: i64) -> Timestamp {
    let now = Timestamp::from(SystemTime::now());
    Timestamp {
        seconds: now.seconds + secs,
        nanos: now.nanos / 1_000_000 * 1_000_000,
    }
}

/// One of a JWT's first two parts, unverified.
pub(crate) fn jwt_part(jwt: &str, part: usize) -> Value {
    let text = jwt.split('.').nth(part).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// An outside program, from .peers or the PATH.
pub(crate) fn tool(name: &str) -> std::path::PathBuf {
    let peers = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers");
    let path = std::env::var_os("PATH").unwrap_or_default();
    [peers.join("bin"), peers.join("venv/bin")]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not there; .ci/run installs it"))
}
