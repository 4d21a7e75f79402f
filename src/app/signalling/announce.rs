//! Announces a session's events to the members of its room. The match below is the only place that maps each kind of event
//! to messages.

#![warn(clippy::wildcard_enum_match_arm)]

use super::describe::{
    closes_at, existing_participants_message, user_joined_message, waiting_message,
};
use super::message::ServerMessage;
use super::room::{Announcement, MediaState, Room, RoomMember};
use super::{CloseCode, Signalling};
use crate::app::media::PageMediaSource;
use crate::bus::{Message, Relay, RelayKind};
use crate::domain::error::Error;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::UserId;
use crate::domain::medium::{Medium, MoveCause};
use crate::domain::participant::{LeaveCause, Participant, ParticipantStatus};
use crate::domain::role::{Action, Role};
use crate::domain::session::{EndCause, Session};

impl Signalling {
    /// Announces an event to a room's members. If the messages need more than the event, the session is read first. It may be
    /// newer than the event; the events in between follow.
    #[expect(clippy::too_many_lines, reason = "a list of kinds")]
    pub(super) async fn announce_event(&self, room: &Room, event: &Event) -> Result<(), Error> {
        let session = async || {
            let session = self.read_session(room.session_id()).await?;
            self.note_instances(room, &session);
            Ok::<_, Error>(session)
        };
        let begin = || room.announce(event.sequence);
        match &event.kind {
            EventKind::ParticipantWaiting { user_id, .. } => {
                let session = session().await?;
                announce_waiting(&begin(), &session, user_id);
            }
            EventKind::ParticipantAdmitted { user_id, .. } => {
                announce_admitted(&begin(), user_id);
            }
            EventKind::ParticipantJoined {
                user_id,
                role,
                resumed,
            } => {
                let session = session().await?;
                let mut announcement = begin();
                if *resumed {
                    close_replaced(&announcement, user_id);
                } else {
                    announce_joined(&mut announcement, &session, user_id);
                }
                update_waiting(&announcement, &session, *role);
                let here = announcement.media_here();
                drop(announcement);
                self.tell_media(&session, user_id, here, event.sequence);
            }
            EventKind::ParticipantLeft {
                user_id,
                role,
                cause,
                quality: _,
            } => match cause {
                // The `Ended` event follows, and is announced once for all.
                LeaveCause::SessionEnded => room.announce_nothing(event.sequence),
                LeaveCause::Left
                | LeaveCause::Lost
                | LeaveCause::Removed
                | LeaveCause::Replaced => {
                    let session = if role.may(Action::Admit) {
                        Some(session().await?)
                    } else {
                        None
                    };
                    let mut announcement = begin();
                    announce_left(&mut announcement, event, user_id, *cause);
                    if let Some(session) = session {
                        update_waiting(&announcement, &session, *role);
                    }
                }
            },
            EventKind::ParticipantRemoved { user_id, .. } => {
                announce_removed(&begin(), user_id);
            }
            EventKind::ParticipantMuted { user_id, by } => {
                announce_mute_request(&begin(), user_id, by.as_ref());
            }
            EventKind::Ended { cause, reason } => {
                announce_end(&begin(), *cause, reason);
            }
            EventKind::Updated { fields } => {
                if fields.iter().any(|field| field == "scheduled_end_time") {
                    let closes_at = closes_at(&self.window, &session().await?);
                    begin().send(ServerMessage::SessionUpdated { closes_at }, |_| true);
                } else {
                    room.announce_nothing(event.sequence);
                }
            }
            EventKind::MediumChanged { cause, medium: _ } => {
                let session = session().await?;
                announce_media(&mut begin(), &session, *cause, &self.page_media);
            }
            EventKind::Moved { cause, .. } => {
                let session = session().await?;
                if session.medium == Medium::Sfu {
                    announce_media(&mut begin(), &session, *cause, &self.page_media);
                } else {
                    room.announce_nothing(event.sequence);
                }
            }
            // These do not concern pages.
            EventKind::Created { .. }
            | EventKind::Placed { .. }
            | EventKind::Joined { .. }
            | EventKind::ParticipantInvited { .. }
            | EventKind::ParticipantNamed { .. }
            | EventKind::Unknown { .. } => room.announce_nothing(event.sequence),
        }
        Ok(())
    }

    /// Records where a session's participants are connected.
    pub(super) fn note_instances(&self, room: &Room, session: &Session) {
        room.note_instances(session.version, &session.participants, &self.instance_id);
    }

    /// Tells a participant who joined on another instance which microphones and cameras here are off: that instance may not know.
    fn tell_media(
        &self,
        session: &Session,
        user_id: &UserId,
        here: Vec<(UserId, MediaState)>,
        version: i64,
    ) {
        let Some(joined) = session.participant(user_id) else {
            return;
        };
        if joined.instance_id == self.instance_id {
            return;
        }
        for (from, media) in here {
            let relay = Relay {
                session_id: session.session_id.clone(),
                from,
                to: Some(user_id.clone()),
                kind: RelayKind::MuteStatus,
                version,
                payload: media.payload(),
            };
            let instances = vec![joined.instance_id.clone()];
            self.bus.publish(Message::Relay { relay, instances });
        }
    }
}

