//! Sessions that cannot be read stand in nobody's way: not in that of the sessions that end by time, of the participants
//! whose instance died, or of who lists sessions.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use rusqlite::Connection;
use video_session::proto::v1;
use video_session::proto::v1::SessionState;

use crate::harness::{Client, Service, Setup, create, created, get, patiently};

/// More than are dealt with at a time.
const UNREADABLE: usize = 150;

/// Opens the database beside the service, as an operator may.
fn database(setup: &Setup) -> Connection {
    let db = Connection::open(setup.path("data/video-session.db")).unwrap();
    db.busy_timeout(Duration::from_secs(30)).unwrap();
    db
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    patiently(async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// The value of a metric; 0 when it has not been counted yet.
async fn metric(service: &Service, name: &str) -> u64 {
    let text = service.admin("/metrics").await;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Every page of the list: the sessions, and those that cannot be read.
async fn list(client: &mut Client, page_size: i32) -> (Vec<String>, Vec<String>) {
    let (mut sessions, mut unreadable) = (Vec::new(), Vec::new());
    let mut request = v1::ListSessionsRequest {
        page_size,
        ..Default::default()
    };
    loop {
        let page = client.list_sessions(request.clone()).await.unwrap();
        let page = page.into_inner();
        let rows = page.sessions.len() + page.unreadable_session_ids.len();
        assert!(rows <= usize::try_from(page_size).unwrap());
        sessions.extend(page.sessions.into_iter().map(|session| session.session_id));
        unreadable.extend(page.unreadable_session_ids);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return (sessions, unreadable);
        }
    }
}

/// A service with many sessions that cannot be read, and then two that can: all are over by the clock, except the last,
/// and all are held by an instance that is dead.
async fn with_unreadable_sessions(setup: &Setup) -> (Service, Vec<String>, [String; 2]) {
    let mut service = setup.start().await;
    let mut client = service.client();
    let mut broken = Vec::new();
    for n in 0..UNREADABLE {
        let session = created(&mut client, create(&format!("broken-{n}"))).await;
        broken.push(session.session_id);
    }
    let over = created(&mut client, create("over")).await.session_id;
    let held = created(&mut client, create("held")).await.session_id;
    service.process.terminate().await;
    let db = database(setup);
    db.execute_batch(
        "UPDATE sessions SET scheduled_end_ms = 1, body = json_set(body, '$.scheduled_end_time_ms', 1)
             WHERE appointment_id <> 'held';
         UPDATE sessions SET body = json_set(body, '$.participants', json('[{\"user_id\": \"patient-1\",
             \"role\": \"patient\", \"admitted\": true, \"connect_time_ms\": 1, \"instance_id\": \"dead\"}]'))
             WHERE appointment_id = 'held';
         UPDATE sessions SET body = 'garbage' WHERE appointment_id LIKE 'broken-%';
         INSERT INTO instances (instance_id, expires_ms) VALUES ('dead', 1);
         INSERT INTO presence SELECT 'dead', n FROM sessions WHERE appointment_id <> 'over';",
    )
    .unwrap();
    drop(db);
    (setup.start().await, broken, [over, held])
}

fn setup() -> Setup {
    Setup::new()
        .set("RECONNECT_GRACE_SECS", 0)
        .set("INSTANCE_LEASE_SECS", 1)
        .set("INSTANCE_BEAT_MS", 50)
        .set("OVERDUE_INTERVAL_MS", 20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_sessions_stand_before_no_others() {
    let setup = setup().set("UNREADABLE_RETRY_SECS", 1);
    let (mut service, broken, [over, held]) = with_unreadable_sessions(&setup).await;
    let mut client = service.client();
    until(async || get(&mut client, &over).await.unwrap().state() == SessionState::Ended).await;
    let gone =
        async |client: &mut Client| get(client, &held).await.unwrap().participants.is_empty();
    until(async || gone(&mut client).await).await;

    let all: HashSet<_> = broken.iter().cloned().collect();
    for page_size in [1, 40, 500] {
        let (sessions, unreadable) = list(&mut client, page_size).await;
        assert_eq!(sessions, [held.clone(), over.clone()]);
        assert_eq!(unreadable.len(), UNREADABLE);
        assert_eq!(unreadable.into_iter().collect::<HashSet<_>>(), all);
    }
    let counted = "video_session_unreadable_sessions";
    until(async || metric(&service, counted).await == UNREADABLE as u64).await;

    // Each is tried again several times over.
    let tried = "video_session_store_operations_total{operation=\"get\",outcome=\"corrupt\"}";
    until(async || metric(&service, tried).await >= 4 * UNREADABLE as u64).await;
    let output = service.process.terminate().await;
    let lines = output.lines().filter(|line| line.contains("is set aside"));
    let named: Vec<_> = broken
        .iter()
        .filter(|id| output.contains(id.as_str()))
        .collect();
    assert_eq!((lines.count(), named.len()), (UNREADABLE, UNREADABLE));
    assert!(!output.contains("a store operation failed"), "{output}");
    assert!(!output.contains("garbage"), "no value is logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_repaired_is_dealt_with_like_any_other() {
    let setup = setup().set("UNREADABLE_RETRY_SECS", 1);
    let (service, broken, [over, _]) = with_unreadable_sessions(&setup).await;
    let mut client = service.client();
    let counted = "video_session_unreadable_sessions";
    until(async || metric(&service, counted).await == UNREADABLE as u64).await;
    let repaired = &broken[7];
    let db = database(&setup);
    db.execute(
        "UPDATE sessions SET body = (SELECT json_set(body, '$._id', ?1, '$.appointment_id', 'broken-7', '$.state',
             'created', '$.version', 1) FROM sessions WHERE session_id = ?2) WHERE session_id = ?1",
        [repaired, &over],
    )
    .unwrap();
    until(async || {
        let session = get(&mut client, repaired).await;
        session.is_ok_and(|session| session.state() == SessionState::Ended)
    })
    .await;
    until(async || metric(&service, counted).await == UNREADABLE as u64 - 1).await;
    let (sessions, _) = list(&mut client, 500).await;
    let found: BTreeSet<_> = sessions.iter().collect();
    assert!(sessions.len() == 3 && found.contains(repaired));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_found_over_and_cannot_be_ended_do_not_block_others() {
    let setup = setup();
    let mut service = setup.start().await;
    let mut client = service.client();
    for n in 0..UNREADABLE {
        created(&mut client, create(&format!("broken-{n}"))).await;
    }
    let over = created(&mut client, create("over")).await.session_id;
    service.process.terminate().await;
    // As after a repair by hand of the record or of the columns only.
    database(&setup)
        .execute_batch(
            "UPDATE sessions SET scheduled_end_ms = 1;
             UPDATE sessions SET body = json_set(body, '$.state', 'ended') WHERE n % 3 = 0;
             UPDATE sessions SET version = version + 7 WHERE n % 3 = 1;
             UPDATE sessions SET scheduled_end_ms = 1, version = 1,
                 body = json_set(body, '$.scheduled_end_time_ms', 1, '$.state', 'created', '$.version', 1)
                 WHERE appointment_id = 'over';",
        )
        .unwrap();
    let service = setup.start().await;
    let mut client = service.client();
    until(async || get(&mut client, &over).await.unwrap().state() == SessionState::Ended).await;
    until(async || {
        metric(&service, "video_session_unreadable_sessions").await == UNREADABLE as u64
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_with_another_sessions_body_is_answered_for_nobody() {
    let setup = setup();
    let mut service = setup.start().await;
    let mut client = service.client();
    let mine = created(&mut client, create("mine")).await.session_id;
    let other = created(&mut client, create("other")).await.session_id;
    let over = created(&mut client, create("over")).await.session_id;
    let uncountable = created(&mut client, create("uncountable")).await.session_id;
    service.process.terminate().await;
    database(&setup)
        .execute_batch(
            "UPDATE sessions SET body = (SELECT body FROM sessions WHERE appointment_id = 'other')
                 WHERE appointment_id = 'mine';
             UPDATE sessions SET scheduled_end_ms = 1, body = json_set(body, '$.scheduled_end_time_ms', 1)
                 WHERE appointment_id IN ('over', 'uncountable');
             UPDATE sessions SET version = 9223372036854775807,
                 body = json_set(body, '$.version', 9223372036854775807) WHERE appointment_id = 'uncountable';",
        )
        .unwrap();
    let service = setup.start().await;
    let mut client = service.client();
    for damaged in [&mine, &uncountable] {
        let refused = get(&mut client, damaged).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Internal);
    }
    let session = get(&mut client, &other).await.unwrap();
    assert_eq!(session.appointment_id, "other");
    until(async || get(&mut client, &over).await.unwrap().state() == SessionState::Ended).await;
}
