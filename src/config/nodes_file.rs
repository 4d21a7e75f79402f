//! Reads SFU_NODES_FILE: the SFU nodes with their drivers. docs/sfu.md describes the file.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use super::urls::parse_url;
use crate::domain::id::{ID_RULE, NodeId, Region};
use crate::domain::node::{SfuNode, WEIGHT_MAX};
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

/// The file, as written. Secrets are elsewhere, so that the file can be shown to others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    node: Vec<NodeText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeText {
    id: String,
    #[serde(default)]
    driver: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    weight: Option<u32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    api_url: Option<String>,
    #[serde(default)]
    api_key: Option<String>,
    #[serde(default)]
    api_secret_file: Option<PathBuf>,
    #[serde(default)]
    api_secret_env: Option<String>,
    #[serde(default)]
    webhook_secret_file: Option<PathBuf>,
    #[serde(default)]
    webhook_secret_env: Option<String>,
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
        let text = read_text(&self.path).map_err(|fault| vec![fault])?;
        parse(&text, lookup)
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {}", error.kind());
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("has more than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<NodeSettings>, Vec<String>> {
    let file: FileText =
        toml::from_str(text).map_err(|error| vec![describe_syntax(text, &error)])?;
    let mut faults = Faults::default();
    let mut nodes: Vec<NodeSettings> = Vec::new();
    if file.node.is_empty() || file.node.len() > NODES_MAX {
        let fault = format!("must list 1 to {NODES_MAX} nodes, each as [[node]]");
        faults.0.push(fault);
    }
    for (position, entry) in file.node.into_iter().take(NODES_MAX).enumerate() {
        let name = match NodeId::parse(entry.id.as_str()) {
            Ok(_) => entry.id.clone(),
            Err(_) => format!("number {}", position + 1),
        };
        let Some(settings) = parse_node(entry, &name, lookup, &mut faults) else {
            continue;
        };
        let is_repeated = (nodes.iter()).any(|other| other.node.node_id == settings.node.node_id);
        if is_repeated {
            faults.add(&name, "is listed twice");
        }
        nodes.push(settings);
    }
    if faults.0.is_empty() {
        Ok(nodes)
    } else {
        Err(faults.0)
    }
}

/// Says where the text is wrong. The parser's own words can repeat a value, which may be a secret in the wrong place.
fn describe_syntax(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().map_or(String::new(), |span| {
        let before = text.get(..span.start).unwrap_or(text);
        format!("line {}: ", before.matches('\n').count() + 1)
    });
    let what = error.message().lines().next().unwrap_or_default();
    let is_safe = ["unknown field", "missing field", "duplicate"]
        .iter()
        .any(|start| what.starts_with(start));
    if is_safe {
        format!("{place}{what}")
    } else {
        format!("{place}is not TOML in the form that docs/sfu.md describes")
    }
}

fn parse_node(
    entry: NodeText,
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    faults: &mut Faults,
) -> Option<NodeSettings> {
    let node_id = NodeId::parse(entry.id.as_str());
    let node_id = node_id
        .map_err(|_| faults.add(name, format!("id {ID_RULE}")))
        .ok();
    let driver = match entry.driver.as_deref() {
        None => Some(Driver::default()),
        Some(text) => Driver::from_name(text),
    };
    if driver.is_none() {
        let known: Vec<_> = Driver::ALL.iter().map(|driver| driver.name()).collect();
        faults.add(name, format!("driver must be one of {}", known.join(", ")));
    }
    let public = ["ws", "wss", "http", "https"];
    if let Some(url) = &entry.url
        && parse_url(url, &public).is_none()
    {
        let fault =
            "url must begin with ws://, wss://, http:// or https://, without user and password";
        faults.add(name, fault);
    }
    let settings = driver.and_then(|driver| parse_driver(driver, &entry, name, lookup, faults));
    let region = entry.region.as_deref().map(Region::parse).transpose();
    if region.is_err() {
        faults.add(name, format!("region {ID_RULE}"));
    }
    let weight = entry.weight.unwrap_or(1);
    if !(1..=WEIGHT_MAX).contains(&weight) {
        faults.add(name, format!("weight must be 1 to {WEIGHT_MAX}"));
    }
    let accepts_sessions = match entry.state.as_deref() {
        None | Some("active") => true,
        Some("draining") => false,
        Some(_) => {
            faults.add(name, "state must be active or draining");
            false
        }
    };
    Some(NodeSettings {
        node: SfuNode {
            region: region.ok()?,
            weight,
            labels: entry.labels,
            accepts_sessions,
            ..SfuNode::new(node_id?, entry.url.unwrap_or_default(), driver?)
        },
        driver: settings?,
    })
}

