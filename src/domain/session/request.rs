//! What a caller asks for when creating or updating a session.

use super::Schedule;
use crate::domain::id::{AppointmentId, UserId};
use crate::domain::label::Labels;
use crate::domain::participant::Admission;
use crate::domain::time::Timestamp;

/// A wish of the caller's, or what stands for one that was not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requested<T> {
    /// The value.
    pub value: T,
    /// Whether the caller gave it: only then a repeated create with another value is another request.
    pub explicit: bool,
}

impl<T: PartialEq> Requested<T> {
    /// What the caller asked for.
    pub fn explicit(value: T) -> Self {
        Self {
            value,
            explicit: true,
        }
    }

    /// What stands for a wish that was not told.
    pub fn default_of(value: T) -> Self {
        Self {
            value,
            explicit: false,
        }
    }

    pub(in crate::domain) fn differs_from(&self, value: &T) -> bool {
        self.explicit && self.value != *value
    }
}

/// What a caller asks for when creating a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// The appointment.
    pub appointment_id: AppointmentId,
    /// Who may join as doctor.
    pub doctor_id: UserId,
    /// Who may join as patient.
    pub patient_id: UserId,
    /// When it is to take place.
    pub schedule: Schedule,
    /// The backend's notes.
    pub labels: Labels,
    /// Who gets past the waiting room.
    pub admission: Requested<Admission>,
    /// How many may be connected at once.
    pub max_participants: Requested<u16>,
}

/// What UpdateSession changes; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionUpdate {
    /// The new start, or none.
    pub scheduled_start_time: Option<Option<Timestamp>>,
    /// The new end, or none.
    pub scheduled_end_time: Option<Option<Timestamp>>,
    /// The new labels.
    pub labels: Option<Labels>,
    /// The doctor who stands in.
    pub doctor_id: Option<UserId>,
}
