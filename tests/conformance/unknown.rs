//! What another version stored in a session, and what a former one did not.

use serde_json::{Value, json};
use video_session::domain::participant::Invite;
use video_session::domain::place::{Driver, Place};
use video_session::domain::role::Role;
use video_session::domain::session::Session;
use video_session::domain::unknown::UnknownFields;

use crate::backend::Backend;
use crate::presence::{connect_participant, disconnect_participant};
use crate::sample::{commit, insert, join, user};

fn strange(n: i64) -> Value {
    json!({"of": ["another", {"version": n}], "number": 1_i64 << 60})
}

/// The session without what this version does not know.
fn known(session: &Session) -> Session {
    Session {
        unknown_fields: UnknownFields::default(),
        ..session.clone()
    }
}

pub(crate) async fn fields_of_another_version_survive_changes(backend: &Backend) {
    let (store, other) = (backend.store.as_ref(), backend.other.as_ref());
    let mut session = insert(store, "another-version").await.session;
    session = commit(
        store,
        &connect_participant(&session, "patient-1", Role::Patient, "one"),
    )
    .await;
    session = commit(
        store,
        &connect_participant(&session, "doctor-1", Role::Doctor, "one"),
    )
    .await;
    let mut invited = join(&session);
    invited.session.invites = vec![Invite {
        user_id: user("guest"),
        role: Role::Guest,
        display_name: String::new(),
        expire_time: None,
        since: 1,
    }];
    session = commit(store, &invited).await;
    let session_id = session.session_id.clone();
    let fields = [
        "from_the_future",
        "participants.0.from_the_future",
        "participants.1.from_the_future",
        "invites.0.from_the_future",
    ];
    for (n, field) in (0..).zip(fields) {
        backend.set_field(&session_id, field, strange(n)).await;
    }

    // They change nothing of what is known,
    let read = other.get(&session_id).await.unwrap().expect("it is there");
    assert_eq!(known(&read), session);
    // and a change does not lose them, whatever it changes.
    session = commit(other, &join(&read)).await;
    for (n, field) in (0..).zip(fields) {
        let stored = backend.field(&session_id, field).await;
        assert_eq!(stored, Some(strange(n)), "{field}");
    }
    // The first of the list leaves, with what belongs to them.
    let first = session.participants[0].user_id.to_string();
    session = commit(store, &disconnect_participant(&session, &first, "one")).await;
    let of_the_other = backend.field(&session_id, "participants.0.from_the_future");
    assert_eq!(of_the_other.await, Some(strange(2)));
    let of_the_session = backend.field(&session_id, "from_the_future");
    assert_eq!(of_the_session.await, Some(strange(0)));
    let read = other.get(&session_id).await.unwrap().expect("it is there");
    assert_eq!(known(&read), known(&session));
    assert_eq!(read.participants.len(), 1);
}

pub(crate) async fn a_place_reads_back_and_has_defaults(backend: &Backend) {
    let store = backend.store.as_ref();
    let created = insert(store, "places").await.session;
    let session_id = &created.session_id;
    // As former versions stored it: nothing but the node.
    for field in ["driver", "room_name", "place_generation"] {
        assert_eq!(backend.field(session_id, field).await, None, "{field}");
    }
    assert_eq!(
        created.place,
        Place {
            node_id: created.place.node_id.clone(),
            driver: Driver::Builtin,
            room_name: format!("room_{session_id}"),
            generation: 1,
        }
    );
    let mut moved = join(&created);
    moved.session.place =
        created
            .place
            .next(session_id, created.place.node_id.clone(), Driver::Builtin);
    let moved = commit(store, &moved).await;
    let read = backend.other.get(session_id).await.unwrap();
    assert_eq!(read, Some(moved.clone()));
    assert_eq!(moved.place.room_name, format!("room_{session_id}_2"));
    let mut session = moved;
    for driver in Driver::ALL {
        let mut driven = join(&session);
        driven.session.place.driver = *driver;
        session = commit(store, &driven).await;
        let read = backend.other.get(session_id).await.unwrap();
        assert_eq!(read.as_ref(), Some(&session));
    }
    // A name that follows from nothing is kept as it is.
    let mut named = join(&session);
    named.session.place.room_name = "of-the-drivers-own".to_owned();
    let named = commit(store, &named).await;
    let read = backend.other.get(session_id).await.unwrap();
    assert_eq!(read, Some(named));
}
