//! What the service does with sessions, as a backend sees it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost_types::{FieldMask, Timestamp};
use tokio::task::JoinSet;
use video_session::domain::error::Reason;
use video_session::domain::time::Timestamp as Moment;
use video_session::proto::v1;
use video_session::proto::v1::{EndCause, Role, SessionState};

use crate::harness::{
    Client, Setup, create, created, end, fields, get, in_secs, join, jwt_part, metadata, refused,
};

const HOUR: i64 = 3600;

fn rfc3339(time: Timestamp) -> String {
    Moment::from_unix(time.seconds, time.nanos)
        .unwrap()
        .to_string()
}

fn plus(time: Timestamp, secs: i64) -> Timestamp {
    Timestamp {
        seconds: time.seconds + secs,
        ..time
    }
}

fn scheduled(
    appointment_id: &str,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
) -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        scheduled_start_time: start,
        scheduled_end_time: end,
        ..create(appointment_id)
    }
}

fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

async fn get_latest(client: &mut Client, appointment_id: &str) -> v1::Session {
    let key = v1::get_session_request::Key::AppointmentId(appointment_id.to_owned());
    let request = v1::GetSessionRequest { key: Some(key) };
    let answer = client.get_session(request).await.unwrap();
    answer.into_inner().session.unwrap()
}

// === create ===

#[tokio::test]
async fn a_created_session_is_complete() {
    let setup = Setup::new().set("CLIENT_BASE_URL", "https://video.example/app/");
    let service = setup.start().await;
    let mut client = service.client();
    let (start, end) = (in_secs(HOUR), in_secs(2 * HOUR));
    let before = in_secs(0);
    let request = v1::CreateSessionRequest {
        labels: labels(&[("ward", "3"), ("language", "größer")]),
        ..scheduled("appointment-1", Some(start), Some(end))
    };
    let session = created(&mut client, request).await;

    assert!(session.session_id.starts_with("sess_"));
    assert_eq!(session.appointment_id, "appointment-1");
    assert_eq!(session.doctor_id, "doctor-1");
    assert_eq!(session.patient_id, "patient-1");
    assert_eq!(session.room_name, format!("room_{}", session.session_id));
    assert_eq!(session.sfu_node_id, "sfu-1");
    let base_url = format!("https://video.example/app/join/{}", session.session_id);
    assert_eq!(session.base_url, base_url);
    assert_eq!(session.state(), SessionState::Created);
    assert_eq!(session.create_time, session.update_time);
    let create_time = session.create_time.unwrap();
    assert!(before.seconds <= create_time.seconds && create_time.seconds <= in_secs(1).seconds);
    assert_eq!(session.end_time, None);
    assert_eq!(session.scheduled_start_time, Some(start));
    assert_eq!(session.scheduled_end_time, Some(end));
    assert_eq!(session.end_reason, "");
    assert_eq!(session.labels["language"], "größer");
    assert_eq!(session.version, 1);

    assert_eq!(
        get(&mut client, &session.session_id).await.unwrap(),
        session
    );
    assert_eq!(get_latest(&mut client, "appointment-1").await, session);
}

#[tokio::test]
async fn a_repeated_create_answers_the_session_as_it_is() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let request = scheduled("appointment-1", Some(in_secs(0)), Some(in_secs(HOUR)));
    let session = created(&mut client, request.clone()).await;
    let other_labels = v1::CreateSessionRequest {
        labels: labels(&[("other", "labels")]),
        ..request.clone()
    };
    for request in [request, other_labels] {
        let again = client.create_session(request).await.unwrap().into_inner();
        assert!(!again.created);
        assert_eq!(again.session.unwrap(), session);
    }
}

#[tokio::test]
async fn a_create_that_differs_names_what_does_and_overwrites_nothing() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let request = scheduled("appointment-1", Some(in_secs(0)), Some(in_secs(HOUR)));
    let session = created(&mut client, request.clone()).await;
    let other = |change: fn(&mut v1::CreateSessionRequest)| {
        let mut request = request.clone();
        change(&mut request);
        request
    };
    let cases = [
        ("doctor_id", other(|r| r.doctor_id = "doctor-2".into())),
        ("patient_id", other(|r| r.patient_id = "patient-2".into())),
        (
            "scheduled_start_time",
            other(|r| r.scheduled_start_time = None),
        ),
        (
            "scheduled_end_time",
            other(|r| r.scheduled_end_time = Some(in_secs(2 * HOUR))),
        ),
        (
            "doctor_id,patient_id,scheduled_start_time,scheduled_end_time",
            v1::CreateSessionRequest {
                doctor_id: "doctor-2".into(),
                patient_id: "patient-2".into(),
                ..create("appointment-1")
            },
        ),
        ("doctor_name", other(|r| r.doctor_name = "Dr. Other".into())),
        (
            "doctor_id,patient_id",
            other(|r| std::mem::swap(&mut r.doctor_id, &mut r.patient_id)),
        ),
    ];
    for (field, request) in cases {
        let outcome = client.create_session(request).await;
        let details = refused(outcome, Reason::AppointmentConflict);
        assert_eq!(metadata(&details, "field"), field);
        assert_eq!(metadata(&details, "session_id"), session.session_id);
    }
    assert_eq!(
        get(&mut client, &session.session_id).await.unwrap(),
        session
    );
}

