//! A session: what is known of a consultation. How it changes is in `rules`.

mod request;
mod schedule;

use strum::{EnumString, IntoStaticStr, VariantArray};

pub use request::{Requested, SessionRequest, SessionUpdate};
pub use schedule::{JoinWindow, Schedule};

pub use super::cause::EndCause;
use super::error::Error;
use super::id::{AppointmentId, SessionId, UserId};
use super::label::Labels;
use super::named::named;
use super::participant::{Admission, GivenName, Invite, Participant, ParticipantStatus, Removal};
use super::place::Place;
use super::role::Action;
use super::time::Timestamp;
use super::unknown::UnknownFields;

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum SessionState {
    /// Created; nobody has connected yet.
    Created,
    /// A participant has connected.
    Active,
    /// Ended for good.
    Ended,
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
    /// Who may join as doctor.
    pub doctor_id: UserId,
    /// The sequence of the event that made them the doctor: a doctor's credential issued until then is void, also if the same
    /// person was the doctor before.
    pub doctor_since: i64,
    /// Who may join as patient.
    pub patient_id: UserId,
    /// Where it takes place.
    pub place: Place,
    /// Where it is in its life.
    pub state: SessionState,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// When it is to take place.
    pub schedule: Schedule,
    /// What ended it; `None` while it has not.
    pub end_cause: Option<EndCause>,
    /// The reason that was given for its end; empty while it has not.
    pub end_reason: String,
    /// The backend's notes.
    pub labels: Labels,
    /// Counts its events from 1.
    pub version: i64,
    /// Who gets past the waiting room.
    pub admission: Admission,
    /// How many may be connected at once.
    pub max_participants: u16,
    /// Who is connected.
    pub participants: Vec<Participant>,
    /// Who was let in one by one, and need not wait again.
    pub admitted_users: Vec<UserId>,
    /// Who is invited.
    pub invites: Vec<Invite>,
    /// Who was removed.
    pub removals: Vec<Removal>,
    /// The names that participants gave themselves, whose links came without one.
    pub given_names: Vec<GivenName>,
    /// Since when nobody is connected any more; unset before the first one was.
    pub empty_since: Option<Timestamp>,
    /// What another version stored in it.
    pub unknown_fields: UnknownFields,
}

impl Session {
    /// Who is connected under that id.
    pub fn participant(&self, user_id: &UserId) -> Option<&Participant> {
        self.participants
            .iter()
            .find(|participant| participant.user_id == *user_id)
    }

    /// Those who are in the call.
    pub fn admitted_participants(&self) -> impl Iterator<Item = &Participant> {
        self.participants
            .iter()
            .filter(|participant| participant.status == ParticipantStatus::Admitted)
    }

    /// Whether somebody is in the call who lets others in.
    pub fn host_is_present(&self) -> bool {
        self.admitted_participants()
            .any(|participant| participant.role.may(Action::Admit))
    }

    /// The invitations that were not taken back.
    pub fn active_invites(&self) -> impl Iterator<Item = &Invite> {
        self.invites
            .iter()
            .filter(|invite| !self.is_kept_out(&invite.user_id))
    }

    /// The name that a participant gave themselves; empty when they gave none.
    pub fn given_name(&self, user_id: &UserId) -> &str {
        (self.given_names.iter())
            .find(|given| given.user_id == *user_id)
            .map_or("", |given| given.name.as_str())
    }

    /// Whether the join window has closed.
    pub fn is_join_window_closed(&self, window: &JoinWindow, now: Timestamp) -> bool {
        // A token's times are whole seconds: one that could not live for a second is not issued.
        window
            .closes_at(&self.schedule)
            .is_some_and(|closes| closes.as_secs() <= now.as_secs())
    }

    /// A session that ended with its window is told apart from one that somebody ended: it is the hour that stands in the
    /// way.
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

    /// Whether the session stores a user for some role, removed or not.
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

    /// Whether a user is, or was invited to be, anybody in this session.
    pub(super) fn is_removable(&self, user_id: &UserId) -> bool {
        self.is_entitled(user_id) || self.participant(user_id).is_some()
    }
}

named!(SessionState);
