//! What is refused as malformed, and how a caller is told.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::{FieldMask, Timestamp};
use tonic::Status;
use video_session::api::error::CallFault;
use video_session::domain::error::Reason;
use video_session::proto::v1;

use crate::harness::{Client, SECRET, Service, Setup, create, created, fields, join, refused};
use crate::methods::methods;
use crate::wire::Call;

const CREATE: &str = "/videosession.v1.VideoSessionService/CreateSession";
/// Ids that break the rule in as many ways as there are.
const BAD_IDS: [&str; 8] = [
    "with space",
    "slash/",
    "quote'",
    "new\nline",
    "nul\0",
    "ünicode",
    "{\"$ne\":1}",
    "%2e",
];

async fn started() -> (Service, Client) {
    let service = Setup::new().start().await;
    let client = service.client();
    (service, client)
}

fn faults<T>(outcome: Result<T, Status>) -> Vec<String> {
    let details = refused(outcome, Reason::Validation);
    fields(&details).into_iter().map(str::to_owned).collect()
}

fn long(length: usize) -> String {
    "x".repeat(length)
}

fn broken_time() -> Option<Timestamp> {
    Some(Timestamp {
        seconds: 0,
        nanos: -1,
    })
}

fn bad_id() -> String {
    "not an id".to_owned()
}

fn bad_labels() -> HashMap<String, String> {
    [(String::new(), String::new())].into()
}

#[tokio::test]
async fn every_fault_of_a_create_is_named_at_once() {
    let (_service, mut client) = started().await;
    let request = v1::CreateSessionRequest {
        appointment_id: bad_id(),
        doctor_id: bad_id(),
        patient_id: bad_id(),
        scheduled_start_time: broken_time(),
        scheduled_end_time: broken_time(),
        labels: bad_labels(),
        admission: 9,
        max_participants: 1,
        media: 9,
        region: bad_id(),
        end_to_end_encrypted: false,
        empty_timeout: Some(prost_types::Duration {
            seconds: 1,
            nanos: 1,
        }),
        open_to_guests: false,
        doctor_name: long(257),
    };
    assert_eq!(
        faults(client.create_session(request).await),
        [
            "appointment_id",
            "doctor_id",
            "patient_id",
            "scheduled_start_time",
            "scheduled_end_time",
            "labels",
            "admission",
            "max_participants",
            "media",
            "region",
            "empty_timeout",
            "doctor_name"
        ]
    );
}

#[tokio::test]
async fn every_fault_of_a_call_about_a_participant_is_named_at_once() {
    let (_service, mut client) = started().await;
    let both = ["session_id", "user_id"];
    let request = v1::AdmitParticipantRequest {
        session_id: bad_id(),
        user_id: String::new(),
    };
    assert_eq!(faults(client.admit_participant(request).await), both);
    let request = v1::RemoveParticipantRequest {
        session_id: String::new(),
        user_id: bad_id(),
        keep_out: true,
    };
    assert_eq!(faults(client.remove_participant(request).await), both);
    let request = v1::MuteParticipantRequest::default();
    assert_eq!(faults(client.mute_participant(request).await), both);
    let request = v1::RevokeInviteRequest::default();
    assert_eq!(faults(client.revoke_invite(request).await), both);
    let request = v1::ListParticipantsRequest::default();
    assert_eq!(
        faults(client.list_participants(request).await),
        ["session_id"]
    );
    let request = v1::InviteParticipantRequest {
        session_id: bad_id(),
        role: v1::Role::Doctor.into(),
        user_id: bad_id(),
        display_name: long(257),
        expire_time: broken_time(),
        locale: "es_MX".to_owned(),
    };
    assert_eq!(
        faults(client.invite_participant(request).await),
        [
            "session_id",
            "role",
            "user_id",
            "display_name",
            "expire_time",
            "locale"
        ]
    );
    let request = v1::InviteParticipantRequest::default();
    assert_eq!(
        faults(client.invite_participant(request).await),
        ["session_id", "role", "user_id"]
    );
}

#[tokio::test]
async fn the_number_of_participants_has_bounds_of_its_own() {
    let service = Setup::new().set("MAX_PARTICIPANTS", 5).start().await;
    let mut client = service.client();
    for (asked, given) in [(0, 5), (2, 2), (5, 5)] {
        let request = v1::CreateSessionRequest {
            max_participants: asked,
            ..create(&format!("appointment-{asked}"))
        };
        let session = created(&mut client, request).await;
        assert_eq!(session.max_participants, given);
    }
    for bad in [-1, 1, 6, i32::MAX] {
        let request = v1::CreateSessionRequest {
            max_participants: bad,
            ..create("appointment-bad")
        };
        let outcome = client.create_session(request).await;
        assert_eq!(faults(outcome), ["max_participants"]);
    }
}