#[tokio::test]
async fn a_hundred_racing_creates_make_one_session() {
    let service = Setup::new().start().await;
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let mut client = service.client();
        calls.spawn(async move { client.create_session(create("appointment-1")).await });
    }
    let answers: Vec<_> = calls.join_all().await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap().into_inner())
        .collect();
    assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
    let ids: BTreeSet<_> = answers
        .into_iter()
        .map(|answer| answer.session.unwrap().session_id)
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(
        list_all(&mut service.client(), <_>::default()).await.len(),
        1
    );
}

#[tokio::test]
async fn an_ended_session_never_blocks_its_appointment() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let first = created(&mut client, create("appointment-1")).await;
    let first = end(&mut client, &first.session_id, "network").await;
    let with_another_doctor = v1::CreateSessionRequest {
        doctor_id: "doctor-2".into(),
        ..create("appointment-1")
    };
    let second = created(&mut client, with_another_doctor).await;
    assert_ne!(first.session_id, second.session_id);
    assert_ne!(first.room_name, second.room_name);
    assert_eq!(get_latest(&mut client, "appointment-1").await, second);
    assert_eq!(get(&mut client, &first.session_id).await.unwrap(), first);

    let second = end(&mut client, &second.session_id, "done").await;
    assert_eq!(get_latest(&mut client, "appointment-1").await, second);
}

// === update ===

fn update(session: &v1::Session, paths: &[&str]) -> v1::UpdateSessionRequest {
    v1::UpdateSessionRequest {
        session_id: session.session_id.clone(),
        update_mask: Some(FieldMask {
            paths: paths.iter().map(ToString::to_string).collect(),
        }),
        ..Default::default()
    }
}

async fn updated(
    client: &mut Client,
    request: v1::UpdateSessionRequest,
) -> Result<v1::Session, tonic::Status> {
    let answer = client.update_session(request).await?;
    Ok(answer.into_inner().session.unwrap())
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_nothing_else() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let before = created(
        &mut client,
        v1::CreateSessionRequest {
            labels: labels(&[("ward", "3")]),
            ..scheduled("appointment-1", Some(in_secs(0)), Some(in_secs(HOUR)))
        },
    )
    .await;
    let all_fields = v1::UpdateSessionRequest {
        scheduled_start_time: Some(in_secs(60)),
        scheduled_end_time: Some(in_secs(2 * HOUR)),
        labels: labels(&[("ward", "4"), ("room", "1")]),
        doctor_id: "doctor-2".into(),
        ..update(&before, &["doctor_id"])
    };
    let after = updated(&mut client, all_fields.clone()).await.unwrap();
    let expected = v1::Session {
        doctor_id: "doctor-2".into(),
        version: 2,
        update_time: after.update_time,
        ..before.clone()
    };
    assert_eq!(after, expected);
    assert_eq!(get(&mut client, &before.session_id).await.unwrap(), after);

    let everything = v1::UpdateSessionRequest {
        update_mask: Some(FieldMask {
            paths: vec!["*".into()],
        }),
        ..all_fields.clone()
    };
    let after = updated(&mut client, everything.clone()).await.unwrap();
    assert_eq!(after.scheduled_start_time, all_fields.scheduled_start_time);
    assert_eq!(after.scheduled_end_time, all_fields.scheduled_end_time);
    assert_eq!(after.labels, all_fields.labels);
    assert_eq!(after.version, 3);

    let again = updated(&mut client, everything).await.unwrap();
    assert_eq!(again, after, "an update that changes nothing is no change");
}

