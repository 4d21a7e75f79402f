//! The turns that insert takes.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use video_session::domain::error::Error;
use video_session::domain::id::{AppointmentId, NodeId};
use video_session::domain::place::Driver;
use video_session::store::{AtTurn, Insert, Inserted, NewSession};

use crate::backend::Backend;
use crate::sample::{insert, new_session, request, unplaced};

pub(crate) async fn turns_continue_through_any_handle(backend: &Backend) {
    let mut nodes = Vec::new();
    for n in 0..10 {
        // In pairs, then alternating.
        let handle = backend.handle(if n < 6 { n / 2 } else { n });
        let change = insert(handle.as_ref(), &format!("turn-{n}")).await;
        nodes.push(change.session.place.node_id.to_string());
    }
    let expected: Vec<_> = (0..10).map(|n| format!("sfu-{}", n % 3 + 1)).collect();
    assert_eq!(nodes, expected);
}

pub(crate) async fn concurrent_inserts_take_one_turn_each(backend: &Backend) {
    const NODES: usize = 100;
    let inserts = (0..NODES * 2).map(|n| {
        let store = Arc::clone(backend.handle(n));
        tokio::spawn(async move {
            let unplaced = unplaced(request(&format!("concurrent-{n}")), None);
            match store.insert(new_session(unplaced, NODES)).await.unwrap() {
                Inserted::Stored(change) => change.session.place.node_id,
                other => panic!("{other:?}: no other caller creates it"),
            }
        })
    });
    let mut counts = HashMap::new();
    for node in join_all(inserts).await {
        *counts.entry(node.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), NODES);
    assert!(counts.values().all(|count| *count == 2), "{counts:?}");
}

pub(crate) async fn every_list_of_nodes_is_served_by_the_same_turns(backend: &Backend) {
    let mut nodes = Vec::new();
    // An operator adds nodes and takes them away: the turns go on.
    for (n, count) in [2, 2, 3, 3, 1, 4].into_iter().enumerate() {
        let unplaced = unplaced(request(&format!("nodes-{n}")), None);
        match backend
            .handle(n)
            .insert(new_session(unplaced, count))
            .await
            .unwrap()
        {
            Inserted::Stored(change) => nodes.push(change.session.place.node_id.to_string()),
            other => panic!("{other:?}: no other caller creates it"),
        }
    }
    assert_eq!(
        nodes,
        ["sfu-1", "sfu-2", "sfu-3", "sfu-1", "sfu-1", "sfu-2"]
    );
}

/// A session on a node named after its turn. It can take only the turns that `divisor` divides.
fn picky(appointment: &str, rotation: &str, divisor: u64) -> NewSession {
    let request = request(appointment);
    let rotation = rotation.to_owned();
    NewSession::new(request.appointment_id.clone(), move |_| {
        let unplaced = unplaced(request.clone(), None);
        Insert::New(AtTurn::new(
            rotation.clone(),
            move |turn| turn.next_multiple_of(divisor),
            move |turn| {
                let node_id = NodeId::parse(format!("turn-{turn}")).unwrap();
                unplaced.place(node_id, Driver::Builtin)
            },
        ))
    })
}

async fn turn_of(backend: &Backend, n: usize, new: NewSession) -> String {
    match backend.handle(n).insert(new).await.unwrap() {
        Inserted::Stored(change) => change.session.place.node_id.to_string(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn each_rotation_has_its_own_turns(backend: &Backend) {
    let mut turns = Vec::new();
    let names = ["", "eu", "", "eu", "eu+sfu", "eu", ""];
    for (n, rotation) in names.into_iter().enumerate() {
        turns.push(turn_of(backend, n, picky(&format!("named-{n}"), rotation, 1)).await);
    }
    let expected = [
        "turn-0", "turn-0", "turn-1", "turn-1", "turn-0", "turn-2", "turn-2",
    ];
    assert_eq!(turns, expected);
}

pub(crate) async fn unusable_turns_are_passed_over(backend: &Backend) {
    let mut turns = Vec::new();
    for (n, divisor) in [1, 4, 4, 1, 100, 1].into_iter().enumerate() {
        turns.push(turn_of(backend, n, picky(&format!("picky-{n}"), "", divisor)).await);
    }
    assert_eq!(
        turns,
        [
            "turn-0", "turn-4", "turn-8", "turn-9", "turn-100", "turn-101"
        ]
    );
    // Also at once, each turn is taken only once, and none is passed over that a caller could take.
    const COUNT: usize = 60;
    let inserts = (0..COUNT).map(|n| {
        let store = Arc::clone(backend.handle(n));
        let new = picky(&format!("at-once-{n}"), "busy", 3);
        tokio::spawn(async move { store.insert(new).await.unwrap() })
    });
    let mut taken = Vec::new();
    for inserted in join_all(inserts).await {
        let Inserted::Stored(change) = inserted.unwrap() else {
            panic!("no other caller creates it");
        };
        let node_id = change.session.place.node_id.to_string();
        taken.push(node_id["turn-".len()..].parse::<usize>().unwrap());
    }
    taken.sort_unstable();
    assert!(taken.iter().all(|turn| turn.is_multiple_of(3)), "{taken:?}");
    taken.dedup();
    assert_eq!(taken.len(), COUNT, "each once");
}

pub(crate) async fn a_refused_insert_stores_nothing(backend: &Backend) {
    let appointment_id = AppointmentId::parse("refused").unwrap();
    let error = Error::NoNodeAvailable {
        region: None,
        named: None,
    };
    let refuse = NewSession::new(appointment_id.clone(), {
        let error = error.clone();
        move |_| Insert::Refuse(error.clone())
    });
    let outcome = backend.store.insert(refuse).await.unwrap();
    assert_eq!(outcome, Inserted::Refused(error));
    let latest = backend.other.latest_session(&appointment_id).await.unwrap();
    assert_eq!(latest, None);
    assert_eq!(turn_of(backend, 0, picky("next", "", 1)).await, "turn-0");
}
