//! What happened to a session, as a list and as a stream.

use prost_types::Timestamp;
use tokio::task::JoinSet;
use tonic::{Status, Streaming};
use video_session::domain::error::Reason;
use video_session::proto::v1;
use video_session::proto::v1::Role;
use video_session::proto::v1::session_event::Detail;

use crate::harness::{
    Client, Setup, create, created, end, get, join, jwt_part, patiently, refused,
};

async fn list(
    client: &mut Client,
    session_id: &str,
    after_sequence: i64,
    page_size: i32,
) -> Result<v1::ListSessionEventsResponse, Status> {
    let request = v1::ListSessionEventsRequest {
        session_id: session_id.to_owned(),
        after_sequence,
        page_size,
    };
    Ok(client.list_session_events(request).await?.into_inner())
}

async fn watch(
    client: &mut Client,
    session_id: &str,
    after_sequence: i64,
) -> Result<Streaming<v1::WatchSessionResponse>, Status> {
    let request = v1::WatchSessionRequest {
        session_id: session_id.to_owned(),
        after_sequence,
    };
    Ok(client.watch_session(request).await?.into_inner())
}

async fn next(
    stream: &mut Streaming<v1::WatchSessionResponse>,
) -> Result<v1::SessionEvent, Status> {
    let answer = patiently(stream.message()).await?;
    Ok(answer.expect("the stream goes on").event.unwrap())
}

fn sequences(events: &[v1::SessionEvent]) -> Vec<i64> {
    events.iter().map(|event| event.sequence).collect()
}

async fn change_doctor(client: &mut Client, session_id: &str, doctor_id: &str) -> v1::Session {
    let request = v1::UpdateSessionRequest {
        session_id: session_id.to_owned(),
        doctor_id: doctor_id.to_owned(),
        ..Default::default()
    };
    let answer = client.update_session(request).await.unwrap();
    answer.into_inner().session.unwrap()
}

#[tokio::test]
async fn every_change_is_told_with_what_its_type_needs() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let id = session.session_id.as_str();
    let answer = client.join_session(join(id, Role::Patient)).await;
    let token = answer.unwrap().into_inner().token;
    change_doctor(&mut client, id, "doctor-2").await;
    let ended = end(&mut client, id, "the consultation is over").await;

    let events = list(&mut client, id, 0, 0).await.unwrap().events;
    assert_eq!(sequences(&events), [1, 2, 3, 4]);
    let types: Vec<_> = events.iter().map(|event| event.r#type.as_str()).collect();
    let expected = [
        "session.created",
        "session.joined",
        "session.updated",
        "session.ended",
    ];
    assert_eq!(types, expected);
    assert!(events.iter().all(|event| event.session_id == id));
    assert_eq!(events[0].time, session.create_time);
    assert_eq!(events[3].time, ended.end_time);
    let claims = jwt_part(&token, 1);
    let details: Vec<_> = events
        .into_iter()
        .map(|event| event.detail.unwrap())
        .collect();
    let expected = [
        Detail::Created(v1::SessionCreated {
            appointment_id: "appointment-1".into(),
            sfu_node_id: "sfu-1".into(),
        }),
        Detail::Joined(v1::SessionJoined {
            user_id: "patient-1".into(),
            role: Role::Patient.into(),
            jti: claims["jti"].as_str().unwrap().into(),
            expire_time: Some(Timestamp {
                seconds: claims["exp"].as_i64().unwrap(),
                nanos: 0,
            }),
        }),
        Detail::Updated(v1::SessionUpdated {
            fields: vec!["doctor_id".into()],
        }),
        Detail::Ended(v1::SessionEnded {
            reason: "the consultation is over".into(),
            cause: v1::EndCause::Backend.into(),
        }),
    ];
    assert_eq!(details, expected);
}

#[tokio::test]
async fn what_changes_nothing_tells_nothing() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let id = session.session_id.as_str();
    client
        .create_session(create("appointment-1"))
        .await
        .unwrap();
    change_doctor(&mut client, id, "doctor-1").await;
    let stranger = v1::JoinSessionRequest {
        user_id: "stranger".into(),
        ..join(id, Role::Doctor)
    };
    refused(client.join_session(stranger).await, Reason::NotAParticipant);
    end(&mut client, id, "").await;
    end(&mut client, id, "again").await;
    let events = list(&mut client, id, 0, 0).await.unwrap().events;
    assert_eq!(sequences(&events), [1, 2]);
}

#[tokio::test]
async fn events_are_read_on_from_next_sequence() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let id = session.session_id.as_str();
    for n in 0..10 {
        change_doctor(&mut client, id, &format!("stand-in-{n}")).await;
    }
    let mut read = Vec::new();
    let mut after = 0;
    loop {
        let page = list(&mut client, id, after, 4).await.unwrap();
        after = page.next_sequence;
        if page.events.is_empty() {
            break;
        }
        assert_eq!(page.events.last().unwrap().sequence, page.next_sequence);
        read.extend(page.events);
    }
    assert_eq!(sequences(&read), (1..=11).collect::<Vec<_>>());
    assert_eq!(after, 11, "an empty page answers what it was asked");
    for beyond in [12, i64::MAX] {
        let page = list(&mut client, id, beyond, 4).await.unwrap();
        assert_eq!((page.events.len(), page.next_sequence), (0, beyond));
    }
}