/// The name of a doctor who was replaced is not shown for the new one.
#[tokio::test]
async fn the_doctors_name_goes_with_the_doctor() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let request = v1::CreateSessionRequest {
        doctor_name: "Dr. Ana Ruiz".into(),
        ..create("appointment-1")
    };
    let session = created(&mut client, request).await;
    assert_eq!(session.doctor_name, "Dr. Ana Ruiz");
    // A repeated create that does not say it asks for the same session.
    let again = client.create_session(create("appointment-1")).await;
    assert_eq!(again.unwrap().into_inner().session.unwrap(), session);
    for (doctor_id, doctor_name, shown) in [
        ("", "Dr. Ana Ruiz Gil", "Dr. Ana Ruiz Gil"),
        ("doctor-2", "", ""),
        ("doctor-3", "Dr. Lee", "Dr. Lee"),
    ] {
        let request = v1::UpdateSessionRequest {
            doctor_id: doctor_id.into(),
            doctor_name: doctor_name.into(),
            ..update(&session, &[])
        };
        let session = updated(&mut client, request).await.unwrap();
        assert_eq!(session.doctor_name, shown);
    }
}

#[tokio::test]
async fn an_update_without_a_mask_changes_the_fields_that_are_given() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let before = created(&mut client, create("appointment-1")).await;
    for update_mask in [None, Some(FieldMask::default())] {
        let request = v1::UpdateSessionRequest {
            update_mask,
            labels: labels(&[("ward", "4")]),
            ..update(&before, &[])
        };
        let after = updated(&mut client, request).await.unwrap();
        let expected = v1::Session {
            labels: labels(&[("ward", "4")]),
            version: 2,
            update_time: after.update_time,
            ..before.clone()
        };
        assert_eq!(after, expected);
    }
    let nothing = updated(&mut client, update(&before, &[])).await;
    let details = refused(nothing, Reason::Validation);
    assert_eq!(fields(&details), ["update_mask"]);
}

#[tokio::test]
async fn a_field_that_is_named_but_not_given_is_cleared() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(
        &mut client,
        v1::CreateSessionRequest {
            labels: labels(&[("ward", "3")]),
            ..scheduled(
                "appointment-1",
                Some(in_secs(HOUR)),
                Some(in_secs(2 * HOUR)),
            )
        },
    )
    .await;
    let mask = ["scheduled_start_time", "scheduled_end_time", "labels"];
    let session = updated(&mut client, update(&session, &mask)).await.unwrap();
    assert_eq!(session.scheduled_start_time, None);
    assert_eq!(session.scheduled_end_time, None);
    assert_eq!(session.labels, HashMap::new());
    let request = join(&session.session_id, Role::Doctor);
    client.join_session(request).await.unwrap();

    for mask in ["doctor_id", "*"] {
        let outcome = updated(&mut client, update(&session, &[mask])).await;
        let details = refused(outcome, Reason::Validation);
        assert_eq!(fields(&details), ["doctor_id"]);
    }
}

#[tokio::test]
async fn an_update_is_refused_unless_it_makes_sense() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let request = scheduled("appointment-1", Some(in_secs(0)), Some(in_secs(HOUR)));
    let session = created(&mut client, request).await;
    let cases = [
        (update(&session, &["patient_id"]), "update_mask"),
        (update(&session, &["state", "labels"]), "update_mask"),
        (update(&session, &["labels.ward"]), "update_mask"),
        (
            v1::UpdateSessionRequest {
                scheduled_end_time: Some(in_secs(-HOUR)),
                ..update(&session, &[])
            },
            "scheduled_end_time",
        ),
        (
            v1::UpdateSessionRequest {
                scheduled_start_time: session.scheduled_end_time,
                ..update(&session, &[])
            },
            "scheduled_end_time",
        ),
        (
            v1::UpdateSessionRequest {
                doctor_id: "patient-1".into(),
                ..update(&session, &[])
            },
            "doctor_id",
        ),
    ];
    for (request, field) in cases {
        let details = refused(updated(&mut client, request).await, Reason::Validation);
        assert_eq!(fields(&details), [field]);
    }
    assert_eq!(
        get(&mut client, &session.session_id).await.unwrap(),
        session
    );
}

#[tokio::test]
async fn an_update_of_another_version_is_refused() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let request = |expected_version, doctor_id: &str| v1::UpdateSessionRequest {
        expected_version: Some(expected_version),
        doctor_id: doctor_id.to_owned(),
        ..update(&session, &[])
    };
    updated(&mut client, request(1, "doctor-2")).await.unwrap();
    for expected in [0, 1, 3, i64::MAX] {
        let outcome = updated(&mut client, request(expected, "doctor-3")).await;
        let details = refused(outcome, Reason::VersionMismatch);
        assert_eq!(metadata(&details, "expected_version"), expected.to_string());
        assert_eq!(metadata(&details, "stored_version"), "2");
    }
    let session = updated(&mut client, request(2, "doctor-3")).await.unwrap();
    assert_eq!(session.version, 3);
}

