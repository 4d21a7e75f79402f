//! The records of SFU nodes, and what is on each node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use video_session::domain::id::NodeId;
use video_session::domain::node::NodeUse;
use video_session::domain::node_record::{NODE_EVENTS_MAX, NodeRecord, NodeState};
use video_session::domain::page::{SessionFilter, SessionQuery};
use video_session::domain::place::Driver;
use video_session::domain::role::Role;
use video_session::domain::session::Schedule;
use video_session::domain::time::Timestamp;
use video_session::store::{Committed, Stores};

use crate::backend::Backend;
use crate::presence::connect_participant;
use crate::sample::{commit, end, insert, join, now, request, stored, unplaced};

fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

async fn save(stores: &Stores, record: &NodeRecord) -> Committed {
    stores.nodes.save_node(record).await.unwrap()
}

fn drained(record: &NodeRecord) -> NodeRecord {
    let deadline = Some(Duration::from_secs(60));
    record
        .drain("new kernel", deadline, now())
        .expect("changed")
}

pub(crate) async fn a_node_reads_back_as_it_was_stored(backend: &Backend) {
    let read = async || backend.others.nodes.node_records().await.unwrap();
    assert_eq!(read().await, []);
    let two = drained(&NodeRecord::new(id("sfu-2")));
    assert_eq!(save(&backend.stores, &two).await, Committed::Stored);
    let one = NodeRecord::new(id("sfu-1")).lose("timed-out", now());
    let one = one.expect("changed");
    let one = NodeRecord {
        incarnation: Some("first".to_owned()),
        renewed_by: Some("instance".to_owned()),
        ..one
    };
    assert_eq!(save(&backend.others, &one).await, Committed::Stored);
    assert_eq!(read().await, [one.clone(), two.clone()], "by id");
    let one = one.come_back(now()).expect("changed");
    let two = two.activate(now()).expect("changed");
    assert_eq!(save(&backend.stores, &one).await, Committed::Stored);
    assert_eq!(save(&backend.others, &two).await, Committed::Stored);
    assert_eq!(read().await, [one, two]);
}

pub(crate) async fn a_save_over_another_version_stores_nothing(backend: &Backend) {
    let none = NodeRecord::new(id("sfu-1"));
    let first = drained(&none);
    let second = first.activate(now()).expect("changed");
    // Before there is a first one.
    assert_eq!(save(&backend.stores, &second).await, Committed::Conflict);
    assert_eq!(backend.stores.nodes.node_records().await.unwrap(), []);
    assert_eq!(save(&backend.stores, &first).await, Committed::Stored);
    let other = none.lose("denied", now()).expect("changed");
    assert_eq!(save(&backend.others, &other).await, Committed::Conflict);
    assert_eq!(save(&backend.others, &second).await, Committed::Stored);
    let late = first.lose("denied", now()).expect("changed");
    assert_eq!(save(&backend.stores, &late).await, Committed::Conflict);
    assert_eq!(backend.stores.nodes.node_records().await.unwrap(), [second]);
}

pub(crate) async fn one_of_racing_saves_is_stored(backend: &Backend) {
    let mut record = NodeRecord::new(id("sfu-1"));
    for round in 0..5_u64 {
        let racers = (0..16_u64).map(|n| {
            let handle = if n % 2 == 0 {
                &backend.stores
            } else {
                &backend.others
            };
            let nodes = Arc::clone(&handle.nodes);
            let reason = format!("round {round}, racer {n}");
            let next = record.drain(&reason, None, now()).expect("changed");
            tokio::spawn(async move { (nodes.save_node(&next).await.unwrap(), next) })
        });
        let mut stored = Vec::new();
        for outcome in join_all(racers).await {
            let (committed, next) = outcome.unwrap();
            if committed == Committed::Stored {
                stored.push(next);
            }
        }
        assert_eq!(stored.len(), 1);
        record = stored.remove(0);
        let read = backend.stores.nodes.node_records().await.unwrap();
        assert_eq!(read, std::slice::from_ref(&record));
    }
}

pub(crate) async fn a_node_keeps_its_newest_events(backend: &Backend) {
    let mut record = NodeRecord::new(id("sfu-1"));
    for _ in 0..NODE_EVENTS_MAX {
        record = record.lose("timed-out", now()).expect("changed");
        assert_eq!(save(&backend.stores, &record).await, Committed::Stored);
        record = record.come_back(now()).expect("changed");
        assert_eq!(save(&backend.stores, &record).await, Committed::Stored);
    }
    let read = backend.others.nodes.node_records().await.unwrap().remove(0);
    assert_eq!(read, record);
    assert_eq!(read.events.len(), NODE_EVENTS_MAX);
}

pub(crate) async fn fields_of_another_version_of_a_node_survive(backend: &Backend) {
    let first = drained(&NodeRecord::new(id("sfu-1")));
    save(&backend.stores, &first).await;
    let strange = json!({"of": [1, {"another": "version"}]});
    backend
        .set_node_field("sfu-1", "from_the_future", strange.clone())
        .await;
    let read = backend.others.nodes.node_records().await.unwrap().remove(0);
    assert_eq!((read.state, read.version), (NodeState::Draining, 1));
    let next = read.activate(now()).expect("changed");
    assert_eq!(save(&backend.stores, &next).await, Committed::Stored);
    let kept = backend.node_field("sfu-1", "from_the_future").await;
    assert_eq!(kept, Some(strange));
    // A state that this version does not know must not be taken for another.
    backend
        .set_node_field("sfu-1", "state", json!("from-the-future"))
        .await;
    let read = backend.stores.nodes.node_records().await.unwrap().remove(0);
    assert_eq!(read.state, NodeState::Draining);
}

