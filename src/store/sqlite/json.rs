//! Records as JSON.

use serde_json::{Map, Value};

use crate::domain::session::Session;
use crate::domain::unknown::UnknownFields;
use crate::store::StoreError;
use crate::store::record::SessionRecord;
use crate::store::record::unknown::{Fields, merge, split};

pub(super) fn session_to_json(session: &Session) -> Result<String, StoreError> {
    let record = SessionRecord::from(session);
    let Some(unknown) = session.unknown_fields.stored() else {
        return to_json(&record);
    };
    let unknown = serde_json::from_slice(unknown).map_err(|error| unreadable(&error))?;
    let mut fields = match serde_json::to_value(&record) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(StoreError::corrupt("a record without fields")),
        Err(error) => return Err(unreadable(&error)),
    };
    merge(&mut fields, unknown);
    to_json(&fields)
}

pub(super) fn parse_session(body: &str) -> Result<Session, StoreError> {
    match parse::<SessionRecord>(body) {
        Ok(record) => record.try_into(),
        Err(error) => parse_session_of_another_version(body).unwrap_or(Err(error)),
    }
}

/// `None` if it has no unknown fields: then it is corrupt.
fn parse_session_of_another_version(body: &str) -> Option<Result<Session, StoreError>> {
    let mut fields: Map<String, Value> = serde_json::from_str(body).ok()?;
    let unknown = serde_json::to_vec(&split(&mut fields)?).ok()?;
    let record = serde_json::from_value::<SessionRecord>(Value::Object(fields));
    let session = record
        .map_err(|error| unreadable(&error))
        .and_then(Session::try_from);
    Some(session.map(|session| Session {
        unknown_fields: UnknownFields::of_stored(unknown),
        ..session
    }))
}

impl Fields for Map<String, Value> {
    type Value = Value;

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.remove(name)
    }

    fn put(&mut self, name: String, value: Value) {
        self.insert(name, value);
    }

    fn put_text(&mut self, name: &str, value: String) {
        self.insert(name.to_owned(), Value::String(value));
    }

    fn list(&mut self, name: &str) -> Vec<&mut Self> {
        let list = self.get_mut(name).and_then(Value::as_array_mut);
        let records = list.into_iter().flatten();
        records.filter_map(Value::as_object_mut).collect()
    }

    fn put_list(&mut self, name: &str, records: Vec<Self>) {
        let records = records.into_iter().map(Value::Object).collect();
        self.insert(name.to_owned(), Value::Array(records));
    }
}

pub(super) fn to_json(record: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| unreadable(&error))
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| unreadable(&error))
}

/// The position of a parse error, without the value: errors are logged, and values may name a person.
pub(super) fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::corrupt(format!(
        "{:?} error at column {}",
        error.classify(),
        error.column()
    ))
}
