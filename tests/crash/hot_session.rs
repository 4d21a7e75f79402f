//! Hundreds of callers change one session at the same time.

use std::process::Command;

use futures::future::join_all;
use video_session::proto::v1::get_session_request::Key;
use video_session::proto::v1::{CreateSessionRequest, GetSessionRequest, JoinSessionRequest, Role};

use crate::peers::MongoPeer;
use crate::service::{Client, Service, program};

const CALLERS: usize = 512;
/// Calls of one caller, one after the other.
const CALLS: usize = 4;
/// Connections to one instance.
const CONNECTIONS: usize = 8;

/// What became of the calls.
struct Outcome {
    joined: usize,
    refused: Vec<tonic::Status>,
}

/// Every caller joins the same session, at the instances in turn.
async fn join_one_session(instances: &[&Service]) -> Outcome {
    let mut clients = Vec::new();
    for instance in instances {
        for _ in 0..CONNECTIONS {
            clients.push(instance.client().await);
        }
    }
    let create = CreateSessionRequest {
        appointment_id: "hot".into(),
        doctor_id: "doctor-1".into(),
        patient_id: "patient-1".into(),
        ..CreateSessionRequest::default()
    };
    let created = clients[0].create_session(create).await.unwrap();
    let session_id = created.into_inner().session.unwrap().session_id;
    let callers = (0..CALLERS).map(|n| {
        let client = clients[n % clients.len()].clone();
        tokio::spawn(join_repeatedly(client, session_id.clone()))
    });
    let mut outcome = Outcome {
        joined: 0,
        refused: Vec::new(),
    };
    for calls in join_all(callers).await {
        for call in calls.unwrap() {
            match call {
                Ok(()) => outcome.joined += 1,
                Err(status) => outcome.refused.push(status),
            }
        }
    }
    let get = GetSessionRequest {
        key: Some(Key::SessionId(session_id)),
    };
    let session = clients[0].get_session(get).await.unwrap().into_inner();
    // One event each: nothing is lost, and nothing is stored twice.
    let version = usize::try_from(session.session.unwrap().version).unwrap();
    assert!(version > outcome.joined && version <= 1 + CALLERS * CALLS);
    outcome
}

async fn join_repeatedly(mut client: Client, session_id: String) -> Vec<Result<(), tonic::Status>> {
    let mut outcomes = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let join = JoinSessionRequest {
            session_id: session_id.clone(),
            role: Role::Patient.into(),
            user_id: "patient-1".into(),
            ..JoinSessionRequest::default()
        };
        outcomes.push(client.join_session(join).await.map(|_| ()));
    }
    outcomes
}

fn on(peer: &MongoPeer) -> Command {
    let mut command = program();
    command
        .env("MONGO_URI", format!("mongodb://{}/hot", peer.addr))
        // The peer speaks the protocol, not MongoDB's speed; what is tried here is contention.
        .env("STORE_TIMEOUT_MS", "20000")
        .env("CONTENTION_WAIT_MS", "20000");
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_of_a_hot_session_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .env("DATA_DIR", dir.path())
        .env("STORE_TIMEOUT_MS", "20000")
        .env("CONTENTION_WAIT_MS", "20000");
    let service = Service::start(command);
    let outcome = join_one_session(&[&service]).await;
    assert_eq!(outcome.joined, CALLERS * CALLS, "{:?}", outcome.refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn no_caller_of_a_hot_session_is_refused_over_mongodb() {
    let peer = MongoPeer::start(0);
    let service = Service::start(on(&peer));
    let outcome = join_one_session(&[&service]).await;
    assert_eq!(outcome.joined, CALLERS * CALLS, "{:?}", outcome.refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn two_instances_refuse_hardly_any_caller_of_a_hot_session() {
    let peer = MongoPeer::start(0);
    let instances = [Service::start(on(&peer)), Service::start(on(&peer))];
    let outcome = join_one_session(&[&instances[0], &instances[1]]).await;
    let refused = outcome.refused.len();
    println!("{refused} of {} calls were refused", CALLERS * CALLS);
    assert!(refused * 100 < CALLERS * CALLS, "{:?}", outcome.refused);
}