fn parse_driver(
    driver: Driver,
    entry: &NodeText,
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    faults: &mut Faults,
) -> Option<DriverSettings> {
    match driver {
        Driver::Builtin => {
            let is_bare = entry.api_url.is_none()
                && entry.api_key.is_none()
                && entry.api_secret_file.is_none()
                && entry.api_secret_env.is_none();
            if !is_bare {
                faults.add(name, "a builtin node has no api_url, api_key or secret");
            }
            Some(DriverSettings::Builtin)
        }
        Driver::LiveKit => {
            let api_url = parse_api_url(entry, name, faults);
            let api_key = entry.api_key.clone().filter(|key| !key.is_empty());
            if api_key.is_none() {
                faults.add(name, "api_key must be set");
            }
            let api_secret = read_secret(API_SECRET, entry, name, lookup, faults);
            Some(DriverSettings::LiveKit(livekit::Config {
                api_url: api_url?,
                public_url: entry.url.clone(),
                api_key: api_key?,
                api_secret: api_secret?,
            }))
        }
        Driver::OpenVidu => {
            if entry.api_key.is_some() {
                faults.add(name, "an openvidu node has no api_key");
            }
            let api_url = parse_api_url(entry, name, faults);
            let secret = read_secret(API_SECRET, entry, name, lookup, faults);
            let has_webhooks =
                entry.webhook_secret_file.is_some() || entry.webhook_secret_env.is_some();
            let webhook_secret = if has_webhooks {
                read_secret(WEBHOOK_SECRET, entry, name, lookup, faults)
            } else {
                None
            };
            Some(DriverSettings::OpenVidu(openvidu::Config {
                api_url: api_url?,
                public_url: entry.url.clone(),
                secret: secret?,
                webhook_secret,
            }))
        }
    }
}

fn parse_api_url(entry: &NodeText, name: &str, faults: &mut Faults) -> Option<String> {
    let api_url = entry.api_url.clone();
    let api_url = api_url.filter(|url| parse_url(url, &["http", "https"]).is_some());
    if api_url.is_none() {
        let fault =
            "api_url must be set, and begin with http:// or https://, without user and password";
        faults.add(name, fault);
    }
    api_url
}

/// A secret of a node: in the file that one key names, or in the environment variable that the other names.
struct SecretKeys {
    file_key: &'static str,
    variable_key: &'static str,
    file: fn(&NodeText) -> Option<&PathBuf>,
    variable: fn(&NodeText) -> Option<&String>,
}

const API_SECRET: SecretKeys = SecretKeys {
    file_key: "api_secret_file",
    variable_key: "api_secret_env",
    file: |entry| entry.api_secret_file.as_ref(),
    variable: |entry| entry.api_secret_env.as_ref(),
};

const WEBHOOK_SECRET: SecretKeys = SecretKeys {
    file_key: "webhook_secret_file",
    variable_key: "webhook_secret_env",
    file: |entry| entry.webhook_secret_file.as_ref(),
    variable: |entry| entry.webhook_secret_env.as_ref(),
};

fn read_secret(
    keys: SecretKeys,
    entry: &NodeText,
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    faults: &mut Faults,
) -> Option<SecretString> {
    let SecretKeys {
        file_key,
        variable_key,
        file,
        variable,
    } = keys;
    let secret = match (file(entry), variable(entry)) {
        (Some(path), None) => read_text(path).map_err(|fault| format!("{file_key} {fault}")),
        (None, Some(variable)) => lookup(variable)
            .ok_or_else(|| format!("{variable_key} names a variable that is not set")),
        (None, None) | (Some(_), Some(_)) => {
            Err(format!("must have either {file_key} or {variable_key}"))
        }
    };
    match secret.map(|secret| secret.trim().to_owned()) {
        Ok(secret) if secret.is_empty() => {
            faults.add(
                name,
                format!("the secret of {file_key} or {variable_key} is empty"),
            );
            None
        }
        Ok(secret) => Some(SecretString::from(secret)),
        Err(fault) => {
            faults.add(name, fault);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<NodeSettings>, Vec<String>> {
        parse(text, &|name| {
            (name == "KEY").then(|| "hush-hush".to_owned())
        })
    }

    #[test]
    fn a_file_lists_nodes_with_their_drivers() {
        let nodes = read(
            r#"
            [[node]]
            id = "plain"
            [[node]]
            id = "lk"
            driver = "livekit"
            url = "wss://lk.example"
            api_url = "http://10.0.0.5:7880"
            api_key = "devkey"
            api_secret_env = "KEY"
            "#,
        );
        let nodes = nodes.expect("it is valid");
        let ids: Vec<_> = nodes
            .iter()
            .map(|settings| (settings.node.node_id.as_str(), settings.node.driver))
            .collect();
        assert_eq!(ids, [("plain", Driver::Builtin), ("lk", Driver::LiveKit)]);
    }

    #[test]
    fn every_fault_is_reported_and_no_value() {
        let faults = read(
            r#"
            [[node]]
            id = "x y"
            driver = "janus"
            url = "ftp://u:top@x"
            [[node]]
            id = "lk"
            driver = "livekit"
            api_url = "http://user:top-secret@host"
            api_secret_env = "OTHER"
            [[node]]
            id = "lk"
            api_key = "k"
            "#,
        );
        let faults = faults.expect_err("it is not valid").join("\n");
        for part in [
            "node number 1: id",
            "node number 1: driver",
            "node number 1: url",
            "node lk: api_url",
            "node lk: api_key must be set",
            "node lk: api_secret_env",
            "node lk: a builtin node",
        ] {
            assert!(faults.contains(part), "{part}\n{faults}");
        }
        for secret in ["top", "janus", "x y"] {
            assert!(!faults.contains(secret), "{faults}");
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        for text in [
            "node = \"hush\"",
            "[[node]]\nid = 5\napi_secret = \"hush\"",
            "[[node]]\nid = \"a\"\nweight = \"hush\"",
            "hush",
            "",
        ] {
            let faults = read(text).expect_err("it is not valid").join("\n");
            assert!(!faults.contains("hush"), "{faults}");
        }
        let faults = read("[[node]]\nid = \"a\"\nurll = \"x\"").expect_err("it is not valid");
        assert!(
            faults[0].starts_with("line 3: unknown field `urll`"),
            "{faults:?}"
        );
    }
}
