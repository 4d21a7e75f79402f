//! What a caller asks for when creating or updating a session.

use super::Schedule;
use crate::domain::id::{AppointmentId, Region, UserId};
use crate::domain::label::Labels;
use crate::domain::medium::MediaMode;
use crate::domain::participant::Admission;
use crate::domain::time::Timestamp;

/// A requested value, or the default if the caller gave none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requested<T> {
    /// The value.
    pub value: T,
    /// Whether the caller gave it: only then does a repeated create with another value conflict.
    pub explicit: bool,
}

impl<T: PartialEq> Requested<T> {
    /// The value that the caller gave.
    pub fn explicit(value: T) -> Self {
        Self {
            value,
            explicit: true,
        }
    }

    /// The default, because the caller gave no value.
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
    /// The user who may join as doctor.
    pub doctor_id: UserId,
    /// The user who may join as patient.
    pub patient_id: UserId,
    /// When it is scheduled.
    pub schedule: Schedule,
    /// The backend's notes.
    pub labels: Labels,
    /// When participants enter without waiting.
    pub admission: Requested<Admission>,
    /// How many participants may be connected at once.
    pub max_participants: Requested<u16>,
    /// The medium.
    pub media: Requested<MediaMode>,
    /// Only nodes of this region may have it.
    pub region: Option<Region>,
    /// No server may read its media. `false`: the caller does not ask for that.
    pub end_to_end_encrypted: bool,
    /// How long it may be empty, after participants were in it, before it ends. `None`: the caller does not say.
    pub empty_timeout_secs: Option<u64>,
    /// Any user may join as guest. `false`: the caller does not ask for that.
    pub open_to_guests: bool,
    /// The doctor's name, which participants see before the call. Empty: the caller does not say.
    pub doctor_name: String,
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
    /// The new doctor.
    pub doctor_id: Option<UserId>,
    /// The new name of the doctor; may be empty.
    pub doctor_name: Option<String>,
}
