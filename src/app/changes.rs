//! Serializes the changes of one session within this instance, and commits waiting changes together.
//!
//! A call takes a turn, decides over the session as the calls before it leave it, and joins their batch. The first call of a
//! batch queues a committer behind the calls already waiting; the call that fills the batch hands its turn to the committer. A
//! cancelled caller leaves nothing undone.
//!
//! Instances do not wait for each other: their batches race, the store accepts one, and the calls of the other decide again. Only
//! the version check makes this correct; turns only make races rare.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::access::StoreAccess;
use super::qualities::Qualities;
use super::reconcile::Reconciler;
use super::turns::{Priority, Turn, TurnQueue};
use crate::bus::{Bus, Message};
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::id::SessionId;
use crate::domain::session::Session;
use crate::store::{Committed, StoreError};
use crate::telemetry::metrics::Metrics;

/// The number of events that fills a batch, so that it stays one small write.
const BATCH_EVENTS_MAX: usize = 64;
/// The longest pause after a batch lost a race against another instance's, in milliseconds: the time of a few commits.
const BACK_OFF_MAX_MS: u64 = 16;

/// What to do with a session in its current version.
pub(super) enum Decision<T> {
    /// Commit the change, then return the answer.
    Commit(Box<Change>, T),
    /// Commit nothing, and return the answer.
    Keep(T),
}

impl<T> Decision<T> {
    /// The same decision with another answer.
    pub(super) fn map<U>(self, answer: impl FnOnce(T) -> U) -> Decision<U> {
        match self {
            Self::Commit(change, value) => Decision::Commit(change, answer(value)),
            Self::Keep(value) => Decision::Keep(answer(value)),
        }
    }
}

impl Decision<Session> {
    /// Commits the change, if there is one, and answers with the resulting session.
    pub(super) fn commit_or_keep(change: Option<Change>, session: &Session) -> Self {
        match change {
            Some(change) => {
                let answer = change.session.clone();
                Self::Commit(Box::new(change), answer)
            }
            None => Self::Keep(session.clone()),
        }
    }
}

/// How often, and for how long, a change is tried again.
#[derive(Debug, Clone, Copy)]
pub struct ContentionConfig {
    /// How often a change is tried again when other instances change the same session.
    pub attempts_max: u32,
    /// For how long it is tried again.
    pub wait: Duration,
}

/// Changes sessions.
pub(super) struct Changes {
    access: Arc<StoreAccess>,
    bus: Arc<dyn Bus>,
    /// Learns of what the changes take from nodes.
    reconciler: Arc<Reconciler>,
    metrics: Arc<Metrics>,
    /// What goes into the events of participants who leave.
    pub(super) qualities: Arc<Qualities>,
    config: ContentionConfig,
    /// A call went over to its node, by a change of this instance.
    call_on_node: Arc<Notify>,
    /// Commits continue after their callers were cancelled.
    tasks: TaskTracker,
    queues: Arc<Queues>,
}

/// The sessions that calls of this instance are changing.
#[derive(Default)]
struct Queues {
    by_session: Mutex<HashMap<SessionId, InUse>>,
}

struct InUse {
    queue: Arc<Queue>,
    /// The number of handles.
    handles: usize,
}

/// The calls that change one session.
struct Queue {
    session_id: SessionId,
    turns: Arc<TurnQueue>,
    /// The decided changes that wait for the committer's turn.
    batch: Mutex<Option<Batch>>,
    /// When the store last answered.
    last_answer_at: Mutex<Instant>,
    /// How many batches in a row lost a race against another instance's.
    races_lost: AtomicU32,
}

struct Batch {
    /// The session as the batch leaves it.
    session: Session,
    /// All changes so far, as one; `None` until there is one.
    change: Option<Change>,
    outcome: watch::Sender<Option<Result<Committed, Arc<StoreError>>>>,
    /// Hands the committer the turn of the call that fills the batch; `None` until there is a committer.
    committer: Option<oneshot::Sender<Turn>>,
}

/// A queue in use. The last one to be dropped removes the queue.
struct QueueHandle {
    queues: Arc<Queues>,
    queue: Arc<Queue>,
}

/// The outcome of an attempt.
enum Attempt<T> {
    /// The call has its result.
    Settled(Result<T, Error>),
    /// Another instance changed the session first.
    RaceLost,
}

/// How long a call has waited, and since when without progress.
struct WaitBudget {
    started: Instant,
    /// When the store was last seen to answer.
    progressed: Instant,
}

