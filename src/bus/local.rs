//! The bus within one process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Bus, ChangeSubscription, Message, Relay, RelayQueue, RelaySubscription, Unsubscribe};
use crate::domain::id::SessionId;

/// A bus that reaches the subscribers of this process.
#[derive(Default)]
pub struct LocalBus {
    subscribers: Arc<Subscribers>,
}

/// Has entries only for sessions with a subscriber. Each lock is held only for a look-up and for queueing without waiting.
#[derive(Default)]
struct Subscribers {
    changes: Mutex<HashMap<SessionId, watch::Sender<()>>>,
    relays: Mutex<HashMap<SessionId, Vec<RelayQueue>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds a lock, and each map is consistent at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subscribers {
    fn publish_change(&self, session_id: &SessionId) {
        if let Some(hints) = lock(&self.changes).get(session_id) {
            hints.send_replace(());
        }
    }

    fn publish_relay(&self, relay: Relay) {
        let relay = Arc::new(relay);
        // Under the lock, so that all subscriptions receive all relays in one order.
        if let Some(queues) = lock(&self.relays).get(&relay.session_id) {
            for queue in queues {
                queue.push(Arc::clone(&relay));
            }
        }
    }

    /// Runs after the subscription's receiver was dropped.
    fn remove_change_subscriber(&self, session_id: &SessionId) {
        let mut changes = lock(&self.changes);
        if let Some(hints) = changes.get(session_id)
            && hints.receiver_count() == 0
        {
            changes.remove(session_id);
        }
    }

    /// Runs after the subscription's receiver was dropped.
    fn remove_relay_subscriber(&self, session_id: &SessionId) {
        let mut relays = lock(&self.relays);
        if let Some(queues) = relays.get_mut(session_id) {
            queues.retain(RelayQueue::has_subscriber);
            if queues.is_empty() {
                relays.remove(session_id);
            }
        }
    }
}

impl Bus for LocalBus {
    fn publish(&self, message: Message) {
        match message {
            Message::Changed(session_id) => self.subscribers.publish_change(&session_id),
            Message::Relay {
                relay,
                instances: _,
            } => self.subscribers.publish_relay(relay),
        }
    }

    fn publish_here(&self, session_id: &SessionId) {
        self.subscribers.publish_change(session_id);
    }

    fn is_up(&self) -> watch::Receiver<bool> {
        watch::Sender::new(false).subscribe()
    }

    fn hears(&self, _instance_id: &str) -> bool {
        false
    }

    fn gaps(&self) -> watch::Receiver<()> {
        watch::Sender::new(()).subscribe()
    }

    fn subscribe_changes(&self, session_id: &SessionId) -> ChangeSubscription {
        let hints = lock(&self.subscribers.changes)
            .entry(session_id.clone())
            .or_insert_with(|| watch::channel(()).0)
            .subscribe();
        let (subscribers, session_id) = (Arc::clone(&self.subscribers), session_id.clone());
        ChangeSubscription {
            hints,
            _unsubscribe: Unsubscribe::new(move || {
                subscribers.remove_change_subscriber(&session_id);
            }),
        }
    }

    fn subscribe_relays(&self, session_id: &SessionId) -> RelaySubscription {
        let (subscribers, session) = (Arc::clone(&self.subscribers), session_id.clone());
        let (queue, subscription) =
            RelayQueue::new(move || subscribers.remove_relay_subscriber(&session));
        lock(&self.subscribers.relays)
            .entry(session_id.clone())
            .or_default()
            .push(queue);
        subscription
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_is_removed_with_its_last_subscription() {
        let bus = LocalBus::default();
        let session_id = SessionId::from_stored("sess_1".into());
        let mut first = bus.subscribe_changes(&session_id);
        let second = bus.subscribe_changes(&session_id);
        bus.publish(Message::Changed(session_id.clone()));
        first.changed().await;
        drop(first);
        assert_eq!(lock(&bus.subscribers.changes).len(), 1);
        drop(second);
        assert!(lock(&bus.subscribers.changes).is_empty());

        let first = bus.subscribe_relays(&session_id);
        let second = bus.subscribe_relays(&session_id);
        drop(first);
        assert_eq!(lock(&bus.subscribers.relays)[&session_id].len(), 1);
        drop(second);
        assert!(lock(&bus.subscribers.relays).is_empty());
    }
}
