//! News within one process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Bus, Subscription, Unsubscribe};
use crate::domain::id::SessionId;

type Topics = HashMap<SessionId, watch::Sender<()>>;

/// Reaches the subscribers of this process.
#[derive(Default)]
pub struct LocalBus {
    /// Only sessions that somebody watches.
    topics: Arc<Mutex<Topics>>,
}

fn lock(topics: &Mutex<Topics>) -> MutexGuard<'_, Topics> {
    // Nothing below panics while it holds the lock, and the map is sound at every step.
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus for LocalBus {
    fn publish(&self, session_id: &SessionId) {
        if let Some(topic) = lock(&self.topics).get(session_id) {
            topic.send_replace(());
        }
    }

    fn subscribe(&self, session_id: &SessionId) -> Subscription {
        let news = lock(&self.topics)
            .entry(session_id.clone())
            .or_insert_with(|| watch::channel(()).0)
            .subscribe();
        let (topics, session_id) = (Arc::clone(&self.topics), session_id.clone());
        let unsubscribe = move || {
            let mut topics = lock(&topics);
            // The subscription's own receiver is dropped before this runs.
            if topics
                .get(&session_id)
                .is_some_and(|topic| topic.receiver_count() == 0)
            {
                topics.remove(&session_id);
            }
        };
        Subscription {
            news,
            _unsubscribe: Unsubscribe(Some(Box::new(unsubscribe))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_topic_lives_as_long_as_its_last_subscription() {
        let bus = LocalBus::default();
        let session_id = SessionId::from_stored("sess_1".into());
        let mut first = bus.subscribe(&session_id);
        let second = bus.subscribe(&session_id);
        bus.publish(&session_id);
        first.heard().await;
        drop(first);
        assert_eq!(lock(&bus.topics).len(), 1);
        drop(second);
        assert!(lock(&bus.topics).is_empty());
    }
}
