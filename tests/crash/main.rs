//! The process is killed with -9 and started again while clients work at full speed: nothing that was answered with OK is
//! lost, and nothing is half-done. And what becomes of hundreds of callers who change one session.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod hot_session;
mod two_instances;

#[path = "../support/peers.rs"]
mod peers;
#[path = "../support/service.rs"]
mod service;
#[path = "../support/turns.rs"]
mod turns;
#[path = "../support/workload.rs"]
mod workload;

use std::net::SocketAddr;
use std::process::Command;

use service::{Service, program};
use workload::{Targets, Workload, verify};

const KILLS: usize = 20;
const CLIENTS: usize = 24;
/// Answers that a process gives before it is killed.
const OKS_A_LIFE: u64 = 60;

fn move_to(targets: &Targets, n: usize, addr: Option<SocketAddr>) {
    *targets.0[n].lock().unwrap() = addr;
}

fn embedded(dir: &tempfile::TempDir) -> Command {
    let mut command = program();
    // Nothing here is about time.
    command
        .env("DATA_DIR", dir.path())
        .env("STORE_TIMEOUT_MS", "20000");
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_keeps_what_was_answered_through_twenty_kills() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(embedded(&dir));
    let targets = Targets::new(&[service.grpc]);
    let mut workload = Workload::start(CLIENTS, &targets);
    for _ in 0..KILLS {
        workload
            .progress(OKS_A_LIFE + fastrand::u64(..OKS_A_LIFE))
            .await;
        move_to(&targets, 0, None);
        drop(service);
        service = Service::start(embedded(&dir));
        move_to(&targets, 0, Some(service.grpc));
    }
    workload.progress(OKS_A_LIFE).await;
    let record = workload.stop().await;
    // Once more, so that what is verified comes from the file and nowhere else.
    drop(service);
    let service = Service::start(embedded(&dir));
    println!("verifying what is left: {}", service.listening);
    let found = verify(&mut service.client().await, &record).await;
    println!(
        "{KILLS} kills, {:?} answers OK, errors {:?}: {found:?}",
        record.oks,
        record.errors.lock().unwrap()
    );
    // A turn and its session are one transaction here, so that no kill, however it falls, takes a turn without a session.
    assert!(found.spread() <= 1, "{found:?}");
    assert!(found.sessions > KILLS && found.joins > KILLS, "{found:?}");
}
