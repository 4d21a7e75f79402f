//! The SFU nodes.

use super::env::Env;
use super::urls::parse_url;
use crate::domain::id::{ID_RULE, NodeId};
use crate::domain::node::{Rotation, SfuNode};
use crate::domain::place::Driver;

pub(super) fn read(env: &mut Env<'_>) -> Option<Rotation> {
    env.parse(
        "SFU_NODES",
        "sfu-1",
        &format!(
            "must be names, or name=url pairs, separated by commas; each name once, and {ID_RULE}; each url ws://, wss://, http:// or https://, without user and password"
        ),
        parse_nodes,
    )
}

fn parse_nodes(text: &str) -> Option<Rotation> {
    let mut nodes: Vec<SfuNode> = Vec::new();
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
        let good_url = parse_url(&node.url, &["ws", "wss", "http", "https"]).is_some();
        let known = nodes.iter().any(|other| other.node_id == node.node_id);
        if known || (with_url && !good_url) {
            return None;
        }
        nodes.push(node);
    }
    Rotation::new(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_names_or_pairs() {
        let ids = |text: &str| {
            parse_nodes(text).map(|rotation| {
                let nodes = rotation.nodes().iter();
                nodes
                    .map(|node| format!("{}>{}", node.node_id, node.url))
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
