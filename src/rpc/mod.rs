//! The gRPC edge: layers in order around [`Api`], and errors as statuses.

mod adapter;
mod calls;
mod connections;
mod deadline;
mod details;
mod health;
mod http;
mod in_flight;
mod incoming;
mod message;
mod methods;
mod middleware;
mod observe;
mod secret_check;
mod status;
mod tls;
mod trace_context;

pub use calls::{Answer, Call, Calls, EncodedStatus};
pub use deadline::TIMEOUT_HEADER;
pub use health::Health;
pub use http::{HttpBody, HttpService, PeerAddress};
pub use message::Transcode;
pub use secret_check::{AdmittedByEdge, SECRET_HEADER};
pub use status::code_of;
pub use tls::{Tls, TlsError};

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;

use crate::api::Api;
use crate::auth::secret::InternalSecrets;
use crate::proto;
use crate::telemetry::metrics::Metrics;
use incoming::Protocols;
use middleware::Around;

/// The full name of the API's main service; its health is the instance's readiness.
pub const SERVICE_NAME: &str = "videosession.v1.VideoSessionService";
/// The full name of the operators' service; its health is the instance's readiness, too.
pub const NODE_SERVICE_NAME: &str = "videosession.v1.SfuNodeService";

/// The longest name of a service, with room to spare.
const HEALTH_MESSAGE_BYTES_MAX: usize = 1024;

/// Settings of the gRPC edge.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether reflection is served, to callers with the secret.
    pub reflection: bool,
    /// The largest request.
    pub message_bytes_max: usize,
    /// How long a call's message may take to arrive in full.
    pub body_timeout: Duration,
    /// How many calls may be in progress at once, and how many may wait for their message; further calls are refused as
    /// overload. Streams count only while they open.
    pub in_flight_max: usize,
    /// How many health watch streams may be open at once.
    pub health_watches_max: usize,
    /// How long a connection may take from its start to a finished handshake: TLS, HTTP/2's preface, the first SETTINGS.
    pub hello_timeout: Duration,
    /// How many connections may be open at once.
    pub connections_max: usize,
    /// How many of them from one address.
    pub connections_per_address_max: usize,
    /// How many calls one connection may have open at once.
    pub streams_per_connection_max: u32,
    /// How often an idle connection is pinged, and how long it may take to answer.
    pub keepalive: Duration,
    /// How long a connection of HTTP/1.1 may be without a request, and the head of a further request may take.
    pub http1_idle_timeout: Duration,
    /// The age at which a connection's client is asked to open another, so that clients find new instances. Its calls finish
    /// first. `None`: no limit.
    pub connection_age_max: Option<Duration>,
    /// When an overloaded caller should try again.
    pub retry_after: Duration,
}

/// The edge's dependencies.
#[derive(Clone)]
pub struct Parts {
    /// Handles the calls.
    pub api: Api,
    /// The secrets that callers may show.
    pub secrets: Arc<InternalSecrets>,
    /// Answers health checks.
    pub health: Health,
    /// Counts calls.
    pub metrics: Arc<Metrics>,
}

/// The edge could not be set up, or failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// TLS_CERT_FILE, TLS_KEY_FILE or TLS_CLIENT_CA_FILE cannot be used.
    #[error("the TLS files cannot be used")]
    Tls(#[from] TlsError),
    /// The API's descriptors cannot be read.
    #[error("reflection cannot be set up")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The server failed.
    #[error("the gRPC server failed")]
    Server(#[source] tonic::transport::Error),
}

/// Serves the API until `stop` is cancelled, then lets calls in progress finish.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    listener: TcpListener,
    config: &Config,
    tls: Option<&Tls>,
    calls: Calls,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let acceptor = tls.map(|tls| tls.acceptor(Protocols::Http2)).transpose()?;
    let connections = incoming::accept(listener, config, acceptor, Protocols::Http2, &stop);
    base_server(config)
        .layer(calls.layers)
        .add_routes(calls.routes)
        .serve_with_incoming_shutdown(connections, stop.cancelled())
        .await
        .map_err(ServeError::Server)
}

/// Serves `service` over HTTP/1.1 and HTTP/2 until `stop` is cancelled, with the limits of gRPC's listener.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve_http<B: HttpBody>(
    listener: TcpListener,
    config: &Config,
    tls: Option<&Tls>,
    service: impl HttpService<B>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let acceptor = tls.map(|tls| tls.acceptor(Protocols::Any)).transpose()?;
    let connections = incoming::accept(listener, config, acceptor, Protocols::Any, &stop);
    http::serve(connections, config, service, stop).await;
    Ok(())
}

/// Serves only health, in plain text, for probes without TLS.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve_health(
    listener: TcpListener,
    config: &Config,
    health: Health,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let connections = incoming::accept(listener, config, None, Protocols::Http2, &stop);
    base_server(config)
        .layer(Around(deadline::Deadline))
        .layer(Around(message::MessageFirst::new(config)))
        .add_service(health_server(health))
        .serve_with_incoming_shutdown(connections, stop.cancelled())
        .await
        .map_err(ServeError::Server)
}

/// Health checks need no secret, so their messages are limited to a service's name.
fn health_server(health: Health) -> HealthServer<Health> {
    HealthServer::new(health).max_decoding_message_size(HEALTH_MESSAGE_BYTES_MAX)
}

fn base_server(config: &Config) -> Server {
    let server = Server::builder()
        .max_concurrent_streams(config.streams_per_connection_max)
        // A backend may cancel all its calls at once without losing its connection.
        .http2_max_pending_accept_reset_streams(
            usize::try_from(config.streams_per_connection_max).ok(),
        )
        .http2_keepalive_interval(Some(config.keepalive))
        .http2_keepalive_timeout(Some(config.keepalive));
    match config.connection_age_max {
        Some(age) => server.max_connection_age(age),
        None => server,
    }
}

fn add_reflection(routes: Routes, message_bytes_max: usize) -> Result<Routes, ServeError> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Only for reflection clients, which use these types to show error details.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = builder().build_v1().map_err(ServeError::Reflection)?;
    let v1alpha = builder().build_v1alpha().map_err(ServeError::Reflection)?;
    Ok(routes
        .add_service(v1.max_decoding_message_size(message_bytes_max))
        .add_service(v1alpha.max_decoding_message_size(message_bytes_max)))
}
