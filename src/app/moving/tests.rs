use std::time::Instant;

use super::*;
use crate::app::changes::ContentionConfig;
use crate::app::clock::SystemClock;
use crate::app::reconcile::{ReconcileConfig, Reconciler};
use crate::app::testing::{MemorySessions, NoNodes, access, session};
use crate::bus::local::LocalBus;
use crate::domain::change::Change;
use crate::domain::event::{Event, EventKind};
use crate::domain::health::{HealthTimes, ProbeFailure};
use crate::domain::medium::{MediaMode, Medium, MoveCause};
use crate::domain::node::SfuNode;
use crate::domain::place::Driver;
use crate::domain::session::JoinWindow;
use crate::domain::time::Timestamp;

/// Far longer than a test may take.
const NEVER: Duration = Duration::from_secs(3600);

fn id(name: &str) -> NodeId {
    NodeId::from_stored(name.to_owned())
}

/// A mover, and two nodes that are lost.
struct Outage {
    sessions: Arc<MemorySessions>,
    nodes: Arc<Nodes>,
    changes: Arc<Changes>,
    mover: Mover,
}

impl Outage {
    fn with(retry: Duration, found: &Session) -> Self {
        let sessions = Arc::<MemorySessions>::default();
        sessions.put(found.clone());
        let times = HealthTimes {
            down_after: Duration::ZERO,
            refused_after: Duration::ZERO,
            up_after: Duration::ZERO,
            flap_window: Duration::ZERO,
            up_after_max: Duration::ZERO,
        };
        let node = |name| SfuNode::new(id(name), String::new(), Driver::LiveKit);
        let nodes = Arc::new(Nodes::new(vec![node("here"), node("there")], times));
        for name in ["here", "there"] {
            nodes.note_probe(&id(name), Err(ProbeFailure::TimedOut), Instant::now());
        }
        nodes.set_lost_of_all(&[]);
        let (metrics, clock) = (Arc::new(Metrics::default()), Arc::new(SystemClock));
        let access = access(&sessions, &metrics);
        let config = ReconcileConfig {
            waiting_max: 1,
            concurrent_max: 1,
        };
        let reconciler = Reconciler::new(
            Arc::clone(&access),
            Arc::default(),
            clock.clone(),
            Arc::clone(&metrics),
            config,
            0,
        );
        let contention = ContentionConfig {
            attempts_max: 10,
            wait: NEVER,
        };
        let changes = Arc::new(Changes::new(
            Arc::clone(&access),
            Arc::new(LocalBus::default()),
            Arc::new(reconciler),
            Arc::clone(&metrics),
            contention,
            tokio_util::task::TaskTracker::new(),
        ));
        let config = MoveConfig {
            retry,
            concurrent_max: 1,
            overlap_secs: 0,
        };
        let operations = NodeOperations {
            nodes: Arc::clone(&nodes),
            store: Arc::new(NoNodes),
            access: Arc::clone(&access),
            clock: clock.clone(),
            window: JoinWindow {
                early_secs: 0,
                late_secs: 0,
            },
            attempts_max: 1,
            instance_id: "here".into(),
        };
        let mover = Mover::new(
            access,
            Arc::clone(&changes),
            Arc::new(operations),
            clock,
            metrics,
            config,
        );
        Self {
            sessions,
            nodes,
            changes,
            mover,
        }
    }

    /// Lets the mover work until something is so.
    async fn until(&self, is_so: impl Fn() -> bool) {
        let waiting = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waiting = tokio::time::timeout(Duration::from_secs(30), waiting);
        tokio::select! {
            () = self.mover.run() => {}
            waited = waiting => waited.expect("this should have happened by now"),
        }
    }

    /// How often the mover has read the sessions of both nodes, at least.
    fn passes(&self) -> usize {
        // Live sessions, and those to which nobody has come.
        self.sessions.lists() / 4
    }
}

#[tokio::test]
async fn sessions_that_no_node_can_take_are_read_more_and_more_rarely() {
    let retry = Duration::from_millis(1);
    let outage = Outage::with(retry, &session(MediaMode::Sfu, Driver::LiveKit));
    let began = Instant::now();
    outage.until(|| outage.passes() >= 10).await;
    // 1 + 2 + 4 + … + 128 milliseconds.
    assert!(began.elapsed() >= retry * 255, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_node_that_can_take_them_ends_the_pause() {
    let found = session(MediaMode::Sfu, Driver::LiveKit);
    let outage = Outage::with(NEVER, &found);
    let returned = std::cell::Cell::new(false);
    outage
        .until(|| {
            if outage.passes() >= 1 && !returned.replace(true) {
                outage
                    .nodes
                    .note_probe(&id("there"), Ok(()), Instant::now());
                outage
                    .nodes
                    .note_probe(&id("there"), Ok(()), Instant::now());
            }
            outage.sessions.read(&found.session_id).place.node_id == id("there")
        })
        .await;
}

/// The session after its call went to the node.
fn call_on_node(session: &Session) -> Change {
    let kind = EventKind::MediumChanged {
        medium: Medium::Sfu,
        cause: MoveCause::ThirdPublisher,
    };
    let version = session.version + 1;
    let session_id = session.session_id.clone();
    let event = Event::new(version, session_id, Timestamp::MIN, Actor::Backend, kind);
    let session = Session {
        version,
        medium: Medium::Sfu,
        ..session.clone()
    };
    Change {
        session,
        events: vec![event],
    }
}

#[tokio::test]
async fn a_call_that_goes_to_a_lost_node_ends_the_pause() {
    let found = session(MediaMode::Auto, Driver::LiveKit);
    let outage = Outage::with(NEVER, &found);
    let acting = async {
        while outage.passes() < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let going = outage.changes.change(&found.session_id, |session| {
            Ok(Decision::Commit(Box::new(call_on_node(session)), ()))
        });
        going.await.unwrap();
    };
    let is_between_browsers = || {
        let session = outage.sessions.read(&found.session_id);
        session.version > found.version + 1 && session.medium == Medium::PeerToPeer
    };
    tokio::join!(outage.until(is_between_browsers), acting);
}
