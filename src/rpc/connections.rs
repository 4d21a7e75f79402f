//! Limits a listener's open connections, in total and per address.
//!
//! A connection is untrusted until a call on it shows the internal secret. At a limit, the oldest untrusted connection is
//! closed for the new one, so callers without the secret cannot block others, not even from the same address. Connections
//! without any call are closed first, once they had time to make one, so that a probe's connection outlives silent ones.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::net::client_network_of;

/// How long an untrusted connection may take to its first call before it is closed ahead of those with a call.
const FIRST_CALL_TIME: Duration = Duration::from_secs(1);

/// All open connections of a listener.
pub(super) struct ConnectionTable {
    per_address_max: usize,
    /// One permit for each connection; held until its socket is closed.
    permits: Arc<Semaphore>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Connections opened so far; numbers them by age.
    opened: u64,
    addresses: HashMap<IpAddr, Address>,
    /// Addresses with untrusted connections, ordered by their number, then by the rank of the first one to close.
    by_untrusted: BTreeSet<(usize, Reverse<Rank>, IpAddr)>,
}

#[derive(Default)]
struct Address {
    /// Connections not told to close.
    open: usize,
    untrusted: BTreeMap<Rank, Untrusted>,
}

struct Untrusted {
    opened: Instant,
    closing: CancellationToken,
}

/// The order in which untrusted connections are closed; those without a call only once they had time to make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    has_called: bool,
    number: u64,
}

/// The connection that a call arrived on; among the extensions of requests.
#[derive(Clone)]
pub struct Peer(Arc<PeerState>);

struct PeerState {
    connections: Arc<ConnectionTable>,
    ip: IpAddr,
    /// What counts as one client.
    address: IpAddr,
    number: u64,
    has_called: AtomicBool,
    is_trusted: AtomicBool,
    closing: CancellationToken,
}

/// Allows a connection to be open until it is dropped.
pub(super) struct ConnectionPermit {
    peer: Peer,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionTable {
    pub(super) fn new(connections_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            per_address_max,
            permits: Arc::new(Semaphore::new(connections_max)),
            table: Mutex::default(),
        })
    }

    /// A permit for a connection from `ip`; waits if all are taken and no connection is untrusted. `None` if the
    /// address is at its limit and none of its connections is untrusted. Must be called by one task only: two could exceed
    /// an address's limit.
    pub(super) async fn acquire(self: &Arc<Self>, ip: IpAddr) -> Option<ConnectionPermit> {
        let address = client_network_of(ip);
        let made_room = {
            let mut table = self.table();
            let open = table.addresses.get(&address).map_or(0, |found| found.open);
            let is_full = open >= self.per_address_max;
            if is_full && !table.close_oldest_untrusted_of(address) {
                return None;
            }
            is_full
        };
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                if !made_room {
                    self.table().close_one_untrusted();
                }
                Arc::clone(&self.permits).acquire_owned().await.ok()?
            }
        };
        let peer = self.table().add(self, ip);
        Some(ConnectionPermit {
            peer,
            _permit: permit,
        })
    }

    /// Closes every connection on which no call has shown the secret.
    pub(super) fn close_all_untrusted(&self) {
        let mut table = self.table();
        while table.close_one_untrusted() {}
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, connections: &Arc<ConnectionTable>, ip: IpAddr) -> Peer {
        let address = client_network_of(ip);
        self.opened += 1;
        let number = self.opened;
        let closing = CancellationToken::new();
        self.change(address, |found| {
            let rank = Rank {
                has_called: false,
                number,
            };
            found.open += 1;
            let (opened, closing) = (Instant::now(), closing.clone());
            found.untrusted.insert(rank, Untrusted { opened, closing });
        });
        Peer(Arc::new(PeerState {
            connections: Arc::clone(connections),
            ip,
            address,
            number,
            has_called: AtomicBool::new(false),
            is_trusted: AtomicBool::new(false),
            closing,
        }))
    }

    /// Changes an address's entry and updates its place in the order of addresses.
    fn change<T>(&mut self, address: IpAddr, change: impl FnOnce(&mut Address) -> T) -> T {
        let found = self.addresses.entry(address).or_default();
        let before = found.rank_entry(address);
        let outcome = change(found);
        let after = found.rank_entry(address);
        if found.open == 0 {
            self.addresses.remove(&address);
        }
        if before != after {
            if let Some(before) = before {
                self.by_untrusted.remove(&before);
            }
            self.by_untrusted.extend(after);
        }
        outcome
    }

    /// Returns whether there was one.
    fn close_oldest_untrusted_of(&mut self, address: IpAddr) -> bool {
        self.change(address, |found| {
            let Some(connection) = found.take_untrusted() else {
                return false;
            };
            found.open -= 1;
            connection.closing.cancel();
            true
        })
    }

    /// Closes the oldest untrusted connection of the address with most of them. Returns whether there was one.
    fn close_one_untrusted(&mut self) -> bool {
        let most = self.by_untrusted.last().copied();
        most.is_some_and(|(_, _, address)| self.close_oldest_untrusted_of(address))
    }
}

