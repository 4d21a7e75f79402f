//! The store as a whole.

use crate::backend::Backend;

pub(crate) async fn an_available_store_answers(backend: &Backend) {
    backend.stores.health.ping().await.unwrap();
    backend.others.health.ping().await.unwrap();
}
