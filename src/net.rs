//! Client addresses, and limits by address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::HeaderMap;
use ipnet::IpNet;

/// The number of checks after which idle addresses are forgotten.
const CLEAR_EVERY: u32 = 4096;

/// The network that counts as one client: an IPv4 address, or the /64 network of an IPv6 address, because providers assign
/// whole /64 networks.
pub fn client_network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The network of a request's client: that of the last address in X-Forwarded-For that is not a trusted proxy's.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let trusted = |address: &IpAddr| {
        trusted_proxies
            .iter()
            .any(|network| network.contains(address))
    };
    if !trusted(&peer) {
        return client_network_of(peer);
    }
    let headers = headers.get_all("x-forwarded-for");
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

/// Limits how often each address does something.
pub struct AddressLimit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    checks: AtomicU32,
}

impl AddressLimit {
    /// A limit of that many times per minute, which may be used up at once.
    pub fn per_minute(times: u32) -> Self {
        let times = NonZeroU32::new(times).unwrap_or(NonZeroU32::MIN);
        Self {
            limiter: RateLimiter::keyed(Quota::per_minute(times)),
            checks: AtomicU32::new(0),
        }
    }

    /// Counts one time for an address.
    ///
    /// # Errors
    /// How long the address must wait, if it is over its limit.
    pub fn check(&self, address: IpAddr) -> Result<(), Duration> {
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        if checks.is_multiple_of(CLEAR_EVERY) {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(&address)
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

/// Counts what is open for each address.
#[derive(Default)]
pub struct AddressCounts(Mutex<HashMap<IpAddr, usize>>);

/// One of the things that are open for an address; frees its place when dropped.
pub struct AddressSlot {
    addresses: Arc<AddressCounts>,
    address: IpAddr,
}

impl AddressCounts {
    /// A place for an address; `None` if it has `limit` of them.
    pub fn acquire(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<AddressSlot> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(AddressSlot {
            addresses: Arc::clone(self),
            address,
        })
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let counts = &self.addresses.0;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_a_network_and_an_ipv4_client_an_address() {
        let counted = |text: &str| client_network_of(text.parse().expect("an address")).to_string();
        assert_eq!(counted("192.0.2.1"), "192.0.2.1");
        assert_eq!(counted("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

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

    #[test]
    fn an_address_over_its_limit_is_told_how_long_to_wait() {
        let limit = AddressLimit::per_minute(2);
        let [one, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        assert_eq!((limit.check(one), limit.check(one)), (Ok(()), Ok(())));
        let wait = limit.check(one).expect_err("it is over the limit");
        assert!(wait > Duration::from_secs(1) && wait <= Duration::from_secs(30));
        assert_eq!(limit.check(other), Ok(()));
    }
}
