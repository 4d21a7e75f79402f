//! Moves sessions to other nodes.

use crate::domain::access::permit_move;
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::id::NodeId;
use crate::domain::medium::{MediaMode, Medium, MoveCause};
use crate::domain::place::{Driver, Place};
use crate::domain::session::{FormerRoom, Session, SessionState};
use crate::domain::time::Timestamp;

impl Session {
    /// Moves the session to another node, with a new room. The medium changes with it if the new node cannot carry a call that a
    /// node carries now (unless the backend insists on a node), or can carry one that is too large for browsers.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::NotAllowed`]
    pub fn move_to(
        &self,
        node_id: NodeId,
        driver: Driver,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Change, Error> {
        self.require_live()?;
        permit_move(actor)?;
        let place = self.place.next(&self.session_id, node_id, driver);
        let cause = actor.move_cause();
        let (from, to, generation) = (
            self.place.node_id.clone(),
            place.node_id.clone(),
            place.generation,
        );
        let kind = match self.state {
            SessionState::Created => EventKind::Placed {
                from,
                to,
                generation,
                cause,
            },
            SessionState::Active | SessionState::Ended => EventKind::Moved {
                from,
                to,
                generation,
                cause,
            },
        };
        let former_room = self.former_room_after(cause, now);
        let moved = self.next_version(actor, now, vec![kind], |session| {
            session.place = place;
            session.former_room = former_room;
            session.fell_back = false;
        });
        let medium = moved.session.medium_after_move(self.medium);
        if medium == self.medium {
            return Ok(moved);
        }
        let changed = moved.session.change_medium(medium, cause, actor, now);
        Ok(moved.then(changed))
    }

    /// Lets browsers connect to each other, because no node can carry the call. The room that they leave is not used again.
    /// `None` if they do already, or the backend insists on a node.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::NotAllowed`]
    pub fn fall_back_to_peers(
        &self,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        self.require_live()?;
        permit_move(actor)?;
        let is_possible = self.media == MediaMode::Auto && self.medium == Medium::Sfu;
        let cause = actor.move_cause();
        if !is_possible {
            return Ok(None);
        }
        let Place {
            node_id, driver, ..
        } = self.place.clone();
        let place = self.place.next(&self.session_id, node_id, driver);
        let former_room = self.former_room_after(cause, now);
        let mut change = self.change_medium(Medium::PeerToPeer, cause, actor, now);
        change.session.place = place;
        change.session.former_room = former_room;
        change.session.fell_back = true;
        Ok(Some(change))
    }

    /// The room that a move leaves, unless the call did not go through it, or its node is lost.
    fn former_room_after(&self, cause: MoveCause, now: Timestamp) -> Option<FormerRoom> {
        let is_usable = self.medium == Medium::Sfu && cause != MoveCause::NodeLost;
        is_usable.then(|| FormerRoom {
            node_id: self.place.node_id.clone(),
            generation: self.place.generation,
            leave_time: now,
        })
    }

    fn medium_after_move(&self, before: Medium) -> Medium {
        match (self.media, before) {
            (MediaMode::Auto, Medium::Sfu) if !self.place.driver.serves_pages() => {
                Medium::PeerToPeer
            }
            (MediaMode::Auto, Medium::PeerToPeer) if self.needs_node() => Medium::Sfu,
            (MediaMode::Sfu, Medium::PeerToPeer) if self.place.driver.carries_media() => {
                Medium::Sfu
            }
            (MediaMode::Auto | MediaMode::PeerToPeer | MediaMode::Sfu, medium) => medium,
        }
    }
}
