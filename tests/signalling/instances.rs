//! Two instances on one store.

use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use video_session::proto::v1;
use video_session::proto::v1::{Role, SessionState};

use crate::harness::{Service, Setup, create, created, end, get, join, patiently};
use crate::peers::MongoPeer;
use crate::toxiproxy::{Fault, Toxiproxy};
use crate::world::{Ticket, World, setup};

fn on(peer: &MongoPeer) -> Setup {
    setup()
        .set("MONGO_URI", format!("mongodb://{}/signalling", peer.addr))
        .set("INSTANCE_BEAT_MS", 200)
        .set("INSTANCE_LEASE_SECS", 2)
        .set("RECONNECT_GRACE_SECS", 4)
        // The peer speaks the protocol, not MongoDB's speed.
        .set("STORE_TIMEOUT_MS", 20_000)
}

async fn two() -> (MongoPeer, World, Service) {
    let peer = MongoPeer::start(0);
    let here = World::with(&on(&peer), create("appointment-1")).await;
    let there = on(&peer).start().await;
    (peer, here, there)
}

const SOON: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn what_one_instance_decides_reaches_the_sockets_of_another() {
    let (_peer, mut here, there) = two().await;
    let mut away = there.client();
    let id = here.session_id.clone();
    let (mut doctor, mut patient) = here.couple().await;

    let started = Instant::now();
    let request = v1::MuteParticipantRequest {
        session_id: id.clone(),
        user_id: "patient-1".to_owned(),
    };
    away.mute_participant(request).await.unwrap();
    patient.expect("mute-request").await;
    let request = v1::RemoveParticipantRequest {
        session_id: id.clone(),
        user_id: "patient-1".to_owned(),
        keep_out: false,
    };
    away.remove_participant(request).await.unwrap();
    patient.expect("removed").await;
    assert_eq!(patient.closed().await, Some(4003));
    assert_eq!(doctor.expect("user-left").await["cause"], "removed");
    end(&mut away, &id, "over").await;
    assert_eq!(doctor.expect("session-ended").await["reason"], "over");
    assert_eq!(doctor.closed().await, Some(4004));
    assert!(started.elapsed() < 3 * SOON, "{:?}", started.elapsed());
    assert_eq!(
        get(&mut away, &id).await.unwrap().state(),
        SessionState::Ended
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn participants_on_two_instances_see_each_other_come_and_go() {
    let (_peer, mut here, there) = two().await;
    let ticket = here.ticket(Role::Patient).await;
    let mut patient = ticket.connect(there.http).await.unwrap();
    patient.until("waiting").await;
    let mut doctor = here.admitted(Role::Doctor).await;
    patient.expect("admitted").await;
    let others = patient.expect("existing-participants").await;
    assert_eq!(others["participants"][0]["user_id"], "doctor-1");
    assert_eq!(doctor.expect("user-joined").await["user_id"], "patient-1");
    // Without a bus between instances, what they say to each other stays on its instance.
    doctor.send(&json!({"type": "emoji", "data": {"emoji": "x"}}));
    doctor.nothing_more().await;
    patient.nothing_more().await;

    // The patient's page comes to this instance: the same participant, and the old connection is told.
    let mut moved = here.connect(&ticket).await;
    assert_eq!(moved.expect("connected").await["resumed"], true);
    moved.expect("existing-participants").await;
    patient.expect("replaced").await;
    assert_eq!(patient.closed().await, Some(4005));
    doctor.send(&json!({"type": "emoji", "data": {"emoji": "x"}}));
    moved.expect("emoji").await;
    doctor.nothing_more().await;
    moved.ask("leave");
    assert_eq!(doctor.expect("user-left").await["cause"], "left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_guest_who_comes_as_the_doctor_elsewhere_is_one_person() {
    let (_peer, mut here, there) = two().await;
    let invitation = v1::InviteParticipantRequest {
        role: Role::Guest.into(),
        user_id: "doctor-2".to_owned(),
        ..Default::default()
    };
    let token = here.invite(invitation).await.unwrap().join.unwrap().token;
    let guest_ticket = here.exchange(&token).await;
    let mut guest = guest_ticket.connect(there.http).await.unwrap();
    guest.until("waiting").await;
    let request = v1::UpdateSessionRequest {
        session_id: here.session_id.clone(),
        doctor_id: "doctor-2".to_owned(),
        ..Default::default()
    };
    here.client.update_session(request).await.unwrap();
    let request = v1::JoinSessionRequest {
        user_id: "doctor-2".to_owned(),
        ..join(&here.session_id, Role::Doctor)
    };
    let grant = here.client.join_session(request).await.unwrap();
    let ticket = here.exchange(&grant.into_inner().token).await;
    let mut doctor = here.connect(&ticket).await;
    assert_eq!(doctor.expect("connected").await["status"], "admitted");
    guest.expect("replaced").await;
    assert_eq!(guest.closed().await, Some(4005));
    // Nor does the guest's link let anybody in any more.
    assert_eq!(guest_ticket.connect(there.http).await.err(), Some(403));
    doctor.until("existing-participants").await;
    doctor.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer and toxiproxy; .ci/run installs them"]
async fn after_an_outage_of_the_store_the_living_do_not_bury_each_other() {
    const BEAT: Duration = Duration::from_secs(1);
    let lease = 2 * BEAT;
    let peer = MongoPeer::start(0);
    let way = Toxiproxy::start(&peer.addr.to_string()).await;
    let on_the_way = setup()
        .set("MONGO_URI", format!("mongodb://{}/signalling", way.addr))
        .set("INSTANCE_BEAT_MS", BEAT.as_millis())
        .set("INSTANCE_LEASE_SECS", lease.as_secs())
        .set("RECONNECT_GRACE_SECS", lease.as_secs());
    let mut here = World::with(&on_the_way, create("appointment-1")).await;
    let there = on_the_way.start().await;
    let mut doctor = here.admitted(Role::Doctor).await;
    let ticket = here.ticket(Role::Patient).await;
    let mut patient = ticket.connect(there.http).await.unwrap();
    patient.until("existing-participants").await;
    doctor.expect("user-joined").await;
    way.inject(Fault::Cut).await;
    // Longer than the lease.
    beats([&here.service, &there], "unavailable", 4.0).await;
    way.heal(Fault::Cut).await;
    // Both have looked for the dead for longer than the lease.
    beats([&here.service, &there], "ok", 8.0).await;
    doctor.nothing_more().await;
    patient.nothing_more().await;
    assert_eq!(here.session().await.participants.len(), 2);
}

/// Sets the clock of a process ahead of the machine's. Its monotonic clock stays as it is.
fn with_clock_ahead(setup: Setup, secs: i64) -> Setup {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/clock.c");
    let library = setup.path(&format!("clock{secs}.so"));
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .status()
        .expect("the compiler that SQLite is built with");
    assert!(compiled.success());
    setup
        .set("LD_PRELOAD", library.display())
        .set("CLOCK_AHEAD_SECS", secs)
}

/// Waits until each service has tried so many times to write its heartbeat, with an outcome. It looks for the dead each time that
/// it has written one.
async fn beats<const N: usize>(services: [&Service; N], outcome: &str, more: f64) {
    let tries = format!(
        "video_session_store_operations_total{{operation=\"beat\",outcome=\"{outcome}\"}} "
    );
    let tries = tries.as_str();
    let wait = async |service| {
        let before = metric(service, tries).await.unwrap_or(0.0);
        while metric(service, tries).await.unwrap_or(0.0) < before + more {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    patiently(join_all(services.map(wait))).await;
}

/// The value of a metric; `None` when it has not been counted yet.
async fn metric(service: &Service, name: &str) -> Option<f64> {
    let text = service.admin("/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn instances_whose_clocks_differ_leave_each_others_participants_alone() {
    let peer = MongoPeer::start(0);
    let mut here = World::with(&on(&peer), create("appointment-1")).await;
    // One that is ahead of this machine, and one that is behind, by far more than the lease.
    let ahead = with_clock_ahead(on(&peer), 60).start().await;
    let behind = with_clock_ahead(on(&peer), -60).start().await;
    let mut doctor = here.admitted(Role::Doctor).await;
    let ticket = here.ticket(Role::Patient).await;
    let mut patient = ticket.connect(ahead.http).await.unwrap();
    patient.until("existing-participants").await;
    doctor.expect("user-joined").await;
    let request = v1::InviteParticipantRequest {
        role: Role::Observer.into(),
        user_id: "observer-1".to_owned(),
        ..Default::default()
    };
    let token = here.invite(request).await.unwrap().join.unwrap().token;
    let ticket = here.exchange(&token).await;
    let mut observer = ticket.connect(behind.http).await.unwrap();
    observer.until("existing-participants").await;
    for page in [&mut doctor, &mut patient] {
        page.until("user-joined").await;
    }
    // Each has looked at the others' marks for more than twice as long as an instance may be silent.
    beats([&here.service, &ahead, &behind], "ok", 50.0).await;
    for page in [&mut doctor, &mut patient, &mut observer] {
        page.nothing_more().await;
    }
    assert_eq!(here.session().await.participants.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_clock_that_differs_from_the_stores_is_measured_and_logged_once() {
    let peer = MongoPeer::start(0);
    let on = |peer: &MongoPeer| on(peer).set("STORE_PROBE_INTERVAL_MS", 50);
    let exact = on(&peer).start().await;
    let ahead = with_clock_ahead(on(&peer), 60).start().await;
    let behind = with_clock_ahead(on(&peer), -60).start().await;
    let skew = "video_session_clock_skew_seconds ";
    let measured = "video_session_store_operations_total{operation=\"clock\",outcome=\"ok\"} ";
    for (service, expected) in [(&exact, 0.0), (&ahead, 60.0), (&behind, -60.0)] {
        let near = |skew: f64| (skew - expected).abs() < 2.0;
        patiently(async {
            while metric(service, measured).await.unwrap_or(0.0) < 20.0
                || !metric(service, skew).await.is_some_and(near)
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
    let differ = "this machine's clock and the store's differ";
    let said = |service: &Service| service.output().matches(differ).count();
    assert_eq!((said(&exact), said(&ahead), said(&behind)), (0, 1, 1));
    assert!(ahead.output().contains("WARN"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_host_who_was_removed_elsewhere_is_none_from_then_on() {
    for _ in 0..5 {
        let (_peer, mut here, there) = two().await;
        let mut away = there.client();
        let (doctor, _patient) = here.couple().await;
        let request = v1::RemoveParticipantRequest {
            session_id: here.session_id.clone(),
            user_id: "doctor-1".to_owned(),
            keep_out: true,
        };
        away.remove_participant(request).await.unwrap();
        // Before this instance has heard of it.
        doctor.ask("end-session");
        doctor.about("remove", "patient-1");
        here.until(|session| session.participants.len() == 1).await;
        doctor.vanish();
        let session = here.session().await;
        assert_eq!(session.participants[0].user_id, "patient-1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn one_who_waits_and_moves_to_another_instance_is_told_on_the_first() {
    let (_peer, mut here, there) = two().await;
    let ticket = here.ticket(Role::Patient).await;
    let mut patient = here.connect(&ticket).await;
    patient.until("waiting").await;
    let mut moved = ticket.connect(there.http).await.unwrap();
    assert_eq!(moved.expect("connected").await["resumed"], true);
    moved.expect("waiting").await;
    patient.expect("replaced").await;
    assert_eq!(patient.closed().await, Some(4005));
    moved.nothing_more().await;
    assert_eq!(here.session().await.participants.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_dead_instances_participants_are_gone_unless_they_came_elsewhere() {
    let (_peer, mut here, there) = two().await;
    let patient_ticket = here.ticket(Role::Patient).await;
    let doctor_ticket = here.ticket(Role::Doctor).await;
    let mut doctor = doctor_ticket.connect(there.http).await.unwrap();
    doctor.until("existing-participants").await;
    let mut patient = patient_ticket.connect(there.http).await.unwrap();
    patient.until("existing-participants").await;
    there.process.kill().await;
    let mut doctor = here.connect(&doctor_ticket).await;
    assert_eq!(doctor.expect("connected").await["resumed"], true);
    doctor.expect("existing-participants").await;
    let left = doctor.expect("user-left").await;
    assert_eq!(
        (&left["user_id"], &left["cause"]),
        (&json!("patient-1"), &json!("lost"))
    );
    doctor.nothing_more().await;
    assert_eq!(here.session().await.participants.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn hundreds_of_pages_arrive_at_once_and_none_is_turned_away() {
    const SESSIONS: usize = 16;
    const PAGES: usize = 25;
    let peer = MongoPeer::start(0);
    let setup = setup()
        .set("MONGO_URI", format!("mongodb://{}/signalling", peer.addr))
        .set("HTTP_REQUESTS_PER_MINUTE", 100_000)
        // The peer speaks the protocol, not MongoDB's speed; what is tried here is contention.
        .set("STORE_TIMEOUT_MS", 20_000)
        .set("CONTENTION_WAIT_MS", 20_000)
        .set("MAX_PARTICIPANTS", PAGES);
    let here = setup.start().await;
    let there = setup.start().await;
    let mut client = here.client();
    let mut tickets = Vec::new();
    for n in 0..SESSIONS {
        let request = v1::CreateSessionRequest {
            admission: v1::Admission::Open.into(),
            max_participants: 25,
            ..create(&format!("appointment-{n}"))
        };
        let session_id = created(&mut client, request).await.session_id;
        for guest in 0..PAGES {
            let invitation = v1::InviteParticipantRequest {
                session_id: session_id.clone(),
                role: Role::Guest.into(),
                user_id: format!("guest-{guest}"),
                ..Default::default()
            };
            let answer = client.invite_participant(invitation).await.unwrap();
            let token = answer.into_inner().join.unwrap().token;
            tickets.push(Ticket::exchange(here.http, &session_id, &token).await);
        }
    }
    // All at once, at both instances; then all of them at the other one, as after a restart.
    for round in 0..2 {
        let arriving = tickets.iter().enumerate().map(|(n, ticket)| {
            let http = [here.http, there.http][(n + round) % 2];
            async move {
                let mut page = ticket.connect(http).await.unwrap();
                page.expect("connected").await;
                page
            }
        });
        let mut pages = join_all(arriving).await;
        // Still there once everybody has come.
        for page in &mut pages {
            page.ask("ping");
            page.until("pong").await;
        }
    }
}
