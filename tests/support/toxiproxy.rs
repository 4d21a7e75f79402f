//! toxiproxy: a way to a server that breaks when told to.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::peers::tool;

/// What happens on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody listens; connections are closed.
    Cut,
    /// Connections are reset.
    Reset,
    /// Every answer takes five seconds.
    Slow,
    /// Connections stay open, what is sent to the server vanishes.
    RequestsVanish,
    /// Connections stay open, the server does what it is told, and its answers vanish.
    AnswersVanish,
}

/// A proxy in front of one server.
pub(crate) struct Toxiproxy {
    /// Where to connect to instead.
    pub(crate) addr: String,
    upstream: String,
    api: String,
    http: reqwest::Client,
    child: Child,
}

impl Toxiproxy {
    pub(crate) async fn start(upstream: &str) -> Self {
        let program = tool("toxiproxy-server");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let child = Command::new(&program)
            .args(["-host", "127.0.0.1", "-port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} (.ci/run installs it): {error}", program.display()));
        let mut proxy = Self {
            addr: "127.0.0.1:0".to_owned(),
            upstream: upstream.to_owned(),
            api: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::new(),
            child,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        let made = loop {
            if let Some(made) = proxy.open().await {
                break made;
            }
            assert!(Instant::now() < deadline, "toxiproxy does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        proxy.addr = made["listen"].as_str().expect("an address").to_owned();
        proxy
    }

    /// Opens the way. `None` when nobody answers.
    async fn open(&self) -> Option<Value> {
        let wanted = json!({"name": "way", "listen": self.addr, "upstream": self.upstream});
        self.post("/proxies", &wanted).await
    }

    /// `None` when nobody answers.
    async fn post(&self, path: &str, body: &Value) -> Option<Value> {
        let request = self.http.post(format!("{}{path}", self.api)).json(body);
        let answer = request.send().await.ok()?;
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.ok()
    }

    /// Breaks the way, also for connections that are open.
    pub(crate) async fn inject(&self, fault: Fault) {
        let toxic = |kind: &str, stream: &str, attributes: Value| json!({"name": "toxic", "type": kind, "stream": stream, "attributes": attributes});
        let toxic = match fault {
            Fault::Cut => {
                self.enable(false).await;
                return;
            }
            Fault::Reset => toxic("reset_peer", "downstream", json!({"timeout": 0})),
            Fault::Slow => toxic("latency", "downstream", json!({"latency": 5000})),
            Fault::RequestsVanish => toxic("timeout", "upstream", json!({"timeout": 0})),
            Fault::AnswersVanish => toxic("timeout", "downstream", json!({"timeout": 0})),
        };
        let added = self.post("/proxies/way/toxics", &toxic).await;
        added.expect("toxiproxy answers");
    }

    /// Mends it.
    pub(crate) async fn heal(&self, fault: Fault) {
        if fault == Fault::Cut {
            self.enable(true).await;
            return;
        }
        if fault == Fault::Slow {
            // toxiproxy may wait for ever when it is to let go of an answer whose client has given up (Shopify/toxiproxy#558).
            self.delete("/proxies/way").await;
            self.open().await.expect("toxiproxy answers");
            return;
        }
        self.delete("/proxies/way/toxics/toxic").await;
    }

    async fn delete(&self, path: &str) {
        let answer = self.http.delete(format!("{}{path}", self.api)).send();
        let answer = answer.await.expect("toxiproxy answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    async fn enable(&self, enabled: bool) {
        let wanted = json!({"enabled": enabled});
        let changed = self.post("/proxies/way", &wanted).await;
        changed.expect("toxiproxy answers");
    }
}

impl Drop for Toxiproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