/// No code panics while holding one of these locks, and their values are valid at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queues {
    fn queue(self: &Arc<Self>, session_id: &SessionId) -> QueueHandle {
        let mut queues = lock(&self.by_session);
        let in_use = queues.entry(session_id.clone()).or_insert_with(|| InUse {
            queue: Arc::new(Queue {
                session_id: session_id.clone(),
                turns: Arc::default(),
                batch: Mutex::default(),
                last_answer_at: Mutex::new(Instant::now()),
                races_lost: AtomicU32::new(0),
            }),
            handles: 0,
        });
        in_use.handles += 1;
        QueueHandle {
            queues: Arc::clone(self),
            queue: Arc::clone(&in_use.queue),
        }
    }
}

impl Drop for QueueHandle {
    fn drop(&mut self) {
        let mut queues = lock(&self.queues.by_session);
        let session_id = &self.queue.session_id;
        if let Some(in_use) = queues.get_mut(session_id) {
            in_use.handles -= 1;
            if in_use.handles == 0 {
                queues.remove(session_id);
            }
        }
    }
}

impl Queue {
    fn take_batch(&self) -> Option<Batch> {
        lock(&self.batch).take()
    }

    fn put_batch(&self, batch: Batch) {
        *lock(&self.batch) = Some(batch);
    }

    fn last_answer_at(&self) -> Instant {
        *lock(&self.last_answer_at)
    }

    fn record_store_answer(&self) {
        *lock(&self.last_answer_at) = Instant::now();
    }
}

impl Batch {
    fn of(session: Session) -> Self {
        Self {
            session,
            change: None,
            outcome: watch::Sender::new(None),
            committer: None,
        }
    }

    fn is_full(&self) -> bool {
        self.change
            .as_ref()
            .is_some_and(|change| change.events.len() >= BATCH_EVENTS_MAX)
    }

    fn add(&mut self, change: Change) {
        self.session = change.session.clone();
        self.change = Some(match self.change.take() {
            Some(before) => before.then(change),
            None => change,
        });
    }
}

