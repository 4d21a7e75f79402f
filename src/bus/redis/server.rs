//! Where Redis is.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use redis::sentinel::SentinelClient;
use redis::{Client, ConnectionInfo};
use tokio::time::timeout;

use super::RedisConfig;
use super::link::LinkError;

/// How to find the server to connect to.
pub(super) enum Server {
    /// It has an address.
    At(Box<Client>),
    /// Sentinels know which one is the primary now.
    KnownTo(Box<Sentinels>),
}

/// Sentinels, and how the primary that they name is connected to.
pub(super) struct Sentinels {
    pub(super) config: RedisConfig,
    pub(super) sentinels: Vec<ConnectionInfo>,
    pub(super) primary: ConnectionInfo,
}

impl Server {
    /// A client of the server that is the primary now. Asks all Sentinels at once and believes the first that knows one, so one that is
    /// silent delays nothing. The driver asks that server whether it is a primary. It gives each Sentinel a second to connect and half
    /// a second for each answer; all of it takes at most `limit`.
    pub(super) async fn find(&self, limit: Duration) -> Result<Client, LinkError> {
        let sentinels = match self {
            Self::At(client) => return Ok(Client::clone(client)),
            Self::KnownTo(sentinels) => sentinels,
        };
        let mut clients = sentinels.clients();
        let asking = clients
            .iter_mut()
            .map(|sentinel| timeout(limit, sentinel.async_get_client()));
        let mut asking: FuturesUnordered<_> = asking.collect();
        let mut failure = LinkError::Silent;
        while let Some(answer) = asking.next().await {
            match answer {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(error)) => failure = error.into(),
                Err(_) => {}
            }
        }
        Err(failure)
    }
}

impl Sentinels {
    /// New clients, because they keep their connections: one that is dead without knowing would be asked again and again.
    fn clients(&self) -> Vec<SentinelClient> {
        let asking = |sentinel| self.config.asking(sentinel, &self.primary);
        // The settings were checked.
        self.sentinels.iter().flat_map(asking).collect()
    }
}
