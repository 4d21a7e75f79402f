//! Settings, and the driver's options.

use std::time::Duration;

use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, ReadConcern, ReadPreference,
    SelectionCriteria, WriteConcern,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::error;
use crate::store::StoreError;

/// How often the driver monitors servers, unless the URI sets it. Only failed monitoring ends connection attempts over a silent
/// network: the driver does not limit a new connection's handshake.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Settings of the MongoDB store.
#[derive(Debug, Clone)]
pub struct Config {
    /// The connection string; may contain a password.
    pub uri: SecretString,
    /// How long one operation may take.
    pub timeout: Duration,
    /// How long the creation of indexes may take, which can be long on a collection restored without them.
    pub index_timeout: Duration,
    /// The most connections to one server.
    pub pool_max: u32,
    /// The connections kept ready.
    pub pool_min: u32,
    /// How many connections are established at once.
    pub connecting_max: u32,
    /// How much later than others a write may become visible without being missed by the feed.
    pub feed_overlap: Duration,
}

/// Whether a text is a connection string.
pub fn is_uri(uri: &SecretString) -> bool {
    ConnectionString::parse(uri.expose_secret()).is_ok()
}

/// The driver's options: majority writes and reads, and a limit for every wait.
///
/// # Errors
/// [`StoreError::Unavailable`] when the URI is malformed or its SRV record cannot be looked up.
pub async fn client_options(config: &Config) -> Result<ClientOptions, StoreError> {
    let mut options = ClientOptions::parse(config.uri.expose_secret())
        .await
        .map_err(|error| error::store_error(&error))?;
    options.app_name = Some("video-session".into());
    options.server_selection_timeout = Some(config.timeout);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    options.connect_timeout = Some(config.timeout);
    options.max_pool_size = Some(config.pool_max);
    options.min_pool_size = Some(config.pool_min);
    options.max_connecting = Some(config.connecting_max);
    options.write_concern = Some(
        WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .build(),
    );
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    Ok(options)
}
