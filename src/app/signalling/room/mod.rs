//! The connections of one session on this instance, behind one lock.
//!
//! Members receive messages in the order in which this lock is taken: everything decided under the lock is queued before the
//! lock is released. No slow work happens under it: messages are queued as values, and the connections write their JSON.

mod announcement;
mod elsewhere;
mod held;
mod member;
#[cfg(test)]
mod tests;

pub(super) use announcement::Announcement;
pub(super) use member::{ConnectionId, MediaState, MediaStates, PageState, RoomMember};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::CloseCode;
use super::outbox::{PageMessage, PageQueue};
use crate::bus::{Relay, RelayKind};
use crate::domain::id::{SessionId, UserId};
use crate::domain::participant::{Participant, ParticipantStatus};
use elsewhere::Elsewhere;
use held::HeldRelays;

/// The connections of one session.
pub(super) struct Room {
    session_id: SessionId,
    state: Mutex<RoomState>,
}

#[derive(Default)]
struct RoomState {
    /// At most one per participant.
    members: Vec<RoomMember>,
    media: MediaStates,
    /// The newest version of the session that was announced to members.
    announced_version: i64,
    /// Participants in the call whose connection another instance holds.
    elsewhere: Elsewhere,
    /// Relays for members who are about to be in the call.
    held: HeldRelays,
    /// Whether a task announces the session's events here.
    is_followed: bool,
    /// Participants whose connection was lost, with that connection, until they reconnect or their grace period ends.
    lost: HashMap<UserId, ConnectionId>,
    /// The room was removed from the table of rooms: a new connection needs a new room.
    is_closed: bool,
}

/// The outcome of [`Room::queue_initial_messages`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InitialMessages {
    /// The messages are queued.
    Queued {
        /// The caller must start to follow the session from that version.
        must_follow: bool,
    },
    /// The room has announced a newer version than the caller's.
    Outdated,
    /// The connection was replaced or lost in the meantime.
    Gone,
}

/// The sender of a relay.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) status: ParticipantStatus,
    /// The newest version of the session that was announced to the sender's room.
    pub(super) version: i64,
    /// The other instances that hold the receivers' connections.
    pub(super) instances: Vec<String>,
}

/// What became of a relay.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// It was queued for its receivers here, if there are any.
    Now,
    /// It is held back: its sender knew of changes that were not announced here yet.
    Ahead,
    /// It is held back until its receiver has their initial messages.
    Early,
    /// It was dropped, because too many are held back.
    Dropped,
}

/// The caller found a room that was closed between its look-up and this call.
#[derive(Debug)]
pub(super) struct RoomClosed;

impl Room {
    pub(super) fn new(session_id: SessionId) -> Self {
        Self {
            session_id,
            state: Mutex::default(),
        }
    }

