//! The turns that insert takes.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use video_session::store::Inserted;

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
                Inserted::Kept(_) | Inserted::Taken => panic!("no other caller creates it"),
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
            Inserted::Kept(_) | Inserted::Taken => panic!("no other caller creates it"),
        }
    }
    assert_eq!(
        nodes,
        ["sfu-1", "sfu-2", "sfu-3", "sfu-1", "sfu-1", "sfu-2"]
    );
}
