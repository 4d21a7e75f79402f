//! All errors for callers: a closed set without transport concepts.
//!
//! A new error needs an entry in `Error::facts`, `Error::text` and `Error::example`; the compiler requires each. Every edge maps an
//! [`ErrorClass`] or a [`ParticipantError`], never single errors. Internal details (a driver's error, a path) are logged where they
//! occur and never become part of an [`Error`].

#![warn(clippy::wildcard_enum_match_arm)]

use std::borrow::Cow;
use std::time::Duration;

use strum::{EnumDiscriminants, IntoStaticStr, VariantArray};

use super::health::ProbeFailure;
use super::id::{NodeId, Region, SessionId};
use super::placement::Verdict;
use super::role::Role;
use super::time::Timestamp;

/// One fault of one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's path, in proto names.
    pub field: Cow<'static, str>,
    /// What is wrong with it; never repeats the value.
    pub description: String,
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(
    name(Reason),
    doc = "The machine-readable name of an [`Error`]; never changes once published. Listed in docs/errors.md.",
    derive(Hash, IntoStaticStr, VariantArray),
    strum(serialize_all = "SCREAMING_SNAKE_CASE")
)]
pub enum Error {
    /// The request is malformed; all its faults.
    #[strum_discriminants(strum(serialize = "VALIDATION_FAILED"))]
    Validation(Vec<Violation>),
    /// No session has this id, or the appointment has no session.
    SessionNotFound,
    /// The session has ended.
    SessionEnded {
        /// The session that has ended.
        session_id: SessionId,
    },
    /// The join window has not opened yet.
    JoinTooEarly {
        /// When it opens.
        opens: Timestamp,
    },
    /// The join window has closed.
    JoinTooLate {
        /// When it closed.
        closed: Timestamp,
    },
    /// The user has no such role in the session.
    NotAParticipant {
        /// The role asked for.
        role: Role,
    },
    /// The user was removed from the session.
    ParticipantRemoved,
    /// The session has no participant with this id.
    ParticipantNotFound,
    /// The participant's role does not allow this.
    NotAllowed,
    /// The participant has already chosen another name.
    NameGiven,
    /// The session is full.
    SessionFull,
    /// The appointment's live session differs from the one asked for.
    AppointmentConflict {
        /// The live session.
        session_id: SessionId,
        /// The fields that differ.
        fields: Vec<&'static str>,
    },
    /// The session's version is not the one that the caller expects.
    VersionMismatch {
        /// The caller's.
        expected: i64,
        /// The stored one.
        stored: i64,
    },
    /// No SFU node can have the session.
    NoNodeAvailable {
        /// The region asked for, if any.
        region: Option<Region>,
        /// The node asked for, and why it cannot have the session; `None` if the caller left the choice to the service.
        named: Option<(NodeId, Verdict)>,
    },
    /// No SFU node has this id.
    NodeNotFound,
    /// Other callers kept changing the session during this call.
    Contention {
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// The store cannot be reached, or did not answer in time; the change may or may not have been made.
    StoreUnavailable {
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// The session's SFU node does not answer.
    SfuNodeUnavailable {
        /// The node.
        node_id: NodeId,
        /// How it fails.
        failure: ProbeFailure,
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// The service is at one of its limits.
    Overloaded {
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// The instance is shutting down; another one will answer.
    ShuttingDown {
        /// How long to wait before trying again.
        retry_after: Duration,
    },
    /// An internal error.
    Internal,
}

impl Reason {
    /// Every reason.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Its text in google.rpc.ErrorInfo.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What kind of answer an error is. Each edge maps a class to its protocol's status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum ErrorClass {
    /// The request breaks a rule, whatever the state of the service.
    Invalid,
    /// What the request names does not exist.
    NotFound,
    /// What the request would create already exists and differs.
    AlreadyExists,
    /// The session's state does not permit the request.
    WrongState,
    /// The user may not do this.
    Denied,
    /// Another change came first.
    Conflict,
    /// A limit is reached.
    LimitReached,
    /// The service cannot answer now.
    Unavailable,
    /// A fault of the service.
    Internal,
}

/// What an error means to a participant. The edges map it to a page, a close code or an answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParticipantError {
    /// The session does not exist.
    SessionUnknown,
    /// The join window has not opened yet.
    NotOpenYet {
        /// When it opens.
        opens: Timestamp,
    },
    /// The join window has closed.
    WindowClosed,
    /// The session has ended.
    SessionEnded,
    /// The session does not expect this participant.
    NotInvited,
    /// The participant was removed.
    Removed,
    /// The participant's role does not allow this.
    NotAllowed,
    /// The other participant is not in the session.
    ParticipantUnknown,
    /// The session is full.
    SessionFull,
    /// The service is unavailable for a while.
    Busy,
    /// The next attempt is likely to succeed, here or on another instance.
    TryAgain,
    /// An internal error: participants cannot cause it.
    Fault,
}

/// An error's properties for the rest of the service.
struct Facts {
    class: ErrorClass,
    participant: ParticipantError,
    /// Set if the same request may succeed later.
    retry_after: Option<Duration>,
}

/// The text about a node that fails.
fn node_text(node_id: &NodeId, failure: ProbeFailure) -> Text {
    let how = match failure {
        ProbeFailure::Unreachable | ProbeFailure::ConnectionRefused | ProbeFailure::TimedOut => {
            "does not answer"
        }
        ProbeFailure::Denied => "refuses the service",
        ProbeFailure::Faulty | ProbeFailure::Misconfigured => "answers with a failure",
    };
    Text::new(format!("the SFU node {node_id} {how}; try again"))
        .with("node_id", node_id)
        .with("failure", failure.name())
}

/// An error's texts for developers.
struct Text {
    message: String,
    metadata: Vec<(&'static str, String)>,
}

impl Facts {
    fn new(class: ErrorClass, participant: ParticipantError) -> Self {
        Self {
            class,
            participant,
            retry_after: None,
        }
    }

    fn retry(self, after: Duration) -> Self {
        Self {
            retry_after: Some(after),
            ..self
        }
    }
}

impl Text {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            metadata: Vec::new(),
        }
    }

    fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }
}

impl Error {
    /// A validation error of a single field.
    pub fn field(field: &'static str, description: impl Into<String>) -> Self {
        Self::Validation(vec![Violation {
            field: Cow::Borrowed(field),
            description: description.into(),
        }])
    }

