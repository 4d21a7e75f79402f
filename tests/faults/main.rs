//! What the service stands on breaks and comes back: no call hangs, every failure says what it is, nothing is applied
//! twice, and nobody has to restart anything. Callers break off or fall silent: other callers do not notice.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

// prlimit and private mounts are Linux's.
#[cfg(target_os = "linux")]
mod disk;
mod probes;
mod silence;
mod unfinished;
mod way_to_mongo;

#[path = "../support/peers.rs"]
mod peers;
#[path = "../support/service.rs"]
mod service;
#[path = "../support/toxiproxy.rs"]
mod toxiproxy;
#[path = "../support/turns.rs"]
mod turns;
#[path = "../support/workload.rs"]
mod workload;
