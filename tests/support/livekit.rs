//! A real livekit-server and participants of its rooms.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::peers::tool;

pub(crate) const API_KEY: &str = "key-of-tests";
pub(crate) const API_SECRET: &str = "a secret of tests with 32 characters";

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Whether it makes rooms for those who join unknown ones.
    pub(crate) auto_create: bool,
    /// Where it sends webhooks.
    pub(crate) webhook_url: Option<String>,
}

/// A server; gone with this value.
pub(crate) struct LiveKitServer {
    /// Its HTTP port.
    pub(crate) port: u16,
    config: String,
    child: Child,
}

fn free_tcp_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("an address").port()
}

fn spawn(config: &str) -> Child {
    let program = tool("livekit-server");
    Command::new(&program)
        .args(["--node-ip", "127.0.0.1"])
        .env("LIVEKIT_CONFIG", config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{} (.ci/run installs it): {error}", program.display()))
}

impl LiveKitServer {
    pub(crate) async fn start(options: Options) -> Self {
        let port = free_tcp_port();
        let webhook = options.webhook_url.map_or_else(String::new, |url| {
            format!("webhook: {{ api_key: {API_KEY}, urls: ['{url}'] }}\n")
        });
        let config = format!(
            "port: {port}\n\
             bind_addresses: ['127.0.0.1']\n\
             rtc: {{ tcp_port: {}, udp_port: {}, use_external_ip: false, \
             enable_loopback_candidate: true, node_ip: 127.0.0.1, ips: {{ includes: ['127.0.0.1/32'] }} }}\n\
             keys: {{ {API_KEY}: \"{API_SECRET}\" }}\n\
             room: {{ auto_create: {} }}\n\
             {webhook}",
            free_tcp_port(),
            free_udp_port(),
            options.auto_create,
        );
        let child = spawn(&config);
        let mut server = Self {
            port,
            config,
            child,
        };
        server.wait_until_it_answers().await;
        server
    }

    pub(crate) fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Kills it and starts it again, with nothing of what it had.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.config);
        self.wait_until_it_answers().await;
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it without ending it, or lets it go on: it accepts connections, and says nothing.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let status = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
        // A thread that runs on another processor stops a moment later.
        while frozen && !self.is_stopped() {
            std::thread::yield_now();
        }
    }

    fn is_stopped(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let mut tasks = tasks.expect("the server runs").flatten();
        tasks.all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat"));
            // A thread that has ended meanwhile runs no more.
            stat.map_or(true, |stat| stat.contains(") T "))
        })
    }

    async fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let http = reqwest::Client::new();
        while !http
            .get(self.http_url())
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            let ended = self.child.try_wait().expect("its status");
            assert!(ended.is_none(), "livekit-server ended: {ended:?}");
            assert!(Instant::now() < deadline, "livekit-server does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for LiveKitServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A participant of a room, who publishes a microphone and a camera; gone with this value.
pub(crate) struct Participant {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    /// They leave when it is closed.
    _stdin: ChildStdin,
}

impl Participant {
    /// Joins with a token, at a node or at what stands before it.
    pub(crate) fn join(ws_url: &str, token: &str) -> Self {
        let program = tool("livekit-participant");
        let mut child = Command::new(&program)
            .args(["-url", ws_url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} (.ci/run installs it): {error}", program.display()));
        let mut stdin = child.stdin.take().expect("piped");
        writeln!(stdin, "{token}").expect("the participant reads");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                heard.lock().expect("no panic holds it").push(line);
            }
        });
        Self {
            child,
            said,
            _stdin: stdin,
        }
    }

    /// What they said so far: `connected` or `refused`; `published` or `not published`, twice; `muted MICROPHONE`;
    /// `disconnected` with the reason.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().expect("no panic holds it").clone()
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
