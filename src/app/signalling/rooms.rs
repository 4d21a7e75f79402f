//! The rooms of this instance: one for each session with a connection here, or with a participant in the grace period.
//!
//! The table's lock is held for a look-up only, and never together with a room's. Between the two, a room can be closed: a
//! closed room accepts no connection, and is replaced in the table by a new one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outbox::PageQueue;
use super::room::Room;
use super::room::{ConnectionId, RoomMember};
use crate::domain::id::{SessionId, UserId};
use crate::domain::role::Role;

/// All rooms of this instance.
#[derive(Default)]
pub(in crate::app) struct Rooms {
    rooms: Mutex<HashMap<SessionId, Arc<Room>>>,
    next_connection_id: AtomicU64,
}

/// A connection that was added to its room.
pub(super) struct Added {
    pub(super) room: Arc<Room>,
    pub(super) connection_id: ConnectionId,
    /// The queue of the participant's older connection, which this one replaced.
    pub(super) replaced: Option<PageQueue>,
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Room>>> {
        // No code panics while it holds the lock, and the map is consistent at every step.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection to its session's room. It replaces an older one of the same participant.
    pub(super) fn add_connection(
        &self,
        session_id: &SessionId,
        user_id: &UserId,
        role: Role,
        queue: &PageQueue,
        door: &Arc<str>,
    ) -> Added {
        let next = self.next_connection_id.fetch_add(1, Ordering::Relaxed);
        let connection_id = ConnectionId(next);
        loop {
            let room = self.open_room(session_id);
            let member = RoomMember {
                connection_id,
                user_id: user_id.clone(),
                role,
                page_state: None,
                media_version: 0,
                queue: queue.clone(),
                door: Arc::clone(door),
            };
            match room.add_member(member) {
                Ok(replaced) => {
                    return Added {
                        room,
                        connection_id,
                        replaced,
                    };
                }
                // The room was closed since the look-up.
                Err(_) => self.remove_room(&room),
            }
        }
    }

    fn open_room(&self, session_id: &SessionId) -> Arc<Room> {
        let mut rooms = self.lock();
        let room = rooms
            .entry(session_id.clone())
            .or_insert_with(|| Arc::new(Room::new(session_id.clone())));
        Arc::clone(room)
    }

    /// Stops waiting for a lost participant. True if they have not reconnected since that connection was lost.
    pub(super) fn remove_lost(
        &self,
        room: &Arc<Room>,
        user_id: &UserId,
        connection_id: ConnectionId,
    ) -> bool {
        let is_lost = room.remove_lost(user_id, connection_id);
        self.close_if_unused(room);
        is_lost
    }

    /// Stops following a session if its room has no members. True if it stopped.
    pub(super) fn stop_following_if_empty(&self, room: &Arc<Room>) -> bool {
        let stopped = room.stop_following_if_empty();
        if stopped {
            self.close_if_unused(room);
        }
        stopped
    }

    fn close_if_unused(&self, room: &Arc<Room>) {
        if room.close_if_unused() {
            self.remove_room(room);
        }
    }

    /// Removes a closed room from the table, unless a new room has replaced it.
    fn remove_room(&self, room: &Arc<Room>) {
        let mut rooms = self.lock();
        let is_it = rooms
            .get(room.session_id())
            .is_some_and(|found| Arc::ptr_eq(found, room));
        if is_it {
            rooms.remove(room.session_id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::signalling::outbox::Outbox;

    fn session() -> SessionId {
        SessionId::from_stored("sess_1".into())
    }

    fn user(name: &str) -> UserId {
        UserId::from_stored(name.into())
    }

    fn connect(rooms: &Rooms, name: &str) -> (Added, Outbox) {
        let (queue, outbox) = PageQueue::new(8);
        let door = "/door".into();
        let added = rooms.add_connection(&session(), &user(name), Role::Patient, &queue, &door);
        (added, outbox)
    }

    fn disconnect(added: &Added, name: &str) -> bool {
        added.room.remove_member(&user(name), added.connection_id)
    }

    fn forget(rooms: &Rooms, added: &Added, name: &str) -> bool {
        rooms.remove_lost(&added.room, &user(name), added.connection_id)
    }

    #[test]
    fn a_room_stays_while_a_participant_is_in_the_grace_period() {
        let rooms = Rooms::default();
        let (first, _outbox) = connect(&rooms, "a");
        assert!(disconnect(&first, "a"));
        let (second, _outbox) = connect(&rooms, "a");
        assert!(Arc::ptr_eq(&first.room, &second.room));
        // They reconnected: the grace period of the first connection has no effect.
        assert!(!forget(&rooms, &first, "a"));
        assert!(second.room.is_current(second.connection_id));
        assert!(disconnect(&second, "a"));
        assert!(!forget(&rooms, &first, "a"));
        assert_eq!(rooms.lock().len(), 1);
        assert!(forget(&rooms, &second, "a"));
        assert!(rooms.lock().is_empty());
    }

    #[test]
    fn a_replaced_connection_is_not_lost() {
        let rooms = Rooms::default();
        let (first, _outbox) = connect(&rooms, "a");
        let (second, _outbox) = connect(&rooms, "a");
        assert!(first.replaced.is_none() && second.replaced.is_some());
        assert!(!first.room.is_current(first.connection_id));
        assert!(!disconnect(&first, "a"));
        assert!(!forget(&rooms, &first, "a"));
        assert!(second.room.is_current(second.connection_id));
    }

    #[test]
    fn a_closed_room_takes_no_connection() {
        let rooms = Rooms::default();
        let (first, _outbox) = connect(&rooms, "a");
        assert!(disconnect(&first, "a"));
        // Closed, but still in the table: another thread can observe this state.
        first.room.remove_lost(&user("a"), first.connection_id);
        assert!(first.room.close_if_unused());
        assert!(!first.room.close_if_unused());
        let (second, _outbox) = connect(&rooms, "a");
        assert!(!Arc::ptr_eq(&first.room, &second.room));
        rooms.remove_room(&first.room);
        let (third, _outbox) = connect(&rooms, "b");
        assert!(Arc::ptr_eq(&second.room, &third.room));
    }

    #[test]
    fn concurrent_connections_share_one_room_and_leave_none_behind() {
        let rooms = Rooms::default();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let rooms = &rooms;
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let (added, _outbox) = connect(rooms, name);
                        // As long as a connection is in a room, that room is the session's.
                        let found = rooms.lock().get(&session()).map(Arc::clone);
                        assert!(found.is_some_and(|found| Arc::ptr_eq(&found, &added.room)));
                        assert!(disconnect(&added, name));
                        assert!(forget(rooms, &added, name));
                    }
                });
            }
        });
        assert!(rooms.lock().is_empty());
    }
}
