//! Makes SFU nodes agree with the sessions. The session says who is in the call and which room carries it; whatever a node has beyond
//! that is removed. Work is requested after each commit that takes something away, by nodes' messages, and regularly, so nothing is lost
//! if one of these fails.

mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::access::StoreAccess;
use super::clock::Clock;
use super::drivers::Drivers;
use crate::domain::access::{may_be_in_former_room, may_be_in_room, permit_service};
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::health::ProbeFailure;
use crate::domain::id::{NodeId, SessionId, UserId};
use crate::domain::medium::Medium;
use crate::domain::place::{Place, RoomOwner};
use crate::domain::session::{Session, SessionState};
use crate::domain::time::Timestamp;
use crate::sfu::{
    InvalidWebhook, ParticipantOnNode, SfuDriver, SfuError, UnusedTicket, WebhookKind,
};
use crate::telemetry::metrics::Metrics;
use queue::{Task, Work, WorkQueue};

/// Settings of reconciling.
#[derive(Debug, Clone, Copy)]
pub struct ReconcileConfig {
    /// How many pieces of work may wait for a node. Further ones are dropped, and done by the next regular run.
    pub waiting_max: usize,
    /// How many pieces of work are done at once on a node.
    pub concurrent_max: usize,
}

/// What reconciling removed from a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// The node.
    pub node_id: NodeId,
    /// The users who were disconnected from the session's room.
    pub removed: Vec<UserId>,
    /// Whether the session's room was ended, because the session ended or its call does not go through a node.
    pub room_ended: bool,
}

impl Reconciled {
    /// The node agreed with the session.
    fn nothing(node_id: NodeId) -> Self {
        Self {
            node_id,
            removed: Vec::new(),
            room_ended: false,
        }
    }
}

/// Why a node's message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookRefused {
    /// There is no such node.
    UnknownNode,
    /// The node did not send it.
    Invalid(InvalidWebhook),
}

/// A rule of the domain on who may be in a room.
type MayStay = fn(&Session, &UserId, Option<i64>, Timestamp) -> bool;

/// A room on a node.
struct Room<'a> {
    node_id: &'a NodeId,
    driver: &'a dyn SfuDriver,
    name: &'a str,
}

/// Makes SFU nodes agree with the sessions.
pub struct Reconciler {
    access: Arc<StoreAccess>,
    drivers: Arc<Drivers>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    queue: Arc<WorkQueue>,
    move_overlap_secs: u64,
}

impl Reconciler {
    pub(super) fn new(
        access: Arc<StoreAccess>,
        drivers: Arc<Drivers>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        config: ReconcileConfig,
        move_overlap_secs: u64,
    ) -> Self {
        Self {
            queue: Arc::new(WorkQueue::new(config)),
            move_overlap_secs,
            access,
            drivers,
            clock,
            metrics,
        }
    }

    /// Makes the session's node agree with the session.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]; [`Error::SfuNodeUnavailable`]
    pub async fn reconcile(
        &self,
        actor: &Actor,
        session_id: &SessionId,
    ) -> Result<Reconciled, Error> {
        permit_service(actor)?;
        self.reconcile_session(session_id).await
    }

    /// Takes a message of a node's: a hint to look at the room that it is about.
    ///
    /// # Errors
    /// [`WebhookRefused`]
    pub fn note_webhook(
        &self,
        node_id: &NodeId,
        raw_body: &[u8],
        authorization: &[u8],
    ) -> Result<(), WebhookRefused> {
        let driver = self
            .drivers
            .of(node_id)
            .ok_or(WebhookRefused::UnknownNode)?;
        let event = driver
            .verify_webhook(raw_body, authorization)
            .map_err(WebhookRefused::Invalid)?;
        match event.kind {
            WebhookKind::ParticipantJoined { .. } | WebhookKind::RoomStarted => {
                self.request_room(node_id, event.room);
            }
            // The session decides who is in the call, so these change nothing.
            WebhookKind::ParticipantLeft { .. }
            | WebhookKind::RoomFinished
            | WebhookKind::Other => {}
        }
        Ok(())
    }

