//! Handles messages from pages.

#![warn(clippy::wildcard_enum_match_arm)]

use std::sync::Arc;

use super::message::{
    ClientMessage, ClientRelay, MessageError, MessageErrorCode, ServerMessage, quality_payload,
};
use super::room::MediaState;
use super::{ParticipantConnection, Signalling};
use crate::bus::{Message, Relay, RelayKind};
use crate::domain::access::{permit_action, permit_still};
use crate::domain::error::{Error, ParticipantError};
use crate::domain::id::UserId;
use crate::domain::participant::ParticipantStatus;
use crate::domain::quality::CallQuality;
use crate::domain::role::{Action, Role};

/// The effect of a message on its sender's connection.
#[derive(Debug, PartialEq, Eq)]
pub enum MessageOutcome {
    /// The connection continues.
    Continue,
    /// The connection continues, and the page is sent this.
    Reply(Arc<str>),
    /// The participant leaves.
    Leave,
}

impl Signalling {
    /// Executes a page's message if the sender's role allows it. A refused message is answered with the reason.
    pub async fn handle_message(
        &self,
        connection: &ParticipantConnection,
        text: &str,
    ) -> MessageOutcome {
        self.execute_message(connection, text).await.unwrap_or_else(
            |MessageError { code, message }| {
                MessageOutcome::Reply(ServerMessage::Error { code, message }.text())
            },
        )
    }

    async fn execute_message(
        &self,
        connection: &ParticipantConnection,
        text: &str,
    ) -> Result<MessageOutcome, MessageError> {
        let ParticipantConnection { user_id, role, .. } = connection;
        let session_id = connection.session_id();
        // Refuses at once what the role never allows; the rest is decided over the current session.
        let permit = |action| permit_action(*role, action).map_err(message_error);
        let actor = &connection.actor();
        match ClientMessage::parse(text)? {
            ClientMessage::Relay(relay) => {
                self.relay(connection, relay)?;
            }
            ClientMessage::LowerHand(relay) => {
                permit(Action::Mute)?;
                self.relay(connection, relay)?;
            }
            ClientMessage::Quality(quality) => self.note_quality(connection, quality),
            ClientMessage::Ping => return Ok(MessageOutcome::Reply(ServerMessage::Pong.text())),
            ClientMessage::Join => {}
            ClientMessage::Leave => return Ok(MessageOutcome::Leave),
            ClientMessage::Admit { target_id } => {
                permit(Action::Admit)?;
                let target = parse_target(user_id, target_id, "You cannot admit yourself.")?;
                let admitting = self.participants.admit(actor, session_id, &target);
                admitting.await.map_err(message_error)?;
            }
            ClientMessage::MuteRequest { target_id } => {
                permit(Action::Mute)?;
                let if_sender = "You cannot ask yourself to mute. Send `mute-status`.";
                let target = parse_target(user_id, target_id, if_sender)?;
                let muting = self.participants.mute(actor, session_id, &target);
                muting.await.map_err(message_error)?;
            }
            ClientMessage::Remove {
                target_id,
                keep_out,
            } => {
                permit(Action::Remove)?;
                let if_sender = "You cannot remove yourself. Send `leave`.";
                let target = parse_target(user_id, target_id, if_sender)?;
                let participants = &self.participants;
                let removing = participants.remove(actor, session_id, &target, keep_out);
                removing.await.map_err(message_error)?;
            }
            ClientMessage::Still { target_id } => {
                permit_still(*role, self.allows_stills).map_err(message_error)?;
                return self.tell_of_still(connection, target_id);
            }
            ClientMessage::EndSession => {
                permit(Action::EndSession)?;
                let ending = self.sessions.end(actor, session_id, None);
                ending.await.map_err(message_error)?;
            }
        }
        Ok(MessageOutcome::Continue)
    }

    /// Keeps what a page reports of its connection, here and on the other instances that hold participants of the session: any of
    /// them may commit that this participant left.
    fn note_quality(&self, connection: &ParticipantConnection, quality: CallQuality) {
        let ParticipantConnection {
            id, room, user_id, ..
        } = connection;
        let sender = room.record_sender(user_id, *id, None, None);
        // Who waits has no connection to rate.
        let Some(sender) = sender.filter(|sender| sender.status == ParticipantStatus::Admitted)
        else {
            return;
        };
        let session_id = room.session_id();
        if !sender.instances.is_empty() {
            let relay = Relay {
                session_id: session_id.clone(),
                from: user_id.clone(),
                to: None,
                kind: RelayKind::Quality,
                version: sender.version,
                payload: quality_payload(&quality),
            };
            self.bus.publish(Message::Relay {
                relay,
                instances: sender.instances,
            });
        }
        self.changes.qualities.note(session_id, user_id, quality);
    }

