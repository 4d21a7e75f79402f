//! Outside peers, started for a test and gone with it. Installed by `.ci/run`; where they are missing, a test that asks for
//! one fails.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Where `.ci/run` puts a tool, or its bare name, to be looked up in PATH.
pub(crate) fn tool(name: &str) -> PathBuf {
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(".peers/bin")
        .join(name);
    if installed.exists() {
        installed
    } else {
        PathBuf::from(name)
    }
}

/// Something that speaks MongoDB's protocol, in memory. Ends with its standard input: with this value, or at the latest
/// with the test's process.
pub(crate) struct MongoPeer {
    /// Its address, `127.0.0.1:PORT`.
    pub(crate) addr: String,
    child: Child,
    _stdin: ChildStdin,
}

impl MongoPeer {
    /// Starts one on `port`; 0 is any free one.
    pub(crate) fn start(port: u16) -> Self {
        let program = tool("mongo-peer");
        let mut child = Command::new(&program)
            .args(["--port", &port.to_string(), "--exit-with-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} (.ci/run installs it): {error}", program.display()));
        let stdin = child.stdin.take().expect("piped");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the peer's output");
        let addr = line
            .trim()
            .strip_prefix("listening ")
            .unwrap_or_else(|| panic!("the peer said {line:?}"))
            .to_owned();
        Self {
            addr,
            child,
            _stdin: stdin,
        }
    }
}

impl Drop for MongoPeer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