#[tokio::test]
async fn of_racing_updates_of_one_version_one_is_made() {
    let service = Setup::new().start().await;
    let session = created(&mut service.client(), create("appointment-1")).await;
    let mut calls = JoinSet::new();
    for n in 2..22 {
        let mut client = service.client();
        let request = v1::UpdateSessionRequest {
            expected_version: Some(1),
            doctor_id: format!("doctor-{n}"),
            ..update(&session, &[])
        };
        calls.spawn(async move { updated(&mut client, request).await });
    }
    let (made, refusals): (Vec<_>, Vec<_>) =
        calls.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for refusal in refusals {
        refused(refusal, Reason::VersionMismatch);
    }
}

#[tokio::test]
async fn a_doctor_who_stands_in_joins_instead_of_the_other() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let request = v1::UpdateSessionRequest {
        doctor_id: "doctor-2".into(),
        ..update(&session, &[])
    };
    updated(&mut client, request).await.unwrap();
    let as_doctor = |user_id: &str| v1::JoinSessionRequest {
        user_id: user_id.to_owned(),
        ..join(&session.session_id, Role::Doctor)
    };
    client.join_session(as_doctor("doctor-2")).await.unwrap();
    let outcome = client.join_session(as_doctor("doctor-1")).await;
    refused(outcome, Reason::NotAParticipant);
}

// === end ===

#[tokio::test]
async fn ending_is_for_good_and_safe_to_repeat() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let ended = end(&mut client, &session.session_id, "the doctor hung up").await;
    let expected = v1::Session {
        state: SessionState::Ended.into(),
        end_time: ended.update_time,
        update_time: ended.update_time,
        end_reason: "the doctor hung up".into(),
        end_cause: v1::EndCause::Backend.into(),
        version: 2,
        ..session.clone()
    };
    assert!(ended.end_time.is_some());
    assert_eq!(ended, expected);
    let again = end(&mut client, &session.session_id, "another reason").await;
    assert_eq!(again, ended);

    let request = v1::UpdateSessionRequest {
        doctor_id: "doctor-2".into(),
        expected_version: Some(1),
        ..update(&session, &[])
    };
    let details = refused(updated(&mut client, request).await, Reason::SessionEnded);
    assert_eq!(metadata(&details, "session_id"), session.session_id);
    let unknown = v1::EndSessionRequest {
        session_id: "sess_unknown".into(),
        ..Default::default()
    };
    refused(client.end_session(unknown).await, Reason::SessionNotFound);
}

// === list ===

async fn list(
    client: &mut Client,
    request: v1::ListSessionsRequest,
) -> Result<v1::ListSessionsResponse, tonic::Status> {
    Ok(client.list_sessions(request).await?.into_inner())
}

async fn list_all(client: &mut Client, mut request: v1::ListSessionsRequest) -> Vec<v1::Session> {
    let mut sessions = Vec::new();
    loop {
        let page = list(client, request.clone()).await.unwrap();
        sessions.extend(page.sessions);
        if page.next_page_token.is_empty() {
            return sessions;
        }
        request.page_token = page.next_page_token;
    }
}

async fn create_many(service: &crate::harness::Service, count: usize) -> BTreeSet<String> {
    let mut calls = JoinSet::new();
    let client = service.client();
    for n in 0..count {
        let mut client = client.clone();
        calls.spawn(async move {
            let session = created(&mut client, create(&format!("many-{n}"))).await;
            session.session_id
        });
    }
    calls.join_all().await.into_iter().collect()
}

/// Four sessions with two doctors, on two nodes in turn; the last one has ended.
async fn four_sessions(client: &mut Client) -> Vec<v1::Session> {
    let users = [
        ("ann", "pat"),
        ("bob", "ann"),
        ("ann", "pam"),
        ("bob", "pat"),
    ];
    let mut sessions = Vec::new();
    for (n, (doctor, patient)) in users.into_iter().enumerate() {
        let request = v1::CreateSessionRequest {
            doctor_id: doctor.to_owned(),
            patient_id: patient.to_owned(),
            ..create(&format!("appointment-{n}"))
        };
        sessions.push(created(client, request).await);
    }
    end(client, &sessions[3].session_id, "").await;
    sessions
}

fn filtered(set: impl FnOnce(&mut v1::ListSessionsRequest)) -> v1::ListSessionsRequest {
    let mut request = v1::ListSessionsRequest::default();
    set(&mut request);
    request
}

