//! The way to MongoDB breaks in every way that a network has.

use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt as _, join_all};
use tonic::{Request, Status};
use video_session::proto::v1::get_session_request::Key;
use video_session::proto::v1::{
    CreateSessionRequest, CreateSessionResponse, EndSessionRequest, GetSessionRequest,
    JoinSessionRequest, ListSessionEventsRequest, ListSessionsRequest, Role, Session,
    UpdateSessionRequest, WatchSessionRequest,
};

use crate::peers::MongoPeer;
use crate::probes::{Probes, assert_store_unavailable, until};
use crate::service::{Client, Service, program};
use crate::toxiproxy::{Fault, Toxiproxy};
use crate::turns::burnt;
use crate::workload::{Targets, Workload, verify};

const DATABASE: &str = "faults";
const STORE_TIMEOUT: Duration = Duration::from_millis(1000);
/// What a loaded machine adds to a limit.
const SLACK: Duration = Duration::from_millis(1500);
/// "A few seconds" to a readiness that tells the truth again.
const FEW_SECONDS: Duration = Duration::from_secs(5);
const CLIENTS: usize = 16;

fn through(proxy: &Toxiproxy) -> Command {
    let mut command = program();
    command
        .env("MONGO_URI", format!("mongodb://{}/{DATABASE}", proxy.addr))
        .env("STORE_TIMEOUT_MS", STORE_TIMEOUT.as_millis().to_string());
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

fn join(session_id: &str) -> JoinSessionRequest {
    JoinSessionRequest {
        session_id: session_id.to_owned(),
        role: Role::Doctor.into(),
        user_id: "doctor-1".into(),
        ..JoinSessionRequest::default()
    }
}

async fn created(client: &mut Client, appointment_id: &str) -> Session {
    let answer = client.create_session(create(appointment_id)).await.unwrap();
    answer.into_inner().session.unwrap()
}

/// A call of every method, by name.
fn every_call(client: &Client, session: &Session) -> Vec<(&'static str, Answer)> {
    let session_id = session.session_id.clone();
    let appointment_id = session.appointment_id.clone();
    let get = GetSessionRequest {
        key: Some(Key::SessionId(session_id.clone())),
    };
    let update = UpdateSessionRequest {
        session_id: session_id.clone(),
        doctor_id: "doctor-2".into(),
        ..UpdateSessionRequest::default()
    };
    let end = EndSessionRequest {
        session_id: session_id.clone(),
        reason: String::new(),
    };
    let events = ListSessionEventsRequest {
        session_id: session_id.clone(),
        ..ListSessionEventsRequest::default()
    };
    let watch = WatchSessionRequest {
        session_id: session_id.clone(),
        after_sequence: 0,
    };
    macro_rules! calls {
        ($($name:literal: $method:ident($request:expr),)+) => {
            vec![$(($name, {
                let (mut client, request) = (client.clone(), $request);
                async move { client.$method(Request::new(request)).await.map(|_| ()) }.boxed()
            }),)+]
        };
    }
    calls! {
        "create": create_session(create("while-broken")),
        "replayed create": create_session(create(&appointment_id)),
        "join": join_session(join(&session_id)),
        "get": get_session(get),
        "list": list_sessions(ListSessionsRequest::default()),
        "update": update_session(update),
        "end": end_session(end),
        "events": list_session_events(events),
        "watch": watch_session(watch),
    }
}

type Answer = BoxFuture<'static, Result<(), Status>>;

/// Every call fails as it should, and in time.
async fn everything_is_unavailable(client: &Client, session: &Session) {
    let calls = every_call(client, session).into_iter();
    let calls = calls.map(async |(name, call)| {
        let started = Instant::now();
        let status = call.await.expect_err(name);
        let took = started.elapsed();
        assert!(took < STORE_TIMEOUT + SLACK, "{name} took {took:?}");
        assert_store_unavailable(name, &status);
    });
    join_all(calls).await;
}

async fn breaks_and_heals(fault: Fault) {
    let peer = MongoPeer::start(0);
    let proxy = Toxiproxy::start(&peer.addr).await;
    let service = Service::start(through(&proxy));
    let probes = Probes::of(&service).await;
    probes.ready(true, Duration::from_secs(30)).await;
    let mut client = service.client().await;
    let session = created(&mut client, "before").await;
    let mut workload = Workload::start(CLIENTS, &Targets::new(&[service.grpc]));

    for _ in 0..2 {
        workload.progress(100).await;
        let watch = WatchSessionRequest {
            session_id: session.session_id.clone(),
            after_sequence: session.version,
        };
        let mut stream = client.watch_session(watch).await.unwrap().into_inner();
        proxy.inject(fault).await;
        everything_is_unavailable(&client, &session).await;
        let not_ready = probes.ready(false, FEW_SECONDS).await;
        assert!(probes.is_live().await);
        // Not only the first calls after the fault.
        everything_is_unavailable(&client, &session).await;
        let streamed = tokio::time::timeout(FEW_SECONDS, stream.message()).await;
        let streamed = streamed
            .expect("a stream hangs")
            .expect_err("its store is gone");
        assert_store_unavailable("stream", &streamed);
        assert!(!probes.is_ready().await);
        assert!(probes.is_live().await);

        proxy.heal(fault).await;
        // A connection that is being tried may have to run into its limit first.
        let ready = probes.ready(true, FEW_SECONDS + STORE_TIMEOUT).await;
        println!("{fault:?}: not ready {not_ready:?} after the calls, ready after {ready:?}");
        workload.progress(100).await;
        let read = client.create_session(create("before")).await.unwrap();
        let read = read.into_inner();
        assert_eq!(read.session.unwrap().session_id, session.session_id);
        assert!(!read.created);
    }

    let record = workload.stop().await;
    let longest = *record.longest.lock().unwrap();
    assert!(longest < STORE_TIMEOUT + SLACK, "a call took {longest:?}");
    probes.idle().await;
    // A store that was asked just before the fault may answer late: nothing of that is left to come when all is idle.
    let found = verify(&mut client, &record).await;
    let burnt = burnt(&peer, DATABASE, &found).await;
    let errors = record.errors.lock().unwrap();
    println!(
        "{fault:?}: longest call {longest:?}, {errors:?}, {burnt} turns without a session, {found:?}"
    );
    assert!(found.spread() <= 1 + burnt);
}

macro_rules! each_fault {
    ($($name:ident: $fault:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "needs the MongoDB peer and toxiproxy; .ci/run installs them"]
        async fn $name() {
            breaks_and_heals(Fault::$fault).await;
        }
    )+};
}

