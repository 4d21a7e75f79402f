//! Why a store could not do what it was asked for.

use crate::domain::id::SessionId;

/// What a store could not do. Its text is for the log, never for a caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is full, cannot be written to, or did not answer in time. A write may or may not have been
    /// made.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It has more work queued than it takes; nothing was done.
    #[error("the store's queue is full")]
    Overloaded,
    /// It holds something that this version cannot read.
    #[error("the store holds an unreadable record")]
    Corrupt {
        /// The session whose record or events it is, where that is known.
        session_id: Option<SessionId>,
        /// What cannot be read, without any value.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// It and everything that led to it, in one line for the log: a JSON log line shows no causes by itself.
    pub fn chain(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    /// An [`StoreError::Unavailable`] from whatever a driver reports.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// A [`StoreError::Corrupt`] from whatever a parser reports.
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
