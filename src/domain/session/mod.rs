//! A session: the state of a consultation. `rules` has its changes.

mod request;
mod schedule;

use strum::{EnumString, IntoStaticStr, VariantArray};

pub use request::{Requested, SessionRequest, SessionUpdate};
pub use schedule::{JoinWindow, Schedule};

pub use super::cause::EndCause;
use super::error::Error;
use super::id::{AppointmentId, NodeId, Region, SessionId, UserId};
use super::label::Labels;
use super::medium::{MediaMode, Medium};
use super::named::named;
use super::participant::{
    Admission, GUESTS_REMEMBERED_MAX, GivenName, Invite, Participant, ParticipantStatus,
    REMOVALS_MAX, Removal,
};
use super::place::Place;
use super::placement::PlacementNote;
use super::role::{Action, Role};
use super::short_link::ShortLink;
use super::time::Timestamp;
use super::unknown::UnknownFields;

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum SessionState {
    /// Created; no participant has connected yet.
    Created,
    /// A participant has connected.
    Active,
    /// Ended for good.
    Ended,
}

/// A room that a call has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerRoom {
    /// Its node.
    pub node_id: NodeId,
    /// The generation of the place that it belonged to.
    pub generation: i64,
    /// When the call left it.
    pub leave_time: Timestamp,
}

/// A video consultation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// Its appointment.
    pub appointment_id: AppointmentId,
    /// See [`UnplacedSession::incarnation`](super::rules::create::UnplacedSession::incarnation).
    pub incarnation: i64,
    /// The user who may join as doctor.
    pub doctor_id: UserId,
    /// The sequence of the event that made them the doctor: a doctor's credential issued up to then is revoked, even if the same
    /// user was the doctor before.
    pub doctor_since: i64,
    /// The user who may join as patient.
    pub patient_id: UserId,
    /// Its SFU node and room.
    pub place: Place,
    /// The room that its call left last, if that room's node was working: pages stay there until they have media the new way.
    pub former_room: Option<FormerRoom>,
    /// Its state.
    pub state: SessionState,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// When it is scheduled.
    pub schedule: Schedule,
    /// What ended it; `None` before its end.
    pub end_cause: Option<EndCause>,
    /// The reason for its end; empty before its end.
    pub end_reason: String,
    /// The backend's notes.
    pub labels: Labels,
    /// The number of its events.
    pub version: i64,
    /// When participants enter without waiting.
    pub admission: Admission,
    /// How many participants may be connected at once.
    pub max_participants: u16,
    /// The medium that the backend asked for.
    pub media: MediaMode,
    /// The medium in use.
    pub medium: Medium,
    /// No node could carry its call any more. It stays between the browsers until the session moves to another place.
    pub fell_back: bool,
    /// Only nodes of this region may have it.
    pub region: Option<Region>,
    /// No server may read its media: what goes through a node is encrypted from page to page.
    pub end_to_end_encrypted: bool,
    /// How long it may be empty, after participants were in it, before it ends; `None`: as long as the service's setting says.
    pub empty_timeout_secs: Option<u64>,
    /// The backend wants any user to be able to join as guest; see [`Session::takes_guests`].
    pub open_to_guests: bool,
    /// The doctor's name, which participants see before the call; may be empty.
    pub doctor_name: String,
    /// The decision that gave it its place; `None` if there was no choice.
    pub placement: Option<PlacementNote>,
    /// The connected participants.
    pub participants: Vec<Participant>,
    /// Users who were admitted individually and do not wait again.
    pub admitted_users: Vec<UserId>,
    /// The invitations.
    pub invites: Vec<Invite>,
    /// The removals.
    pub removals: Vec<Removal>,
    /// Names that participants chose, because their links have none.
    pub given_names: Vec<GivenName>,
    /// The short links, one for each user and role.
    pub short_links: Vec<ShortLink>,
    /// When the last participant left; unset while any is connected, before the first connects, and if the session has an
    /// `empty_deadline` instead.
    pub empty_since: Option<Timestamp>,
    /// When it ends if nobody connects; only of an empty session with its own `empty_timeout_secs`.
    pub empty_deadline: Option<Timestamp>,
    /// Fields that another version stored.
    pub unknown_fields: UnknownFields,
}

impl Session {
    /// The connected participant with this id.
    pub fn participant(&self, user_id: &UserId) -> Option<&Participant> {
        self.participants
            .iter()
            .find(|participant| participant.user_id == *user_id)
    }

