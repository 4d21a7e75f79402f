//! Heartbeats of instances, and the sessions whose connections they hold.

use async_trait::async_trait;
use mongodb::Collection;
use mongodb::bson::{Bson, Document, doc};

use super::MongoStore;
use super::error::within;
use crate::domain::id::{NodeId, SessionId};
use crate::store::{Heartbeat, InstanceStore, StoreError};

impl MongoStore {
    async fn instance_collection(&self) -> Result<Collection<Document>, StoreError> {
        self.prepare().await?;
        Ok(self.database.collection("instances"))
    }
}

fn node_ids(ids: &[Bson]) -> Vec<NodeId> {
    let ids = ids.iter().filter_map(Bson::as_str);
    ids.map(|id| NodeId::from_stored(id.to_owned())).collect()
}

#[async_trait]
impl InstanceStore for MongoStore {
    async fn write_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        let instances = self.instance_collection().await?;
        let filter = doc! {"_id": &heartbeat.instance_id};
        // A former version stored the end of a lease in the first field, hence its name.
        let lost_nodes = heartbeat.lost_nodes.as_ref();
        let lost_nodes: Option<Vec<_>> =
            lost_nodes.map(|ids| ids.iter().map(NodeId::as_str).collect());
        let update = doc! {"$set": {"expires_ms": heartbeat.number, "lost_nodes": lost_nodes}};
        within(self.timeout, async move {
            instances.update_one(filter, update).upsert(true).await
        })
        .await?;
        Ok(())
    }

    async fn heartbeats(&self, limit: usize) -> Result<Vec<Heartbeat>, StoreError> {
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
            Some(Heartbeat {
                instance_id: instance.get_str("_id").ok()?.to_owned(),
                number: instance.get_i64("expires_ms").unwrap_or(0),
                lost_nodes: instance
                    .get_array("lost_nodes")
                    .ok()
                    .map(|ids| node_ids(ids)),
            })
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