    /// Its machine-readable name.
    pub fn reason(&self) -> Reason {
        self.into()
    }

    /// What kind of answer it is.
    pub fn class(&self) -> ErrorClass {
        self.facts().class
    }

    /// What it means to a participant.
    pub fn for_participant(&self) -> ParticipantError {
        self.facts().participant
    }

    /// How long to wait before trying again, if the same request may then succeed.
    pub fn retry_after(&self) -> Option<Duration> {
        self.facts().retry_after
    }

    /// The message for developers.
    pub fn message(&self) -> String {
        self.text().message
    }

    /// The variable parts of the message, for machines. Published keys never disappear.
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        self.text().metadata
    }

    /// The faults of the request's fields, if there are any.
    pub fn into_violations(self) -> Vec<Violation> {
        if let Self::Validation(violations) = self {
            violations
        } else {
            Vec::new()
        }
    }

    fn facts(&self) -> Facts {
        use ErrorClass as Class;
        use ParticipantError as Meaning;
        match self {
            Self::Validation(_) => Facts::new(Class::Invalid, Meaning::Fault),
            Self::SessionNotFound => Facts::new(Class::NotFound, Meaning::SessionUnknown),
            Self::SessionEnded { .. } => Facts::new(Class::WrongState, Meaning::SessionEnded),
            Self::JoinTooEarly { opens } => {
                Facts::new(Class::WrongState, Meaning::NotOpenYet { opens: *opens })
            }
            Self::JoinTooLate { .. } => Facts::new(Class::WrongState, Meaning::WindowClosed),
            Self::NotAParticipant { .. } => Facts::new(Class::Denied, Meaning::NotInvited),
            Self::ParticipantRemoved => Facts::new(Class::Denied, Meaning::Removed),
            Self::ParticipantNotFound => Facts::new(Class::NotFound, Meaning::ParticipantUnknown),
            Self::NotAllowed => Facts::new(Class::Denied, Meaning::NotAllowed),
            Self::NameGiven => Facts::new(Class::AlreadyExists, Meaning::Fault),
            Self::SessionFull => Facts::new(Class::LimitReached, Meaning::SessionFull),
            Self::AppointmentConflict { .. } => Facts::new(Class::AlreadyExists, Meaning::Fault),
            Self::VersionMismatch { .. } => Facts::new(Class::Conflict, Meaning::Fault),
            Self::NoNodeAvailable { .. } => Facts::new(Class::WrongState, Meaning::Fault),
            Self::NodeNotFound => Facts::new(Class::NotFound, Meaning::Fault),
            Self::Contention { retry_after } => {
                Facts::new(Class::Conflict, Meaning::TryAgain).retry(*retry_after)
            }
            Self::StoreUnavailable { retry_after } => {
                Facts::new(Class::Unavailable, Meaning::Busy).retry(*retry_after)
            }
            Self::SfuNodeUnavailable { retry_after, .. } => {
                Facts::new(Class::Unavailable, Meaning::Busy).retry(*retry_after)
            }
            Self::Overloaded { retry_after } => {
                Facts::new(Class::LimitReached, Meaning::Busy).retry(*retry_after)
            }
            Self::ShuttingDown { retry_after } => {
                Facts::new(Class::Unavailable, Meaning::TryAgain).retry(*retry_after)
            }
            Self::Internal => Facts::new(Class::Internal, Meaning::Fault),
        }
    }

