//! Which instances live, and which of them holds whose connections.

use std::collections::BTreeSet;

use video_session::domain::id::{NodeId, SessionId};
use video_session::domain::role::Role;
use video_session::domain::session::Session;
use video_session::store::{Heartbeat, Stores};

use crate::backend::Backend;
use crate::presence::{connect_participant, disconnect_participant};
use crate::sample::{commit, end, insert, join};

const MANY: usize = 1000;

async fn held_by(stores: &Stores, instance: &str) -> BTreeSet<SessionId> {
    let held = stores
        .instances
        .sessions_held_by(instance, MANY)
        .await
        .unwrap();
    let distinct: BTreeSet<_> = held.iter().cloned().collect();
    assert_eq!(distinct.len(), held.len(), "each session once");
    distinct
}

pub(crate) fn ids<const N: usize>(sessions: [&Session; N]) -> BTreeSet<SessionId> {
    sessions.map(|session| session.session_id.clone()).into()
}

fn heartbeat(instance: &str, number: i64, lost_nodes: Option<&[&str]>) -> Heartbeat {
    let id = |id: &&str| NodeId::from_stored((*id).to_owned());
    Heartbeat {
        instance_id: instance.to_owned(),
        number,
        lost_nodes: lost_nodes.map(|ids| ids.iter().map(id).collect()),
    }
}

pub(crate) async fn an_instance_has_its_last_heartbeat(backend: &Backend) {
    let (store, other) = (&backend.stores.instances, &backend.others.instances);
    let heartbeats = async |limit| backend.others.instances.heartbeats(limit).await.unwrap();
    assert_eq!(heartbeats(10).await, []);
    let two = heartbeat("two", 2000, Some(&[]));
    store.write_heartbeat(&two).await.unwrap();
    let one = heartbeat("one", i64::MAX, Some(&["sfu-1", "sfu-2"]));
    other.write_heartbeat(&one).await.unwrap();
    assert_eq!(heartbeats(10).await, [one, two]);
    // Whether it is greater or not, and whether the instance observes nodes or not.
    let one = heartbeat("one", -5, None);
    let two = heartbeat("two", 2001, Some(&["sfu-2"]));
    store.write_heartbeat(&one).await.unwrap();
    store.write_heartbeat(&two).await.unwrap();
    assert_eq!(heartbeats(10).await, [one.clone(), two]);
    assert_eq!(heartbeats(1).await, std::slice::from_ref(&one));
    store.remove_instance("two").await.unwrap();
    store.remove_instance("two").await.unwrap();
    store.remove_instance("nobody").await.unwrap();
    assert_eq!(heartbeats(10).await, std::slice::from_ref(&one));
    let two = heartbeat("two", 1, Some(&[]));
    store.write_heartbeat(&two).await.unwrap();
    assert_eq!(heartbeats(10).await, [one, two]);
}

pub(crate) async fn a_former_version_has_no_say_about_nodes(backend: &Backend) {
    backend.write_former_heartbeat("former", 7).await;
    let found = backend.stores.instances.heartbeats(10).await.unwrap();
    assert_eq!(found, [heartbeat("former", 7, None)]);
}

pub(crate) async fn sessions_are_found_by_instance(backend: &Backend) {
    let store = backend.store.as_ref();
    let other = backend.other.as_ref();
    let mut here = insert(store, "held-1").await.session;
    let mut both = insert(store, "held-2").await.session;
    insert(store, "held-3").await;
    assert_eq!(held_by(&backend.stores, "one").await, BTreeSet::new());

    here = commit(
        store,
        &connect_participant(&here, "doctor-1", Role::Doctor, "one"),
    )
    .await;
    here = commit(
        store,
        &connect_participant(&here, "patient-1", Role::Patient, "one"),
    )
    .await;
    both = commit(
        store,
        &connect_participant(&both, "doctor-1", Role::Doctor, "one"),
    )
    .await;
    both = commit(
        other,
        &connect_participant(&both, "patient-1", Role::Patient, "two"),
    )
    .await;
    assert_eq!(held_by(&backend.others, "one").await, ids([&here, &both]));
    assert_eq!(held_by(&backend.stores, "two").await, ids([&both]));
    assert_eq!(
        backend
            .stores
            .instances
            .sessions_held_by("one", 1)
            .await
            .unwrap()
            .len(),
        1
    );

    // Issuing a token moves no participant.
    here = commit(store, &join(&here)).await;
    assert_eq!(held_by(&backend.others, "one").await, ids([&here, &both]));
    // The doctor's connection moves.
    both = commit(
        other,
        &connect_participant(&both, "doctor-1", Role::Doctor, "two"),
    )
    .await;
    assert_eq!(held_by(&backend.stores, "one").await, ids([&here]));
    assert_eq!(held_by(&backend.stores, "two").await, ids([&both]));
    here = commit(store, &disconnect_participant(&here, "doctor-1", "one")).await;
    assert_eq!(held_by(&backend.others, "one").await, ids([&here]));
    here = commit(store, &disconnect_participant(&here, "patient-1", "one")).await;
    assert_eq!(held_by(&backend.others, "one").await, BTreeSet::new());
    assert!(here.empty_since.is_some());
    commit(store, &end(&both, "over")).await;
    assert_eq!(held_by(&backend.stores, "two").await, BTreeSet::new());
}
