//! `video-session`: the control plane of a telemedicine backend's video consultations.
//!
//! A request moves one way: an edge (`rpc`) hands it to `api`, which parses it, `app` asks `domain` for a decision, `store`
//! commits that, and only then does `bus` tell of it. ARCHITECTURE.md has the whole map and the rules that tests/tidy holds the
//! modules to.

pub mod api;
pub mod app;
pub mod auth;
pub mod boot;
pub mod bus;
pub mod config;
pub mod domain;
pub mod legacy;
pub mod net;
pub mod participant_socket;
pub mod proto;
pub mod readiness;
pub mod rest;
pub mod rpc;
pub mod sfu;
pub mod store;
pub mod telemetry;
pub mod web;
