//! Records as MongoDB's documents, updates and filters.

use mongodb::bson::{Document, doc, serialize_to_document};

use crate::domain::change::Change;
use crate::domain::id::SessionId;
use crate::domain::page::{SessionFilter, SessionQuery};
use crate::store::StoreError;
use crate::store::record::{EventRecord, SessionRecord};

/// The fields of a `SessionRecord` that are left out when they have no value.
const OPTIONAL_FIELDS: [&str; 12] = [
    "end_time_ms",
    "scheduled_start_time_ms",
    "scheduled_end_time_ms",
    "end_cause",
    "end_reason",
    "labels",
    "participants",
    "let_in",
    "invites",
    "removals",
    "given_names",
    "empty_since_ms",
];

/// A session's first document.
pub(super) fn new_session(change: &Change) -> Result<Document, StoreError> {
    let mut document = to_document(&SessionRecord::from(&change.session))?;
    document.insert("tail", events(change)?);
    Ok(document)
}

/// The update that brings a session's document to its next version.
pub(super) fn update(change: &Change) -> Result<Document, StoreError> {
    let mut set = to_document(&SessionRecord::from(&change.session))?;
    set.remove("_id");
    let unset: Document = OPTIONAL_FIELDS
        .into_iter()
        .filter(|field| !set.contains_key(field))
        .map(|field| (field.to_owned(), "".into()))
        .collect();
    let mut update = doc! {"$set": set, "$push": {"tail": {"$each": events(change)?}}};
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    Ok(update)
}

fn events(change: &Change) -> Result<Vec<Document>, StoreError> {
    let records = change.events.iter().map(EventRecord::from);
    records.map(|record| to_document(&record)).collect()
}

/// Which sessions a query asks for. Ids begin with the time of creation, so bounds on it are bounds on the id.
pub(super) fn filter(query: &SessionQuery) -> Document {
    let SessionFilter {
        state,
        appointment_id,
        user_id,
        sfu_node_id,
        created_after,
        created_before,
    } = &query.filter;
    let mut filter = Document::new();
    if let Some(state) = state {
        filter.insert("state", state.name());
    }
    if let Some(appointment_id) = appointment_id {
        filter.insert("appointment_id", appointment_id.as_str());
    }
    if let Some(sfu_node_id) = sfu_node_id {
        filter.insert("sfu_node_id", sfu_node_id.as_str());
    }
    if let Some(user_id) = user_id {
        let user_id = user_id.as_str();
        filter.insert(
            "$or",
            vec![doc! {"doctor_id": user_id}, doc! {"patient_id": user_id}],
        );
    }
    let mut ids = Document::new();
    if let Some(after) = created_after {
        ids.insert("$gt", SessionId::upper_bound_of(*after));
    }
    let before_page = query.before.as_ref().map(ToString::to_string);
    let before_time = created_before.map(SessionId::lower_bound_of);
    if let Some(before) = before_page.into_iter().chain(before_time).min() {
        ids.insert("$lt", before);
    }
    if ids.is_empty() {
        // Nothing but texts, as the other bounds: each row that is found counts for the limit, and must be a session.
        ids.insert("$gte", "");
    }
    filter.insert("_id", ids);
    filter
}

pub(super) fn to_document(record: &impl serde::Serialize) -> Result<Document, StoreError> {
    serialize_to_document(record)
        .map_err(|_| StoreError::corrupt("a record that cannot be written as BSON"))
}
