//! The MongoDB store. A session is one document with its version and its newest events, so that a change and its events are
//! one atomic write without transactions; older events move to their own collection.
//!
//! | collection | document | indexes |
//! |---|---|---|
//! | `sessions` | a `SessionRecord` and `tail`, its newest events; `commit_time` and `commit_times`, see `feed` | `_id`; unique (appointment_id, incarnation); doctor, patient, node and state, each with `_id`; state with the scheduled end, and with the time of emptiness; the participants' instances; `commit_time` with `_id` and the version |
//! | `session_events` | an older `EventRecord` | unique (session_id, sequence) |
//! | `counters` | `_id: "rotation"`, or `rotation:` and a rotation's name: the next turn | `_id` |
//! | `instances` | an instance, with its heartbeat in `expires_ms`, and `lost_nodes` | `_id` |
//! | `nodes` | a `NodeRecordRecord` | `_id` |

mod documents;
mod error;
mod feed;
mod health;
mod instance;
mod node;
mod options;
mod prepare;
mod session;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::RawDocumentBuf;
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::ClientOptions;
use mongodb::{Client, Collection, Database};
use tokio::sync::Mutex;

use super::StoreError;
pub use options::{Config, client_options, is_uri};
use prepare::Prepared;

/// The database if the URI names none.
const DATABASE_DEFAULT: &str = "video_session";

/// Sessions in a MongoDB database that any number of instances share.
#[derive(Clone)]
pub struct MongoStore {
    client: Client,
    database: Database,
    timeout: Duration,
    index_timeout: Duration,
    feed_overlap: Duration,
    prepared: Prepared,
    /// Held while the indexes are created.
    preparing: Arc<Mutex<()>>,
}

impl MongoStore {
    /// A store with these options. Connects at first use, so that an unavailable server delays nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the driver refuses the options.
    pub fn new(options: ClientOptions, config: &Config) -> Result<Self, StoreError> {
        let name = options.default_database.clone();
        let prepared = Prepared::default();
        let mut options = options;
        let prepared_of_handler = prepared.clone();
        options.cmap_event_handler = Some(EventHandler::callback(move |event| {
            if let CmapEvent::PoolCleared(_) = event {
                prepared_of_handler.invalidate();
            }
        }));
        let client = Client::with_options(options).map_err(|error| error::store_error(&error))?;
        let database = client.database(name.as_deref().unwrap_or(DATABASE_DEFAULT));
        Ok(Self {
            client,
            database,
            timeout: config.timeout,
            index_timeout: config.index_timeout,
            feed_overlap: config.feed_overlap,
            prepared,
            preparing: Arc::default(),
        })
    }

    async fn sessions(&self) -> Result<Collection<RawDocumentBuf>, StoreError> {
        self.prepare().await?;
        Ok(self.database.collection("sessions"))
    }
}
