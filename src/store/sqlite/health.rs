//! The store as a whole.

use async_trait::async_trait;

use super::{SqliteStore, queries};
use crate::domain::time::Timestamp;
use crate::store::{StoreError, StoreHealth};

#[async_trait]
impl StoreHealth for SqliteStore {
    fn is_shared(&self) -> bool {
        false
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.readers.read(queries::ping).await?;
        self.writer.probe().await
    }

    async fn server_time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn lost(&self) {
        self.lost.cancelled().await;
    }

    async fn close(&self) {
        self.readers.close();
        self.lister.close();
        self.writer.close().await;
    }
}
