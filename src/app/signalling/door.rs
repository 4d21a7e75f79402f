//! The door to SFU nodes: lets a participant's page signal with the session's node, for as long as they are in the call.
//!
//! A node renews its clients' tokens by itself, so a token cannot be taken back from a participant who was removed. That is why pages
//! never get one that is of use to them: their signalling goes through the service, which checks the session at each connection and
//! cuts the connection when the participant may no longer be there. Media goes straight to the node.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::timeout;

use super::{AuthorizedParticipant, Signalling};
use crate::domain::access::{RoomAccess, room_access};
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::id::{SessionId, UserId};
use crate::domain::session::Session;
use crate::sfu::{Admit, SfuDriver, SfuError, SignallingAnswer, SignallingRequest};

/// How long the token of one connection is valid: the node checks it once, when the connection opens.
const DOOR_TOKEN_TTL: Duration = Duration::from_secs(60);

/// Why the door stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorClosed {
    /// The participant is not in the call.
    NotInCall,
    /// The call does not use this generation of its place, or no longer.
    OtherPlace,
    /// The node does not answer, is not known here, or is set up in a way that the service refuses.
    NodeUnavailable,
}

/// Connects a participant's page to the session's node.
pub struct DoorPass {
    driver: Arc<dyn SfuDriver>,
    session: Session,
    admit: Admit,
    /// Completes when the participant may no longer be connected.
    pub access: DoorAccess,
}

/// Watches whether a participant may stay connected to the session's node.
pub struct DoorAccess {
    signalling: Arc<Signalling>,
    session_id: SessionId,
    user_id: UserId,
    generation: i64,
    /// The version of the session that allowed it last.
    version: i64,
}

impl Signalling {
    /// Opens the door to the room of a generation of the session's place. Makes the room, if the node does not have it.
    ///
    /// # Errors
    /// [`DoorClosed`]
    pub async fn open_door(
        self: &Arc<Self>,
        participant: AuthorizedParticipant,
        generation: i64,
    ) -> Result<DoorPass, DoorClosed> {
        let AuthorizedParticipant { identity, session } = participant;
        match self.room_access(&session, &identity.user_id, generation) {
            RoomAccess::Allowed => {}
            RoomAccess::NotInCall => return Err(DoorClosed::NotInCall),
            // What is connected may stay for a while, but nothing new comes.
            RoomAccess::Lingering { .. } | RoomAccess::OtherPlace => {
                return Err(DoorClosed::OtherPlace);
            }
        }
        let place = &session.place;
        let driver = self.drivers.of(&place.node_id);
        let driver = driver.filter(|_| !self.nodes.is_refused(&place.node_id));
        let driver = driver.ok_or(DoorClosed::NodeUnavailable)?;
        let made = driver.ensure_room(&place.room_name).await;
        made.map_err(|error| node_unavailable(&session, error))?;
        let admit = Admit {
            user_id: identity.user_id.clone(),
            role: identity.role,
            sequence: identity.issued_at_sequence,
            ttl: DOOR_TOKEN_TTL,
        };
        let access = DoorAccess {
            signalling: Arc::clone(self),
            session_id: identity.session_id,
            user_id: identity.user_id,
            generation,
            version: session.version,
        };
        Ok(DoorPass {
            driver,
            session,
            admit,
            access,
        })
    }

    fn room_access(&self, session: &Session, user_id: &UserId, generation: i64) -> RoomAccess {
        let now = self.clock.now();
        room_access(session, user_id, generation, self.move_overlap_secs, now)
    }
}

impl DoorPass {
    /// Sends the page's request to the node.
    ///
    /// # Errors
    /// [`DoorClosed::NodeUnavailable`]
    pub async fn connect(
        &self,
        request: &SignallingRequest,
    ) -> Result<SignallingAnswer, DoorClosed> {
        let room = &self.session.place.room_name;
        let opening = self.driver.open_signalling(room, &self.admit, request);
        opening
            .await
            .map_err(|error| node_unavailable(&self.session, error))
    }
}

fn node_unavailable(session: &Session, error: SfuError) -> DoorClosed {
    tracing::warn!(
        node_id = session.place.node_id.as_str(),
        session_id = session.session_id.as_str(),
        %error,
        "a page could not be connected to its SFU node"
    );
    DoorClosed::NodeUnavailable
}

impl DoorAccess {
    /// Waits until the participant may no longer be connected. A store that does not answer changes nothing: calls go on.
    pub async fn revoked(mut self) {
        while self.follow().await.is_ok() {
            if self.signalling.closing.is_cancelled() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(self.signalling.access.wait.retry_after).await;
        }
    }

    /// Fails when the participant may no longer be connected; `Ok` if the session cannot be followed for a while.
    async fn follow(&mut self) -> Result<(), Revoked> {
        let mut remaining = self.check().await?;
        let events = &self.signalling.events;
        let mut events = events.follow(self.session_id.clone(), self.version);
        loop {
            let event = match remaining {
                Some(remaining) => timeout(remaining, events.next())
                    .await
                    .map_err(|_| Revoked)?,
                None => events.next().await,
            };
            let Some(Ok(event)) = event else {
                return Ok(());
            };
            // Each event shortens what remains, so it is counted anew.
            if remaining.is_some() || self.concerns(&event.kind) {
                remaining = self.check().await?;
            }
        }
    }

    /// How long the participant may stay, if that is limited.
    async fn check(&mut self) -> Result<Option<Duration>, Revoked> {
        match self.signalling.read_session(&self.session_id).await {
            Ok(session) => {
                self.version = session.version;
                let signalling = &self.signalling;
                match signalling.room_access(&session, &self.user_id, self.generation) {
                    RoomAccess::Allowed => Ok(None),
                    RoomAccess::Lingering { until } => {
                        Ok(Some(until.since(signalling.clock.now())))
                    }
                    RoomAccess::NotInCall | RoomAccess::OtherPlace => Err(Revoked),
                }
            }
            Err(Error::SessionNotFound) => Err(Revoked),
            Err(_) => Ok(None),
        }
    }

    fn concerns(&self, kind: &EventKind) -> bool {
        match kind {
            EventKind::ParticipantLeft { user_id, .. }
            | EventKind::ParticipantRemoved { user_id, .. } => *user_id == self.user_id,
            EventKind::Ended { .. }
            | EventKind::Moved { .. }
            | EventKind::Placed { .. }
            | EventKind::MediumChanged { .. }
            | EventKind::Unknown { .. } => true,
            EventKind::Created { .. }
            | EventKind::Updated { .. }
            | EventKind::Joined { .. }
            | EventKind::ParticipantWaiting { .. }
            | EventKind::ParticipantAdmitted { .. }
            | EventKind::ParticipantJoined { .. }
            | EventKind::ParticipantMuted { .. }
            | EventKind::ParticipantInvited { .. }
            | EventKind::ParticipantNamed { .. } => false,
        }
    }
}

/// The participant may no longer be connected to the node.
struct Revoked;
