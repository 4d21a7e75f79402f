//! What pages say, and what comes of it.

use super::Connection;
use super::message::{ClientMessage, Refusal, Refused, RelayKind, Relayed};
use crate::app::App;
use crate::domain::access::{Action, permit_action};
use crate::domain::error::Error;
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

impl App {
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
        let by = Some(user_id);
        match ClientMessage::parse(text)? {
            ClientMessage::Relayed(relayed) => self.relay(connection, relayed)?,
            ClientMessage::Ping => return Ok(Heard::Pinged),
            ClientMessage::Join => {}
            ClientMessage::Leave => return Ok(Heard::Leave),
            ClientMessage::Admit { target_id } => {
                permit(Action::Admit)?;
                let target = member(target_id)?;
                let admitted = self.admit_participant(session_id, &target, by).await;
                admitted.map_err(refused)?;
            }
            ClientMessage::MuteRequest { target_id } => {
                permit(Action::Mute)?;
                let target = member(target_id)?;
                let muted = self.mute_participant(session_id, &target, by).await;
                muted.map_err(refused)?;
            }
            ClientMessage::Remove {
                target_id,
                keep_out,
            } => {
                permit(Action::Remove)?;
                let target = member(target_id)?;
                if target == *user_id {
                    return Err(Refused {
                        code: Refusal::BadTarget,
                        message: "to go oneself, one leaves".into(),
                    });
                }
                let removed = self.remove_participant(session_id, &target, by, keep_out);
                removed.await.map_err(refused)?;
            }
            ClientMessage::EndSession => {
                permit(Action::EndSession)?;
                let ended = self.end_by_host(session_id, user_id);
                ended.await.map_err(refused)?;
            }
        }
        Ok(Heard::Continue)
    }

    fn relay(&self, connection: &Connection, relayed: Relayed) -> Result<(), Refused> {
        let publishes = match relayed.kind {
            RelayKind::MuteStatus => true,
            RelayKind::Offer | RelayKind::Answer => relayed.sends_media(),
            RelayKind::IceCandidate | RelayKind::Emoji => false,
        };
        if publishes {
            permit_action(connection.role, Action::Publish).map_err(refused)?;
        }
        let to = relayed.target_id.clone().map(member).transpose()?;
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
                    message: "nobody is heard who was not admitted yet".into(),
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

fn member(target_id: String) -> Result<UserId, Refused> {
    UserId::parse(target_id).map_err(|_| Refused {
        code: Refusal::BadTarget,
        message: "target_id must name a participant".into(),
    })
}

fn refused(error: Error) -> Refused {
    Refused {
        code: match &error {
            Error::NotAllowed => Refusal::NotAllowed,
            Error::ParticipantNotFound => Refusal::ParticipantNotFound,
            Error::SessionEnded { .. } => Refusal::SessionEnded,
            _ => Refusal::TryAgain,
        },
        message: error.message(),
    }
}