each_fault! {
    a_way_that_is_cut: Cut,
    a_way_that_resets: Reset,
    a_way_that_is_slow: Slow,
    a_way_that_swallows_requests: RequestsVanish,
    a_way_that_swallows_answers: AnswersVanish,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer and toxiproxy; .ci/run installs them"]
async fn nothing_piles_up_on_a_way_that_is_half_open() {
    const CALLS: usize = 200;
    let peer = MongoPeer::start(0);
    let proxy = Toxiproxy::start(&peer.addr).await;
    let service = Service::start(through(&proxy));
    let probes = Probes::of(&service).await;
    probes.ready(true, Duration::from_secs(30)).await;
    let mut client = service.client().await;
    let session = created(&mut client, "before").await;
    let mut memory = Vec::new();
    for fault in [Fault::RequestsVanish, Fault::AnswersVanish] {
        proxy.inject(fault).await;
        for _ in 0..10 {
            let calls = (0..CALLS).map(|n| {
                let mut client = client.clone();
                let (join, create) = (join(&session.session_id), create(&format!("half-open-{n}")));
                async move {
                    let started = Instant::now();
                    let answer = if n % 2 == 0 {
                        client.join_session(join).await.map(|_| ())
                    } else {
                        client.create_session(create).await.map(|_| ())
                    };
                    let took = started.elapsed();
                    assert!(took < STORE_TIMEOUT + SLACK, "a call took {took:?}");
                    assert_store_unavailable("half-open", &answer.unwrap_err());
                }
            });
            join_all(calls).await;
            probes.idle().await;
            memory.push(probes.memory_kib());
        }
        proxy.heal(fault).await;
        probes.ready(true, FEW_SECONDS + STORE_TIMEOUT).await;
        // A connection that was opened before may still fail, and takes the calls beside it along.
        until("calls succeed again", 3 * FEW_SECONDS, async || {
            let mut client = client.clone();
            let joined = client.join_session(join(&session.session_id)).await;
            joined.is_ok()
        })
        .await;
    }
    println!("KiB after each {CALLS} calls: {memory:?}");
    // 64 connections at the most, and what the process has of its own.
    until("connections are let go", FEW_SECONDS, async || {
        probes.open_files() < 120
    })
    .await;
    let (early, late) = (memory[3], memory[memory.len() - 1]);
    assert!(late < early + 16 * 1024, "memory grows: {memory:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer and toxiproxy; .ci/run installs them"]
async fn a_start_without_mongodb_waits_for_it() {
    for fault in [Fault::Cut, Fault::RequestsVanish] {
        let peer = MongoPeer::start(0);
        let proxy = Toxiproxy::start(&peer.addr).await;
        proxy.inject(fault).await;
        let service = Service::start(through(&proxy));
        let probes = Probes::of(&service).await;
        assert!(probes.is_live().await);
        assert!(!probes.is_ready().await);
        let mut client = service.client().await;
        let nobody = Session {
            session_id: "sess_1".into(),
            appointment_id: "nobody".into(),
            ..Session::default()
        };
        everything_is_unavailable(&client, &nobody).await;
        assert!(probes.is_live().await);
        assert!(!probes.is_ready().await);
        proxy.heal(fault).await;
        let ready = probes.ready(true, FEW_SECONDS + STORE_TIMEOUT).await;
        println!("{fault:?} at start: ready {ready:?} after the way was there");
        // The indexes are there: they decide this race.
        let race = (0..20).map(|_| {
            let mut client = client.clone();
            async move {
                loop {
                    match client.create_session(create("race")).await {
                        Ok(answer) => return answer.into_inner(),
                        // A slow machine may take longer than the store's timeout: whether it was stored is not known then.
                        Err(status) => assert_eq!(status.code(), tonic::Code::Unavailable),
                    }
                }
            }
        });
        let created = join_all(race).await;
        assert!(created.iter().filter(|answer| answer.created).count() <= 1);
        let session_id = created[0].session.clone().unwrap().session_id;
        let is_it = |answer: &CreateSessionResponse| {
            let session = answer.session.as_ref();
            session.is_some_and(|session| session.session_id == session_id)
        };
        assert!(created.iter().all(is_it));
        client.join_session(join(&session_id)).await.unwrap();
    }
}
