//! Settings of the store.

use std::path::PathBuf;
use std::time::Duration;

use super::env::Env;
use super::millis;
use super::secrets::read_secret;
use crate::store::{mongo, sqlite};

/// The kind of store, and its settings.
#[derive(Clone)]
pub enum StoreConfig {
    /// MONGO_URI is not set.
    Embedded(sqlite::Config),
    /// MONGO_URI is set.
    Mongo(mongo::Config),
}

impl StoreConfig {
    /// The store's name in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::Mongo(_) => "mongodb",
        }
    }
}

pub(super) fn read(env: &mut Env<'_>, timeout: Duration) -> StoreConfig {
    let data_dir = env
        .parse("DATA_DIR", "./data", "must be a path", |text| {
            Some(PathBuf::from(text))
        })
        .unwrap_or_default();
    let embedded = sqlite::Config {
        data_dir,
        readers: env.number("SQLITE_READERS", 2, 1, 64),
        queue_max: env.number("SQLITE_QUEUE_MAX", 4096, 1, 1_000_000),
        batch_max: env.number("SQLITE_BATCH_MAX", 256, 1, 10_000),
    };
    let uri = read_secret(env, "MONGO_URI");
    let pool_max = env.number("MONGO_POOL_MAX", 64, 1, 10_000);
    let pool_min = env.number("MONGO_POOL_MIN", 4, 0, 10_000);
    let index_timeout_secs = env.number("MONGO_INDEX_TIMEOUT_SECS", 600, 1, 24 * 3600);
    let connecting_max = env.number("MONGO_CONNECTING_MAX", 8, 1, 1000);
    if pool_min > pool_max {
        env.report_fault("MONGO_POOL_MIN", "must not be more than MONGO_POOL_MAX");
    }
    let Some(uri) = uri else {
        return StoreConfig::Embedded(embedded);
    };
    if !mongo::is_uri(&uri) {
        env.report_fault(
            "MONGO_URI",
            "must be a MongoDB connection string, with special characters of user and password percent-encoded",
        );
    }
    StoreConfig::Mongo(mongo::Config {
        uri,
        timeout,
        index_timeout: Duration::from_secs(index_timeout_secs),
        pool_max,
        pool_min,
        connecting_max,
        feed_overlap: millis(env, "MONGO_FEED_OVERLAP_MS", 5000),
    })
}
