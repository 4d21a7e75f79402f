//! What pages say, and what comes of it.

use super::message::{ClientMessage, Refusal, Refused, RelayKind, Relayed};
use super::{Connection, Signalling};
use crate::domain::access::{Action, Role, permit_action};
use crate::domain::error::{Error, ParticipantError};
use crate::domain::id::UserId;
use crate::hub::Relay;
use crate::hub::connections::MediaState;

/// What follows from a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The connection goes on.
    Continue,
    /// The sender wants to know that the connection lives.
    Pinged,
    /// The sender leaves.
    Leave,
}

impl Signalling {
    /// Does what a page asks for, if its bearer's role allows it.
    ///
    /// # Errors
    /// [`Refused`], to be told to the page.
    pub async fn hear(&self, connection: &Connection, text: &str) -> Result<Heard, Refused> {
        let Connection {
            id: _,
            session_id,
            user_id,
            role,
        } = connection;
        // Whose role never allows it is refused without asking the store; the rest is decided over the session as it is then.
        let permit = |action| permit_action(*role, action).map_err(refused);
        let actor = &connection.actor();
        match ClientMessage::parse(text)? {
            ClientMessage::Relayed(relayed) => self.relay(connection, relayed)?,
            ClientMessage::Ping => return Ok(Heard::Pinged),
            ClientMessage::Join => {}
            ClientMessage::Leave => return Ok(Heard::Leave),
            ClientMessage::Admit { target_id } => {
                permit(Action::Admit)?;
                let target = other_than(user_id, target_id, "You cannot admit yourself.")?;
                let admitted = self.participants.admit(actor, session_id, &target).await;
                admitted.map_err(refused)?;
            }
            ClientMessage::MuteRequest { target_id } => {
                permit(Action::Mute)?;
                let if_sender = "You cannot ask yourself to mute. Send `mute-status`.";
                let target = other_than(user_id, target_id, if_sender)?;
                let muted = self.participants.mute(actor, session_id, &target).await;
                muted.map_err(refused)?;
            }
            ClientMessage::Remove {
                target_id,
                keep_out,
            } => {
                permit(Action::Remove)?;
                let if_sender = "You cannot remove yourself. Send `leave`.";
                let target = other_than(user_id, target_id, if_sender)?;
                let removed = self
                    .participants
                    .remove(actor, session_id, &target, keep_out);
                removed.await.map_err(refused)?;
            }
            ClientMessage::EndSession => {
                permit(Action::EndSession)?;
                let ended = self.sessions.end(actor, session_id, None);
                ended.await.map_err(refused)?;
            }
        }
        Ok(Heard::Continue)
    }

    fn relay(&self, connection: &Connection, relayed: Relayed) -> Result<(), Refused> {
        let relayed = permitted(connection.role, relayed)?;
        let if_sender = "You cannot send a message to yourself.";
        let to = relayed
            .target_id
            .clone()
            .map(|target_id| other_than(&connection.user_id, target_id, if_sender))
            .transpose()?;
        let noted = self.connections.with_room(&connection.session_id, |room| {
            let peer = room.peer(&connection.user_id)?;
            let admitted = (peer.connection == connection.id).then_some(peer.admitted)?;
            if relayed.kind == RelayKind::MuteStatus {
                let said = MediaState {
                    muted: relayed.flag("muted"),
                    camera_off: relayed.flag("camera_off"),
                };
                room.said.insert(connection.user_id.clone(), said);
            }
            Some(admitted)
        });
        match noted.flatten() {
            Some(true) => {}
            // Its microphone may be told of before it is let in; the others hear of it then.
            Some(false) if relayed.kind == RelayKind::MuteStatus => return Ok(()),
            Some(false) => {
                return Err(Refused {
                    code: Refusal::NotAllowed,
                    message: "Waiting participants cannot send messages.".into(),
                });
            }
            None => return Ok(()),
        }
        self.hub.relay(Relay {
            session_id: connection.session_id.clone(),
            from: connection.user_id.clone(),
            to,
            text: relayed.text(connection.user_id.as_str(), connection.session_id.as_str()),
        });
        Ok(())
    }
}

/// Who a message is for or about, who is not its sender: else it is refused in these words.
fn other_than(
    sender: &UserId,
    target_id: String,
    if_sender: &'static str,
) -> Result<UserId, Refused> {
    let refuse = |message: &str| Refused {
        code: Refusal::BadTarget,
        message: message.into(),
    };
    let target =
        UserId::parse(target_id).map_err(|_| refuse("target_id must name a participant"))?;
    if target == *sender {
        return Err(refuse(if_sender));
    }
    Ok(target)
}

/// What may be relayed of a message, by its sender's role.
fn permitted(role: Role, relayed: Relayed) -> Result<Relayed, Refused> {
    if role.may(Action::Publish) {
        return Ok(relayed);
    }
    let permitted = match relayed.kind {
        RelayKind::Offer | RelayKind::Answer => relayed.receive_only(),
        RelayKind::MuteStatus => None,
        RelayKind::IceCandidate | RelayKind::Emoji => Some(relayed),
    };
    permitted.ok_or_else(|| refused(Error::NotAllowed))
}

fn refused(error: Error) -> Refused {
    let code = match error.for_participant() {
        ParticipantError::NotAllowed | ParticipantError::NotInvited | ParticipantError::Removed => {
            Refusal::NotAllowed
        }
        ParticipantError::ParticipantUnknown => Refusal::ParticipantNotFound,
        ParticipantError::SessionEnded | ParticipantError::WindowClosed => Refusal::SessionEnded,
        ParticipantError::Busy | ParticipantError::TryAgain => Refusal::TryAgain,
        // A connected participant is in a session that is open, and does not ask to enter it.
        ParticipantError::SessionUnknown
        | ParticipantError::NotOpenYet { .. }
        | ParticipantError::SessionFull
        | ParticipantError::Fault => Refusal::Internal,
    };
    Refused {
        code,
        message: error.message(),
    }
}
