//! News that a session has changed. Only a hint to look at the store: it may be lost, and what was missed is found by
//! looking again.

pub mod local;

use tokio::sync::watch;

use crate::domain::id::SessionId;

/// Carries news from whoever commits to whoever watches.
pub trait Bus: Send + Sync {
    /// Tells the session's subscribers, after a commit. Never waits.
    fn publish(&self, session_id: &SessionId);

    /// Hears of the session from now on.
    fn subscribe(&self, session_id: &SessionId) -> Subscription;
}

/// Hears of one session until dropped.
pub struct Subscription {
    news: watch::Receiver<()>,
    /// Runs when the subscription is dropped.
    _unsubscribe: Unsubscribe,
}

impl Subscription {
    /// Waits for news that came after the last call; several at once count as one. Waits for ever when the bus is gone.
    pub async fn heard(&mut self) {
        if self.news.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

struct Unsubscribe(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for Unsubscribe {
    fn drop(&mut self) {
        if let Some(unsubscribe) = self.0.take() {
            unsubscribe();
        }
    }
}
