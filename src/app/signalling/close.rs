//! The codes with which connections are closed; docs/signalling.md tells pages what to do about each.

/// Why a connection is closed by the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// One left.
    Left,
    /// The instance goes away, or lost sight of one.
    GoingAway,
    /// A message was too large: WebSocket's own code for that.
    MessageTooBig,
    /// A fault of the service: WebSocket's own code for that.
    Internal,
    /// The cookie is no longer good.
    NotLetIn,
    /// One was removed.
    Removed,
    /// The session has ended.
    Ended,
    /// One connected elsewhere.
    Replaced,
    /// Too many messages.
    Flood,
    /// Too slow a reader.
    TooSlow,
    /// The session is full.
    Full,
    /// The store is away.
    StoreAway,
}

impl CloseCode {
    /// Every code.
    pub const ALL: [Self; 12] = [
        Self::Left,
        Self::GoingAway,
        Self::MessageTooBig,
        Self::Internal,
        Self::NotLetIn,
        Self::Removed,
        Self::Ended,
        Self::Replaced,
        Self::Flood,
        Self::TooSlow,
        Self::Full,
        Self::StoreAway,
    ];

    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Left => 1000,
            Self::GoingAway => 1001,
            Self::MessageTooBig => 1009,
            Self::Internal => 1011,
            Self::NotLetIn => 4001,
            Self::Removed => 4003,
            Self::Ended => 4004,
            Self::Replaced => 4005,
            Self::Flood => 4008,
            Self::TooSlow => 4009,
            Self::Full => 4010,
            Self::StoreAway => 4013,
        }
    }
}
