//! Heartbeats of instances, and the sessions whose connections they hold.

use async_trait::async_trait;
use mongodb::Collection;
use mongodb::bson::{Document, doc};

use super::MongoStore;
use super::error::within;
use crate::domain::id::SessionId;
use crate::store::{InstanceStore, StoreError};

impl MongoStore {
    async fn instance_collection(&self) -> Result<Collection<Document>, StoreError> {
        self.prepare().await?;
        Ok(self.database.collection("instances"))
    }
}

#[async_trait]
impl InstanceStore for MongoStore {
    async fn write_heartbeat(&self, instance_id: &str, heartbeat: i64) -> Result<(), StoreError> {
        let instances = self.instance_collection().await?;
        let filter = doc! {"_id": instance_id};
        // A former version stored the end of a lease in this field, hence its name.
        let update = doc! {"$set": {"expires_ms": heartbeat}};
        within(self.timeout, async move {
            instances.update_one(filter, update).upsert(true).await
        })
        .await?;
        Ok(())
    }

    async fn heartbeats(&self, limit: usize) -> Result<Vec<(String, i64)>, StoreError> {
        let instances = self.instance_collection().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = within(self.timeout, async move {
            let cursor = instances
                .find(doc! {})
                .sort(doc! {"_id": 1})
                .limit(limit)
                .await?;
            futures::TryStreamExt::try_collect::<Vec<_>>(cursor).await
        })
        .await?;
        // An invalid heartbeat never changes, so its instance is found dead.
        let heartbeat = |instance: &Document| {
            let id = instance.get_str("_id").ok()?.to_owned();
            Some((id, instance.get_i64("expires_ms").unwrap_or(0)))
        };
        Ok(found.iter().filter_map(heartbeat).collect())
    }

    async fn sessions_held_by(
        &self,
        instance_id: &str,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.find_session_ids(doc! {"participants.instance_id": instance_id}, limit)
            .await
    }

    async fn remove_instance(&self, instance_id: &str) -> Result<(), StoreError> {
        let instances = self.instance_collection().await?;
        let filter = doc! {"_id": instance_id};
        within(
            self.timeout,
            async move { instances.delete_one(filter).await },
        )
        .await?;
        Ok(())
    }
}
