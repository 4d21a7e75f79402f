//! Makes the drivers of the SFU nodes, and makes them anew when an operator changes the nodes.

use std::sync::Arc;

use crate::app::{App, Drivers, DriversByNode};
use crate::config::{DriverSettings, NodeSettings, NodesFile};
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

/// Reads SFU_NODES_FILE again while the service runs.
pub struct NodeReloader {
    file: NodesFile,
    limits: Limits,
    drivers: Arc<Drivers>,
}

/// The file cannot be used; the nodes stay as they were.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Everything that is wrong with it.
    #[error("SFU_NODES_FILE {}", .0.join("; "))]
    Faults(Vec<String>),
    /// A node cannot be used.
    #[error(transparent)]
    Node(#[from] UnusableNode),
}

impl NodeReloader {
    pub(super) fn new(file: NodesFile, limits: Limits, app: &App) -> Self {
        Self {
            file,
            limits,
            drivers: Arc::clone(&app.drivers),
        }
    }

    /// Uses the nodes that the file lists now. Calls go on, also on nodes that are no longer listed. `lookup` reads environment
    /// variables that hold secrets.
    ///
    /// # Errors
    /// [`ReloadError`]
    pub fn reload(&self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), ReloadError> {
        let nodes = self.file.read(lookup).map_err(ReloadError::Faults)?;
        self.drivers.replace(make_drivers(&nodes, self.limits)?);
        Ok(())
    }
}
