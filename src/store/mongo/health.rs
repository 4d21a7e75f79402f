//! The store as a whole.

use async_trait::async_trait;
use mongodb::bson::{Bson, doc};

use super::MongoStore;
use super::error::{is_unknown_command, within};
use crate::domain::time::Timestamp;
use crate::store::{StoreError, StoreHealth};

#[async_trait]
impl StoreHealth for MongoStore {
    fn is_shared(&self) -> bool {
        true
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.recheck_indexes_if_due();
        self.prepare().await?;
        let database = self.database.clone();
        within(self.timeout, async move {
            database.run_command(doc! {"ping": Bson::Int32(1)}).await
        })
        .await?;
        Ok(())
    }

    async fn server_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let database = self.database.clone();
        let answer = within(self.timeout, async move {
            let hello = database.run_command(doc! {"hello": Bson::Int32(1)}).await;
            match hello {
                // Servers that do not know the command know its former name.
                Err(error) if is_unknown_command(&error) => {
                    let former = doc! {"isMaster": Bson::Int32(1)};
                    database.run_command(former).await
                }
                answer => answer,
            }
        })
        .await?;
        let clock = answer.get_datetime("localTime").ok();
        Ok(clock.map(|clock| Timestamp::from_millis(clock.timestamp_millis())))
    }

    async fn close(&self) {
        self.client.clone().shutdown().await;
    }
}