    /// Until when participants may stay in the room of a former generation: for `overlap_secs` after the call has left it. `None` if that
    /// time is over, or the room is no former one.
    pub fn may_linger_until(
        &self,
        generation: i64,
        overlap_secs: u64,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let former = self.former_room.as_ref()?;
        let until = former.leave_time.plus_secs(overlap_secs);
        (former.generation == generation && now < until).then_some(until)
    }

    /// The participants in the call.
    pub fn admitted_participants(&self) -> impl Iterator<Item = &Participant> {
        self.participants
            .iter()
            .filter(|participant| participant.status == ParticipantStatus::Admitted)
    }

    /// Whether a participant who may admit others is in the call.
    pub fn host_is_present(&self) -> bool {
        self.admitted_participants()
            .any(|participant| participant.role.may(Action::Admit))
    }

    /// The invitations that were not revoked.
    pub fn active_invites(&self) -> impl Iterator<Item = &Invite> {
        self.invites
            .iter()
            .filter(|invite| !self.is_kept_out(&invite.user_id))
    }

    /// The name that a participant chose; empty if they chose none.
    pub fn given_name(&self, user_id: &UserId) -> &str {
        (self.given_names.iter())
            .find(|given| given.user_id == *user_id)
            .map_or("", |given| given.name.as_str())
    }

    /// The short link of a user in a role.
    pub fn short_link_of(&self, user_id: &UserId, role: Role) -> Option<&ShortLink> {
        (self.short_links.iter()).find(|link| link.user_id == *user_id && link.role == role)
    }

    /// Whether any user may join as guest: not any more once no further removal could be remembered, because guests whose removals
    /// are forgotten could come back.
    pub fn takes_guests(&self) -> bool {
        self.open_to_guests && self.removals.len() < REMOVALS_MAX
    }

    /// Whether the join window has closed.
    pub fn is_join_window_closed(&self, window: &JoinWindow, now: Timestamp) -> bool {
        // A token's times are whole seconds: a token for less than a second is not issued.
        window
            .closes_at(&self.schedule)
            .is_some_and(|closes| closes.as_secs() <= now.as_secs())
    }

    /// Fails with JOIN_TOO_LATE if the session ended with its join window, and with SESSION_ENDED otherwise.
    ///
    /// # Errors
    /// [`Error::SessionEnded`], [`Error::JoinTooLate`]
    pub fn require_not_ended(&self, window: &JoinWindow) -> Result<(), Error> {
        match window.closes_at(&self.schedule) {
            Some(closed) if self.end_cause == Some(EndCause::TimeOver) => {
                Err(Error::JoinTooLate { closed })
            }
            _ => self.require_live(),
        }
    }

    pub(super) fn require_live(&self) -> Result<(), Error> {
        match self.state {
            SessionState::Created | SessionState::Active => Ok(()),
            SessionState::Ended => Err(Error::SessionEnded {
                session_id: self.session_id.clone(),
            }),
        }
    }

    /// Whether the session stores a role for the user, even if they were removed.
    pub(super) fn is_entitled(&self, user_id: &UserId) -> bool {
        *user_id == self.doctor_id
            || *user_id == self.patient_id
            || self.invites.iter().any(|invite| invite.user_id == *user_id)
    }

    pub(super) fn is_kept_out(&self, user_id: &UserId) -> bool {
        self.removals
            .iter()
            .any(|removal| removal.user_id == *user_id && removal.keep_out)
    }

    /// Whether the user can be removed: they have a role, are connected or may join as guest.
    pub(super) fn is_removable(&self, user_id: &UserId) -> bool {
        self.takes_guests() || self.is_entitled(user_id) || self.participant(user_id).is_some()
    }

    /// Drops what is remembered of users who may not join any more, and makes room for one more guest whom nobody invited.
    pub(super) fn forget_strangers<T>(
        &self,
        remembered: &mut Vec<T>,
        user_of: impl Fn(&T) -> &UserId,
    ) {
        remembered.retain(|one| self.takes_guests() || self.is_entitled(user_of(one)));
        let is_stranger = |one: &T| !self.is_entitled(user_of(one));
        if remembered.iter().filter(|one| is_stranger(one)).count() < GUESTS_REMEMBERED_MAX {
            return;
        }
        let is_away = |one: &T| self.participant(user_of(one)).is_none();
        let oldest = remembered
            .iter()
            .position(|one| is_stranger(one) && is_away(one))
            .or_else(|| remembered.iter().position(is_stranger));
        if let Some(oldest) = oldest {
            remembered.remove(oldest);
        }
    }
}

named!(SessionState);