    /// Requests work if a committed change takes something away that a node may still have.
    pub(super) fn note_change(&self, change: &Change) {
        if change.session.place.driver.carries_media() && change.takes_from_room() {
            let session_id = change.session.session_id.clone();
            self.request(&change.session.place.node_id, Task::Session(session_id));
        }
        for (node_id, room) in change.left_rooms() {
            self.request(&node_id, Task::Room(room));
        }
        let (now, overlap_secs) = (self.clock.now(), self.move_overlap_secs);
        let session = &change.session;
        // Later, nobody is there any more.
        if let Some(former) = &session.former_room
            && change.takes_people()
            && (session.may_linger_until(former.generation, overlap_secs, now)).is_some()
        {
            let room = Place::room_name_of(&session.session_id, former.generation);
            self.request(&former.node_id, Task::Room(room));
        }
    }

    /// Requests work on a node; drops it if too much waits for the node.
    fn request(&self, node_id: &NodeId, task: Task) {
        let node_id = node_id.clone();
        if !self.queue.push(Work { node_id, task }) {
            self.metrics.reconciliations_dropped.inc();
        }
    }

    /// Does the requested work until it is dropped.
    pub(super) async fn work(self: Arc<Self>) {
        loop {
            let (work, permit) = self.queue.next().await;
            let reconciler = Arc::clone(&self);
            tokio::spawn(async move {
                reconciler.do_work(work).await;
                drop(permit);
            });
        }
    }

    async fn do_work(&self, work: Work) {
        let Work { node_id, task } = &work;
        let outcome = match task {
            Task::Session(session_id) => self.reconcile_session(session_id).await.map(|_| ()),
            Task::Room(room) => self.end_unless_current(node_id, room).await,
        };
        // What failed is done by the next regular run, or when the node is back.
        if let Err(error) = outcome {
            tracing::debug!(
                reason = error.reason().as_str(),
                "a room was not reconciled"
            );
        }
    }

    /// Requests work on each room of a node; rooms of other services are left alone.
    pub(super) async fn request_rooms(&self, node_id: &NodeId) -> Result<(), SfuError> {
        let Some(driver) = self.drivers.of(node_id) else {
            return Ok(());
        };
        if !driver.capabilities().carries_media {
            return Ok(());
        }
        for room in driver.list_rooms().await? {
            self.request_room(node_id, room);
        }
        Ok(())
    }

    fn request_room(&self, node_id: &NodeId, room: String) {
        if Place::owner_of_room(&room).is_some() {
            self.request(node_id, Task::Room(room));
        }
    }

    /// Ends a room of a node, unless it is the current one of its session; then reconciles the session.
    async fn end_unless_current(&self, node_id: &NodeId, room: &str) -> Result<(), Error> {
        let Some(RoomOwner {
            session_id,
            generation,
        }) = Place::owner_of_room(room)
        else {
            return Ok(());
        };
        let session = match self.access.session(&session_id).await {
            Ok(session) => session,
            // Perhaps another deployment uses the node, too.
            Err(Error::SessionNotFound) => return Ok(()),
            Err(error) => return Err(error),
        };
        if session.place.node_id == *node_id && session.place.room_name == room {
            return self.settle(session).await.map(|_| ());
        }
        let Some(driver) = self.drivers.of(node_id) else {
            return Ok(());
        };
        let now = self.clock.now();
        let overlap_secs = self.move_overlap_secs;
        // While pages may stay there, only strangers go; a later run ends the room.
        if session
            .may_linger_until(generation, overlap_secs, now)
            .is_some()
        {
            return self
                .clear_former_room(node_id, driver.as_ref(), room, &session_id)
                .await;
        }
        let ended = driver.end_room(room).await;
        ended.map_err(|error| self.node_error(node_id, error))
    }

    async fn clear_former_room(
        &self,
        node_id: &NodeId,
        driver: &dyn SfuDriver,
        room: &str,
        session_id: &SessionId,
    ) -> Result<(), Error> {
        let listing = driver.list_participants(room).await;
        let present = listing.map_err(|error| self.node_error(node_id, error))?;
        let session = self.access.session(session_id).await?;
        let room = Room {
            node_id,
            driver,
            name: room,
        };
        let removing = self.remove_strangers(room, session, present, may_be_in_former_room);
        removing.await.map(|_| ())
    }

