//! The servers under load, each a process of its own, and what the system says of processes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use video_session::rpc::SERVICE_NAME;

use crate::Outcome;

pub(crate) const INTERNAL_SECRET: &str = "load-4f1c2a9be07d4d6c8a51";
pub(crate) const CLIENT_BASE_URL: &str = "https://video.example.org";
pub(crate) const SFU_NODES: [&str; 3] = ["sfu-1", "sfu-2", "sfu-3"];
/// USER_HZ: what Linux counts a process's time in, whatever the kernel's own tick is.
const TICKS_PER_SEC: f64 = 100.0;
const POLL: Duration = Duration::from_millis(1);
const START_LIMIT: Duration = Duration::from_secs(30);

/// A child that ends with its owner.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: String,
    /// The JSON edge's, if it has one.
    pub(crate) json_addr: Option<String>,
    /// From the spawn to the first answer that it is ready.
    pub(crate) ready_after: Duration,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the service keeps its sessions.
pub(crate) enum Backend {
    Sqlite(PathBuf),
    Mongo(String),
}

/// Starts the echo, which is this very program.
pub(crate) fn start_echo() -> Outcome<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("echo");
    start_telling(command)
}

/// Starts the peer that speaks MongoDB's wire protocol; `None` when there is none on this machine.
pub(crate) fn start_peer() -> Outcome<Option<Server>> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/bin/mongo-peer");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(own)
        .chain(std::env::split_paths(&path).map(|dir| dir.join("mongo-peer")))
        .find(|file| file.is_file());
    let Some(program) = found else {
        return Ok(None);
    };
    let mut command = Command::new(program);
    command
        .args(["--port", "0", "--exit-with-stdin"])
        // A million documents in memory need more than the peer asks for by itself.
        .env("_JAVA_OPTIONS", "-Xmx16g -XX:+UseParallelGC")
        .stderr(Stdio::null());
    start_telling(command).map(Some)
}

/// Starts a server that prints `listening <address>`.
fn start_telling(mut command: Command) -> Outcome<Server> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(stdout) = &mut child.stdout {
        BufReader::new(stdout.by_ref()).read_line(&mut line)?;
    }
    let addr = line
        .trim()
        .strip_prefix("listening ")
        .ok_or_else(|| format!("{command:?} did not say where it listens"))?
        .to_owned();
    Ok(Server {
        child,
        addr,
        json_addr: None,
        ready_after: started.elapsed(),
    })
}

/// Starts the service as it would run in production, on ports that the system chooses, and waits until it is ready. Its
/// log goes to a file in `scratch`.
pub(crate) async fn start_service(backend: &Backend, scratch: &Path) -> Outcome<Server> {
    let log = tempfile::NamedTempFile::new_in(scratch)?;
    let mut command = Command::new(service_binary()?);
    command
        // Where no .env is found.
        .current_dir("/")
        .env("GRPC_ADDR", "127.0.0.1:0")
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .env("HTTP_ADDR", "127.0.0.1:0")
        .env("REST_ADDR", "127.0.0.1:0")
        .env("INTERNAL_SECRET", INTERNAL_SECRET)
        .env("VIDEO_JWT_SECRET", "load-9d0b7c62f1a84b3e95c8d7e6f5a4b3c2")
        .env("CLIENT_BASE_URL", CLIENT_BASE_URL)
        .env("SFU_NODES", SFU_NODES.join(","))
        .env("LOG_FORMAT", "json")
        .stdin(Stdio::null())
        .stdout(log.reopen()?);
    match backend {
        Backend::Sqlite(data_dir) => command.env("DATA_DIR", data_dir),
        // The peer counts by scanning, and keeps writers out while it does; MongoDB has an index for that.
        Backend::Mongo(uri) => command
            .env("MONGO_URI", uri)
            .env("SESSION_COUNT_INTERVAL_SECS", "3600")
            // The peer looks for overdue sessions without an index.
            .env("OVERDUE_INTERVAL_MS", "60000"),
    };
    let started = Instant::now();
    let mut server = Server {
        child: command.spawn()?,
        addr: String::new(),
        json_addr: None,
        ready_after: Duration::ZERO,
    };
    while !is_ready(&mut server, log.path()).await? {
        if started.elapsed() > START_LIMIT {
            return Err("the service does not become ready".into());
        }
        tokio::time::sleep(POLL).await;
    }
    server.ready_after = started.elapsed();
    // The service goes on writing to a file without a name. What it would fill is given back when it ends.
    Ok(server)
}

/// Looks for the address in the log, then asks for readiness there.
async fn is_ready(server: &mut Server, log: &Path) -> Outcome<bool> {
    if let Some(status) = server.child.try_wait()? {
        let log = std::fs::read_to_string(log)?;
        return Err(format!("the service ended with {status}: {log}").into());
    }
    if server.addr.is_empty() {
        let log = std::fs::read_to_string(log)?;
        let Some(addr) = logged(&log, "grpc_addr") else {
            return Ok(false);
        };
        server.addr = addr;
        server.json_addr = logged(&log, "rest_addr");
    }
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addr))?;
    let Ok(channel) = endpoint.connect().await else {
        return Ok(false);
    };
    let mut health = HealthClient::new(channel);
    let service = SERVICE_NAME.to_owned();
    let answer = health.check(HealthCheckRequest { service }).await?;
    Ok(answer.get_ref().status() == ServingStatus::Serving)
}

/// The value of a field of the log's first line that has it.
fn logged(log: &str, field: &str) -> Option<String> {
    let (_, rest) = log.split_once(&format!("\"{field}\":\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(value.to_owned())
}

/// Beside this program: target/release/examples/load goes with target/release/video-session.
fn service_binary() -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let binary = own
        .ancestors()
        .nth(2)
        .ok_or("this program has no place")?
        .join("video-session");
    if binary.is_file() {
        Ok(binary)
    } else {
        Err(format!(
            "{} is missing: build it first, by `cargo build --release`",
            binary.display()
        )
        .into())
    }
}

/// A process's memory, in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) resident_most: u64,
}

pub(crate) fn memory(pid: u32) -> Outcome<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |field: &str| number(&status, field) * 1024;
    Ok(Memory {
        resident: bytes("VmRSS:"),
        resident_most: bytes("VmHWM:"),
    })
}

/// What a process has done so far, beside using the processor.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Activity {
    /// Bytes that it had the system write to a disk. Writes that met in memory count once.
    pub(crate) written: u64,
    /// How often its threads waited for something, and so had to be woken.
    pub(crate) waits: u64,
}

pub(crate) fn activity(pid: u32) -> Outcome<Activity> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let mut waits = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended meanwhile.
        if let Ok(status) = std::fs::read_to_string(thread?.path().join("status")) {
            waits += number(&status, "voluntary_ctxt_switches:");
        }
    }
    Ok(Activity {
        written: number(&io, "write_bytes:"),
        waits,
    })
}

/// The number that follows a name at the begin of a line; 0 where there is none.
fn number(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// The processor time that a process has used so far, its own and the system's for it, in seconds.
pub(crate) fn cpu_secs(pid: u32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses that may hold spaces; utime and stime are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc is not as expected")?;
    let ticks = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u32>)
        .sum::<Result<u32, _>>()?;
    Ok(f64::from(ticks) / TICKS_PER_SEC)
}