    /// Tells a participant in the call that a still picture of their video is taken, and then tells the sender that it was told.
    fn tell_of_still(
        &self,
        connection: &ParticipantConnection,
        target_id: String,
    ) -> Result<MessageOutcome, MessageError> {
        let if_sender = "You cannot take a still picture of yourself.";
        let target = parse_target(&connection.user_id, target_id, if_sender)?;
        if !connection.room.is_in_call(&target) {
            return Err(message_error(Error::ParticipantNotFound));
        }
        let user_id = target.as_str().to_owned();
        let is_relayed = self.relay(connection, ClientRelay::still(user_id.clone()))?;
        Ok(if is_relayed {
            MessageOutcome::Reply(ServerMessage::StillTold { user_id }.text())
        } else {
            MessageOutcome::Continue
        })
    }

    /// Relays a message to its target, or to all other participants in the call. False if the sender's connection was replaced or
    /// lost, or the sender waits and the message can wait, too.
    ///
    /// # Errors
    /// [`MessageError`] if the sender may not send it, or the target is no participant's id.
    pub fn relay(
        &self,
        connection: &ParticipantConnection,
        relay: ClientRelay,
    ) -> Result<bool, MessageError> {
        let ParticipantConnection {
            id,
            room,
            user_id,
            role,
        } = connection;
        let relay = filter_by_role(*role, relay)?;
        let if_sender = "You cannot send a message to yourself.";
        let to = relay
            .target_id
            .clone()
            .map(|target_id| parse_target(user_id, target_id, if_sender))
            .transpose()?;
        let is_media_state = relay.kind == RelayKind::MuteStatus;
        let media = is_media_state.then(|| MediaState::of_payload(relay.fields()));
        let Some(sender) = room.record_sender(user_id, *id, media, to.as_ref()) else {
            return Ok(false);
        };
        match sender.status {
            ParticipantStatus::Admitted => {}
            // The others receive it when the sender is admitted.
            ParticipantStatus::Waiting if is_media_state => return Ok(false),
            ParticipantStatus::Waiting => {
                return Err(MessageError {
                    code: MessageErrorCode::NotAllowed,
                    message: "Waiting participants cannot send messages.".into(),
                });
            }
        }
        let session_id = room.session_id().clone();
        let relay = relay.into_relay(session_id, user_id.clone(), to, sender.version);
        self.bus.publish(Message::Relay {
            relay,
            instances: sender.instances,
        });
        Ok(true)
    }
}

/// Parses the target. Rejects the sender as a target, with the message `if_sender`.
fn parse_target(
    sender: &UserId,
    target_id: String,
    if_sender: &'static str,
) -> Result<UserId, MessageError> {
    let refuse = |message: &str| MessageError {
        code: MessageErrorCode::BadTarget,
        message: message.into(),
    };
    let target =
        UserId::parse(target_id).map_err(|_| refuse("target_id must be a participant's id"))?;
    if target == *sender {
        return Err(refuse(if_sender));
    }
    Ok(target)
}

/// Returns the part of a message that its sender's role may relay.
fn filter_by_role(role: Role, relay: ClientRelay) -> Result<ClientRelay, MessageError> {
    if relay.kind == RelayKind::UnmuteRequest {
        permit_action(role, Action::Mute).map_err(message_error)?;
    }
    if role.may(Action::Publish) {
        return Ok(relay);
    }
    let permitted = match relay.kind {
        RelayKind::Offer | RelayKind::Answer => relay.receive_only(),
        RelayKind::MuteStatus | RelayKind::Still => None,
        RelayKind::IceCandidate
        | RelayKind::Emoji
        | RelayKind::Key
        | RelayKind::UnmuteRequest
        | RelayKind::Network
        | RelayKind::LowerHand
        | RelayKind::Quality
        | RelayKind::Join
        | RelayKind::Leave => Some(relay),
    };
    permitted.ok_or_else(|| message_error(Error::NotAllowed))
}

fn message_error(error: Error) -> MessageError {
    let code = match error.for_participant() {
        ParticipantError::NotAllowed | ParticipantError::NotInvited | ParticipantError::Removed => {
            MessageErrorCode::NotAllowed
        }
        ParticipantError::ParticipantUnknown => MessageErrorCode::ParticipantNotFound,
        ParticipantError::SessionEnded | ParticipantError::WindowClosed => {
            MessageErrorCode::SessionEnded
        }
        ParticipantError::Busy | ParticipantError::TryAgain => MessageErrorCode::TryAgain,
        // A connected participant's session exists and is open, so these are faults of the service.
        ParticipantError::SessionUnknown
        | ParticipantError::NotOpenYet { .. }
        | ParticipantError::SessionFull
        | ParticipantError::Fault => MessageErrorCode::Internal,
    };
    MessageError {
        code,
        message: error.message(),
    }
}