#[tokio::test]
async fn the_events_of_an_unknown_session_are_not_found() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let outcome = list(&mut client, "sess_unknown", 0, 0).await;
    refused(outcome, Reason::SessionNotFound);
    let outcome = watch(&mut client, "sess_unknown", 0).await;
    refused(outcome, Reason::SessionNotFound);
}

#[tokio::test]
async fn a_session_joined_a_thousand_times_is_numbered_without_a_gap() {
    // Eight callers that contend for one session on a busy machine are to come through all the same.
    let setup = Setup::new().set("STORE_TIMEOUT_MS", 60_000);
    let service = setup.start().await;
    let session = created(&mut service.client(), create("appointment-1")).await;
    let mut stream = watch(&mut service.client(), &session.session_id, 0)
        .await
        .unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let mut client = service.client();
        let role = if caller % 2 == 0 {
            Role::Doctor
        } else {
            Role::Patient
        };
        let request = join(&session.session_id, role);
        callers.spawn(async move {
            for _ in 0..125 {
                client.join_session(request.clone()).await.unwrap();
            }
        });
    }
    for expected in 1..=1001 {
        assert_eq!(next(&mut stream).await.unwrap().sequence, expected);
    }
    callers.join_all().await;
    let mut client = service.client();
    let stored = get(&mut client, &session.session_id).await.unwrap();
    assert_eq!(stored.version, 1001);
    let mut read = Vec::new();
    while read.len() < 1001 {
        let after = read.last().copied().unwrap_or(0);
        let page = list(&mut client, &session.session_id, after, 500).await;
        read.extend(sequences(&page.unwrap().events));
    }
    assert_eq!(read, (1..=1001).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_watch_tells_what_is_stored_and_then_what_happens() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let id = session.session_id.as_str();
    change_doctor(&mut client, id, "doctor-2").await;
    let mut stream = watch(&mut client, id, 0).await.unwrap();
    for expected in ["session.created", "session.updated"] {
        assert_eq!(next(&mut stream).await.unwrap().r#type, expected);
    }
    client.join_session(join(id, Role::Patient)).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap().r#type, "session.joined");
    end(&mut client, id, "").await;
    let last = next(&mut stream).await.unwrap();
    assert_eq!((last.r#type.as_str(), last.sequence), ("session.ended", 4));
}

#[tokio::test]
async fn a_watch_is_resumed_from_any_sequence() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let id = session.session_id.as_str();
    for n in 0..4 {
        change_doctor(&mut client, id, &format!("stand-in-{n}")).await;
    }
    for after in 0..5 {
        let mut stream = watch(&mut client, id, after).await.unwrap();
        for expected in after + 1..=5 {
            assert_eq!(next(&mut stream).await.unwrap().sequence, expected);
        }
    }
    // From where nothing has happened yet: the stream opens and waits.
    let mut stream = watch(&mut client, id, 5).await.unwrap();
    let session = end(&mut client, id, "").await;
    assert_eq!(next(&mut stream).await.unwrap().sequence, session.version);
}

#[tokio::test]
async fn a_watch_goes_on_after_a_crash_without_loss_or_repetition() {
    let setup = Setup::new();
    let service = setup.start().await;
    let session = created(&mut service.client(), create("appointment-1")).await;
    let id = session.session_id.as_str();
    let mut stream = watch(&mut service.client(), id, 0).await.unwrap();
    let seen = next(&mut stream).await.unwrap().sequence;
    change_doctor(&mut service.client(), id, "doctor-2").await;
    service.process.kill().await;
    let service = setup.start().await;
    let mut stream = watch(&mut service.client(), id, seen).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap().sequence, seen + 1);
}

#[tokio::test]
async fn a_watch_ends_when_the_instance_goes_away() {
    let mut service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let mut stream = watch(&mut client, &session.session_id, 0).await.unwrap();
    next(&mut stream).await.unwrap();
    service.process.terminate().await;
    refused(next(&mut stream).await, Reason::ShuttingDown);
    assert_eq!(patiently(stream.message()).await.unwrap(), None);
}

#[tokio::test]
async fn more_watches_than_the_limit_are_told_to_come_back() {
    let service = Setup::new().set("WATCH_STREAMS_MAX", 2).start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let id = session.session_id.as_str();
    let first = watch(&mut client, id, 0).await.unwrap();
    let _second = watch(&mut client, id, 0).await.unwrap();
    let third = watch(&mut client, id, 0).await;
    refused(third, Reason::Overloaded);

    drop(first);
    // The service hears of it when the connection tells, so soon but not at once.
    patiently(async {
        while watch(&mut client, id, 0).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn streams_take_no_room_from_calls() {
    let service = Setup::new().set("GRPC_IN_FLIGHT_MAX", 1).start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let stream = watch(&mut client, &session.session_id, 0).await;
        streams.push(stream.unwrap());
    }
    created(&mut client, create("appointment-2")).await;
}

#[tokio::test]
async fn more_calls_than_the_limit_are_told_to_come_back() {
    let service = Setup::new().set("GRPC_IN_FLIGHT_MAX", 1).start().await;
    let mut calls = JoinSet::new();
    for n in 0..200 {
        let mut client = service.client();
        calls.spawn(async move { client.create_session(create(&format!("many-{n}"))).await });
    }
    let (made, refusals): (Vec<_>, Vec<_>) =
        calls.join_all().await.into_iter().partition(Result::is_ok);
    assert!(!made.is_empty() && !refusals.is_empty());
    for refusal in refusals {
        refused(refusal, Reason::Overloaded);
    }
    // There is room again as soon as they have ended.
    created(&mut service.client(), create("appointment-1")).await;
}