    fn text(&self) -> Text {
        match self {
            Self::Validation(violations) => {
                let faults: Vec<_> = violations
                    .iter()
                    .map(|v| format!("{}: {}", v.field, v.description))
                    .collect();
                Text::new(faults.join("; "))
            }
            Self::SessionNotFound => Text::new("the session does not exist"),
            Self::SessionEnded { session_id } => {
                Text::new("the session has ended; create a new one for the appointment")
                    .with("session_id", session_id)
            }
            Self::JoinTooEarly { opens } => {
                Text::new(format!("the join window opens at {opens}"))
                    .with("opens_at", opens)
            }
            Self::JoinTooLate { closed } => {
                Text::new(format!("the join window closed at {closed}"))
                    .with("closed_at", closed)
            }
            Self::NotAParticipant { role } => Text::new(format!(
                "the user does not have the role {} in this session",
                role.name()
            ))
            .with("role", role.name()),
            Self::ParticipantRemoved => Text::new(
                "the user was removed from the session; credentials issued before are no longer valid",
            ),
            Self::ParticipantNotFound => {
                Text::new("no participant with this id is in the session")
            }
            Self::NotAllowed => Text::new("the participant's role does not allow this"),
            Self::NameGiven => Text::new("the participant has already chosen another name"),
            Self::SessionFull => Text::new("the session is full"),
            Self::AppointmentConflict { session_id, fields } => Text::new(format!(
                "the appointment already has the live session {session_id}, with a different {}; update or end that session",
                fields.join(", ")
            ))
            .with("session_id", session_id)
            .with("field", fields.join(",")),
            Self::VersionMismatch { expected, stored } => Text::new(format!(
                "the session is at version {stored}, not {expected}; read it again"
            ))
            .with("expected_version", expected)
            .with("stored_version", stored),
            Self::NoNodeAvailable { region, named } => {
                no_node_text(region.as_ref(), named.as_ref())
            }
            Self::NodeNotFound => Text::new("no SFU node has this id"),
            Self::Contention { .. } => {
                Text::new("other calls keep changing the session; nothing was changed, try again")
            }
            Self::StoreUnavailable { .. } => Text::new(
                "the store did not answer; the change may or may not have been made, try again",
            ),
            Self::SfuNodeUnavailable {
                node_id, failure, ..
            } => node_text(node_id, *failure),
            Self::Overloaded { .. } => Text::new("the service is overloaded; try again"),
            Self::ShuttingDown { .. } => Text::new("this instance is shutting down; try again"),
            Self::Internal => Text::new("internal error; see the service's log"),
        }
    }

