//! The connections that this process holds, by session. Everything here is in memory and done under one short lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Relay;
use crate::domain::access::Role;
use crate::domain::id::{SessionId, UserId};

/// What goes to a page.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// A message.
    Text(Arc<str>),
    /// The end of the connection, with a code of docs/signalling.md.
    Close(u16),
}

/// One end of the queue to a page.
#[derive(Clone)]
pub struct Outbox {
    /// Bounded.
    pub queue: mpsc::Sender<Outgoing>,
    /// Cancelled when the page does not keep up.
    pub too_slow: CancellationToken,
}

impl Outbox {
    /// Queues something; a queue that is full condemns the connection, as what it misses cannot be made up for.
    pub fn send(&self, outgoing: Outgoing) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(outgoing) {
            self.too_slow.cancel();
        }
    }
}

/// One participant's connection.
pub struct Peer {
    /// Tells it from other connections of the same participant.
    pub connection: u64,
    /// Who.
    pub user_id: UserId,
    /// In which role.
    pub role: Role,
    /// In the call, not in the waiting room.
    pub admitted: bool,
    /// Events up to this sequence are known to the page; `i64::MAX` until it was told of the session at all.
    pub knows: i64,
    /// The queue to its page.
    pub outbox: Outbox,
}

/// What a page last said of its microphone and camera.
#[derive(Debug, Clone, Copy, Default)]
pub struct MediaState {
    /// The microphone is off.
    pub muted: bool,
    /// The camera is off.
    pub camera_off: bool,
}

/// The connections of one session.
#[derive(Default)]
pub struct Room {
    /// The connections, one a participant.
    pub peers: Vec<Peer>,
    /// What participants said of their microphones and cameras; they may be away for a moment.
    pub said: HashMap<UserId, MediaState>,
    /// The last event that the room's pages were told of.
    pub told: i64,
    /// Whether a task tells them.
    pub followed: bool,
}

impl Room {
    /// The connection of a participant.
    pub fn peer(&self, user_id: &UserId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.user_id == *user_id)
    }

    /// What a participant last said of microphone and camera.
    pub fn said(&self, user_id: &UserId) -> MediaState {
        self.said.get(user_id).copied().unwrap_or_default()
    }

    /// The connection of a participant.
    pub fn peer_mut(&mut self, user_id: &UserId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.user_id == *user_id)
    }
}

/// All connections of this process.
#[derive(Default)]
pub struct Connections {
    rooms: Mutex<HashMap<SessionId, Room>>,
    /// Whose connection is gone, and which it was, until they are back or have left.
    missed: Mutex<HashMap<(SessionId, UserId), u64>>,
    next: AtomicU64,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Room>> {
        // Nothing below panics while it holds the lock, and the map is sound at every step.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken after the lock of the rooms, where both are.
    fn missed(&self) -> MutexGuard<'_, HashMap<(SessionId, UserId), u64>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, in the place of an older one of the same participant, whose queue is handed back.
    pub fn attach(
        &self,
        session_id: &SessionId,
        user_id: UserId,
        role: Role,
        outbox: Outbox,
    ) -> (u64, Option<Outbox>) {
        let connection = self.next.fetch_add(1, Ordering::Relaxed);
        let mut rooms = self.lock();
        self.missed().remove(&(session_id.clone(), user_id.clone()));
        let room = rooms.entry(session_id.clone()).or_default();
        let older = room
            .peers
            .iter()
            .position(|peer| peer.user_id == user_id)
            .map(|index| room.peers.swap_remove(index));
        room.peers.push(Peer {
            connection,
            user_id,
            role,
            admitted: false,
            knows: i64::MAX,
            outbox,
        });
        (connection, older.map(|peer| peer.outbox))
    }

    /// Removes a connection; true if it was still the participant's, who is missed from then on.
    pub fn detach(&self, session_id: &SessionId, user_id: &UserId, connection: u64) -> bool {
        let mut rooms = self.lock();
        let Some(room) = rooms.get_mut(session_id) else {
            return false;
        };
        let before = room.peers.len();
        room.peers.retain(|peer| peer.connection != connection);
        let removed = room.peers.len() < before;
        if removed {
            let who = (session_id.clone(), user_id.clone());
            self.missed().insert(who, connection);
        }
        if room.peers.is_empty() && !room.followed {
            rooms.remove(session_id);
        }
        removed
    }

    /// Gives up on a participant; true if they are missed since that connection was lost.
    pub fn stop_missing(&self, session_id: &SessionId, user_id: &UserId, connection: u64) -> bool {
        let who = (session_id.clone(), user_id.clone());
        let mut missed = self.missed();
        let since = missed.get(&who) == Some(&connection);
        if since {
            missed.remove(&who);
        }
        since
    }

    /// Whether a connection is its participant's, not an older one that was replaced.
    pub fn is_current(&self, session_id: &SessionId, connection: u64) -> bool {
        let is_it = |peer: &Peer| peer.connection == connection;
        self.with_room(session_id, |room| room.peers.iter().any(is_it)) == Some(true)
    }

    /// Looks at a room, or changes it; `None` when nobody is connected to that session here.
    pub fn with_room<T>(
        &self,
        session_id: &SessionId,
        act: impl FnOnce(&mut Room) -> T,
    ) -> Option<T> {
        self.lock().get_mut(session_id).map(act)
    }

    /// Drops a room that nobody is connected to any more; true if it is gone, and with it the need to follow its session.
    pub fn forget_if_empty(&self, session_id: &SessionId) -> bool {
        let mut rooms = self.lock();
        match rooms.get(session_id) {
            Some(room) if !room.peers.is_empty() => false,
            _ => {
                rooms.remove(session_id);
                true
            }
        }
    }

    /// Hands a relayed message to those of its receivers that are connected here and in the call.
    pub fn deliver(&self, relay: &Relay) {
        self.with_room(&relay.session_id, |room| {
            let receives = |peer: &&Peer| {
                peer.admitted
                    && peer.user_id != relay.from
                    && relay.to.as_ref().is_none_or(|to| peer.user_id == *to)
            };
            for peer in room.peers.iter().filter(receives) {
                peer.outbox.send(Outgoing::Text(Arc::clone(&relay.text)));
            }
        });
    }
}
