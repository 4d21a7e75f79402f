//! The servers under load, each a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures::future::try_join_all;
use reqwest::header::{LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use tonic::Request;
use tonic::metadata::MetadataValue;
use video_session::proto::v1;
use video_session::proto::v1::video_session_service_client::VideoSessionServiceClient;

use crate::page::Page;
use crate::{AT_ONCE, Outcome};

const SECRET: &str = "sockets-4f1c2a9be07d4d6c8a51";

/// What opens a participant's socket.
pub(crate) struct Link {
    path: String,
    cookie: String,
}

/// A child that ends with its owner.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: String,
    pub(crate) http_addr: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(crate) fn start_echo() -> Outcome<Self> {
        Self::start_own(&["echo"])
    }

    pub(crate) fn start_bridge(redis: &str) -> Outcome<Self> {
        Self::start_own(&["bridge", redis])
    }

    fn start_own(arguments: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.as_mut().ok_or("no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().trim_start_matches("listening ").to_owned();
        Ok(Self {
            child,
            http_addr: addr.clone(),
            addr,
        })
    }

    /// Starts the service, at the address of the one before it if it takes that one's place.
    pub(crate) async fn start_service(data_dir: &Path, http_addr: Option<&str>) -> Outcome<Self> {
        Self::start_with(data_dir, http_addr, &[]).await
    }

    /// The same with further settings.
    pub(crate) async fn start_with(
        data_dir: &Path,
        http_addr: Option<&str>,
        settings: &[(&str, String)],
    ) -> Outcome<Self> {
        let own = std::env::current_exe()?;
        let binary = own
            .ancestors()
            .nth(2)
            .ok_or("no place")?
            .join("video-session");
        let log = data_dir.join("log");
        let mut child = Command::new(binary)
            .current_dir("/")
            .env("GRPC_ADDR", "127.0.0.1:0")
            .env("ADMIN_ADDR", "127.0.0.1:0")
            .env("HTTP_ADDR", http_addr.unwrap_or("127.0.0.1:0"))
            .env("INTERNAL_SECRET", SECRET)
            .env(
                "VIDEO_JWT_SECRET",
                "sockets-9d0b7c62f1a84b3e95c8d7e6f5a4b3c2",
            )
            .env("CLIENT_BASE_URL", "http://127.0.0.1")
            .env("DATA_DIR", data_dir)
            .env("LOG_FORMAT", "json")
            // One address stands for thousands of participants here.
            .env("HTTP_REQUESTS_PER_MINUTE", "1000000")
            .env("HTTP_CONNECTIONS_PER_ADDRESS", "1000000")
            .env("WS_MESSAGES_PER_SECOND", "10000")
            .env("WS_MESSAGES_BURST", "100000")
            // These pages read nothing, and so answer no ping, while thousands of others connect.
            .env("WS_PING_SECS", "60")
            .env("WS_SILENCE_SECS", "300")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdout(std::fs::File::create(&log)?)
            .spawn()?;
        let address = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
            rest.split_once('"').map(|(address, _)| address.to_owned())
        };
        loop {
            let text = std::fs::read_to_string(&log)?;
            let found = address(&text, "grpc_addr").zip(address(&text, "http_addr"));
            if let Some((addr, http_addr)) = found.filter(|_| text.contains("ready: ")) {
                return Ok(Self {
                    child,
                    addr,
                    http_addr,
                });
            }
            if child.try_wait()?.is_some() {
                return Err(format!("the service ended: {text}").into());
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn resident_kb(&self) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.ok_or("no VmRSS")?.parse()?)
    }

    /// Sessions with their doctors' and patients' cookies, one after the other.
    pub(crate) async fn create_sessions(&self, count: usize) -> Outcome<Vec<Link>> {
        let client = VideoSessionServiceClient::connect(format!("http://{}", self.addr)).await?;
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .build()?;
        let mut links = Vec::with_capacity(2 * count);
        let numbers: Vec<usize> = (0..count).collect();
        for some in numbers.chunks(AT_ONCE) {
            let pairs = some
                .iter()
                .map(|n| self.create_session(client.clone(), &http, *n));
            links.extend(try_join_all(pairs).await?.into_iter().flatten());
        }
        Ok(links)
    }

    async fn create_session(
        &self,
        mut client: VideoSessionServiceClient<tonic::transport::Channel>,
        http: &reqwest::Client,
        n: usize,
    ) -> Outcome<[Link; 2]> {
        let (doctor, patient) = (format!("doctor-{n}"), format!("patient-{n}"));
        let create = v1::CreateSessionRequest {
            appointment_id: format!("appointment-{n}"),
            doctor_id: doctor.clone(),
            patient_id: patient.clone(),
            admission: v1::Admission::Open.into(),
            ..Default::default()
        };
        let created = client
            .create_session(with_secret(create))
            .await?
            .into_inner();
        let session_id = created.session.ok_or("no session")?.session_id;
        let mut links = Vec::new();
        for (role, user_id) in [(v1::Role::Doctor, doctor), (v1::Role::Patient, patient)] {
            let join = v1::JoinSessionRequest {
                session_id: session_id.clone(),
                role: role.into(),
                user_id,
                display_name: String::new(),
                ..Default::default()
            };
            let token = client
                .join_session(with_secret(join))
                .await?
                .into_inner()
                .token;
            links.push(self.exchange(http, &session_id, &token).await?);
        }
        <[Link; 2]>::try_from(links).map_err(|_| "not a pair".into())
    }

    async fn exchange(
        &self,
        http: &reqwest::Client,
        session_id: &str,
        token: &str,
    ) -> Outcome<Link> {
        let url = format!("http://{}/join/{session_id}?token={token}", self.http_addr);
        let answer = http.get(url).send().await?;
        let header = |name| {
            let value = answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.map(ToOwned::to_owned).ok_or("the link was refused")
        };
        let (location, cookie) = (header(LOCATION)?, header(SET_COOKIE)?);
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let path = location.replacen('?', "/ws?", 1);
        Ok(Link { path, cookie })
    }

    /// Opens a participant's socket and waits until they are in the call.
    pub(crate) async fn open(&self, link: &Link) -> Outcome<Page> {
        let url = format!("ws://{}{}", self.http_addr, link.path);
        let mut page = Page::open(&url, Some(&link.cookie)).await?;
        page.await_type("existing-participants").await?;
        Ok(page)
    }
}

fn with_secret<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let secret = MetadataValue::from_static(SECRET);
    request.metadata_mut().insert("x-internal-secret", secret);
    request
}