    /// One error of every reason, for tests and for checking documents.
    pub fn examples() -> Vec<Self> {
        Reason::ALL.iter().copied().map(Self::example).collect()
    }

    /// An error of that reason.
    pub fn example(reason: Reason) -> Self {
        let session_id = SessionId::from_stored("sess_1".into());
        let retry_after = Duration::from_secs(1);
        match reason {
            Reason::Validation => Self::field("field", "is wrong"),
            Reason::SessionNotFound => Self::SessionNotFound,
            Reason::SessionEnded => Self::SessionEnded { session_id },
            Reason::JoinTooEarly => Self::JoinTooEarly {
                opens: Timestamp::MIN,
            },
            Reason::JoinTooLate => Self::JoinTooLate {
                closed: Timestamp::MIN,
            },
            Reason::NotAParticipant => Self::NotAParticipant { role: Role::Doctor },
            Reason::ParticipantRemoved => Self::ParticipantRemoved,
            Reason::ParticipantNotFound => Self::ParticipantNotFound,
            Reason::NotAllowed => Self::NotAllowed,
            Reason::NameGiven => Self::NameGiven,
            Reason::SessionFull => Self::SessionFull,
            Reason::AppointmentConflict => Self::AppointmentConflict {
                session_id,
                fields: vec!["doctor_id"],
            },
            Reason::VersionMismatch => Self::VersionMismatch {
                expected: 1,
                stored: 2,
            },
            Reason::NoNodeAvailable => Self::NoNodeAvailable {
                region: None,
                named: None,
            },
            Reason::NodeNotFound => Self::NodeNotFound,
            Reason::Contention => Self::Contention { retry_after },
            Reason::StoreUnavailable => Self::StoreUnavailable { retry_after },
            Reason::SfuNodeUnavailable => Self::SfuNodeUnavailable {
                node_id: NodeId::from_stored("sfu-1".into()),
                failure: ProbeFailure::TimedOut,
                retry_after,
            },
            Reason::Overloaded => Self::Overloaded { retry_after },
            Reason::ShuttingDown => Self::ShuttingDown { retry_after },
            Reason::Internal => Self::Internal,
        }
    }
}

fn no_node_text(region: Option<&Region>, named: Option<&(NodeId, Verdict)>) -> Text {
    let (message, node_id, verdict) = match named {
        Some((node_id, verdict)) => {
            let why = verdict.text();
            let message = format!("the SFU node {node_id} cannot have the session: {why}");
            (message, node_id.as_str(), verdict.name())
        }
        None => {
            let message = "no SFU node can have the session; ListNodes says why".to_owned();
            (message, "", "")
        }
    };
    Text::new(message)
        .with("region", region.map_or("", Region::as_str))
        .with("node_id", node_id)
        .with("verdict", verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_spelled_as_published() {
        let spelled: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(spelled.contains(&"VALIDATION_FAILED"));
        assert!(spelled.contains(&"NOT_A_PARTICIPANT"));
        for (error, reason) in Error::examples().iter().zip(Reason::ALL) {
            assert_eq!(error.reason(), *reason);
        }
    }

    #[test]
    fn temporary_errors_say_when_to_try_again() {
        for error in Error::examples() {
            let meaning = error.for_participant();
            let is_temporary =
                matches!(meaning, ParticipantError::Busy | ParticipantError::TryAgain);
            assert_eq!(error.retry_after().is_some(), is_temporary, "{error:?}");
        }
    }
}
