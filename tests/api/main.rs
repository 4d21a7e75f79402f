//! Black-box tests of the real binary: each test starts its own process, in a directory of its own, on ports that the
//! system chooses. Nothing here waits for time to pass, only for what it should bring.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod access;
mod clients;
mod events;
mod harness;
mod health;
mod legacy;
mod lifecycle;
mod methods;
mod nodes;
mod placing;
mod rest;
mod secrecy;
mod sessions;
mod telemetry;
mod tls;
mod tokens;
mod unreadable;
mod validation;
mod wire;

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../support/openvidu.rs"]
mod openvidu_stub;