impl Changes {
    pub(super) fn new(
        access: Arc<StoreAccess>,
        bus: Arc<dyn Bus>,
        reconciler: Arc<Reconciler>,
        metrics: Arc<Metrics>,
        config: ContentionConfig,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            access,
            bus,
            reconciler,
            metrics,
            qualities: Arc::default(),
            config,
            call_on_node: Arc::default(),
            tasks,
            queues: Arc::default(),
        }
    }

    /// Waits until a call goes over to its node, by a change of this instance. For one caller.
    pub(super) async fn call_on_node(&self) {
        self.call_on_node.notified().await;
    }

    /// Decides over a session as it is stored, and commits the decision. Decides again if another instance's change came first.
    ///
    /// # Errors
    /// Those of `decide`; [`Error::SessionNotFound`]; [`Error::StoreUnavailable`] when the store does not answer for
    /// `store_timeout`; [`Error::Contention`] when other instances change the session first `commit_attempts_max` times, or
    /// for `contention_wait`; [`Error::Overloaded`] when calls of this instance keep this one waiting for that long.
    pub(super) async fn change<T>(
        &self,
        session_id: &SessionId,
        decide: impl Fn(&Session) -> Result<Decision<T>, Error>,
    ) -> Result<T, Error> {
        let handle = self.queues.queue(session_id);
        let now = Instant::now();
        let mut budget = WaitBudget {
            started: now,
            progressed: now,
        };
        let mut races_lost = 0;
        loop {
            let priority = if races_lost == 0 {
                Priority::New
            } else {
                Priority::Retry
            };
            match self
                .try_change(&handle, priority, &mut budget, &decide)
                .await?
            {
                Attempt::Settled(outcome) => return outcome,
                Attempt::RaceLost => races_lost += 1,
            }
            budget.progressed = Instant::now();
            if races_lost >= self.config.attempts_max || self.is_spent(&budget) {
                return Err(self.access.contention_error());
            }
        }
    }

    async fn try_change<T>(
        &self,
        handle: &QueueHandle,
        priority: Priority,
        budget: &mut WaitBudget,
        decide: &impl Fn(&Session) -> Result<Decision<T>, Error>,
    ) -> Result<Attempt<T>, Error> {
        let queue = &handle.queue;
        let turn = self.wait_for_turn(queue, priority, budget).await?;
        let mut batch = match queue.take_batch() {
            Some(batch) => batch,
            None => {
                let reading = self.access.read_session(&queue.session_id);
                let session = self.within_wait_budget(budget, reading).await??;
                queue.record_store_answer();
                Batch::of(session)
            }
        };
        let answer = match decide(&batch.session) {
            Ok(Decision::Commit(mut change, answer)) => {
                self.qualities.complete(&batch.session, &mut change);
                batch.add(*change);
                Ok(answer)
            }
            Ok(Decision::Keep(answer)) => Ok(answer),
            Err(error) => Err(error),
        };
        if batch.change.is_none() {
            return Ok(Attempt::Settled(answer));
        }
        // A decision over uncommitted changes, even to do nothing, is valid only once they are committed.
        let mut outcome = batch.outcome.subscribe();
        let committer = match batch.committer.take() {
            Some(committer) => committer,
            None => self.spawn_committer(handle),
        };
        if batch.is_full() {
            queue.put_batch(batch);
            // Fails only when the runtime shuts down and has dropped the committer.
            let _ = committer.send(turn);
        } else {
            batch.committer = Some(committer);
            queue.put_batch(batch);
            drop(turn);
        }
        let outcome = outcome.wait_for(Option::is_some);
        let outcome = self.within_wait_budget(budget, outcome).await?;
        let outcome = outcome.map(|outcome| outcome.clone());
        match outcome {
            Ok(Some(Ok(Committed::Stored))) => Ok(Attempt::Settled(answer)),
            Ok(Some(Ok(Committed::Conflict))) => Ok(Attempt::RaceLost),
            Ok(Some(Err(error))) => Err(self.access.commit_error(&error)),
            // A committer that panicked leaves no outcome.
            Ok(None) | Err(_) => Err(Error::Internal),
        }
    }

    /// Waits for a turn as long as the calls before this one make progress.
    async fn wait_for_turn(
        &self,
        queue: &Queue,
        priority: Priority,
        budget: &mut WaitBudget,
    ) -> Result<Turn, Error> {
        let mut turn = pin!(queue.turns.acquire(priority));
        loop {
            let give_up = budget.progressed + self.access.wait.timeout;
            let waited = timeout_at(give_up, turn.as_mut()).await;
            let answered = queue.last_answer_at();
            let store_answers = answered > budget.progressed;
            budget.progressed = budget.progressed.max(answered);
            match waited {
                Ok(turn) => return Ok(turn),
                Err(_) if !store_answers => return Err(self.access.store_timeout_error()),
                Err(_) if self.is_spent(budget) => {
                    return Err(match priority {
                        // No other instance interfered; this one is overloaded.
                        Priority::New => self.access.overloaded_error(),
                        Priority::Retry => self.access.contention_error(),
                    });
                }
                Err(_) => {}
            }
        }
    }

    async fn within_wait_budget<T>(
        &self,
        budget: &WaitBudget,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let give_up = budget.progressed + self.access.wait.timeout;
        timeout_at(give_up, work)
            .await
            .map_err(|_| self.access.store_timeout_error())
    }

    fn is_spent(&self, budget: &WaitBudget) -> bool {
        budget.started.elapsed() >= self.config.wait
    }

    /// Starts the task that commits the batch on its turn and publishes a hint, even if every caller was cancelled meanwhile.
    /// Returns the channel that hands it a turn.
    fn spawn_committer(&self, handle: &QueueHandle) -> oneshot::Sender<Turn> {
        let handle = handle.queues.queue(&handle.queue.session_id);
        let (store, bus) = (Arc::clone(&self.access.sessions), Arc::clone(&self.bus));
        let metrics = Arc::clone(&self.metrics);
        let reconciler = Arc::clone(&self.reconciler);
        let qualities = Arc::clone(&self.qualities);
        let call_on_node = Arc::clone(&self.call_on_node);
        let (sender, handed_over) = oneshot::channel();
        self.tasks.spawn(async move {
            let queue = &handle.queue;
            let _turn = tokio::select! {
                biased;
                Ok(turn) = handed_over => turn,
                turn = queue.turns.acquire(Priority::New) => turn,
            };
            let Some(Batch {
                change: Some(change),
                outcome,
                session: _,
                committer: _,
            }) = queue.take_batch()
            else {
                return;
            };
            let committed = store.commit(&change).await;
            if matches!(committed, Ok(Committed::Stored)) {
                reconciler.note_change(&change);
                qualities.settle(&change, &metrics);
                if change.brings_call_to_node() {
                    call_on_node.notify_one();
                }
                bus.publish(Message::Changed(change.session.session_id));
            }
            let lost = matches!(committed, Ok(Committed::Conflict));
            queue.record_store_answer();
            outcome.send_replace(Some(committed.map_err(Arc::new)));
            if lost {
                metrics.commit_conflicts.inc();
                let races_lost = queue.races_lost.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(back_off(races_lost)).await;
            } else {
                queue.races_lost.store(0, Ordering::Relaxed);
            }
        });
        sender
    }
}

/// A random pause that grows with the races lost.
pub(super) fn back_off(races_lost: u32) -> Duration {
    let most = 1_u64
        .checked_shl(races_lost)
        .map_or(BACK_OFF_MAX_MS, |most| most.min(BACK_OFF_MAX_MS));
    Duration::from_micros(fastrand::u64(0..=most * 1000))
}
