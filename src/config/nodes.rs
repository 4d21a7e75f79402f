//! The SFU nodes.

use super::env::Env;
use super::nodes_file::{DriverSettings, NodeSettings, NodesFile};
use super::urls::parse_url;
use crate::domain::id::{ID_RULE, NodeId};
use crate::domain::node::{Rotation, SfuNode};
use crate::domain::place::Driver;

/// The nodes of the file, or else of SFU_NODES. They are reported as faults of the setting that lists them.
pub(super) fn read(env: &mut Env<'_>, file: Option<&NodesFile>) -> Option<Vec<NodeSettings>> {
    let listed = read_list(env);
    let Some(file) = file else {
        return listed;
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

pub(super) fn rotation(nodes: &[NodeSettings]) -> Option<Rotation> {
    Rotation::new(nodes.iter().map(|settings| settings.node.clone()).collect())
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

fn parse_nodes(text: &str) -> Option<Vec<NodeSettings>> {
    let mut nodes: Vec<NodeSettings> = Vec::new();
    for entry in text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
    {
        let (name, url) = entry.split_once('=').unwrap_or((entry, ""));
        let node = SfuNode {
            node_id: NodeId::parse(name.trim()).ok()?,
            url: url.trim().to_owned(),
            driver: Driver::Builtin,
        };
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
