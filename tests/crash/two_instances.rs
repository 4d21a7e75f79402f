//! Two instances on one MongoDB.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::join_all;
use video_session::proto::v1::{
    CreateSessionRequest, EndSessionRequest, JoinSessionRequest, Role, Session, WatchSessionRequest,
};

use crate::peers::MongoPeer;
use crate::service::{Client as Rpc, Service, program};
use crate::turns::burnt;
use crate::workload::{Targets, Workload, all_sessions, verify};
use crate::{CLIENTS, KILLS, OKS_A_LIFE, move_to};

const DATABASE: &str = "crash";

fn on(peer: &MongoPeer) -> Command {
    let mut command = program();
    command
        .env("MONGO_URI", format!("mongodb://{}/{DATABASE}", peer.addr))
        // Nothing here is about time.
        .env("STORE_TIMEOUT_MS", "20000");
    command
}

fn create(appointment_id: &str) -> CreateSessionRequest {
    CreateSessionRequest {
        appointment_id: appointment_id.to_owned(),
        doctor_id: "doctor-1".into(),
        patient_id: "patient-1".into(),
        ..CreateSessionRequest::default()
    }
}

async fn created(client: &mut Rpc, appointment_id: &str) -> Session {
    let answer = client.create_session(create(appointment_id)).await.unwrap();
    answer.into_inner().session.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn one_of_two_instances_is_killed_twenty_times_and_nothing_is_lost() {
    let peer = MongoPeer::start(0);
    let stays = Service::start(on(&peer));
    let mut dies = Service::start(on(&peer));
    let targets = Targets::new(&[stays.grpc, dies.grpc]);
    let mut workload = Workload::start(CLIENTS, &targets);
    for _ in 0..KILLS {
        workload
            .progress(OKS_A_LIFE + fastrand::u64(..OKS_A_LIFE))
            .await;
        move_to(&targets, 1, None);
        drop(dies);
        dies = Service::start(on(&peer));
        move_to(&targets, 1, Some(dies.grpc));
    }
    workload.progress(OKS_A_LIFE).await;
    let record = workload.stop().await;
    let found = verify(&mut stays.client().await, &record).await;
    let burnt = burnt(&peer, DATABASE, &found).await;
    let errors = record.errors.lock().unwrap().clone();
    println!(
        "{KILLS} kills, {:?} answers OK, errors {errors:?}, {burnt} turns without a session: {found:?}",
        record.oks
    );
    // A turn is taken first and its session stored then: a kill in between, or a create that loses its race, leaves a turn
    // without a session. Each such turn can put the nodes one further apart, and nothing else can.
    assert!(found.spread() <= 1 + burnt, "{found:?}");
    // The instance that stays serves everybody all the time.
    let broken = |((target, code), _): &((usize, tonic::Code), u64)| {
        *target == 0 && !matches!(code, tonic::Code::FailedPrecondition | tonic::Code::Aborted)
    };
    assert_eq!(errors.into_iter().find(broken), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_hundred_racing_creates_on_two_instances_make_one_session() {
    let peer = MongoPeer::start(0);
    let instances = [Service::start(on(&peer)), Service::start(on(&peer))];
    let mut clients = Vec::new();
    for n in 0..100 {
        clients.push(instances[n % 2].client().await);
    }
    let mut previous = None;
    // The first session of an appointment, and the ones after its end.
    for _ in 0..3 {
        let race = clients
            .iter_mut()
            .map(|client| client.create_session(create("race")));
        let answers = join_all(race).await.into_iter();
        let answers: Vec<_> = answers.map(|answer| answer.unwrap().into_inner()).collect();
        let sessions: Vec<_> = answers
            .iter()
            .map(|answer| answer.session.clone().unwrap())
            .collect();
        assert!(sessions.iter().all(|session| *session == sessions[0]));
        let created = answers.iter().filter(|answer| answer.created).count();
        assert_eq!(created, 1);
        let session_id = sessions[0].session_id.clone();
        assert_ne!(Some(&session_id), previous.as_ref());
        previous = Some(session_id.clone());
        let end = EndSessionRequest {
            session_id,
            reason: String::new(),
        };
        clients[0].end_session(end).await.unwrap();
    }
    assert_eq!(all_sessions(&mut clients[0]).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn two_instances_share_one_rotation() {
    let peer = MongoPeer::start(0);
    let instances = [Service::start(on(&peer)), Service::start(on(&peer))];
    let mut clients = [instances[0].client().await, instances[1].client().await];
    let mut counts: HashMap<String, i32> = HashMap::new();
    for n in 0..50_usize {
        // Alternating, then in runs of three.
        let which = if n < 20 { n % 2 } else { n / 3 % 2 };
        let session = created(&mut clients[which], &format!("turn-{n}")).await;
        // A replay takes no turn, wherever it goes.
        let again = created(&mut clients[1 - which], &format!("turn-{n}")).await;
        assert_eq!(session, again);
        *counts.entry(session.sfu_node_id).or_default() += 1;
        let nodes = ["sfu-1", "sfu-2", "sfu-3"];
        let counts = nodes.map(|node| counts.get(node).copied().unwrap_or(0));
        let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
        assert!(spread <= 1, "{counts:?} after {} creates", n + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn what_one_instance_commits_is_watched_on_the_other_within_a_second() {
    let peer = MongoPeer::start(0);
    let instances = [Service::start(on(&peer)), Service::start(on(&peer))];
    let mut here = instances[0].client().await;
    let mut there = instances[1].client().await;
    let session = created(&mut here, "watched").await;
    let watch = WatchSessionRequest {
        session_id: session.session_id.clone(),
        after_sequence: 0,
    };
    let mut events = there.watch_session(watch).await.unwrap().into_inner();
    let first = events.message().await.unwrap().unwrap().event.unwrap();
    assert_eq!(first.sequence, 1);
    let mut longest = Duration::ZERO;
    for sequence in 2..12 {
        let join = JoinSessionRequest {
            session_id: session.session_id.clone(),
            role: Role::Doctor.into(),
            user_id: "doctor-1".into(),
            ..JoinSessionRequest::default()
        };
        let sent = Instant::now();
        here.join_session(join).await.unwrap();
        let committed = sent.elapsed();
        let limit = committed + Duration::from_secs(1);
        let next = tokio::time::timeout(limit, events.message()).await;
        let event = next
            .expect("within a second")
            .unwrap()
            .unwrap()
            .event
            .unwrap();
        longest = longest.max(sent.elapsed());
        assert_eq!(event.sequence, sequence);
    }
    println!("seen on the other instance after {longest:?} at the most");
}
