//! How sessions and events are written down: the same fields as JSON in SQLite and as BSON in MongoDB.
//!
//! Field names are a stored format. Add fields with `#[serde(default)]`; never rename or reuse one. A version that does not know a
//! field keeps it (`unknown`).

mod event;
mod names;
mod participant;
mod session;
pub(super) mod unknown;

pub(super) use event::EventRecord;
pub(super) use session::SessionRecord;

use super::StoreError;
use crate::domain::role::Role;
use crate::domain::session::EndCause;

/// What events of ends have that were stored before their causes were.
fn end_cause_default() -> String {
    EndCause::Backend.name().to_owned()
}

fn role(name: &str) -> Result<Role, StoreError> {
    Role::from_name(name).ok_or_else(|| StoreError::corrupt("an unknown role"))
}

fn end_cause(name: &str) -> Result<EndCause, StoreError> {
    EndCause::from_name(name).ok_or_else(|| StoreError::corrupt("an unknown cause of an end"))
}
