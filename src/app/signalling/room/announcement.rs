//! The announcement of one event to a room.

use std::sync::MutexGuard;

use super::RoomState;
use super::member::{MediaState, MediaStates, RoomMember};
use crate::app::signalling::CloseCode;
use crate::app::signalling::message::ServerMessage;
use crate::app::signalling::outbox::PageMessage;
use crate::domain::id::UserId;
use crate::domain::participant::ParticipantStatus;

/// The announcement of one event. Holds the room's lock, so that a member gets either all of its messages or initial
/// messages that already include its effect.
pub(in crate::app::signalling) struct Announcement<'a> {
    pub(super) state: MutexGuard<'a, RoomState>,
    pub(super) sequence: i64,
}

impl Announcement<'_> {
    pub(in crate::app::signalling) fn media(&self) -> &MediaStates {
        &self.state.media
    }

    /// A participant left.
    pub(in crate::app::signalling) fn forget_participant(&mut self, user_id: &UserId) {
        self.state.media.forget(user_id);
        self.state.elsewhere.forget(user_id, self.sequence);
    }

    /// What the members in the call told of their microphones and cameras.
    pub(in crate::app::signalling) fn media_here(&self) -> Vec<(UserId, MediaState)> {
        let members = self.state.members.iter();
        let members = members.filter(|member| member.is_admitted());
        members
            .filter_map(|member| {
                let media = self.state.media.known(&member.user_id)?;
                Some((member.user_id.clone(), media))
            })
            .collect()
    }

    /// Sends a message to the selected members that have not seen the event.
    pub(in crate::app::signalling) fn send(
        &self,
        message: ServerMessage,
        concerns: impl Fn(&RoomMember) -> bool,
    ) {
        let message = PageMessage::from(message);
        for member in self.audience().filter(|member| concerns(member)) {
            member.queue.send(&message);
        }
    }

    /// Tells each member that has not seen the event which way the call goes in a version of the session. That version may be newer
    /// than the event: events up to it tell these members nothing again.
    pub(in crate::app::signalling) fn send_media(
        &mut self,
        version: i64,
        message: impl Fn(&RoomMember) -> ServerMessage,
    ) {
        let sequence = self.sequence;
        let members = self.state.members.iter_mut();
        for member in members.filter(|member| member.is_behind_media(sequence)) {
            member.queue.send(&message(member).into());
            member.media_version = version;
        }
    }

    /// Closes the connections of the selected members that have not seen the event.
    pub(in crate::app::signalling) fn close(
        &self,
        code: CloseCode,
        concerns: impl Fn(&RoomMember) -> bool,
    ) {
        for member in self.audience().filter(|member| concerns(member)) {
            member.queue.close(code);
        }
    }

    /// Notifies a participant of their admission.
    pub(in crate::app::signalling) fn admit(&mut self, user_id: &UserId, message: ServerMessage) {
        let sequence = self.sequence;
        let mut members = self.state.members.iter_mut();
        let member =
            members.find(|member| member.user_id == *user_id && member.is_behind(sequence));
        if let Some(member) = member
            && let Some(page_state) = &mut member.page_state
        {
            page_state.status = ParticipantStatus::Admitted;
            member.queue.send(&message.into());
        }
    }

    fn audience(&self) -> impl Iterator<Item = &RoomMember> {
        let members = self.state.members.iter();
        members.filter(|member| member.is_behind(self.sequence))
    }
}

impl Drop for Announcement<'_> {
    /// Releases the relays that waited for this event.
    fn drop(&mut self) {
        self.state.release_held();
    }
}
