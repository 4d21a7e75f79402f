//! The open connections of a listener: so many in all, so many from one address.
//!
//! A connection is a stranger until a call on it shows the internal secret. At the limit, the oldest stranger
//! is cut in favour of the newcomer, so callers without the secret cannot block others, not even clients at their own address.
//! Strangers that have never made a call go first, so that a probe that keeps its connection open outlives those who are
//! silent; but not before they had the time to make one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long a stranger may take to make its first call before it goes ahead of those that have made one.
const FIRST_CALL_TIME: Duration = Duration::from_secs(1);

/// All open connections of a listener.
pub(super) struct ConnectionTable {
    per_address_max: usize,
    /// A permit for each connection that may be open; held until its socket is closed.
    permits: Arc<Semaphore>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// How many were ever opened: numbers them by age.
    opened: u64,
    addresses: HashMap<IpAddr, Address>,
    /// The addresses that have strangers: the last one has most of them, and of several the one whose stranger goes first.
    by_strangers: BTreeSet<(usize, Reverse<Rank>, IpAddr)>,
}

#[derive(Default)]
struct Address {
    /// All connections that were not cut.
    open: usize,
    strangers: BTreeMap<Rank, Stranger>,
}

struct Stranger {
    opened: Instant,
    cut: CancellationToken,
}

/// Which stranger goes first: the least, once it had the time to make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    has_called: bool,
    number: u64,
}

/// The connection that a call came on.
#[derive(Clone)]
pub(super) struct Peer(Arc<PeerState>);

struct PeerState {
    connections: Arc<ConnectionTable>,
    address: IpAddr,
    number: u64,
    has_called: AtomicBool,
    is_known: AtomicBool,
    cut: CancellationToken,
}

/// What lets a connection be open, until it is dropped.
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

    /// A permit for a connection from `address`; waits for one if all are taken and none is a stranger's. `None` if the
    /// address has as many as it may have, and none is a stranger's. To be called by one task only: two could take more
    /// permits than there are.
    pub(super) async fn acquire(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionPermit> {
        let makes_way = {
            let mut table = self.table();
            let open = table.addresses.get(&address).map_or(0, |found| found.open);
            let is_full = open >= self.per_address_max;
            if is_full && !table.cut_oldest_stranger_of(address) {
                return None;
            }
            is_full
        };
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                if !makes_way {
                    self.table().cut_a_stranger();
                }
                Arc::clone(&self.permits).acquire_owned().await.ok()?
            }
        };
        let peer = self.table().add(self, address);
        Some(ConnectionPermit {
            peer,
            _permit: permit,
        })
    }

    /// Cuts every connection on which no call has shown the secret.
    pub(super) fn cut_strangers(&self) {
        let mut table = self.table();
        while table.cut_a_stranger() {}
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, connections: &Arc<ConnectionTable>, address: IpAddr) -> Peer {
        self.opened += 1;
        let number = self.opened;
        let cut = CancellationToken::new();
        self.change(address, |found| {
            let rank = Rank {
                has_called: false,
                number,
            };
            found.open += 1;
            let (opened, cut) = (Instant::now(), cut.clone());
            found.strangers.insert(rank, Stranger { opened, cut });
        });
        Peer(Arc::new(PeerState {
            connections: Arc::clone(connections),
            address,
            number,
            has_called: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
            cut,
        }))
    }

    /// Changes what is known of an address, and keeps the order of addresses true.
    fn change<T>(&mut self, address: IpAddr, change: impl FnOnce(&mut Address) -> T) -> T {
        let found = self.addresses.entry(address).or_default();
        let before = found.position(address);
        let outcome = change(found);
        let after = found.position(address);
        if found.open == 0 {
            self.addresses.remove(&address);
        }
        if before != after {
            if let Some(before) = before {
                self.by_strangers.remove(&before);
            }
            self.by_strangers.extend(after);
        }
        outcome
    }

    /// Whether there was one.
    fn cut_oldest_stranger_of(&mut self, address: IpAddr) -> bool {
        self.change(address, |found| {
            let Some(stranger) = found.take_stranger() else {
                return false;
            };
            found.open -= 1;
            stranger.cut.cancel();
            true
        })
    }

    /// Cuts the oldest stranger of the address that has most of them. Whether there was one.
    fn cut_a_stranger(&mut self) -> bool {
        let most = self.by_strangers.last().copied();
        most.is_some_and(|(_, _, address)| self.cut_oldest_stranger_of(address))
    }
}

impl Address {
    /// Where it stands among the addresses that have strangers.
    fn position(&self, address: IpAddr) -> Option<(usize, Reverse<Rank>, IpAddr)> {
        let (first, _) = self.strangers.first_key_value()?;
        Some((self.strangers.len(), Reverse(*first), address))
    }

    /// Takes off the stranger that goes first: the oldest that never made a call though it had the time to, or else the
    /// oldest that made one, or else the oldest.
    fn take_stranger(&mut self) -> Option<Stranger> {
        let (silent, stranger) = self.strangers.first_key_value()?;
        let had_time = stranger.opened.elapsed() >= FIRST_CALL_TIME;
        let first_caller = Rank {
            has_called: true,
            number: 0,
        };
        let caller = self.strangers.range(first_caller..).next();
        let goes_first = match caller {
            Some((caller, _)) if !had_time => *caller,
            _ => *silent,
        };
        self.strangers.remove(&goes_first)
    }
}

impl Peer {
    /// Cancelled when the connection is to be closed.
    pub(super) fn cut(&self) -> &CancellationToken {
        &self.0.cut
    }

