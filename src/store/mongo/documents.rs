//! Records as MongoDB's documents, updates and filters.

use mongodb::bson::{
    Bson, Document, RawDocument, deserialize_from_document, deserialize_from_slice, doc,
    serialize_to_document, serialize_to_vec,
};

use crate::domain::change::Change;
use crate::domain::id::SessionId;
use crate::domain::page::{SessionFilter, SessionQuery};
use crate::domain::session::Session;
use crate::domain::unknown::UnknownFields;
use crate::store::record::unknown::{Fields, lists, merge, split};
use crate::store::record::{EventRecord, SessionRecord};
use crate::store::{ListedSession, StoreError, UnreadableSession};

/// When a session last changed, by the server's clock.
pub(super) const COMMIT_TIME: &str = "commit_time";
/// When each event of the tail was committed, by the server's clock: the time of a change, under the version that it led to.
pub(super) const COMMIT_TIMES: &str = "commit_times";

/// A filter that matches nothing, and an update that therefore inserts a session's first document. Only an update lets the
/// server record its time.
pub(super) fn new_session(change: &Change) -> Result<(Document, Document), StoreError> {
    let mut fields = session_fields(&change.session)?;
    fields.insert("tail", events(change)?);
    let filter = doc! {"_id": change.session.session_id.as_str(), "version": {"$lt": 1}};
    let update = doc! {"$setOnInsert": fields, "$currentDate": commit_times(change)};
    Ok((filter, update))
}

/// The update that brings a session's document to its next version.
pub(super) fn update(change: &Change) -> Result<Document, StoreError> {
    let set = session_fields(&change.session)?;
    let unset: Document = SessionRecord::field_names()
        .iter()
        .filter(|field| **field != "_id" && !set.contains_key(field))
        .map(|field| ((*field).to_owned(), "".into()))
        .collect();
    let mut update = doc! {
        "$set": set,
        "$push": {"tail": {"$each": events(change)?}},
        "$currentDate": commit_times(change),
    };
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    Ok(update)
}

/// The fields in which the server records its time.
fn commit_times(change: &Change) -> Document {
    let version = change.session.version;
    doc! {COMMIT_TIME: true, format!("{COMMIT_TIMES}.{version}"): true}
}

/// The fields of a session's record, without its id.
fn session_fields(session: &Session) -> Result<Document, StoreError> {
    let mut fields = to_document(&SessionRecord::from(session))?;
    fields.remove("_id");
    if let Some(unknown) = session.unknown_fields.stored() {
        let unknown = deserialize_from_slice(unknown)
            .map_err(|_| StoreError::corrupt("unknown fields that are not BSON"))?;
        merge(&mut fields, unknown);
    }
    Ok(fields)
}

/// The projection that leaves out events.
pub(super) fn only_record() -> Document {
    doc! {"tail": 0, COMMIT_TIME: 0, COMMIT_TIMES: 0}
}

/// Reads a session's document, which may be unreadable. `None` if it is not a session's, whose id is always a text.
pub(super) fn read_session(document: &RawDocument) -> Option<ListedSession> {
    let session_id = SessionId::from_stored(document.get_str("_id").ok()?.to_owned());
    let session = match deserialize_from_slice::<SessionRecord>(document.as_bytes()) {
        Ok(record) => Session::try_from(record),
        Err(_) => read_session_of_another_version(document)
            // The parser's message can quote a value.
            .unwrap_or_else(|| {
                Err(StoreError::corrupt(
                    "a document with an unexpected structure",
                ))
            }),
    };
    Some(session.map_err(|error| UnreadableSession {
        error: error.about(&session_id),
        session_id,
    }))
}

/// `None` if it has no unknown fields, or cannot be read without them either.
fn read_session_of_another_version(document: &RawDocument) -> Option<Result<Session, StoreError>> {
    let mut fields = Document::try_from(document).ok()?;
    let mut unknown = split(&mut fields)?;
    let record: SessionRecord = deserialize_from_document(fields).ok()?;
    // An update keeps the document's other fields, but replaces its lists.
    let lists = lists().map(|(list, _)| list);
    unknown = unknown
        .into_iter()
        .filter(|(name, _)| lists.contains(&name.as_str()))
        .collect();
    let session = Session::try_from(record);
    if unknown.is_empty() {
        return Some(session);
    }
    let unknown = serialize_to_vec(&unknown).ok()?;
    Some(session.map(|session| Session {
        unknown_fields: UnknownFields::of_stored(unknown),
        ..session
    }))
}

impl Fields for Document {
    type Value = Bson;

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get_str(name).ok()
    }

    fn take(&mut self, name: &str) -> Option<Bson> {
        self.remove(name)
    }

    fn put(&mut self, name: String, value: Bson) {
        self.insert(name, value);
    }

    fn put_text(&mut self, name: &str, value: String) {
        self.insert(name, value);
    }

    fn list(&mut self, name: &str) -> Vec<&mut Self> {
        let list = self.get_array_mut(name).ok();
        let records = list.into_iter().flatten();
        records.filter_map(Bson::as_document_mut).collect()
    }

    fn put_list(&mut self, name: &str, records: Vec<Self>) {
        self.insert(name, records);
    }
}

fn events(change: &Change) -> Result<Vec<Document>, StoreError> {
    let records = change.events.iter().map(EventRecord::from);
    records.map(|record| to_document(&record)).collect()
}

/// The filter for a query. Ids begin with the time of creation, so bounds on it are bounds on the id.
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
        // Matches only texts, like the other bounds: each row counts towards the limit, and must be a session.
        ids.insert("$gte", "");
    }
    filter.insert("_id", ids);
    filter
}

pub(super) fn to_document(record: &impl serde::Serialize) -> Result<Document, StoreError> {
    serialize_to_document(record)
        .map_err(|_| StoreError::corrupt("a record that cannot be written as BSON"))
}