pub(crate) async fn an_unreadable_node_gets_no_sessions_and_blocks_no_other(backend: &Backend) {
    let damages = [
        ("state", json!("from-the-future")),
        ("version", json!("one")),
        ("events", json!(7)),
    ];
    let read = async || {
        let read = backend.others.nodes.node_records().await.unwrap();
        let all = read
            .into_iter()
            .map(|record| (record.node_id.to_string(), record));
        all.collect::<BTreeMap<_, _>>()
    };
    let mut good = drained(&NodeRecord::new(id("good")));
    save(&backend.stores, &good).await;
    for (field, value) in damages {
        let stored = NodeRecord::new(id(field)).lose("denied", now());
        let stored = stored.expect("changed");
        save(&backend.stores, &stored).await;
        backend.set_node_field(field, field, value.clone()).await;
        let unreadable = read().await.remove(field).expect("listed");
        // Whoever cannot read it cannot know that it may have sessions.
        assert_eq!(unreadable.state, NodeState::Draining, "{field}");
        assert_eq!((unreadable.deadline, unreadable.version), (None, 0));
        // Nothing is decided over it, and nothing is stored over it.
        let decisions = [
            unreadable.drain("other", None, now()),
            unreadable.activate(now()),
            unreadable.lose("denied", now()),
            unreadable.come_back(now()),
            unreadable.start("again", "one", now()),
        ];
        assert_eq!(decisions, [const { None }; 5], "{field}");
        let over = save(&backend.others, &unreadable).await;
        assert_eq!(over, Committed::Conflict);
        assert_eq!(backend.node_field(field, field).await, Some(value));
        // The others go on.
        good = good.drain(field, None, now()).expect("changed");
        assert_eq!(save(&backend.others, &good).await, Committed::Stored);
        assert_eq!(read().await.remove("good"), Some(good.clone()));
    }
}

async fn uses(stores: &Stores) -> BTreeMap<String, NodeUse> {
    let uses = stores.nodes.node_uses().await.unwrap().into_iter();
    uses.map(|node_use| (node_use.node_id.to_string(), node_use))
        .collect()
}

pub(crate) async fn what_is_on_a_node_is_counted(backend: &Backend) {
    let store = backend.store.as_ref();
    assert_eq!(uses(&backend.stores).await, BTreeMap::new());
    let at = |secs: i64| Timestamp::from_millis(1_790_000_000_000 + 1000 * secs);
    let mut sessions = Vec::new();
    // Three nodes take turns: 0, 3 and 6 are on the first.
    for n in 0..7 {
        let mut asked = request(&format!("on-{n}"));
        asked.schedule = Schedule {
            start: None,
            end: (n != 3).then(|| at(n)),
        };
        sessions.push(stored(store, unplaced(asked, None)).await.session);
    }
    let mut live = connect_participant(&sessions[0], "doctor-1", Role::Doctor, "one");
    live = connect_participant(
        &commit(store, &live).await,
        "patient-1",
        Role::Patient,
        "one",
    );
    let live = commit(store, &live).await;
    commit(store, &end(&sessions[1], "over")).await;
    commit(store, &end(&sessions[4], "over")).await;
    let node_use =
        |name: &str, live, scheduled, participants, last: Option<i64>, endless| NodeUse {
            node_id: id(name),
            sessions_live: live,
            sessions_scheduled: scheduled,
            participants,
            last_scheduled_end: last.map(at),
            sessions_without_end: endless,
        };
    let expected = [
        node_use("sfu-1", 1, 2, 2, Some(6), 1),
        node_use("sfu-3", 0, 2, 0, Some(5), 0),
    ];
    let found: Vec<_> = uses(&backend.others).await.into_values().collect();
    assert_eq!(found, expected, "nothing is left on sfu-2");
    commit(store, &end(&live, "over")).await;
    assert_eq!(
        uses(&backend.others).await["sfu-1"],
        node_use("sfu-1", 0, 2, 0, Some(6), 1)
    );
}

pub(crate) async fn a_session_that_moves_is_found_on_its_new_node(backend: &Backend) {
    let store = backend.store.as_ref();
    let session = insert(store, "moves").await.session;
    let mut moved = connect_participant(&session, "doctor-1", Role::Doctor, "one");
    moved.session.place = (session.place).next(&session.session_id, id("sfu-9"), Driver::Builtin);
    let moved = commit(store, &moved).await;
    let moved = commit(store, &join(&moved)).await;
    let on = async |node: &str| {
        let filter = SessionFilter {
            sfu_node_id: Some(id(node)),
            ..SessionFilter::default()
        };
        let query = SessionQuery {
            filter,
            before: None,
            limit: 10,
        };
        let listed = backend.other.list(&query).await.unwrap();
        listed.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(on("sfu-9").await, [moved]);
    assert_eq!(on("sfu-1").await, []);
    let found: Vec<_> = uses(&backend.others).await.into_keys().collect();
    assert_eq!(found, ["sfu-9"]);
}
