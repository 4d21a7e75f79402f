//! Changes the medium of a session.

use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::event::EventKind;
use crate::domain::medium::{DIRECT_PUBLISHERS_MAX, MediaMode, Medium, MoveCause};
use crate::domain::role::Action;
use crate::domain::session::{Session, SessionState};
use crate::domain::time::Timestamp;

impl Change {
    /// Adds the change of medium that this change makes necessary: more participants publish than browsers can serve directly. The
    /// call does not go back when one of them leaves.
    #[must_use]
    pub(super) fn with_needed_medium(self, actor: &Actor, now: Timestamp) -> Self {
        if !self.session.needs_node() {
            return self;
        }
        let cause = MoveCause::ThirdPublisher;
        let changed = self.session.change_medium(Medium::Sfu, cause, actor, now);
        self.then(changed)
    }
}

impl Session {
    /// Whether more participants publish than browsers can serve directly, and the node can carry the call for them. A call that fell
    /// back to the browsers stays there: its node may still be lost.
    pub(super) fn needs_node(&self) -> bool {
        let publishers =
            (self.admitted_participants()).filter(|other| other.role.may(Action::Publish));
        self.media == MediaMode::Auto
            && self.medium == Medium::PeerToPeer
            && !self.fell_back
            && self.state != SessionState::Ended
            && self.place.driver.serves_pages()
            && publishers.count() > DIRECT_PUBLISHERS_MAX
    }

    /// The session on another medium.
    pub(super) fn change_medium(
        &self,
        medium: Medium,
        cause: MoveCause,
        actor: &Actor,
        now: Timestamp,
    ) -> Change {
        let kind = EventKind::MediumChanged { medium, cause };
        self.next_version(actor, now, vec![kind], |session| session.medium = medium)
    }
}