/// A participant waits, or now waits on another instance.
fn announce_waiting(announcement: &Announcement<'_>, session: &Session, user_id: &UserId) {
    // If the participant is already gone again, a later event announces that.
    if let Some(participant) = session.participant(user_id) {
        announcement.send(waiting_message(session, participant), |member| {
            member.role.may(Action::Admit) && member.user_id != *user_id
        });
    }
    close_replaced(announcement, user_id);
}

fn announce_admitted(announcement: &Announcement<'_>, user_id: &UserId) {
    let message = ServerMessage::Admitted {
        user_id: user_id.to_string(),
    };
    announcement.send(message, |member| {
        member.user_id == *user_id || member.role.may(Action::Admit)
    });
}

/// A participant joined the call: sends them the other participants, and announces them to the others.
fn announce_joined(announcement: &mut Announcement<'_>, session: &Session, user_id: &UserId) {
    // If the participant is already gone again, a later event announces that.
    let Some(participant) = session.participant(user_id) else {
        return;
    };
    let message = user_joined_message(session, participant, announcement.media());
    announcement.send(message, |member| {
        member.is_admitted() && member.user_id != *user_id
    });
    let others = session
        .admitted_participants()
        .filter(|other| other.user_id != *user_id);
    let message = existing_participants_message(session, others, announcement.media());
    announcement.admit(user_id, message);
}

/// A participant left the call or the waiting room.
fn announce_left(
    announcement: &mut Announcement<'_>,
    event: &Event,
    user_id: &UserId,
    cause: LeaveCause,
) {
    announcement.forget_participant(user_id);
    let message = ServerMessage::UserLeft {
        room_id: event.session_id.to_string(),
        user_id: user_id.to_string(),
        cause: cause.name(),
    };
    announcement.send(message, |member| {
        member.is_admitted() && member.user_id != *user_id
    });
    match cause {
        LeaveCause::Replaced => close_replaced(announcement, user_id),
        // The event of the removal closes the connection.
        LeaveCause::Removed => {}
        // A participant who reconnected while their leave was committed, or whose instance was considered dead, is connected
        // but not in the session: their page must reconnect.
        LeaveCause::Left | LeaveCause::Lost | LeaveCause::SessionEnded => {
            announcement.close(CloseCode::GoingAway, |member| member.user_id == *user_id);
        }
    }
}

fn announce_removed(announcement: &Announcement<'_>, user_id: &UserId) {
    let is_removed = |member: &RoomMember| member.user_id == *user_id;
    announcement.send(ServerMessage::Removed, is_removed);
    announcement.close(CloseCode::Removed, is_removed);
}

/// The host, or the backend (`None`), asks a participant to mute.
fn announce_mute_request(announcement: &Announcement<'_>, user_id: &UserId, by: Option<&UserId>) {
    let message = ServerMessage::MuteRequest {
        sender_id: by.map_or("", UserId::as_str).to_owned(),
    };
    announcement.send(message, |member| member.user_id == *user_id);
}

fn announce_end(announcement: &Announcement<'_>, cause: EndCause, reason: &str) {
    let message = ServerMessage::SessionEnded {
        cause: cause.name(),
        reason: reason.to_owned(),
    };
    announcement.send(message, |_| true);
    announcement.close(CloseCode::Ended, |_| true);
}

/// Tells each page the way that the call goes from now on, once for a move that also changes the medium. Waiting pages need it when
/// they are admitted.
fn announce_media(
    announcement: &mut Announcement<'_>,
    session: &Session,
    cause: MoveCause,
    page_media: &PageMediaSource,
) {
    announcement.send_media(session.version, |member| ServerMessage::MediaChanged {
        media: page_media.of(session, &member.door),
        cause: cause.name(),
    });
}

/// Updates waiting participants when the host joins or leaves, because that changes their waiting reason.
fn update_waiting(announcement: &Announcement<'_>, session: &Session, role: Role) {
    if !role.may(Action::Admit) {
        return;
    }
    let is_waiting = |participant: &&Participant| participant.status == ParticipantStatus::Waiting;
    for participant in session.participants.iter().filter(is_waiting) {
        announcement.send(waiting_message(session, participant), |member| {
            member.user_id == participant.user_id
        });
    }
}

/// Closes a participant's older connection here: they connected to another instance, or joined in another role.
fn close_replaced(announcement: &Announcement<'_>, user_id: &UserId) {
    let is_older = |member: &RoomMember| member.user_id == *user_id;
    announcement.send(ServerMessage::Replaced, is_older);
    announcement.close(CloseCode::Replaced, is_older);
}
