//! The HTTP edges: one for participants' browsers, one for operators and SFU nodes.

pub mod admin;
mod appointment;
mod assets;
mod calendar;
mod clinic;
pub mod color;
mod cookie;
mod doctor;
mod doctor_events;
mod door;
mod encoding;
mod escape;
mod headers;
mod in_app;
mod join;
mod limits;
mod lingering;
mod livekit_client;
mod logo;
mod page_error;
mod server;
mod short_link;
mod socket;
mod webhook;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::http::HeaderMap;
use axum::http::header::ORIGIN;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::links::{
    CALENDAR_ROUTE, DOCTOR_ROUTE, DOOR_ROUTE, Links, PAGE_ROUTE, SHORT_LINK_ROUTE,
};
use crate::app::Doctors;
use crate::app::signalling::Signalling;
use crate::net::{AddressLimit, AddressSlot};
use crate::participant_socket;
use assets::Assets;

pub use assets::languages;
pub use clinic::{Clinic, Phone};
pub use lingering::LingerLimits;
pub use livekit_client::{LivekitClientError, check_livekit_client};
pub use logo::{LOGO_BYTES_MAX, Logo, LogoError};
pub use webhook::{WebhookLimits, Webhooks};

/// Settings of the edge for browsers.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where browsers reach the service.
    pub links: Links,
    /// Whose pages they are.
    pub clinic: Clinic,
    /// Other origins whose pages may open signalling connections, as browsers write them.
    pub allowed_origins: Vec<String>,
    /// Origins that may frame the page: a CSP source list.
    pub frame_ancestors: String,
    /// Proxies whose X-Forwarded-For is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests that an address may make per minute.
    pub requests_per_minute: u32,
    /// Connections.
    pub connections: ConnectionLimits,
    /// Signalling sockets.
    pub socket: participant_socket::Config,
    /// The directory of livekit-client.
    pub livekit_client_dir: PathBuf,
    /// Connections to SFU nodes.
    pub door: DoorConfig,
    /// Streams of the pages of doctors' days.
    pub doctor_events: DoctorEventsConfig,
    /// Messages of SFU nodes, which come to the admin address.
    pub webhooks: WebhookLimits,
}

/// Limits on connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// How many connections may be open at once; further ones wait to be accepted.
    pub connections_max: usize,
    /// How many of them may be from one address.
    pub per_address_max: usize,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Duration,
    /// How long a client may read nothing of what it is sent.
    pub write_timeout: Duration,
    /// What is still read from a client whose connection is being closed.
    pub linger: LingerLimits,
}

/// Settings of pages' connections to SFU nodes.
#[derive(Debug, Clone, Copy)]
pub struct DoorConfig {
    /// The bytes that may wait in each direction.
    pub buffer_bytes: usize,
    /// How long a page may be silent before its connection counts as lost.
    pub silence_max: Duration,
}

/// Settings of the streams of the pages of doctors' days.
#[derive(Debug, Clone, Copy)]
pub struct DoctorEventsConfig {
    /// How often a stream says that it is alive.
    pub keepalive: Duration,
    /// How long a stream lasts; its page then connects again.
    pub age_max: Duration,
}

/// The edge's dependencies.
#[derive(Clone, FromRef)]
struct Edge {
    signalling: Arc<Signalling>,
    doctors: Arc<Doctors>,
    config: Arc<Config>,
    assets: Arc<Assets>,
    requests: Arc<AddressLimit>,
    closing: CancellationToken,
    /// What the server waits for when it closes: connections and signalling sockets.
    connections: TaskTracker,
}

impl Config {
    /// Whether the request comes from an allowed origin. Browsers send the cookie with requests from any page.
    fn is_own_origin(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        // Browsers send exactly one; several are refused.
        let only = origins.next().filter(|_| origins.next().is_none());
        let origin = only.and_then(|value| value.to_str().ok());
        origin.is_some_and(|origin| {
            origin == self.links.origin()
                || self.allowed_origins.iter().any(|allowed| allowed == origin)
        })
    }
}

/// Serves participants' browsers until `closing` is cancelled.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    signalling: Arc<Signalling>,
    doctors: Arc<Doctors>,
    closing: CancellationToken,
) {
    let config = Arc::new(config);
    let edge = Edge {
        signalling,
        doctors,
        assets: Arc::new(Assets::new(&config)),
        requests: Arc::new(AddressLimit::per_minute(config.requests_per_minute)),
        config: Arc::clone(&config),
        closing: closing.clone(),
        connections: TaskTracker::new(),
    };
    let connections = edge.connections.clone();
    let routes = Router::new()
        .route(PAGE_ROUTE, get(join::page))
        .route(SHORT_LINK_ROUTE, get(short_link::open))
        .route(&format!("{SHORT_LINK_ROUTE}/"), get(short_link::open))
        .route(
            &format!("{PAGE_ROUTE}{CALENDAR_ROUTE}"),
            get(join::calendar_file),
        )
        .route(&format!("{PAGE_ROUTE}/name"), post(join::set_name))
        .route(&format!("{PAGE_ROUTE}/ice"), get(join::ice))
        .route(&format!("{PAGE_ROUTE}/ws"), get(socket::open))
        .route(&format!("{PAGE_ROUTE}{DOOR_ROUTE}"), get(door::open))
        .route("/embed.js", get(assets::serve_embedding_client))
        .route("/embed.d.ts", get(assets::serve_embedding_client))
        .route(DOCTOR_ROUTE, get(doctor::page))
        .route(&format!("{DOCTOR_ROUTE}/events"), get(doctor_events::open))
        .route(
            &format!("{DOCTOR_ROUTE}/enter/{{session_id}}"),
            post(doctor::enter),
        )
        .route("/assets/{version}/{*file}", get(assets::serve_file));
    let prefix = config.links.path_prefix();
    let router = if prefix.is_empty() {
        routes
    } else {
        // Proxies may strip the prefix or keep it.
        Router::new().nest(prefix, routes.clone()).merge(routes)
    };
    let router = router
        .fallback(join::not_found)
        .layer(from_fn_with_state(edge.clone(), limits::limit_by_address))
        .layer(from_fn_with_state(
            edge.clone(),
            headers::add_security_headers,
        ))
        .layer(from_fn(headers::log_request))
        .with_state(edge);
    server::run(
        listener,
        router,
        config.connections,
        &config.trusted_proxies,
        connections,
        closing,
    )
    .await;
}

/// Allows a connection to be open until it is dropped.
struct ConnectionPermit {
    #[expect(dead_code, reason = "held, not used")]
    permit: OwnedSemaphorePermit,
    #[expect(dead_code, reason = "held, not used")]
    address_slot: Option<AddressSlot>,
}

/// The address of the connection's other end, which may be a proxy.
#[derive(Debug, Clone, Copy)]
struct PeerAddress(SocketAddr);
