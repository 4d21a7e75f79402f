//! What other instances do, for those who follow sessions here.

use super::Parts;

pub(super) async fn run(parts: Parts) {
    parts.app.feed.run().await;
}
