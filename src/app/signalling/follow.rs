//! Follows a session for as long as a participant is connected to it here. One task a session announces the session's events,
//! whichever instance committed them, and delivers what participants relay to each other.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use super::room::Room;
use super::{CloseCode, Signalling};
use crate::bus::{Delivery, RelaySubscription};
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::session::Session;

/// How often a session in which nothing happens is checked for whether a participant is still connected.
const EMPTY_CHECK: Duration = Duration::from_secs(15);

/// Follows one session.
pub(super) struct Follower {
    signalling: Arc<Signalling>,
    room: Arc<Room>,
    /// The sequence of the last event that was announced.
    after: i64,
    /// Once the session's events are announced up to its version, pages that are not in it as they were told are closed.
    resync: Option<Session>,
}

impl Follower {
    /// Starts to follow a session from a version on.
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

    /// Ends when the room has no members, or the instance goes away.
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

    /// Passes by an event of a kind that only a newer version knows. It may have been a removal or the end, or nothing that
    /// concerns pages: what it led to is in the session. Pages go on whose participant is in the session as they were told;
    /// the others reconnect. That is decided once the events are announced that the session already holds, so that a page
    /// hears of a known event in its own words.
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
    /// Never ends.
    async fn deliver_relays(&self, room: &Room, mut relays: RelaySubscription) {
        loop {
            match relays.next().await {
                Delivery::Relay(relay) => room.deliver(&relay),
                Delivery::Lagged(dropped) => {
                    self.metrics.relays_dropped.inc_by(dropped);
                }
            }
        }
    }

    /// Lets every page reconnect after an event that cannot be read: it may be a removal or the end. What it led to is in the
    /// session, so each page is told of the session as it is, or refused. Returns the version up to which nothing more is to
    /// be announced.
    async fn reconnect_pages(&self, room: &Room) -> Result<i64, Error> {
        match self.read_session(room.session_id()).await {
            Ok(session) => {
                room.close_behind(session.version, CloseCode::GoingAway);
                Ok(session.version)
            }
            Err(error) => {
                if error == Error::Internal {
                    // The session does not say who may stay, so every page is closed: one of them may have been removed.
                    room.close_all(CloseCode::Internal);
                }
                Err(error)
            }
        }
    }
}