impl Address {
    /// Its place among the addresses with untrusted connections.
    fn rank_entry(&self, address: IpAddr) -> Option<(usize, Reverse<Rank>, IpAddr)> {
        let (first, _) = self.untrusted.first_key_value()?;
        Some((self.untrusted.len(), Reverse(*first), address))
    }

    /// Removes the untrusted connection to close: the oldest without a call that had time to make one, or else the oldest
    /// with a call, or else the oldest.
    fn take_untrusted(&mut self) -> Option<Untrusted> {
        let (silent, connection) = self.untrusted.first_key_value()?;
        let had_time = connection.opened.elapsed() >= FIRST_CALL_TIME;
        let first_caller = Rank {
            has_called: true,
            number: 0,
        };
        let caller = self.untrusted.range(first_caller..).next();
        let first = match caller {
            Some((caller, _)) if !had_time => *caller,
            _ => *silent,
        };
        self.untrusted.remove(&first)
    }
}

impl Peer {
    /// Cancelled when the connection must be closed.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    /// Whether a call has shown the secret.
    pub(super) fn is_trusted(&self) -> bool {
        self.0.is_trusted.load(Ordering::Relaxed)
    }

    /// Records an accepted call: one with the secret, or a health check.
    pub(super) fn mark_called(&self) {
        if self.0.has_called.load(Ordering::Relaxed) {
            return;
        }
        let mut table = self.0.connections.table();
        let before = self.rank();
        self.0.has_called.store(true, Ordering::Relaxed);
        let after = self.rank();
        table.change(self.0.address, |found| {
            if let Some(connection) = found.untrusted.remove(&before) {
                found.untrusted.insert(after, connection);
            }
        });
    }

    /// The address of the connection's other end, which may be a proxy.
    pub fn ip(&self) -> IpAddr {
        self.0.ip
    }

    /// Records that a call has shown the secret, or that the connection has been let in by another rule: it is not closed for new
    /// connections any more.
    pub fn mark_trusted(&self) {
        if self.is_trusted() {
            return;
        }
        let mut table = self.0.connections.table();
        table.change(self.0.address, |found| {
            if found.untrusted.remove(&self.rank()).is_some() {
                self.0.is_trusted.store(true, Ordering::Relaxed);
            }
        });
    }

    fn rank(&self) -> Rank {
        Rank {
            has_called: self.0.has_called.load(Ordering::Relaxed),
            number: self.0.number,
        }
    }
}

