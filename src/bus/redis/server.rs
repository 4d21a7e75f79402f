//! Where Redis is.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use redis::Client;
use redis::sentinel::SentinelClient;
use tokio::time::timeout;

use super::link::LinkError;

/// How to find the server to connect to.
pub(super) enum Server {
    /// It has an address.
    At(Box<Client>),
    /// Sentinels know which one is the primary now. Each is asked by a client of its own.
    KnownTo(Vec<SentinelClient>),
}

impl Server {
    /// A client of the server that is the primary now. Asks all Sentinels at once and believes the first that knows one, so one that is
    /// silent delays nothing. The driver asks that server whether it is a primary.
    pub(super) async fn find(&mut self, limit: Duration) -> Result<Client, LinkError> {
        let sentinels = match self {
            Self::At(client) => return Ok(Client::clone(client)),
            Self::KnownTo(sentinels) => sentinels,
        };
        let asking = sentinels
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
