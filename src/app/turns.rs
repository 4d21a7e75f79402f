//! TurnQueue: one at a time, in the order of new_calls. A call that lost a race and priority again goes before those that ask for the
//! first time, so that nobody loses for ever.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Hands out turns.
#[derive(Default)]
pub(super) struct TurnQueue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: bool,
    retries: VecDeque<oneshot::Sender<Turn>>,
    new_calls: VecDeque<oneshot::Sender<Turn>>,
}

/// The turn, which passes to the next in the queue when it is dropped.
pub(super) struct Turn {
    /// `None` once it has passed on.
    turns: Option<Arc<TurnQueue>>,
}

/// Who priority for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    /// For the first time.
    New,
    /// After a turn that came to nothing.
    Retry,
}

impl TurnQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and the state is sound at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn. The place in the queue is given up when the future is dropped.
    pub(super) async fn acquire(self: &Arc<Self>, priority: Priority) -> Turn {
        let waiting = {
            let mut state = self.lock();
            if state.taken {
                let (sender, waiting) = oneshot::channel();
                let queue = match priority {
                    Priority::New => &mut state.new_calls,
                    Priority::Retry => &mut state.retries,
                };
                // Those who have gone away leave the queue here too, lest it grow while a turn lasts.
                while queue.front().is_some_and(oneshot::Sender::is_closed) {
                    queue.pop_front();
                }
                queue.push_back(sender);
                Some(waiting)
            } else {
                state.taken = true;
                None
            }
        };
        let turn = match waiting {
            Some(waiting) => waiting.await.ok(),
            None => None,
        };
        turn.unwrap_or_else(|| Turn {
            turns: Some(Arc::clone(self)),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.turns.take() else {
            return;
        };
        loop {
            let next = {
                let mut state = turns.lock();
                let next = (state.retries.pop_front()).or_else(|| state.new_calls.pop_front());
                if next.is_none() {
                    state.taken = false;
                }
                next
            };
            let Some(next) = next else {
                return;
            };
            let turn = Turn {
                turns: Some(Arc::clone(&turns)),
            };
            match next.send(turn) {
                Ok(()) => return,
                // Who asked has gone away. This one must not pass the turn on by itself, as this loop does.
                Err(mut turn) => turn.turns = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn turns_are_handed_out_one_at_a_time_and_to_who_asks_again_first() {
        let turns = Arc::new(TurnQueue::default());
        let first = turns.acquire(Priority::New).await;
        let mut second = Box::pin(turns.acquire(Priority::New));
        let mut again = Box::pin(turns.acquire(Priority::Retry));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(again.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.as_mut().now_or_never().is_none());
        let turn = again.as_mut().now_or_never().expect("its turn");
        drop(turn);
        let turn = second.as_mut().now_or_never().expect("its turn");
        drop(turn);
        assert!(turns.acquire(Priority::New).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_turn_passes_by_those_who_have_gone_away() {
        let turns = Arc::new(TurnQueue::default());
        let first = turns.acquire(Priority::New).await;
        let mut leaving: Vec<_> = (0..1000)
            .map(|_| Box::pin(turns.acquire(Priority::New)))
            .collect();
        for waiting in &mut leaving {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        let mut stays = Box::pin(turns.acquire(Priority::New));
        assert!(stays.as_mut().now_or_never().is_none());
        // One goes away before the turn comes, another one after it was handed the turn and before it took it.
        let handed = leaving.remove(0);
        drop(leaving);
        drop(first);
        drop(handed);
        assert!(stays.as_mut().now_or_never().is_some());
    }
}
