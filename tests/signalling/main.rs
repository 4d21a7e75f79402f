//! Participants, as their browsers meet the real binary: the join link, the page's address, and signalling by
//! docs/signalling.md. What the page makes of it is tried in tests/browser.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod attacks;
mod bus;
mod call;
mod client;
mod clinic;
mod closing;
mod doctor;
mod documents;
mod door;
mod encryption;
mod failover;
mod ice;
mod instances;
mod legacy_rooms;
mod moving;
mod presence;
mod proxy;
mod quality;
mod removal;
mod sfu_door;
mod sfu_nodes;
mod sfu_rooms;
mod sfu_secrecy;
mod short_links;
mod waiting;
mod world;

#[expect(dead_code, reason = "the gRPC tests use more of it")]
#[path = "../api/harness.rs"]
mod harness;
#[path = "../support/livekit.rs"]
mod livekit;
#[path = "../support/peers.rs"]
mod peers;
#[expect(dead_code, reason = "the conformance tests use more of it")]
#[path = "../support/redis.rs"]
mod redis;
#[expect(dead_code, reason = "the tests of faults use more of it")]
#[path = "../support/toxiproxy.rs"]
mod toxiproxy;
