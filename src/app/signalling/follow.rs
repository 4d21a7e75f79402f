//! Follows a session while a participant is connected to it here. One task per session announces the session's events, from
//! any instance, and delivers relayed messages.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use super::message::parse_quality;
use super::room::{Delivered, Room};
use super::{CloseCode, Signalling};
use crate::bus::{Delivery, RelayKind, RelaySubscription};
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::session::Session;

/// How often the follower of a session without events checks whether its room is empty.
const EMPTY_CHECK: Duration = Duration::from_secs(15);

/// Follows one session.
pub(super) struct Follower {
    signalling: Arc<Signalling>,
    room: Arc<Room>,
    /// The sequence of the last event that was announced.
    after: i64,
    /// Once events are announced up to this session's version, pages whose state differs from it are closed.
    resync: Option<Session>,
}

impl Follower {
    /// Starts to follow a session after a version.
    pub(super) fn start(
        signalling: &Arc<Signalling>,
        room: &Arc<Room>,
        version: i64,
        relays: RelaySubscription,
    ) {
        let follower = Self {
            signalling: Arc::clone(signalling),
            room: Arc::clone(room),
            after: version,
            resync: None,
        };
        signalling.tasks.spawn(follower.run(relays));
    }

    async fn run(mut self, relays: RelaySubscription) {
        let (signalling, room) = (Arc::clone(&self.signalling), Arc::clone(&self.room));
        // Relays never wait for the store.
        tokio::select! {
            () = signalling.deliver_relays(&room, relays) => {}
            () = self.announce_events() => {}
        }
    }

    /// Returns when the room has no members, or the instance shuts down.
    async fn announce_events(&mut self) {
        loop {
            if let Err(error) = self.announce_until_empty().await {
                if self.signalling.closing.is_cancelled() {
                    return;
                }
                let pause = error.retry_after();
                tokio::time::sleep(pause.unwrap_or(self.signalling.access.wait.retry_after)).await;
            }
            if self.signalling.rooms.stop_following_if_empty(&self.room) {
                return;
            }
        }
    }

    async fn announce_until_empty(&mut self) -> Result<(), Error> {
        let session_id = self.room.session_id().clone();
        let mut events = self.signalling.events.follow(session_id, self.after);
        while !self.room.is_empty() {
            let event = tokio::select! {
                event = events.next() => event,
                () = tokio::time::sleep(EMPTY_CHECK) => continue,
            };
            match event {
                Some(Ok(event)) => {
                    if let EventKind::Unknown { .. } = event.kind {
                        match self.resync_pages().await {
                            Err(Error::Internal) => {
                                self.after = self.signalling.reconnect_pages(&self.room).await?;
                                return Ok(());
                            }
                            outcome => outcome?,
                        }
                    }
                    self.signalling.announce_event(&self.room, &event).await?;
                    self.after = event.sequence;
                    self.close_changed_pages();
                }
                Some(Err(Error::Internal)) => {
                    self.after = self.signalling.reconnect_pages(&self.room).await?;
                    return Ok(());
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Handles an event of a kind that only a newer version knows. It may be a removal or the end, or may not concern pages.
    /// The session has its effect, so pages whose state differs from the session must reconnect. They are closed once the
    /// events that the session already includes are announced, so that known events get their own messages.
    async fn resync_pages(&mut self) -> Result<(), Error> {
        let session = self.signalling.read_session(self.room.session_id());
        self.resync = Some(session.await?);
        Ok(())
    }

    fn close_changed_pages(&mut self) {
        let is_due = |session: &mut Session| session.version <= self.after;
        if let Some(session) = self.resync.take_if(is_due) {
            let participants = &session.participants;
            let code = CloseCode::GoingAway;
            self.room.close_changed(session.version, participants, code);
        }
    }
}

impl Signalling {
    /// Delivers relays; never returns.
    async fn deliver_relays(&self, room: &Room, mut relays: RelaySubscription) {
        loop {
            match relays.next().await {
                // For this instance, not for the pages.
                Delivery::Relay(relay) if relay.kind == RelayKind::Quality => {
                    if let Some(quality) = parse_quality(&relay.payload) {
                        let qualities = &self.changes.qualities;
                        qualities.note(room.session_id(), &relay.from, quality);
                    }
                }
                Delivery::Relay(relay) => match room.deliver(&relay) {
                    Delivered::Now | Delivered::Early => {}
                    // The sender knows a newer version: read the events, since the hint may be lost.
                    Delivered::Ahead => self.bus.publish_here(room.session_id()),
                    Delivered::Dropped => {
                        self.metrics.relays_dropped.inc();
                    }
                },
                Delivery::Lagged(dropped) => {
                    self.metrics.relays_dropped.inc_by(dropped);
                }
            }
        }
    }

    /// Makes every page reconnect after an unreadable event, which may be a removal or the end. The session has its effect, so
    /// each page then gets the current state or is refused. Returns the version from which on events are announced.
    async fn reconnect_pages(&self, room: &Room) -> Result<i64, Error> {
        match self.read_session(room.session_id()).await {
            Ok(session) => {
                room.close_behind(session.version, CloseCode::GoingAway);
                Ok(session.version)
            }
            Err(error) => {
                if error == Error::Internal {
                    // Without the session, removed participants cannot be identified, so every page is closed.
                    room.close_all(CloseCode::Internal);
                }
                Err(error)
            }
        }
    }
}
