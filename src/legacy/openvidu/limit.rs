//! Limits how often an address may try something.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;

use crate::net::client_network_of;

/// The number of attempts after which idle addresses are forgotten.
const CLEAR_EVERY: u32 = 1024;

/// A rate for each address.
pub(super) struct AddressLimit {
    attempts: DefaultKeyedRateLimiter<IpAddr>,
    seen: AtomicU32,
    clock: DefaultClock,
}

impl AddressLimit {
    pub(super) fn per_minute(per_minute: u32) -> Self {
        let per_minute = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            attempts: RateLimiter::keyed(Quota::per_minute(per_minute)),
            seen: AtomicU32::new(0),
            clock: DefaultClock::default(),
        }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// How long to wait, if the address is over its limit.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Duration> {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        if seen.is_multiple_of(CLEAR_EVERY) {
            self.attempts.retain_recent();
        }
        let checked = self.attempts.check_key(&address);
        checked.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

/// The client's address: the last one in X-Forwarded-For that is not a trusted proxy's.
pub(super) fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted_proxies: &[IpNet],
) -> IpAddr {
    let is_trusted = |address: &IpAddr| {
        let mut networks = trusted_proxies.iter();
        networks.any(|network| network.contains(address))
    };
    let mut client = peer.to_canonical();
    let headers = headers.get_all("x-forwarded-for").iter();
    let entries: Vec<_> = headers
        .flat_map(|header| header.to_str().unwrap_or("").split(','))
        .collect();
    // From the end; clients can forge what is before the first that is not a trusted proxy's.
    for entry in entries.into_iter().rev() {
        let Some(address) = parse_address(entry).filter(|_| is_trusted(&client)) else {
            break;
        };
        client = address;
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
    fn only_trusted_proxies_say_who_the_client_is() {
        let address = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().expect("a header"));
            let proxies = ["10.0.0.0/8".parse().expect("a network")];
            client_address(peer.parse().expect("an address"), &headers, &proxies).to_string()
        };
        assert_eq!(address("192.0.2.1", "198.51.100.7"), "192.0.2.1");
        assert_eq!(address("10.0.0.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(
            address("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2"),
            "198.51.100.7"
        );
        assert_eq!(address("10.0.0.1", "1.1.1.1, unknown"), "10.0.0.1");
        assert_eq!(address("10.0.0.1", ""), "10.0.0.1");
    }

    #[test]
    fn each_address_has_its_own_rate() {
        let limit = AddressLimit::per_minute(2);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!(limit.check(one), Ok(()));
        assert_eq!(limit.check(one), Ok(()));
        let wait = limit.check(one).expect_err("over the limit");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60));
        assert_eq!(limit.check(other), Ok(()));
    }
}
