//! Translates the driver's errors, and limits its waits.

use std::time::Duration;

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::store::StoreError;

/// The server's code for a violated unique index.
const DUPLICATE_KEY: i32 = 11000;

/// The server's code for a command that it does not know.
const COMMAND_NOT_FOUND: i32 = 59;

/// The server's codes for updates that do not fit the document: BadValue, TypeMismatch, PathNotViable, ConflictingUpdateOperators,
/// and two for documents that would become too large.
const OF_THE_DOCUMENT: [i32; 6] = [2, 14, 28, 40, 10334, 17419];

/// Runs one driver operation with a limit.
///
/// The driver has no limit of its own for an operation, and drops its connection when the operation's future is dropped.
/// So the operation runs in a task: a cancelled caller costs no connection, but an operation over the limit does, because
/// then its connection hangs.
pub(super) async fn within<T: Send + 'static>(
    limit: Duration,
    operation: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(tokio::time::timeout(limit, operation)).await {
        Ok(Ok(outcome)) => outcome.map_err(|error| store_error(&error)),
        Ok(Err(_)) => Err(StoreError::unavailable("MongoDB did not answer in time")),
        Err(_) => Err(StoreError::unavailable("the operation was aborted")),
    }
}

/// Whether a unique index was violated.
pub(super) fn is_duplicate_key(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}

/// Whether the server does not know the command.
pub(super) fn is_unknown_command(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(error) if error.code == COMMAND_NOT_FOUND)
}

/// The error by kind and code: errors are logged, and the server's own messages can quote documents.
pub(super) fn store_error(error: &Error) -> StoreError {
    match error.kind.as_ref() {
        ErrorKind::BsonDeserialization(_) | ErrorKind::Bson(_) => {
            StoreError::corrupt("a document with an unexpected structure")
        }
        ErrorKind::Command(error) => StoreError::unavailable(format!(
            "MongoDB refused the command: {} ({})",
            error.code_name, error.code
        )),
        ErrorKind::Write(WriteFailure::WriteError(error))
            if OF_THE_DOCUMENT.contains(&error.code) =>
        {
            StoreError::corrupt(format!(
                "MongoDB cannot change the document: code {}",
                error.code
            ))
        }
        ErrorKind::Write(WriteFailure::WriteError(error)) => {
            StoreError::unavailable(format!("MongoDB refused the write: code {}", error.code))
        }
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => StoreError::unavailable(
            format!("MongoDB did not confirm the write: code {}", error.code),
        ),
        ErrorKind::Io(error) => StoreError::unavailable(format!("connection: {}", error.kind())),
        ErrorKind::ServerSelection { .. } => StoreError::unavailable("no MongoDB server answers"),
        ErrorKind::Authentication { .. } => {
            StoreError::unavailable("MongoDB refused the credentials")
        }
        ErrorKind::ConnectionPoolCleared { .. } => {
            StoreError::unavailable("the connection to MongoDB was lost")
        }
        ErrorKind::InvalidArgument { .. } => {
            StoreError::unavailable("MONGO_URI is not a valid connection string")
        }
        ErrorKind::DnsResolve { .. } => {
            StoreError::unavailable("the name in MONGO_URI cannot be resolved")
        }
        _ => StoreError::unavailable("an unexpected error of the MongoDB driver"),
    }
}
