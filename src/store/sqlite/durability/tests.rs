//! The answers of the embedded store while a sync is in progress, and after one that failed.

use std::sync::mpsc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::*;
use crate::store::sqlite::{Config, SqliteStore, Tuning};
use crate::store::{Heartbeat, InstanceStore as _, StoreHealth as _};

/// A small write.
fn write_heartbeat<'a>(
    store: &'a SqliteStore,
    instance_id: &str,
    number: i64,
) -> BoxFuture<'a, Result<(), StoreError>> {
    let heartbeat = Heartbeat::new(instance_id, number);
    async move { store.write_heartbeat(&heartbeat).await }.boxed()
}

/// The outcomes of syncs, chosen by the test.
type Outcomes = mpsc::Sender<io::Result<()>>;

/// A sync that reports when it begins, and then waits for its outcome.
fn gated() -> (SyncLog, mpsc::Receiver<()>, Outcomes) {
    let (begins, begun) = mpsc::channel();
    let (outcomes, outcome) = mpsc::channel();
    let sync = move || {
        begins.send(()).map_err(io::Error::other)?;
        outcome.recv().map_err(io::Error::other)?
    };
    (Box::new(sync), begun, outcomes)
}

/// The writer hands every batch to the thread.
const ALWAYS: usize = 0;
/// The writer syncs every batch itself.
const NEVER: usize = usize::MAX;

fn open(dir: &tempfile::TempDir, overlap_min: usize, sync: SyncLog) -> SqliteStore {
    let config = Config {
        data_dir: dir.path().to_owned(),
        readers: 1,
        queue_max: 16,
        batch_max: 16,
    };
    let tuning = Tuning {
        overlap_min,
        ..Tuning::default()
    };
    SqliteStore::open_tuned(&config, &tuning, |_| sync).unwrap()
}

fn disk_error() -> io::Error {
    io::Error::other("the disk is gone")
}

/// Checks for long enough that an answer does not arrive.
async fn assert_unanswered(answer: &mut (impl Future + Unpin)) {
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(answer.now_or_never().is_none());
    }
}

#[tokio::test]
async fn no_answer_precedes_the_writers_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (sync, begun, outcomes) = gated();
    let store = open(&dir, NEVER, sync);
    let mut write = write_heartbeat(&store, "one", 1);
    assert!((&mut write).now_or_never().is_none());
    begun.recv().unwrap();
    let mut read = store.heartbeats(9);
    assert_unanswered(&mut read).await;
    assert_unanswered(&mut write).await;
    outcomes.send(Ok(())).unwrap();
    write.await.unwrap();
    assert_eq!(read.await.unwrap(), [Heartbeat::new("one", 1)]);
}

#[tokio::test]
async fn no_answer_precedes_the_threads_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (sync, begun, outcomes) = gated();
    let store = open(&dir, ALWAYS, sync);
    // Nothing is to be synced yet.
    assert_eq!(store.heartbeats(9).await.unwrap(), []);
    let mut write = write_heartbeat(&store, "one", 1);
    assert!((&mut write).now_or_never().is_none());
    begun.recv().unwrap();
    // Committed, and not synced. The next one is committed meanwhile, and a read may see both.
    let mut next = write_heartbeat(&store, "two", 2);
    assert_unanswered(&mut next).await;
    let mut read = store.heartbeats(9);
    assert_unanswered(&mut read).await;
    assert_unanswered(&mut write).await;
    outcomes.send(Ok(())).unwrap();
    write.await.unwrap();
    begun.recv().unwrap();
    assert_unanswered(&mut read).await;
    assert_unanswered(&mut next).await;
    outcomes.send(Ok(())).unwrap();
    next.await.unwrap();
    let both = [Heartbeat::new("one", 1), Heartbeat::new("two", 2)];
    assert_eq!(read.await.unwrap(), both);
    assert_eq!(store.heartbeats(9).await.unwrap(), both);
}

#[tokio::test]
async fn after_a_failed_sync_the_store_answers_nothing_until_reopened() {
    for overlap_min in [ALWAYS, NEVER] {
        fails_for_good(overlap_min).await;
    }
}

async fn fails_for_good(overlap_min: usize) {
    let dir = tempfile::tempdir().unwrap();
    let (sync, begun, outcomes) = gated();
    let store = open(&dir, overlap_min, sync);
    outcomes.send(Ok(())).unwrap();
    write_heartbeat(&store, "one", 1).await.unwrap();
    begun.recv().unwrap();
    store.ping().await.unwrap();
    assert!(store.lost().now_or_never().is_none());

    let mut write = write_heartbeat(&store, "two", 2);
    assert!((&mut write).now_or_never().is_none());
    begun.recv().unwrap();
    let mut next = write_heartbeat(&store, "three", 3);
    assert_unanswered(&mut next).await;
    let mut read = store.heartbeats(9);
    assert_unanswered(&mut read).await;
    // Whatever comes later would succeed.
    outcomes.send(Err(disk_error())).unwrap();
    outcomes.send(Ok(())).unwrap();
    outcomes.send(Ok(())).unwrap();
    let unavailable = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))));
    };
    unavailable(write.await);
    unavailable(next.await);
    unavailable(read.await.map(|_| ()));
    unavailable(write_heartbeat(&store, "four", 4).await);
    unavailable(store.heartbeats(9).await.map(|_| ()));
    unavailable(store.ping().await);
    store.lost().await;
    store.close().await;
    drop(store);

    let store = open(&dir, overlap_min, Box::new(|| Ok(())));
    let instances = store.heartbeats(9).await.unwrap();
    assert!(instances.contains(&Heartbeat::new("one", 1)));
    write_heartbeat(&store, "five", 5).await.unwrap();
}

#[tokio::test]
async fn closing_the_store_syncs_and_answers_waiting_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (sync, begun, outcomes) = gated();
    let store = open(&dir, ALWAYS, sync);
    let mut write = write_heartbeat(&store, "one", 1);
    assert!((&mut write).now_or_never().is_none());
    begun.recv().unwrap();
    let mut closing = store.close();
    assert_unanswered(&mut closing).await;
    outcomes.send(Ok(())).unwrap();
    closing.await;
    write.await.unwrap();
}

struct Told(mpsc::Sender<Result<(), StoreError>>);

impl Answer for Told {
    fn send_outcome(self: Box<Self>, durable: Result<(), StoreError>) {
        self.0.send(durable).unwrap();
    }
}

#[test]
fn reads_beyond_the_limit_are_refused() {
    let (sync, _begun, outcomes) = gated();
    let syncer = Syncer::start(sync, 2).unwrap();
    syncer.begin_commit();
    let (teller, told) = mpsc::channel();
    let answers = (0..3).map(|_| Box::new(Told(teller.clone())) as Box<dyn Answer>);
    syncer.durability().answer_reads(answers);
    assert!(matches!(told.recv().unwrap(), Err(StoreError::Overloaded)));
    assert!(told.try_recv().is_err());
    outcomes.send(Ok(())).unwrap();
    let batch = Batch {
        answers: Vec::new(),
        written: true,
    };
    syncer.settle(batch, true);
    assert!(told.recv().unwrap().is_ok());
    assert!(told.recv().unwrap().is_ok());
}