#[tokio::test]
async fn each_filter_of_a_list_holds() {
    let service = Setup::new().set("SFU_NODES", "a,b").start().await;
    let mut client = service.client();
    let sessions = four_sessions(&mut client).await;
    let cases = [
        (filtered(|_| ()), vec![3, 2, 1, 0]),
        (filtered(|f| f.set_state(SessionState::Ended)), vec![3]),
        (
            filtered(|f| f.set_state(SessionState::Created)),
            vec![2, 1, 0],
        ),
        (filtered(|f| f.set_state(SessionState::Active)), vec![]),
        (
            filtered(|f| f.appointment_id = "appointment-1".into()),
            vec![1],
        ),
        (filtered(|f| f.user_id = "ann".into()), vec![2, 1, 0]),
        (filtered(|f| f.user_id = "pat".into()), vec![3, 0]),
        (filtered(|f| f.user_id = "nobody".into()), vec![]),
        (filtered(|f| f.sfu_node_id = "b".into()), vec![3, 1]),
        (filtered(|f| f.created_after = Some(in_secs(HOUR))), vec![]),
        (
            filtered(|f| f.created_before = Some(in_secs(HOUR))),
            vec![3, 2, 1, 0],
        ),
        (
            filtered(|f| {
                f.user_id = "bob".into();
                f.sfu_node_id = "b".into();
                f.set_state(SessionState::Created);
            }),
            vec![1],
        ),
    ];
    for (request, expected) in cases {
        let found = list(&mut client, request.clone()).await.unwrap().sessions;
        let found: Vec<_> = found.iter().map(|session| &session.session_id).collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|n: usize| &sessions[n].session_id)
            .collect();
        assert_eq!(found, expected, "{request:?}");
    }
}

#[tokio::test]
async fn the_bounds_of_a_listed_time_are_excluded() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let sessions = four_sessions(&mut client).await;
    let [first, .., last] = sessions.as_slice() else {
        panic!("four sessions");
    };
    let between = filtered(|f| {
        f.created_after = first.create_time;
        f.created_before = last.create_time;
    });
    // Sessions of one millisecond are on the same side of a bound.
    let millis = |session: &v1::Session| {
        let time = session.create_time.unwrap();
        (time.seconds, time.nanos / 1_000_000)
    };
    let strictly_between =
        |session: &&v1::Session| millis(session) > millis(first) && millis(session) < millis(last);
    let expected: Vec<_> = sessions
        .iter()
        .filter(strictly_between)
        .rev()
        .cloned()
        .collect();
    assert_eq!(list(&mut client, between).await.unwrap().sessions, expected);
}

#[tokio::test]
async fn pages_are_complete_and_newest_first_while_sessions_are_being_created() {
    let service = Setup::new().start().await;
    let before = create_many(&service, 60).await;
    let writer = tokio::spawn({
        let mut client = service.client();
        async move {
            for n in 0.. {
                created(&mut client, create(&format!("meanwhile-{n}"))).await;
            }
        }
    });
    let request = v1::ListSessionsRequest {
        page_size: 7,
        ..Default::default()
    };
    let listed: Vec<_> = list_all(&mut service.client(), request)
        .await
        .into_iter()
        .map(|session| session.session_id)
        .collect();
    writer.abort();
    assert!(listed.is_sorted_by(|newer, older| newer > older));
    let listed: BTreeSet<_> = listed.into_iter().collect();
    assert!(listed.is_superset(&before));
}

#[tokio::test]
async fn a_page_has_fifty_sessions_unless_asked_and_five_hundred_at_the_most() {
    let service = Setup::new().start().await;
    create_many(&service, 510).await;
    let mut client = service.client();
    for (page_size, expected) in [(0, 50), (1, 1), (499, 499), (501, 500), (i32::MAX, 500)] {
        let request = v1::ListSessionsRequest {
            page_size,
            ..Default::default()
        };
        let page = list(&mut client, request.clone()).await.unwrap();
        assert_eq!(page.sessions.len(), expected);
        assert!(!page.next_page_token.is_empty());
    }
    let request = v1::ListSessionsRequest {
        page_size: 255,
        ..Default::default()
    };
    let first = list(&mut client, request.clone()).await.unwrap();
    let rest = v1::ListSessionsRequest {
        page_token: first.next_page_token,
        ..request
    };
    let rest = list(&mut client, rest).await.unwrap();
    assert_eq!(rest.sessions.len(), 255);
    assert_eq!(rest.next_page_token, "", "the last page may be full");
}

