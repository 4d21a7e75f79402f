//! Reads SFU_NODES_FILE: the SFU nodes with their drivers. docs/sfu.md describes the file.

mod driver;
mod node;
mod secret;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use self::node::parse_node;
use self::text::FileText;
use crate::config::urls::parse_bare_url;
use crate::domain::id::NodeId;
use crate::domain::node::SfuNode;
use crate::domain::place::Driver;
use crate::sfu::{livekit, openvidu};

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The most nodes that a file may have.
const NODES_MAX: usize = 256;

/// A node, and how the service reaches it.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// The node.
    pub node: SfuNode,
    /// How its driver reaches it.
    pub driver: DriverSettings,
}

/// How a driver reaches its node.
#[derive(Debug, Clone)]
pub enum DriverSettings {
    /// There is nothing to reach.
    Builtin,
    /// A LiveKit node.
    LiveKit(livekit::Config),
    /// An OpenVidu 2 node.
    OpenVidu(openvidu::Config),
}

/// Where the nodes are listed; read again when the operator asks for it.
#[derive(Debug, Clone)]
pub struct NodesFile {
    path: PathBuf,
}

/// Everything that is wrong with a file.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, node: &str, fault: impl Display) {
        self.0.push(format!("node {node}: {fault}"));
    }
}

impl NodeSettings {
    /// Whether pages need livekit-client for this node.
    pub fn needs_livekit_client(&self) -> bool {
        self.node.driver == Driver::LiveKit
    }
}

impl NodesFile {
    /// The file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads and checks the whole file. `lookup` reads environment variables that hold secrets.
    ///
    /// # Errors
    /// Everything that is wrong with the file, without its values.
    pub fn read(
        &self,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<NodeSettings>, Vec<String>> {
        let text = read_text(&self.path, FILE_BYTES_MAX).map_err(|fault| vec![fault])?;
        parse(&text, lookup)
    }
}

/// The text of a file that a setting names, of at most `bytes_max`. A fault continues the setting's name.
pub(super) fn read_text(path: &Path, bytes_max: u64) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {}", error.kind());
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("cannot be read: it is not a file".to_owned());
    }
    let mut text = String::new();
    let mut file = File::open(path).map_err(unreadable)?.take(bytes_max + 1);
    file.read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > bytes_max {
        return Err(format!("has more than {bytes_max} bytes"));
    }
    Ok(text)
}

fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<NodeSettings>, Vec<String>> {
    let file = FileText::parse(text).map_err(|fault| vec![fault])?;
    let mut faults = Faults::default();
    let mut nodes: Vec<NodeSettings> = Vec::new();
    if file.node.is_empty() || file.node.len() > NODES_MAX {
        let fault = format!("must list 1 to {NODES_MAX} nodes, each as [[node]]");
        faults.0.push(fault);
    }
    let (mut ids, mut servers) = (HashSet::new(), HashMap::new());
    for (position, entry) in file.node.into_iter().take(NODES_MAX).enumerate() {
        let is_repeated = !ids.insert(entry.id.clone());
        let name = match NodeId::parse(entry.id.as_str()) {
            Ok(_) => entry.id.clone(),
            Err(_) => format!("number {}", position + 1),
        };
        if is_repeated {
            faults.add(&name, "is listed twice");
        }
        // Two nodes on one server would end each other's rooms.
        let server = entry.api_url.as_deref();
        let server = server.and_then(|url| parse_bare_url(url, &["http", "https"]));
        if let Some(other) = server.and_then(|server| servers.insert(server, name.clone())) {
            faults.add(&name, format!("has the api_url of node {other}"));
        }
        nodes.extend(parse_node(entry, &name, lookup, &mut faults));
    }
    if faults.0.is_empty() {
        Ok(nodes)
    } else {
        Err(faults.0)
    }
}
