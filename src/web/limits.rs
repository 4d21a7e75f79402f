//! Limits the requests of each address.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::page_error::PageError;
use super::{Edge, PeerAddress};
use crate::net::client_address;

/// Refuses requests from an address over its limit.
pub(super) async fn limit_by_address(
    State(edge): State<Edge>,
    request: Request,
    next: Next,
) -> Response {
    // The page's files do not count: browsers cache them, and many patients of a clinic share an address.
    let path = request.uri().path();
    let path = path
        .strip_prefix(edge.config.links.path_prefix())
        .unwrap_or(path);
    let is_exempt = path.starts_with("/assets/");
    let is_allowed = is_exempt || {
        let peer = request.extensions().get::<PeerAddress>();
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
        let client = client_address(peer, request.headers(), &edge.config.trusted_proxies);
        edge.requests.check(client).is_ok()
    };
    if is_allowed {
        next.run(request).await
    } else {
        edge.assets
            .error_page(&PageError::RateLimited, request.headers(), &edge.config)
    }
}