    async fn reconcile_session(&self, session_id: &SessionId) -> Result<Reconciled, Error> {
        let session = self.access.session(session_id).await?;
        self.settle(session).await
    }

    /// Makes the session's room agree with the session. A node may take seconds for its answer, so the session is read again after each
    /// of them: what is decided over an older version could disconnect participants who were admitted meanwhile.
    async fn settle(&self, mut session: Session) -> Result<Reconciled, Error> {
        loop {
            let place = session.place.clone();
            if !place.driver.carries_media() {
                return Ok(Reconciled::nothing(place.node_id));
            }
            let driver = self.drivers.of(&place.node_id).ok_or_else(|| {
                self.unavailable_error(&place.node_id, ProbeFailure::Misconfigured)
            })?;
            // It stays ended.
            if session.state == SessionState::Ended {
                return self.end_room(driver.as_ref(), &place).await;
            }
            let listing = driver.list_participants(&place.room_name).await;
            let present = listing.map_err(|error| self.node_error(&place.node_id, error))?;
            let listing = driver.list_unused_tickets(&place.room_name).await;
            let tickets = listing.map_err(|error| self.node_error(&place.node_id, error))?;
            session = self.access.session(&session.session_id).await?;
            // If it moved meanwhile, it has another room.
            if session.place != place || session.state == SessionState::Ended {
                continue;
            }
            return match session.medium {
                Medium::Sfu => {
                    let room = Room {
                        node_id: &place.node_id,
                        driver: driver.as_ref(),
                        name: &place.room_name,
                    };
                    self.revoke_tickets(&room, &session, &tickets).await?;
                    let removing = self.remove_strangers(room, session, present, may_be_in_room);
                    Ok(Reconciled {
                        removed: removing.await?,
                        ..Reconciled::nothing(place.node_id.clone())
                    })
                }
                Medium::PeerToPeer => self.end_room(driver.as_ref(), &place).await,
            };
        }
    }

    async fn end_room(&self, driver: &dyn SfuDriver, place: &Place) -> Result<Reconciled, Error> {
        let ended = driver.end_room(&place.room_name).await;
        ended.map_err(|error| self.node_error(&place.node_id, error))?;
        Ok(Reconciled {
            room_ended: true,
            ..Reconciled::nothing(place.node_id.clone())
        })
    }

    /// Invalidates tickets whose holders may not be in the room. The session was read after the tickets.
    async fn revoke_tickets(
        &self,
        room: &Room<'_>,
        session: &Session,
        tickets: &[UnusedTicket],
    ) -> Result<(), Error> {
        for ticket in tickets {
            let ParticipantOnNode { user_id, sequence } = &ticket.holder;
            if !may_be_in_room(session, user_id, *sequence, self.clock.now()) {
                let revoked = room.driver.revoke_ticket(room.name, ticket).await;
                revoked.map_err(|error| self.node_error(room.node_id, error))?;
            }
        }
        Ok(())
    }

    /// Removes from a room who may not be there, and returns whom it removed. The session was read after `present`.
    async fn remove_strangers(
        &self,
        room: Room<'_>,
        mut session: Session,
        present: Vec<ParticipantOnNode>,
        may_stay: MayStay,
    ) -> Result<Vec<UserId>, Error> {
        let mut removed = Vec::new();
        for ParticipantOnNode { user_id, sequence } in present {
            if may_stay(&session, &user_id, sequence, self.clock.now()) {
                continue;
            }
            let removal = room.driver.remove_participant(room.name, &user_id).await;
            removal.map_err(|error| self.node_error(room.node_id, error))?;
            self.metrics.room_strangers_removed.inc();
            removed.push(user_id);
            session = self.access.session(&session.session_id).await?;
        }
        Ok(removed)
    }

    fn node_error(&self, node_id: &NodeId, error: SfuError) -> Error {
        tracing::warn!(node_id = node_id.as_str(), %error, "an SFU node could not be reconciled");
        self.unavailable_error(node_id, error.failure())
    }

    fn unavailable_error(&self, node_id: &NodeId, failure: ProbeFailure) -> Error {
        Error::SfuNodeUnavailable {
            node_id: node_id.clone(),
            failure,
            retry_after: self.access.wait.retry_after,
        }
    }
}
