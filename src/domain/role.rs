//! What a participant is in a session, and what that allows.

/// What a participant is in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Doctor,
        Self::Patient,
        Self::Guest,
        Self::Interpreter,
        Self::Observer,
    ];

    /// The role's name in tokens, events and stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::Doctor => "doctor",
            Self::Patient => "patient",
            Self::Guest => "guest",
            Self::Interpreter => "interpreter",
            Self::Observer => "observer",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

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
