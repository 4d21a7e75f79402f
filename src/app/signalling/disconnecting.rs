//! Disconnects participants: by `leave`, or when a lost connection does not return within the grace period.

use std::sync::Arc;

use tokio::time::Instant;

use super::{ParticipantConnection, Signalling};
use crate::app::changes::Decision;
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::id::{SessionId, UserId};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectCause {
    /// The participant left.
    Left,
    /// The connection broke, or the service closed it.
    Lost {
        /// When the page last sent a message: the grace period starts then.
        last_message_at: Instant,
    },
}

impl Signalling {
    /// Ends a connection. A participant who left is removed from the session at once; a lost one after the grace period.
    pub fn disconnect_participant(
        self: &Arc<Self>,
        connection: ParticipantConnection,
        cause: DisconnectCause,
    ) {
        let ParticipantConnection {
            id,
            room,
            user_id,
            role,
        } = connection;
        if !room.remove_member(&user_id, id) {
            // A newer connection of the participant replaced this one.
            return;
        }
        let signalling = Arc::clone(self);
        self.tasks.spawn(async move {
            let actor = match cause {
                DisconnectCause::Left => Actor::Participant {
                    role,
                    user_id: user_id.clone(),
                },
                DisconnectCause::Lost { last_message_at } => {
                    let until = last_message_at + signalling.times.reconnect_grace;
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        // If the instance stops meanwhile, the other instances sweep its participants.
                        () = signalling.closing.cancelled() => return,
                    }
                    Actor::System(SystemCause::ConnectionLost)
                }
            };
            // A participant who reconnected has a newer connection, or a newer entry if that one was lost too.
            if signalling.rooms.remove_lost(&room, &user_id, id) {
                let session_id = room.session_id();
                signalling
                    .commit_disconnect(session_id, &user_id, &actor)
                    .await;
            }
        });
    }

    async fn commit_disconnect(&self, session_id: &SessionId, user_id: &UserId, actor: &Actor) {
        loop {
            let committed = self
                .changes
                .change(session_id, |session| {
                    let now = self.clock.now();
                    let change =
                        session.disconnect_participant(user_id, &self.instance_id, actor, now)?;
                    Ok(Decision::commit_or_keep(change, session))
                })
                .await;
            let Some(retry_after) = committed.err().and_then(|error| error.retry_after()) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(retry_after) => {}
                () = self.closing.cancelled() => return,
            }
        }
    }
}
