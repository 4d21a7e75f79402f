//! Turns: one at a time, first come, first served. A call that lost a race goes first, so that no call starves.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A queue of calls that take turns.
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

/// A turn. Dropping it passes it to the next call in the queue.
pub(super) struct Turn {
    /// `None` once it was passed on.
    turns: Option<Arc<TurnQueue>>,
}

/// The priority of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    /// A call's first turn.
    New,
    /// A turn after a lost race.
    Retry,
}

impl TurnQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while holding the lock, and the state is valid at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn. Dropping the future gives up the place in the queue.
    pub(super) async fn acquire(self: &Arc<Self>, priority: Priority) -> Turn {
        let waiting = {
            let mut state = self.lock();
            if state.taken {
                let (sender, waiting) = oneshot::channel();
                let queue = match priority {
                    Priority::New => &mut state.new_calls,
                    Priority::Retry => &mut state.retries,
                };
                // Cancelled calls are removed here too, so that the queue does not grow during a long turn.
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
                // The call was cancelled. Its turn must not pass itself on, because this loop does.
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
    async fn turns_come_one_at_a_time_and_retries_go_first() {
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
    async fn cancelled_calls_get_no_turn() {
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
        // All but one are cancelled before the turn comes, and that one after it was sent the turn, before it took it.
        let handed = leaving.remove(0);
        drop(leaving);
        drop(first);
        drop(handed);
        assert!(stays.as_mut().now_or_never().is_some());
    }
}