    /// Whether a call has shown the secret.
    pub(super) fn is_known(&self) -> bool {
        self.0.is_known.load(Ordering::Relaxed)
    }

    /// A call was let in: with the secret, or to ask for health.
    pub(super) fn note_call(&self) {
        if self.0.has_called.load(Ordering::Relaxed) {
            return;
        }
        let mut table = self.0.connections.table();
        let before = self.rank();
        self.0.has_called.store(true, Ordering::Relaxed);
        let after = self.rank();
        table.change(self.0.address, |found| {
            if let Some(stranger) = found.strangers.remove(&before) {
                found.strangers.insert(after, stranger);
            }
        });
    }

    /// A call has shown the secret: the connection is no stranger's any more.
    pub(super) fn note_secret(&self) {
        if self.is_known() {
            return;
        }
        let mut table = self.0.connections.table();
        table.change(self.0.address, |found| {
            if found.strangers.remove(&self.rank()).is_some() {
                self.0.is_known.store(true, Ordering::Relaxed);
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
        // One that was cut has been taken off already.
        if !peer.0.cut.is_cancelled() {
            table.change(peer.0.address, |found| {
                found.open -= 1;
                found.strangers.remove(&peer.rank());
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

    /// A permit that is there at once; `None` if the caller is refused or would have to wait.
    fn take(connections: &Arc<ConnectionTable>, last: u8) -> Option<ConnectionPermit> {
        connections.acquire(address(last)).now_or_never().flatten()
    }

    /// As if every stranger had been there for a while.
    fn age_strangers(connections: &ConnectionTable) {
        let long_ago = Instant::now()
            .checked_sub(2 * FIRST_CALL_TIME)
            .expect("up for long");
        for address in connections.table().addresses.values_mut() {
            for stranger in address.strangers.values_mut() {
                stranger.opened = long_ago;
            }
        }
    }

    fn is_cut(permit: &ConnectionPermit) -> bool {
        permit.peer().cut().is_cancelled()
    }

    fn is_empty(connections: &ConnectionTable) -> bool {
        let table = connections.table();
        table.addresses.is_empty() && table.by_strangers.is_empty()
    }

    #[test]
    fn an_addresss_oldest_stranger_makes_way() {
        let connections = ConnectionTable::new(10, 2);
        let first = take(&connections, 1).expect("a permit");
        let second = take(&connections, 1).expect("a permit");
        let third = take(&connections, 1).expect("a permit");
        assert_eq!([&first, &second, &third].map(is_cut), [true, false, false]);
        // One that has not called yet had no time to, so one that has called makes way for it.
        second.peer().note_call();
        let fourth = take(&connections, 1).expect("a permit");
        assert_eq!([&second, &third, &fourth].map(is_cut), [true, false, false]);
        // Once it had the time, it goes first.
        third.peer().note_call();
        age_strangers(&connections);
        let fifth = take(&connections, 1).expect("a permit");
        assert_eq!([&third, &fourth, &fifth].map(is_cut), [false, true, false]);
        drop((first, second, third, fourth, fifth));
        assert!(is_empty(&connections));
    }

    #[test]
    fn an_address_whose_callers_are_known_is_refused_more() {
        let connections = ConnectionTable::new(10, 2);
        let permits = [take(&connections, 1), take(&connections, 1)].map(|permit| {
            let permit = permit.expect("a permit");
            permit.peer().note_call();
            permit.peer().note_secret();
            permit
        });
        assert!(take(&connections, 1).is_none());
        assert!(take(&connections, 2).is_some());
        assert!(!permits.iter().any(is_cut));
        drop(permits);
        assert!(take(&connections, 1).is_some());
        assert!(is_empty(&connections));
    }

    #[test]
    fn of_all_addresses_the_one_with_most_strangers_makes_way() {
        let connections = ConnectionTable::new(4, 3);
        let known = take(&connections, 1).expect("a permit");
        known.peer().note_secret();
        let few = take(&connections, 2).expect("a permit");
        let many =
            [take(&connections, 3), take(&connections, 3)].map(|permit| permit.expect("one"));
        // There is no permit before the socket of the one that was cut is closed.
        assert!(take(&connections, 4).is_none());
        let [oldest, other] = many;
        assert_eq!(
            [&known, &few, &oldest, &other].map(is_cut),
            [false, false, true, false]
        );
        drop(oldest);
        let newcomer = take(&connections, 4).expect("a permit");
        drop((known, few, other, newcomer));
        assert!(is_empty(&connections));
    }

    #[test]
    fn of_addresses_with_one_stranger_each_a_silent_one_makes_way() {
        let connections = ConnectionTable::new(3, 3);
        let probe = take(&connections, 9).expect("a permit");
        probe.peer().note_call();
        let silent =
            [take(&connections, 1), take(&connections, 2)].map(|permit| permit.expect("one"));
        assert!(take(&connections, 3).is_none());
        let [oldest, other] = silent;
        assert_eq!([&probe, &oldest, &other].map(is_cut), [false, true, false]);
        drop((probe, oldest, other));
        assert!(is_empty(&connections));
    }

    #[test]
    fn all_strangers_are_cut_and_those_with_the_secret_are_not() {
        let connections = ConnectionTable::new(10, 10);
        let permits = [1, 1, 2, 3].map(|last| take(&connections, last).expect("a permit"));
        permits[1].peer().note_secret();
        permits[2].peer().note_call();
        connections.cut_strangers();
        assert_eq!(permits.each_ref().map(is_cut), [true, false, true, true]);
        drop(permits);
        assert!(is_empty(&connections));
    }
}
