//! Who may do what. All policy on people stands here, and nowhere else.

use super::error::Error;
use super::id::UserId;
use super::session::Session;

/// What a participant is in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The doctor: the host.
    Doctor,
    /// The patient.
    Patient,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Doctor, Self::Patient];

    /// The role's name in tokens, events and stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::Doctor => "doctor",
            Self::Patient => "patient",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What a token of this role allows its bearer in the session.
    pub fn permissions(self) -> &'static [&'static str] {
        match self {
            Self::Doctor => &["host", "mute-others", "end-call"],
            Self::Patient => &["participant"],
        }
    }
}

/// A user may take a role in a session only if the session stores that user for it.
///
/// # Errors
/// [`Error::NotAParticipant`]
pub fn permit_join(session: &Session, role: Role, user_id: &UserId) -> Result<(), Error> {
    let expected = match role {
        Role::Doctor => &session.doctor_id,
        Role::Patient => &session.patient_id,
    };
    if user_id == expected {
        Ok(())
    } else {
        Err(Error::NotAParticipant { role })
    }
}
