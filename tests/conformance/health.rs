//! The store as a whole.

use crate::backend::Backend;

pub(crate) async fn a_store_that_is_there_answers(backend: &Backend) {
    backend.stores.health.ping().await.unwrap();
    backend.others.health.ping().await.unwrap();
}
