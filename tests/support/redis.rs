//! A real Redis, started for a test and gone with it. Debian's package has it; `.ci/peers` installs it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Different ports that nothing listens on. The system gives each again only after many others.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let free = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    free.map(|listener| listener.local_addr().expect("an address").port())
}

/// A certificate for `localhost` that signs itself.
pub(crate) struct SelfSigned {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) pem: String,
}

impl SelfSigned {
    /// Writes a new one, and its key, to files whose names begin with `name`.
    pub(crate) fn new(home: &Path, name: &str) -> Self {
        let path = |what: &str| home.join(format!("{name}-{what}.pem"));
        let (certificate, key) = (path("certificate"), path("key"));
        let own_key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a name");
        let pem = params.self_signed(&own_key).expect("a certificate").pem();
        std::fs::write(&certificate, &pem).expect("a file");
        std::fs::write(&key, own_key.serialize_pem()).expect("a file");
        Self {
            certificate,
            key,
            pem,
        }
    }
}

/// A server that stores nothing.
pub(crate) struct RedisServer {
    /// The port that it keeps over restarts.
    pub(crate) port: u16,
    args: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one on a free port.
    pub(crate) fn start() -> Self {
        Self::with(|port| vec!["--port".into(), port.to_string()])
    }

    /// Starts one that speaks only TLS, with a certificate and its key.
    pub(crate) fn start_tls(certificate: &Path, key: &Path, more: &[&str]) -> Self {
        Self::with(|port| {
            let path = |path: &Path| path.display().to_string();
            let mut args: Vec<_> = ["--port", "0", "--tls-auth-clients", "no", "--tls-port"]
                .map(ToOwned::to_owned)
                .into();
            args.push(port.to_string());
            args.extend(["--tls-cert-file".into(), path(certificate)]);
            args.extend(["--tls-key-file".into(), path(key)]);
            args.extend(["--tls-ca-cert-file".into(), path(certificate)]);
            args.extend(more.iter().map(ToString::to_string));
            args
        })
    }

    /// Starts one on a free port, with further arguments.
    pub(crate) fn start_with(more: &[&str]) -> Self {
        Self::with(|port| {
            let own = ["--port".into(), port.to_string()];
            own.into_iter()
                .chain(more.iter().map(ToString::to_string))
                .collect()
        })
    }

    /// Starts a Sentinel with this configuration, whose PORT becomes a free port.
    pub(crate) fn start_sentinel(home: &Path, configuration: &str) -> Self {
        Self::with(|port| {
            let file = home.join(format!("sentinel-{port}.conf"));
            let text = configuration.replace("PORT", &port.to_string());
            std::fs::write(&file, text).expect("a file");
            vec![file.display().to_string(), "--sentinel".into()]
        })
    }

    fn with(args: impl Fn(u16) -> Vec<String>) -> Self {
        let [port] = free_ports();
        let mut server = Self {
            port,
            args: args(port),
            child: None,
        };
        server.restart();
        server
    }

    /// Its address, `127.0.0.1:PORT`.
    pub(crate) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Kills it, if it runs, and starts it again, empty, at its address.
    pub(crate) fn restart(&mut self) {
        self.kill();
        // A file comes first.
        let child = Command::new("redis-server")
            .args(&self.args)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server (.ci/peers installs it): {error}"));
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "Redis does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        // It listens before it reads its users.
        std::thread::sleep(Duration::from_millis(50));
        let child = self.child.as_mut().expect("started");
        assert_eq!(child.try_wait().ok().flatten(), None, "Redis ended");
    }

    /// Ends it at once; what was connected to it is told by the system.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends it a signal, such as STOP, by which it hangs, and CONT.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