#[tokio::test]
async fn every_fault_of_a_list_is_named_at_once() {
    let (_service, mut client) = started().await;
    let request = v1::ListSessionsRequest {
        page_size: -1,
        page_token: "?".to_owned(),
        state: 9,
        appointment_id: bad_id(),
        user_id: bad_id(),
        sfu_node_id: bad_id(),
        created_after: broken_time(),
        created_before: broken_time(),
    };
    assert_eq!(
        faults(client.list_sessions(request).await),
        [
            "page_size",
            "page_token",
            "state",
            "appointment_id",
            "user_id",
            "sfu_node_id",
            "created_after",
            "created_before"
        ]
    );
}

#[tokio::test]
async fn every_fault_of_an_update_is_named_at_once() {
    let (_service, mut client) = started().await;
    let request = v1::UpdateSessionRequest {
        session_id: bad_id(),
        update_mask: Some(FieldMask {
            paths: vec!["*".into(), "version".into()],
        }),
        scheduled_start_time: broken_time(),
        scheduled_end_time: broken_time(),
        labels: bad_labels(),
        doctor_id: bad_id(),
        expected_version: Some(-1),
        doctor_name: "bell\u{7}".to_owned(),
    };
    assert_eq!(
        faults(client.update_session(request).await),
        [
            "session_id",
            "update_mask",
            "scheduled_start_time",
            "scheduled_end_time",
            "labels",
            "doctor_id",
            "doctor_name",
            "expected_version"
        ]
    );
}

#[tokio::test]
async fn every_fault_of_the_other_requests_is_named_at_once() {
    let (_service, mut client) = started().await;
    let request = v1::JoinSessionRequest {
        session_id: bad_id(),
        role: 7,
        user_id: bad_id(),
        display_name: long(257),
        locale: "es_MX".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        faults(client.join_session(request).await),
        ["role", "user_id", "session_id", "display_name", "locale"]
    );
    let request = v1::EndSessionRequest {
        session_id: bad_id(),
        reason: "bell\u{7}".to_owned(),
    };
    assert_eq!(
        faults(client.end_session(request).await),
        ["session_id", "reason"]
    );
    let request = v1::ListSessionEventsRequest {
        session_id: bad_id(),
        after_sequence: -1,
        page_size: i32::MIN,
    };
    assert_eq!(
        faults(client.list_session_events(request).await),
        ["session_id", "after_sequence", "page_size"]
    );
    let request = v1::WatchSessionRequest {
        session_id: bad_id(),
        after_sequence: i64::MIN,
    };
    assert_eq!(
        faults(client.watch_session(request).await),
        ["session_id", "after_sequence"]
    );
}

#[tokio::test]
async fn an_empty_request_lacks_every_required_field() {
    let (_service, mut client) = started().await;
    let outcome = client.create_session(v1::CreateSessionRequest::default());
    assert_eq!(
        faults(outcome.await),
        ["appointment_id", "doctor_id", "patient_id"]
    );
    let outcome = client.join_session(v1::JoinSessionRequest::default());
    assert_eq!(faults(outcome.await), ["role", "user_id", "session_id"]);
    let outcome = client.get_session(v1::GetSessionRequest::default());
    assert_eq!(faults(outcome.await), ["session_id"]);
    let outcome = client.update_session(v1::UpdateSessionRequest::default());
    assert_eq!(faults(outcome.await), ["session_id", "update_mask"]);
    let outcome = client.end_session(v1::EndSessionRequest::default());
    assert_eq!(faults(outcome.await), ["session_id"]);
    let outcome = client.list_session_events(v1::ListSessionEventsRequest::default());
    assert_eq!(faults(outcome.await), ["session_id"]);
    let outcome = client.watch_session(v1::WatchSessionRequest::default());
    assert_eq!(faults(outcome.await), ["session_id"]);
}

