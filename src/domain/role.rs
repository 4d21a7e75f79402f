//! Roles, and what they allow.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::named::named;

/// A participant's role in a session.
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
    /// A guest whom the backend invited.
    Guest,
    /// An interpreter whom the backend invited.
    Interpreter,
    /// An observer, who publishes nothing.
    Observer,
}

/// An action that depends on the participant's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Action {
    /// Admit a waiting participant.
    Admit,
    /// Ask a participant to mute or to unmute.
    Mute,
    /// Remove a participant.
    Remove,
    /// End the session.
    EndSession,
    /// Take a still picture of a participant's video.
    TakeStill,
    /// Send audio or video, and report mute states.
    Publish,
    /// Enter without waiting.
    SkipWaiting,
    /// Enter a full session.
    SkipLimit,
}

const HOST: &str = "host";
const MUTE_OTHERS: &str = "mute-others";
const END_CALL: &str = "end-call";
const PARTICIPANT: &str = "participant";
const OBSERVER: &str = "observer";

impl Role {
    /// The permissions in a token for this role.
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
            Action::Admit
            | Action::Remove
            | Action::TakeStill
            | Action::SkipWaiting
            | Action::SkipLimit => has(HOST),
            Action::Mute => has(MUTE_OTHERS),
            Action::EndSession => has(END_CALL),
            Action::Publish => !has(OBSERVER),
        }
    }

    /// Whether users get this role by invitation.
    pub fn is_invited(self) -> bool {
        match self {
            Self::Guest | Self::Interpreter | Self::Observer => true,
            Self::Doctor | Self::Patient => false,
        }
    }
}

named!(Role);
