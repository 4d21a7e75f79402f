//! Why a session ended, and why a participant is gone.

/// What ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// The backend, by EndSession.
    Backend,
    /// The host, from the page.
    Host,
    /// Its window closed.
    TimeOver,
    /// Everybody had left.
    Empty,
}

impl EndCause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Backend, Self::Host, Self::TimeOver, Self::Empty];

    /// Its name in stores and signalling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Host => "host",
            Self::TimeOver => "time-over",
            Self::Empty => "empty",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// The reason that is noted where nobody gave one.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Backend => "",
            Self::Host => "ended by the host",
            Self::TimeOver => "time over",
            Self::Empty => "everybody left",
        }
    }
}

/// Why a participant is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveCause {
    /// They left.
    Left,
    /// Their connection was lost and did not come back in time.
    Lost,
    /// They were removed.
    Removed,
    /// The session ended.
    SessionEnded,
    /// They came again, in another role.
    Replaced,
}

impl LeaveCause {
    /// Every cause.
    pub const ALL: [Self; 5] = [
        Self::Left,
        Self::Lost,
        Self::Removed,
        Self::SessionEnded,
        Self::Replaced,
    ];

    /// Its name in stores and signalling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Lost => "lost",
            Self::Removed => "removed",
            Self::SessionEnded => "session-ended",
            Self::Replaced => "replaced",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }
}
