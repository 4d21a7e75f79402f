//! Checks the entry of one node.

use super::driver::parse_driver;
use super::text::NodeText;
use super::{Faults, NodeSettings};
use crate::config::urls::parse_bare_url;
use crate::domain::id::{ID_RULE, NodeId, Region};
use crate::domain::node::{SfuNode, WEIGHT_MAX};
use crate::domain::place::Driver;

/// The node of an entry; `None` if a fault leaves none.
pub(super) fn parse_node(
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
        && parse_bare_url(url, &public).is_none()
    {
        let fault = "url must begin with ws://, wss://, http:// or https://, without user, password, query and fragment";
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