#[tokio::test]
async fn an_id_has_1_to_128_characters_of_the_alphabet() {
    let (_service, mut client) = started().await;
    for id in [long(128), "a.B_9:@-".to_owned(), "0".to_owned()] {
        created(&mut client, create(&id)).await;
    }
    let too_long = long(129);
    for id in BAD_IDS.into_iter().chain([too_long.as_str()]) {
        let outcome = client.create_session(create(id)).await;
        assert_eq!(faults(outcome), ["appointment_id"], "{id:?}");
        let key = v1::get_session_request::Key::SessionId(id.to_owned());
        let request = v1::GetSessionRequest { key: Some(key) };
        assert_eq!(faults(client.get_session(request).await), ["session_id"]);
        let key = v1::get_session_request::Key::AppointmentId(id.to_owned());
        let request = v1::GetSessionRequest { key: Some(key) };
        let outcome = client.get_session(request).await;
        assert_eq!(faults(outcome), ["appointment_id"]);
    }
}

#[tokio::test]
async fn a_doctor_is_not_their_own_patient() {
    let (_service, mut client) = started().await;
    let request = v1::CreateSessionRequest {
        patient_id: "doctor-1".to_owned(),
        ..create("appointment-1")
    };
    assert_eq!(faults(client.create_session(request).await), ["patient_id"]);
}

#[tokio::test]
async fn a_description_never_repeats_the_value() {
    let (_service, mut client) = started().await;
    let request = v1::CreateSessionRequest {
        labels: [("Jane Doe\n".to_owned(), "HIV+\n".to_owned())].into(),
        ..create("Jane Doe")
    };
    let status = client.create_session(request).await.unwrap_err();
    let shown = format!("{status:?}{}", String::from_utf8_lossy(status.details()));
    assert!(!shown.contains("Jane"), "{shown}");
    assert!(!shown.contains("HIV"), "{shown}");
}

#[tokio::test]
async fn a_schedule_runs_forward() {
    let (_service, mut client) = started().await;
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let scheduled = |start, end| v1::CreateSessionRequest {
        scheduled_start_time: start,
        scheduled_end_time: end,
        ..create("appointment-1")
    };
    for (start, end) in [(at(100), at(100)), (at(100), at(99)), (at(0), at(-1))] {
        let outcome = client.create_session(scheduled(start, end)).await;
        assert_eq!(faults(outcome), ["scheduled_end_time"]);
    }
    created(&mut client, scheduled(at(-2), at(-1))).await;
}

#[tokio::test]
async fn a_time_lies_in_the_range_of_the_protocol() {
    const YEAR_1: i64 = -62_135_596_800;
    const YEAR_9999: i64 = 253_402_300_799;
    let (_service, mut client) = started().await;
    let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
    for bad in [
        time(YEAR_1 - 1, 0),
        time(YEAR_9999 + 1, 0),
        time(i64::MAX, 0),
        time(i64::MIN, 0),
        time(0, 1_000_000_000),
        time(0, i32::MIN),
    ] {
        let request = v1::CreateSessionRequest {
            scheduled_start_time: bad,
            ..create("appointment-1")
        };
        let outcome = client.create_session(request).await;
        assert_eq!(faults(outcome), ["scheduled_start_time"], "{bad:?}");
        let request = v1::ListSessionsRequest {
            created_after: bad,
            ..Default::default()
        };
        assert_eq!(
            faults(client.list_sessions(request).await),
            ["created_after"]
        );
    }
    let widest = v1::CreateSessionRequest {
        scheduled_start_time: time(YEAR_1, 0),
        scheduled_end_time: time(YEAR_9999, 999_999_999),
        ..create("appointment-1")
    };
    let session = created(&mut client, widest).await;
    assert_eq!(session.scheduled_start_time, time(YEAR_1, 0));
    let kept_in_millis = time(YEAR_9999, 999_000_000);
    assert_eq!(session.scheduled_end_time, kept_in_millis);
    let request = join(&session.session_id, v1::Role::Doctor);
    client.join_session(request).await.unwrap();
    for bound in [time(YEAR_1, 0), time(YEAR_9999, 999_999_999)] {
        let request = v1::ListSessionsRequest {
            created_after: bound,
            created_before: bound,
            ..Default::default()
        };
        let answer = client.list_sessions(request).await.unwrap();
        assert_eq!(answer.into_inner().sessions, []);
    }
}

