//! Adds headers to every answer, and logs every request.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::{Config, Edge};

const PERMISSIONS: &str = "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), autoplay=(self), \
     speaker-selection=(self), screen-wake-lock=(self), geolocation=(), payment=(), usb=(), serial=(), midi=(), \
     accelerometer=(), gyroscope=(), magnetometer=()";
/// Two years. Without subdomains: with a path prefix, the host belongs to another service.
const HSTS: &str = "max-age=63072000";

/// Allows only the service's own files, and nothing inline.
fn content_security_policy(config: &Config) -> String {
    // In some browsers, 'self' does not cover WebSockets of the same origin.
    let socket_origin = config.links.origin().replacen("http", "ws", 1);
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
         media-src 'self' blob: mediastream:; font-src 'self'; connect-src 'self' {socket_origin}; base-uri 'none'; \
         form-action 'none'; frame-ancestors {}",
        config.frame_ancestors
    )
}

/// Adds the headers that isolate the page from others.
pub(super) async fn add_security_headers(
    State(edge): State<Edge>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.entry(name).or_insert(value);
        }
    };
    set(
        CONTENT_SECURITY_POLICY,
        &content_security_policy(&edge.config),
    );
    set(REFERRER_POLICY, "no-referrer");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(HeaderName::from_static("permissions-policy"), PERMISSIONS);
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(CACHE_CONTROL, "no-store");
    if edge.config.frame_ancestors == "'none'" {
        set(X_FRAME_OPTIONS, "DENY");
    }
    if edge.config.links.is_secure() {
        set(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}

/// Logs the request by its route, because the address may contain a token.
pub(super) async fn log_request(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let started = Instant::now();
    let response = next.run(request).await;
    let latency_ms = (started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    tracing::info!(
        http.route = route,
        http.status = response.status().as_u16(),
        latency_ms,
        "request ended"
    );
    response
}
