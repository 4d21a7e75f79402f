//! The SFU nodes.

use std::time::Duration;

use super::env::Env;
use super::nodes_file::{DriverSettings, NodeSettings, NodesFile};
use super::openvidu;
use super::urls::parse_url;
use crate::domain::health::HealthTimes;
use crate::domain::id::{ID_RULE, NodeId};
use crate::domain::node::SfuNode;
use crate::domain::place::Driver;

/// The nodes of the file, or else the node of OPENVIDU_URL, or else those of SFU_NODES. They are reported as faults of the setting that lists them.
pub(super) fn read(env: &mut Env<'_>, file: Option<&NodesFile>) -> Option<Vec<NodeSettings>> {
    let listed = read_list(env);
    let openvidu = openvidu::read_node(env);
    let Some(file) = file else {
        let is_openvidu = env.optional("OPENVIDU_URL").is_some();
        return if is_openvidu {
            openvidu.map(|node| vec![node])
        } else {
            listed
        };
    };
    if env.optional("SFU_NODES").is_some() {
        env.report_fault("SFU_NODES_FILE", "cannot be used together with SFU_NODES");
    }
    match file.read(&|name| env.lookup(name)) {
        Ok(nodes) => Some(nodes),
        Err(faults) => {
            for fault in faults {
                env.report_fault("SFU_NODES_FILE", fault);
            }
            None
        }
    }
}

pub(super) fn read_file_setting(env: &mut Env<'_>) -> Option<NodesFile> {
    env.optional("SFU_NODES_FILE").map(NodesFile::new)
}

fn read_list(env: &mut Env<'_>) -> Option<Vec<NodeSettings>> {
    env.parse(
        "SFU_NODES",
        "sfu-1",
        &format!(
            "must be names, or name=url pairs, separated by commas; each name once, and {ID_RULE}; each url ws://, wss://, http:// or https://, without user and password"
        ),
        parse_nodes,
    )
}

pub(super) fn read_health(env: &mut Env<'_>) -> HealthTimes {
    const DAY_SECS: u64 = 24 * 3600;
    let refused_after_ms = env.number("NODE_REFUSED_AFTER_MS", 1000, 1, DAY_SECS * 1000);
    let mut secs =
        |setting, default| Duration::from_secs(env.number(setting, default, 1, DAY_SECS));
    let times = HealthTimes {
        down_after: secs("NODE_DOWN_AFTER_SECS", 5),
        refused_after: Duration::from_millis(refused_after_ms),
        up_after: secs("NODE_UP_AFTER_SECS", 10),
        flap_window: secs("NODE_FLAP_WINDOW_SECS", 300),
        up_after_max: secs("NODE_UP_AFTER_MAX_SECS", 120),
    };
    if times.up_after_max < times.up_after {
        env.report_fault(
            "NODE_UP_AFTER_MAX_SECS",
            "must be at least NODE_UP_AFTER_SECS",
        );
    }
    times
}

/// `None` if there are none, or one of them is invalid.
fn parse_nodes(text: &str) -> Option<Vec<NodeSettings>> {
    let mut nodes: Vec<NodeSettings> = Vec::new();
    for entry in text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
    {
        let (name, url) = entry.split_once('=').unwrap_or((entry, ""));
        let node_id = NodeId::parse(name.trim()).ok()?;
        let node = SfuNode::new(node_id, url.trim().to_owned(), Driver::Builtin);
        let with_url = entry.contains('=');
        let is_valid_url = parse_url(&node.url, &["ws", "wss", "http", "https"]).is_some();
        let is_repeated = nodes.iter().any(|other| other.node.node_id == node.node_id);
        if is_repeated || (with_url && !is_valid_url) {
            return None;
        }
        nodes.push(NodeSettings {
            node,
            driver: DriverSettings::Builtin,
        });
    }
    (!nodes.is_empty()).then_some(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_names_or_pairs() {
        let ids = |text: &str| {
            parse_nodes(text).map(|nodes| {
                nodes
                    .iter()
                    .map(|NodeSettings { node, .. }| format!("{}>{}", node.node_id, node.url))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(ids(" a , ,b "), Some(vec!["a>".into(), "b>".into()]));
        assert_eq!(
            ids("a=wss://x/y,b=ws://z"),
            Some(vec!["a>wss://x/y".into(), "b>ws://z".into()])
        );
        for bad in ["", ",", "a,a", "a=", "a=ftp://x", "a b", "=wss://x"] {
            assert_eq!(ids(bad), None, "{bad:?}");
        }
    }
}