#[tokio::test]
async fn labels_keep_to_their_limits() {
    let (_service, mut client) = started().await;
    let with = |labels: Vec<(String, String)>| v1::CreateSessionRequest {
        labels: labels.into_iter().collect(),
        ..create("appointment-1")
    };
    let pairs = |count: usize| {
        (0..count)
            .map(|n| (format!("key-{n}"), long(256)))
            .collect()
    };
    for bad in [
        with(pairs(33)),
        with(vec![(String::new(), "value".into())]),
        with(vec![(long(129), "value".into())]),
        with(vec![("key".into(), long(257))]),
        with(vec![("key".into(), "\u{1b}[31m".into())]),
        with(vec![("key\n".into(), "value".into())]),
    ] {
        assert_eq!(faults(client.create_session(bad).await), ["labels"]);
    }
    let session = created(&mut client, with(pairs(32))).await;
    assert_eq!(session.labels.len(), 32);
    let at_the_limit = v1::CreateSessionRequest {
        appointment_id: "appointment-2".to_owned(),
        ..with(vec![("ü".repeat(128), "ü".repeat(256))])
    };
    created(&mut client, at_the_limit).await;
}

#[tokio::test]
async fn names_and_reasons_keep_to_their_limits() {
    let (_service, mut client) = started().await;
    let session = created(&mut client, create("appointment-1")).await;
    let named = |display_name: &str| v1::JoinSessionRequest {
        display_name: display_name.to_owned(),
        ..join(&session.session_id, v1::Role::Doctor)
    };
    let longest = "ü".repeat(256);
    client.join_session(named(&longest)).await.unwrap();
    let too_long = "ü".repeat(257);
    for bad in [too_long.as_str(), "a\tb", "a\0", "\u{85}", "\u{7f}"] {
        let outcome = client.join_session(named(bad)).await;
        assert_eq!(faults(outcome), ["display_name"], "{bad:?}");
        let request = v1::EndSessionRequest {
            session_id: session.session_id.clone(),
            reason: bad.to_owned(),
        };
        assert_eq!(faults(client.end_session(request).await), ["reason"]);
    }
}

#[tokio::test]
async fn a_page_token_that_is_not_ours_is_refused() {
    let (_service, mut client) = started().await;
    let huge = long(50_000);
    for token in ["x", "====", "AAAAAAAAAAAAAAAA", "\0", "…", huge.as_str()] {
        let request = v1::ListSessionsRequest {
            page_token: token.to_owned(),
            ..Default::default()
        };
        assert_eq!(faults(client.list_sessions(request).await), ["page_token"]);
    }
}

async fn send(service: &Service, message: &[u8], encoding: Option<&str>) -> Result<(), Status> {
    let call = Call {
        path: CREATE,
        message,
        secret: Some(SECRET),
        encoding,
    };
    call.send(&service.channel()).await
}

#[tokio::test]
async fn a_message_that_is_none_is_refused() {
    let (service, _) = started().await;
    for garbage in [
        &b"\xff\xff\xff\xff"[..],
        b"\x0a\x06short",
        b"\x0a\x02\xff\xfe",
        b"{\"appointment_id\":\"1\"}",
    ] {
        let outcome = send(&service, garbage, None).await;
        refused(outcome, CallFault::MessageMalformed);
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let service = Setup::new()
        .set("GRPC_MESSAGE_BYTES_MAX", 2048)
        .start()
        .await;
    let mut padded = create("appointment-1").encode_to_vec();
    // An unknown field is no fault; it only takes room.
    padded.extend([0xfa, 0x3f, 0xd0, 0x0f]);
    padded.extend(vec![0; 2000]);
    send(&service, &padded, None).await.unwrap();
    padded.extend([0; 100]);
    refused(
        send(&service, &padded, None).await,
        CallFault::MessageTooLarge,
    );
    let huge = vec![0; 8_000_000];
    refused(
        send(&service, &huge, None).await,
        CallFault::MessageTooLarge,
    );
}

#[tokio::test]
async fn a_compressed_message_is_refused() {
    let (service, _) = started().await;
    let message = create("appointment-1").encode_to_vec();
    for encoding in ["gzip", "deflate", "zstd", "nonsense"] {
        let outcome = send(&service, &message, Some(encoding)).await;
        refused(outcome, CallFault::EncodingUnsupported);
    }
}

#[tokio::test]
async fn every_method_names_the_field_that_is_wrong() {
    let (service, _) = started().await;
    let mut tried = 0;
    for method in methods() {
        for (field, message) in method.requests_with_one_fault() {
            let call = Call {
                path: &method.path,
                message: &message,
                secret: Some(SECRET),
                encoding: None,
            };
            let named = faults(call.send(&service.channel()).await);
            assert!(named.contains(&field), "{}: {field}", method.path);
            tried += 1;
        }
    }
    assert!(tried > 20, "only {tried} fields were tried");
}
