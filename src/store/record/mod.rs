//! The stored form of sessions and events: the same fields as JSON in SQLite and as BSON in MongoDB.
//!
//! Field names are a stored format. Add fields with `#[serde(default)]`; never rename or reuse one. A version keeps the fields
//! that it does not know (`unknown`).

mod event;
mod names;
mod node;
mod participant;
mod placement;
mod session;
pub(super) mod unknown;

pub(super) use event::EventRecord;
pub(super) use node::{NodeRecordRecord, node_field_names, split_node};
pub(super) use session::SessionRecord;

use super::StoreError;
use crate::domain::role::Role;
use crate::domain::session::EndCause;

/// The cause of ends that were stored before causes were recorded.
fn end_cause_default() -> String {
    EndCause::Backend.name().to_owned()
}

fn role(name: &str) -> Result<Role, StoreError> {
    Role::from_name(name).ok_or_else(|| StoreError::corrupt("an unknown role"))
}

fn end_cause(name: &str) -> Result<EndCause, StoreError> {
    EndCause::from_name(name).ok_or_else(|| StoreError::corrupt("an unknown cause of an end"))
}
