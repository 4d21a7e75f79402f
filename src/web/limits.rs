//! Limits the requests of each address.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::page_error::PageError;
use super::{Config, Edge, PeerAddress};
use crate::net::client_network_of;

/// The number of requests after which idle addresses are forgotten.
const CLEAR_EVERY: u32 = 4096;

/// The rates of requests, by address.
pub(super) struct Limits {
    requests: DefaultKeyedRateLimiter<IpAddr>,
    seen: AtomicU32,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        let per_minute = NonZeroU32::new(config.requests_per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            requests: RateLimiter::keyed(Quota::per_minute(per_minute)),
            seen: AtomicU32::new(0),
        }
    }

    fn allow(&self, address: IpAddr) -> bool {
        if self
            .seen
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(CLEAR_EVERY)
        {
            self.requests.retain_recent();
        }
        self.requests.check_key(&address).is_ok()
    }
}

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
    if is_exempt || edge.limits.allow(client_address(&edge.config, &request)) {
        next.run(request).await
    } else {
        edge.assets
            .error_page(&PageError::RateLimited, request.headers(), &edge.config)
    }
}

/// The client's address: the last one in X-Forwarded-For that is not a trusted proxy's.
fn client_address(config: &Config, request: &Request) -> IpAddr {
    let peer = request
        .extensions()
        .get::<PeerAddress>()
        .map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip())
        .to_canonical();
    let trusted = |address: &IpAddr| {
        config
            .trusted_proxies
            .iter()
            .any(|network| network.contains(address))
    };
    if !trusted(&peer) {
        return client_network_of(peer);
    }
    let headers = request.headers().get_all("x-forwarded-for");
    let entries: Vec<&str> = headers
        .iter()
        .flat_map(|header| header.to_str().unwrap_or("").split(','))
        .collect();
    let mut client = peer;
    // From the end, up to the first that is not a trusted proxy's or is malformed; clients can forge the ones before it.
    for address in entries.into_iter().rev().map_while(parse_address) {
        client = address;
        if !trusted(&address) {
            break;
        }
    }
    client_network_of(client)
}

/// Some proxies add the port.
fn parse_address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let address = entry
        .parse()
        .or_else(|_| entry.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        let read = |entry| parse_address(entry).map(|address| address.to_string());
        assert_eq!(read(" 192.0.2.1 ").as_deref(), Some("192.0.2.1"));
        assert_eq!(read("192.0.2.1:5678").as_deref(), Some("192.0.2.1"));
        assert_eq!(read("::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(read("[2001:db8::1]:443").as_deref(), Some("2001:db8::1"));
        assert_eq!(read("unknown"), None);
        assert_eq!(read(""), None);
    }
}