#[tokio::test]
async fn a_page_token_is_good_for_its_filters_only() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    create_many(&service, 3).await;
    let request = v1::ListSessionsRequest {
        page_size: 1,
        user_id: "doctor-1".into(),
        ..Default::default()
    };
    let token = list(&mut client, request.clone())
        .await
        .unwrap()
        .next_page_token;
    let other_size = v1::ListSessionsRequest {
        page_size: 2,
        page_token: token.clone(),
        ..request.clone()
    };
    let page = list(&mut client, other_size).await.unwrap();
    assert_eq!(page.sessions.len(), 2);
    let other_user = v1::ListSessionsRequest {
        user_id: "patient-1".into(),
        page_token: token.clone(),
        ..request.clone()
    };
    let no_filter = v1::ListSessionsRequest {
        page_token: token,
        ..Default::default()
    };
    for request in [other_user, no_filter] {
        let details = refused(list(&mut client, request).await, Reason::Validation);
        assert_eq!(fields(&details), ["page_token"]);
    }
}

// === nodes ===

#[tokio::test]
async fn nodes_take_turns_over_restarts_and_a_replay_takes_none() {
    let setup = Setup::new().set("SFU_NODES", "a=wss://a.example/sfu,b=wss://b.example,c");
    let mut placed = Vec::new();
    for run in 0..4 {
        let service = setup.start().await;
        let mut client = service.client();
        for n in 0..5 {
            let request = create(&format!("appointment-{run}-{n}"));
            let session = created(&mut client, request.clone()).await;
            let replayed = client.create_session(request).await.unwrap().into_inner();
            assert_eq!(replayed.session.unwrap().sfu_node_id, session.sfu_node_id);
            placed.push(session.sfu_node_id);
        }
        service.process.kill().await;
    }
    let expected: Vec<_> = ["a", "b", "c"].into_iter().cycle().take(20).collect();
    assert_eq!(placed, expected);
}

#[tokio::test]
async fn racing_creates_are_spread_evenly() {
    let service = Setup::new().set("SFU_NODES", "a,b,c,d").start().await;
    create_many(&service, 202).await;
    let mut counts = BTreeMap::<_, usize>::new();
    for session in list_all(&mut service.client(), <_>::default()).await {
        *counts.entry(session.sfu_node_id).or_default() += 1;
    }
    let spread = counts.values().max().unwrap() - counts.values().min().unwrap();
    assert!(counts.len() == 4 && spread <= 1, "{counts:?}");
}

#[tokio::test]
async fn a_join_tells_where_the_node_is() {
    let setup = Setup::new().set("SFU_NODES", "a=wss://a.example/sfu,b");
    let service = setup.start().await;
    let mut client = service.client();
    for (node_id, url) in [("a", "wss://a.example/sfu"), ("b", "")] {
        let session = created(&mut client, create(&format!("appointment-{node_id}"))).await;
        let request = join(&session.session_id, Role::Patient);
        let answer = client.join_session(request).await.unwrap().into_inner();
        let expected = v1::SfuNode {
            node_id: node_id.into(),
            url: url.into(),
            driver: v1::SfuDriver::Builtin.into(),
            ..v1::SfuNode::default()
        };
        assert_eq!(answer.sfu, Some(expected));
    }
}

// === join ===

#[tokio::test]
async fn a_join_answers_a_link_a_token_and_what_they_are_good_for() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let roles = [
        (
            Role::Doctor,
            "doctor",
            vec!["host", "mute-others", "end-call"],
        ),
        (Role::Patient, "patient", vec!["participant"]),
    ];
    let mut ids = BTreeSet::new();
    for ((role, name, permissions), issued_at) in roles.into_iter().zip(2..) {
        let request = v1::JoinSessionRequest {
            display_name: "Zoë Ångström".into(),
            ..join(&session.session_id, role)
        };
        let user_id = request.user_id.clone();
        let answer = client.join_session(request).await.unwrap().into_inner();
        assert_eq!(answer.role(), role);
        assert_eq!(answer.permissions, permissions);
        let join_url = format!("{}?token={}", session.base_url, answer.token);
        assert_eq!(answer.join_url, join_url);
        let (claims, header) = (jwt_part(&answer.token, 1), jwt_part(&answer.token, 0));
        let iat = claims["iat"].as_i64().unwrap();
        let jti = claims["jti"].as_str().unwrap().to_owned();
        let expected = serde_json::json!({
            "sub": user_id,
            "sessionId": session.session_id,
            "roomName": session.room_name,
            "role": name,
            "permissions": permissions,
            "sfuNodeId": "sfu-1",
            "name": "Zoë Ångström",
            "iss": "video-session",
            "aud": "video-session-join",
            "jti": jti,
            "iat": iat,
            "nbf": iat - 60,
            "exp": iat + 3600,
            "issuedAtSequence": issued_at,
        });
        assert_eq!(claims, expected);
        assert_eq!(header["alg"], "HS256");
        assert!(header["kid"].as_str().is_some_and(|kid| !kid.is_empty()));
        let expires_in = answer.expires_in.unwrap();
        assert_eq!((expires_in.seconds, expires_in.nanos), (3600, 0));
        let expire_time = answer.expire_time.unwrap();
        assert_eq!((expire_time.seconds, expire_time.nanos), (iat + 3600, 0));
        assert!(ids.insert(jti), "every token has an id of its own");
    }
}

