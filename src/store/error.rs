//! Errors of stores.

use crate::domain::id::SessionId;

/// Why a store operation failed. Its text is for the log, never for a caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, is full, cannot be written to, or did not answer in time. A write may or may not have
    /// happened.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store's queue is full; nothing was done.
    #[error("the store's queue is full")]
    Overloaded,
    /// The store holds a record that this version cannot read.
    #[error("the store holds an unreadable record")]
    Corrupt {
        /// The session that the record belongs to, if known.
        session_id: Option<SessionId>,
        /// The cause, without any stored value.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// The error and its causes in one line, because a JSON log line does not show causes.
    pub fn chain(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    /// An [`StoreError::Unavailable`] from a driver's error.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// A [`StoreError::Corrupt`] from a parser's error.
    pub fn corrupt(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Corrupt {
            session_id: None,
            source: source.into(),
        }
    }

    /// Names the session that a [`StoreError::Corrupt`] is about; leaves other errors as they are.
    pub fn about(self, session_id: &SessionId) -> Self {
        match self {
            Self::Corrupt { source, .. } => Self::Corrupt {
                session_id: Some(session_id.clone()),
                source,
            },
            other => other,
        }
    }
}
