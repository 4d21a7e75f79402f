//! Makes the drivers of the SFU nodes, and makes them anew when an operator changes the nodes.

use std::path::PathBuf;
use std::sync::Arc;

use crate::app::{App, Drivers, DriversByNode, Nodes};
use crate::config::{Config, DriverSettings, NodeSettings, NodesFile, find_unfit_node};
use crate::domain::id::NodeId;
use crate::sfu::bounded::{Bounded, Limits};
use crate::sfu::builtin::Builtin;
use crate::sfu::livekit::LiveKit;
use crate::sfu::openvidu::OpenVidu;
use crate::sfu::{SfuDriver, SfuError};
use crate::web::{LivekitClientError, check_livekit_client};

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
        DriverSettings::OpenVidu(config) => Arc::new(OpenVidu::new(config)?),
    })
}

/// Reads SFU_NODES_FILE again while the service runs.
pub struct NodeReloader {
    file: NodesFile,
    limits: Limits,
    livekit_client_dir: PathBuf,
    /// Whether clients are served that know OpenVidu nodes only.
    needs_openvidu: bool,
    drivers: Arc<Drivers>,
    nodes: Arc<Nodes>,
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
    /// Pages could not reach the LiveKit nodes.
    #[error("LIVEKIT_CLIENT_DIR {0}")]
    Client(#[from] LivekitClientError),
}

impl NodeReloader {
    pub(super) fn new(file: NodesFile, config: &Config, app: &App) -> Self {
        Self {
            file,
            limits: config.sfu,
            livekit_client_dir: config.web.livekit_client_dir.clone(),
            needs_openvidu: config.legacy.openvidu.is_some(),
            drivers: Arc::clone(&app.drivers),
            nodes: Arc::clone(&app.nodes),
        }
    }

    /// Uses the nodes that the file lists now. Calls go on, also on nodes that are no longer listed. `lookup` reads environment
    /// variables that hold secrets.
    ///
    /// # Errors
    /// [`ReloadError`]
    pub fn reload(&self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), ReloadError> {
        let nodes = self.file.read(lookup).map_err(ReloadError::Faults)?;
        if let Some(fault) = find_unfit_node(&nodes).filter(|_| self.needs_openvidu) {
            let fault = format!("cannot be used while LEGACY_APIS names openvidu: {fault}");
            return Err(ReloadError::Faults(vec![fault]));
        }
        if nodes.iter().any(NodeSettings::needs_livekit_client) {
            check_livekit_client(&self.livekit_client_dir)?;
        }
        let drivers = make_drivers(&nodes, self.limits)?;
        // A node that is new has its driver before it can have a session.
        self.drivers.replace(drivers);
        let listed = nodes.into_iter().map(|settings| settings.node);
        self.nodes.replace(listed.collect());
        Ok(())
    }
}
