//! What a participant is in a session, and what that allows.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::named::named;

/// What a participant is in a session.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    IntoStaticStr,
    EnumString,
    VariantArray,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The doctor: the host.
    Doctor,
    /// The patient.
    Patient,
    /// Somebody whom the backend invited.
    Guest,
    /// An interpreter whom the backend invited.
    Interpreter,
    /// Somebody who looks on and publishes nothing.
    Observer,
}

/// What a participant may do to others, or to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Action {
    /// Let in one who waits.
    Admit,
    /// Ask one to mute.
    Mute,
    /// Remove one.
    Remove,
    /// End the session for everybody.
    EndSession,
    /// Send audio or video, and tell of it.
    Publish,
    /// Pass the waiting room.
    SkipWaiting,
    /// Be there when the session is full.
    SkipLimit,
}

const HOST: &str = "host";
const MUTE_OTHERS: &str = "mute-others";
const END_CALL: &str = "end-call";
const PARTICIPANT: &str = "participant";
const OBSERVER: &str = "observer";

impl Role {
    /// What a token of this role allows its bearer in the session.
    pub fn permissions(self) -> &'static [&'static str] {
        match self {
            Self::Doctor => &[HOST, MUTE_OTHERS, END_CALL],
            Self::Patient | Self::Guest | Self::Interpreter => &[PARTICIPANT],
            Self::Observer => &[OBSERVER],
        }
    }

    /// Whether the role allows an action.
    pub fn may(self, action: Action) -> bool {
        let has = |permission| self.permissions().contains(&permission);
        match action {
            Action::Admit | Action::Remove | Action::SkipWaiting | Action::SkipLimit => has(HOST),
            Action::Mute => has(MUTE_OTHERS),
            Action::EndSession => has(END_CALL),
            Action::Publish => !has(OBSERVER),
        }
    }

    /// Whether the backend gives the role by inviting.
    pub fn is_invited(self) -> bool {
        match self {
            Self::Guest | Self::Interpreter | Self::Observer => true,
            Self::Doctor | Self::Patient => false,
        }
    }
}

named!(Role);
