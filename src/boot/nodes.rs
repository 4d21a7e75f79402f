//! Makes the drivers of the SFU nodes.

use std::sync::Arc;

use crate::app::DriversByNode;
use crate::config::{DriverSettings, NodeSettings};
use crate::domain::id::NodeId;
use crate::sfu::bounded::{Bounded, Limits};
use crate::sfu::builtin::Builtin;
use crate::sfu::livekit::LiveKit;
use crate::sfu::{SfuDriver, SfuError};

/// A node cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("the SFU node {node_id} cannot be used")]
pub struct UnusableNode {
    node_id: NodeId,
    #[source]
    source: SfuError,
}

/// The driver of each node. No node is asked anything yet.
///
/// # Errors
/// [`UnusableNode`]
pub(super) fn make_drivers(
    nodes: &[NodeSettings],
    limits: Limits,
) -> Result<DriversByNode, UnusableNode> {
    let drivers = nodes.iter().map(|settings| {
        let node_id = settings.node.node_id.clone();
        match make_driver(&settings.driver) {
            Ok(driver) => {
                let bounded: Arc<dyn SfuDriver> = Arc::new(Bounded::new(driver, limits));
                Ok((node_id, bounded))
            }
            Err(source) => Err(UnusableNode { node_id, source }),
        }
    });
    drivers.collect()
}

fn make_driver(settings: &DriverSettings) -> Result<Arc<dyn SfuDriver>, SfuError> {
    Ok(match settings {
        DriverSettings::Builtin => Arc::new(Builtin),
        DriverSettings::LiveKit(config) => Arc::new(LiveKit::new(config)?),
    })
}