#[tokio::test]
async fn a_token_lives_as_long_as_is_configured() {
    let service = Setup::new().set("JOIN_TOKEN_TTL_SECS", 120).start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let request = join(&session.session_id, Role::Doctor);
    let answer = client.join_session(request).await.unwrap().into_inner();
    assert_eq!(answer.expires_in.unwrap().seconds, 120);
    let claims = jwt_part(&answer.token, 1);
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        120
    );
}

/// Each request breaks a rule and all that are checked after it.
#[tokio::test]
async fn a_join_is_checked_in_the_documented_order() {
    // What is late would end of itself before long.
    let service = Setup::new()
        .set("OVERDUE_INTERVAL_MS", 60_000)
        .start()
        .await;
    let mut client = service.client();
    let early = scheduled("early", Some(in_secs(24 * HOUR)), None);
    let early = created(&mut client, early).await;
    let ended = scheduled("ended", Some(in_secs(24 * HOUR)), None);
    let ended = created(&mut client, ended).await;
    end(&mut client, &ended.session_id, "").await;
    let late = scheduled("late", None, Some(in_secs(-24 * HOUR)));
    let late = created(&mut client, late).await;
    let open = created(&mut client, create("open")).await;

    let request = |session_id: &str, role: i32, user_id: &str| v1::JoinSessionRequest {
        session_id: session_id.to_owned(),
        role,
        user_id: user_id.to_owned(),
        display_name: String::new(),
        ..Default::default()
    };
    let doctor = Role::Doctor.into();
    for (role, user_id, faults) in [
        (0, "stranger", vec!["role"]),
        (9, "stranger", vec!["role"]),
        (-1, "", vec!["role", "user_id"]),
        (doctor, "", vec!["user_id"]),
    ] {
        let outcome = client
            .join_session(request("sess_unknown", role, user_id))
            .await;
        let details = refused(outcome, Reason::Validation);
        assert_eq!(fields(&details), faults);
    }
    for (session_id, reason) in [
        ("sess_unknown", Reason::SessionNotFound),
        (&*ended.session_id, Reason::SessionEnded),
        (&*early.session_id, Reason::JoinTooEarly),
        (&*late.session_id, Reason::JoinTooLate),
        (&*open.session_id, Reason::NotAParticipant),
    ] {
        let outcome = client
            .join_session(request(session_id, doctor, "stranger"))
            .await;
        refused(outcome, reason);
    }
    for role in [Role::Guest, Role::Interpreter, Role::Observer] {
        let request = request(&open.session_id, role.into(), "nobody-invited-me");
        let outcome = client.join_session(request).await;
        refused(outcome, Reason::NotAParticipant);
    }
}

#[tokio::test]
async fn nobody_joins_in_the_others_role() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    for (role, name, user_id) in [
        (Role::Doctor, "doctor", "patient-1"),
        (Role::Patient, "patient", "doctor-1"),
        (Role::Doctor, "doctor", "Doctor-1"),
    ] {
        let request = v1::JoinSessionRequest {
            user_id: user_id.into(),
            ..join(&session.session_id, role)
        };
        let details = refused(client.join_session(request).await, Reason::NotAParticipant);
        assert_eq!(metadata(&details, "role"), name);
    }
    let version = get(&mut client, &session.session_id).await.unwrap().version;
    assert_eq!(version, 1, "a refused join leaves no trace");
}

