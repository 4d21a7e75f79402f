//! Reads the changes of other instances from the feed, for followers of sessions on this instance.

use super::Parts;

pub(super) async fn run(parts: Parts) {
    parts.app.feed.run().await;
}