    pub(super) fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    fn lock(&self) -> MutexGuard<'_, RoomState> {
        // No code panics while it holds the lock, and the state is consistent at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection. Returns the queue of the same participant's older connection, if it replaces one.
    pub(super) fn add_member(&self, member: RoomMember) -> Result<Option<PageQueue>, RoomClosed> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(RoomClosed);
        }
        state.lost.remove(&member.user_id);
        let older = state
            .members
            .iter()
            .position(|other| other.user_id == member.user_id)
            .map(|index| state.members.swap_remove(index));
        state.members.push(member);
        Ok(older.map(|member| member.queue))
    }

    /// Removes a connection. True if it was the participant's current one: the participant is lost from then on.
    pub(super) fn remove_member(&self, user_id: &UserId, connection_id: ConnectionId) -> bool {
        let mut state = self.lock();
        let before = state.members.len();
        state
            .members
            .retain(|member| member.connection_id != connection_id);
        let removed = state.members.len() < before;
        if removed {
            state.lost.insert(user_id.clone(), connection_id);
        }
        removed
    }

    /// Stops waiting for a lost participant. True if they have not reconnected since that connection was lost.
    pub(super) fn remove_lost(&self, user_id: &UserId, connection_id: ConnectionId) -> bool {
        let mut state = self.lock();
        let is_lost = state.lost.get(user_id) == Some(&connection_id);
        if is_lost {
            state.lost.remove(user_id);
        }
        is_lost
    }

    /// Closes the room if it is unused. True if this call closed it.
    pub(super) fn close_if_unused(&self) -> bool {
        let mut state = self.lock();
        let is_unused = state.members.is_empty() && state.lost.is_empty() && !state.is_followed;
        is_unused && !std::mem::replace(&mut state.is_closed, true)
    }

    /// Stops following the session if the room has no members. True if it stopped.
    pub(super) fn stop_following_if_empty(&self) -> bool {
        let mut state = self.lock();
        if !state.members.is_empty() {
            return false;
        }
        state.is_followed = false;
        // Without the session's events, the room cannot know which participants leave.
        state.media.forget_all();
        state.held.clear();
        true
    }

    pub(super) fn is_followed(&self) -> bool {
        self.lock().is_followed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().members.is_empty()
    }

    /// Whether a connection is its participant's current one.
    pub(super) fn is_current(&self, connection_id: ConnectionId) -> bool {
        self.lock().has(connection_id)
    }

    /// Queues the first messages of a connection, made from the media states under the lock.
    pub(super) fn queue_initial_messages(
        &self,
        connection_id: ConnectionId,
        page_state: PageState,
        messages: impl FnOnce(&MediaStates) -> Vec<PageMessage>,
    ) -> InitialMessages {
        let mut state = self.lock();
        if !state.has(connection_id) {
            return InitialMessages::Gone;
        }
        if page_state.version < state.announced_version {
            return InitialMessages::Outdated;
        }
        state.announced_version = page_state.version;
        let messages = messages(&state.media);
        let is_it = |member: &&mut RoomMember| member.connection_id == connection_id;
        if let Some(member) = state.members.iter_mut().find(is_it) {
            member.page_state = Some(page_state);
            for message in &messages {
                member.queue.send(message);
            }
        }
        let must_follow = !std::mem::replace(&mut state.is_followed, true);
        state.release_held();
        InitialMessages::Queued { must_follow }
    }

    /// Records which instances hold the session's participants.
    /// `version` is the session's.
    pub(super) fn note_instances(
        &self,
        version: i64,
        participants: &[Participant],
        own_instance: &str,
    ) {
        let mut state = self.lock();
        state.elsewhere.note(version, participants, own_instance);
    }

    /// Records the media state that a connection sent, if any. Returns what the message to `to`, or to all others, needs to know of
    /// its sender; `None` if the connection was replaced or lost, or has no initial messages yet.
    pub(super) fn record_sender(
        &self,
        user_id: &UserId,
        connection_id: ConnectionId,
        media: Option<MediaState>,
        to: Option<&UserId>,
    ) -> Option<Sender> {
        let mut state = self.lock();
        let is_it = |member: &&RoomMember| member.connection_id == connection_id;
        let sender = state.members.iter().find(is_it)?;
        let status = sender.page_state?.status;
        if let Some(media) = media {
            state.media.note(user_id, media);
        }
        Some(Sender {
            status,
            version: state.announced_version,
            instances: state.elsewhere.instances(to),
        })
    }

    /// Whether a participant is connected and in the call, here or on another instance.
    pub(super) fn is_in_call(&self, user_id: &UserId) -> bool {
        let state = self.lock();
        let mut members = state.members.iter();
        state.elsewhere.has(user_id)
            || members.any(|member| member.user_id == *user_id && member.is_admitted())
    }

    /// Queues a relayed message for its receivers that are connected here and in the call, at once or as soon as what its sender
    /// knew was announced here.
    pub(super) fn deliver(&self, relay: &Arc<Relay>) -> Delivered {
        let mut state = self.lock();
        // The receiver of an early one may be gone.
        state.release_held();
        let is_ahead = relay.version > state.announced_version;
        if !is_ahead && !state.is_early(relay) && !state.held.has_earlier(relay) {
            state.deliver_now(relay);
            return Delivered::Now;
        }
        if !state.held.push(Arc::clone(relay)) {
            return Delivered::Dropped;
        }
        if is_ahead {
            Delivered::Ahead
        } else {
            Delivered::Early
        }
    }

    /// Starts the announcement of an event to the members that have an older version than its sequence.
    pub(super) fn announce(&self, sequence: i64) -> Announcement<'_> {
        let mut state = self.lock();
        state.announced_version = state.announced_version.max(sequence);
        Announcement { state, sequence }
    }

    /// Passes over an event that does not concern pages.
    pub(super) fn announce_nothing(&self, sequence: i64) {
        drop(self.announce(sequence));
    }

    /// Closes the connections whose page has an older version than `version`.
    pub(super) fn close_behind(&self, version: i64, code: CloseCode) {
        self.announce(version).close(code, |_| true);
    }

    /// Closes every connection.
    pub(super) fn close_all(&self, code: CloseCode) {
        for member in &self.lock().members {
            member.queue.close(code);
        }
    }

    /// Closes the connections whose page state differs from the session: their participant is gone, or has another role or
    /// status. `version` is the session's.
    pub(super) fn close_changed(
        &self,
        version: i64,
        participants: &[Participant],
        code: CloseCode,
    ) {
        self.announce(version).close(code, |member| {
            let is_unchanged = |participant: &Participant| {
                let status = member.page_state.map(|page_state| page_state.status);
                participant.user_id == member.user_id
                    && participant.role == member.role
                    && Some(participant.status) == status
            };
            !participants.iter().any(is_unchanged)
        });
    }
}

impl RoomState {
    fn has(&self, connection_id: ConnectionId) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.connection_id == connection_id)
    }

    /// Whether a relay is for a member without initial messages: its sender learned of the receiver before the receiver's page
    /// learns anything.
    fn is_early(&self, relay: &Relay) -> bool {
        let mut members = self.members.iter();
        relay.to.as_ref().is_some_and(|to| {
            members.any(|member| member.user_id == *to && member.page_state.is_none())
        })
    }

    fn deliver_now(&mut self, relay: &Arc<Relay>) {
        if relay.kind == RelayKind::MuteStatus && self.elsewhere.has(&relay.from) {
            let media = MediaState::of_payload(&relay.payload);
            self.media.note(&relay.from, media);
        }
        let message = PageMessage::from(Arc::clone(relay));
        for member in &self.members {
            let is_receiver = member.user_id != relay.from
                && relay.to.as_ref().is_none_or(|to| member.user_id == *to);
            if is_receiver && member.is_admitted() {
                member.queue.send(&message);
            }
        }
    }

    /// Delivers the relays that need not be held back any longer.
    fn release_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        let due =
            held.take_due(|relay| relay.version <= self.announced_version && !self.is_early(relay));
        self.held = held;
        for relay in due {
            self.deliver_now(&relay);
        }
    }
}