#[tokio::test]
async fn the_door_opens_before_the_start_and_closes_after_the_end() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let cases = [
        ("soon", Some(850), None, None),
        ("too-soon", Some(950), None, Some(Reason::JoinTooEarly)),
        ("just-over", None, Some(-3500), None),
        ("long-over", None, Some(-3700), Some(Reason::JoinTooLate)),
        ("all-past", Some(-9000), Some(-1000), None),
        (
            "past-and-over",
            Some(-9000),
            Some(-3700),
            Some(Reason::JoinTooLate),
        ),
        (
            "far",
            Some(90_000),
            Some(93_600),
            Some(Reason::JoinTooEarly),
        ),
    ];
    for (appointment_id, start, end, refusal) in cases {
        let (start, end) = (start.map(in_secs), end.map(in_secs));
        let session = created(&mut client, scheduled(appointment_id, start, end)).await;
        let request = join(&session.session_id, Role::Patient);
        let outcome = client.join_session(request).await;
        match refusal {
            None => drop(outcome.unwrap()),
            Some(Reason::JoinTooEarly) => {
                let details = refused(outcome, Reason::JoinTooEarly);
                let opens = rfc3339(plus(start.unwrap(), -900));
                assert_eq!(metadata(&details, "opens_at"), opens);
            }
            Some(reason) => {
                let details = refused(outcome, reason);
                let closed = rfc3339(plus(end.unwrap(), 3600));
                assert_eq!(metadata(&details, "closed_at"), closed);
            }
        }
    }
}

#[tokio::test]
async fn a_session_past_its_window_makes_way_for_a_new_one() {
    // Long enough that upkeep does not end it first.
    let setup = Setup::new().set("OVERDUE_INTERVAL_MS", 60_000);
    let service = setup.start().await;
    // It looks once at its start.
    service.line(|line| line.contains("ready: the store")).await;
    let mut client = service.client();
    let past = scheduled("appointment-1", Some(in_secs(-9000)), Some(in_secs(-3700)));
    let over = created(&mut client, past).await;
    let outcome = client
        .join_session(join(&over.session_id, Role::Doctor))
        .await;
    refused(outcome, Reason::JoinTooLate);
    // Repeating the call gives the same session, as always.
    let past = scheduled("appointment-1", Some(in_secs(-9000)), Some(in_secs(-3700)));
    let again = v1::CreateSessionRequest {
        scheduled_start_time: over.scheduled_start_time,
        scheduled_end_time: over.scheduled_end_time,
        ..past
    };
    let again = client.create_session(again).await.unwrap().into_inner();
    assert!(!again.created);
    let next = scheduled("appointment-1", None, Some(in_secs(1800)));
    let answer = client.create_session(next).await.unwrap().into_inner();
    assert!(answer.created);
    let next = answer.session.unwrap();
    assert_ne!(next.session_id, over.session_id);
    let over = get(&mut client, &over.session_id).await.unwrap();
    assert_eq!(
        (over.state(), over.end_cause()),
        (SessionState::Ended, EndCause::TimeOver)
    );
    let outcome = client
        .join_session(join(&next.session_id, Role::Doctor))
        .await;
    outcome.unwrap();
}

#[tokio::test]
async fn the_width_of_the_door_is_configured() {
    let setup = Setup::new()
        .set("JOIN_EARLY_SECS", 0)
        .set("JOIN_LATE_SECS", 0);
    let service = setup.start().await;
    let mut client = service.client();
    for (start, end, reason) in [
        (Some(100), None, Reason::JoinTooEarly),
        (None, Some(-1), Reason::JoinTooLate),
    ] {
        let request = scheduled(reason.as_str(), start.map(in_secs), end.map(in_secs));
        let session = created(&mut client, request).await;
        let outcome = client
            .join_session(join(&session.session_id, Role::Doctor))
            .await;
        refused(outcome, reason);
    }
}

#[tokio::test]
async fn no_token_outlives_the_door() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let closes = in_secs(600);
    let request = scheduled("appointment-1", None, Some(plus(closes, -3600)));
    let session = created(&mut client, request).await;
    let request = join(&session.session_id, Role::Doctor);
    let answer = client.join_session(request).await.unwrap().into_inner();
    let claims = jwt_part(&answer.token, 1);
    assert_eq!(claims["exp"].as_i64(), Some(closes.seconds));
    assert_eq!(answer.expire_time.unwrap().seconds, closes.seconds);
    let left = closes.seconds - claims["iat"].as_i64().unwrap();
    assert_eq!(answer.expires_in.unwrap().seconds, left);
    assert!(left <= 600);
}

#[tokio::test]
async fn an_unknown_session_is_not_found() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    refused(
        get(&mut client, "sess_unknown").await,
        Reason::SessionNotFound,
    );
    let key = v1::get_session_request::Key::AppointmentId("unknown".into());
    let outcome = client
        .get_session(v1::GetSessionRequest { key: Some(key) })
        .await;
    refused(outcome, Reason::SessionNotFound);
    let details = refused(
        client.get_session(v1::GetSessionRequest::default()).await,
        Reason::Validation,
    );
    assert_eq!(fields(&details), ["session_id"]);
}