impl ConnectionPermit {
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let peer = &self.peer;
        let mut table = peer.0.connections.table();
        // A connection told to close has been removed already.
        if !peer.0.closing.is_cancelled() {
            table.change(peer.0.address, |found| {
                found.open -= 1;
                found.untrusted.remove(&peer.rank());
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// A permit that is available at once; `None` if the caller is refused or would have to wait.
    fn try_acquire(connections: &Arc<ConnectionTable>, last: u8) -> Option<ConnectionPermit> {
        connections.acquire(address(last)).now_or_never().flatten()
    }

    /// Makes every untrusted connection old enough to have made a call.
    fn age_untrusted(connections: &ConnectionTable) {
        let long_ago = Instant::now()
            .checked_sub(2 * FIRST_CALL_TIME)
            .expect("up for long");
        for address in connections.table().addresses.values_mut() {
            for connection in address.untrusted.values_mut() {
                connection.opened = long_ago;
            }
        }
    }

    fn is_closing(permit: &ConnectionPermit) -> bool {
        permit.peer().closing().is_cancelled()
    }

    fn is_empty(connections: &ConnectionTable) -> bool {
        let table = connections.table();
        table.addresses.is_empty() && table.by_untrusted.is_empty()
    }

    #[test]
    fn an_address_at_its_limit_loses_its_oldest_untrusted_connection() {
        let connections = ConnectionTable::new(10, 2);
        let first = try_acquire(&connections, 1).expect("a permit");
        let second = try_acquire(&connections, 1).expect("a permit");
        let third = try_acquire(&connections, 1).expect("a permit");
        assert_eq!(
            [&first, &second, &third].map(is_closing),
            [true, false, false]
        );
        // The new connection had no time to call yet, so the one with a call is closed.
        second.peer().mark_called();
        let fourth = try_acquire(&connections, 1).expect("a permit");
        assert_eq!(
            [&second, &third, &fourth].map(is_closing),
            [true, false, false]
        );
        // Once it had time, the one without a call is closed first.
        third.peer().mark_called();
        age_untrusted(&connections);
        let fifth = try_acquire(&connections, 1).expect("a permit");
        assert_eq!(
            [&third, &fourth, &fifth].map(is_closing),
            [false, true, false]
        );
        drop((first, second, third, fourth, fifth));
        assert!(is_empty(&connections));
    }

    #[test]
    fn an_address_with_trusted_connections_only_is_refused_more() {
        let connections = ConnectionTable::new(10, 2);
        let permits = [try_acquire(&connections, 1), try_acquire(&connections, 1)].map(|permit| {
            let permit = permit.expect("a permit");
            permit.peer().mark_called();
            permit.peer().mark_trusted();
            permit
        });
        assert!(try_acquire(&connections, 1).is_none());
        assert!(try_acquire(&connections, 2).is_some());
        assert!(!permits.iter().any(is_closing));
        drop(permits);
        assert!(try_acquire(&connections, 1).is_some());
        assert!(is_empty(&connections));
    }

    #[test]
    fn at_the_total_limit_the_address_with_most_untrusted_connections_loses_one() {
        let connections = ConnectionTable::new(4, 3);
        let trusted = try_acquire(&connections, 1).expect("a permit");
        trusted.peer().mark_trusted();
        let few = try_acquire(&connections, 2).expect("a permit");
        let many = [try_acquire(&connections, 3), try_acquire(&connections, 3)]
            .map(|permit| permit.expect("one"));
        // No permit is free before the closing connection's socket is closed.
        assert!(try_acquire(&connections, 4).is_none());
        let [oldest, other] = many;
        assert_eq!(
            [&trusted, &few, &oldest, &other].map(is_closing),
            [false, false, true, false]
        );
        drop(oldest);
        let newcomer = try_acquire(&connections, 4).expect("a permit");
        drop((trusted, few, other, newcomer));
        assert!(is_empty(&connections));
    }

    #[test]
    fn of_addresses_with_one_untrusted_connection_each_a_silent_one_loses_it() {
        let connections = ConnectionTable::new(3, 3);
        let probe = try_acquire(&connections, 9).expect("a permit");
        probe.peer().mark_called();
        let silent = [try_acquire(&connections, 1), try_acquire(&connections, 2)]
            .map(|permit| permit.expect("one"));
        assert!(try_acquire(&connections, 3).is_none());
        let [oldest, other] = silent;
        assert_eq!(
            [&probe, &oldest, &other].map(is_closing),
            [false, true, false]
        );
        drop((probe, oldest, other));
        assert!(is_empty(&connections));
    }

    #[test]
    fn all_untrusted_connections_are_closed_and_trusted_ones_stay() {
        let connections = ConnectionTable::new(10, 10);
        let permits = [1, 1, 2, 3].map(|last| try_acquire(&connections, last).expect("a permit"));
        permits[1].peer().mark_trusted();
        permits[2].peer().mark_called();
        connections.close_all_untrusted();
        assert_eq!(
            permits.each_ref().map(is_closing),
            [true, false, true, true]
        );
        drop(permits);
        assert!(is_empty(&connections));
    }
}
