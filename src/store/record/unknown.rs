//! Preserves fields of a session's record that this version does not know: removed when reading, merged back when writing.
//!
//! The records deny unknown fields, so that parsing without any costs nothing extra. A store that finds one parses again,
//! without them.

use super::SessionRecord;
use super::names::field_names;
use super::participant::{GivenNameRecord, InviteRecord, ParticipantRecord, RemovalRecord};

/// The field that identifies the records of a list.
const KEY: &str = "user_id";

/// The fields of a record in a store's own form. Unknown fields have the same form as their record.
pub(in crate::store) trait Fields: Default {
    /// The value of a field.
    type Value;
    /// Every field's name.
    fn names(&self) -> Vec<String>;
    /// A field's text.
    fn text(&self, name: &str) -> Option<&str>;
    /// Removes a field.
    fn take(&mut self, name: &str) -> Option<Self::Value>;
    /// Adds a field.
    fn put(&mut self, name: String, value: Self::Value);
    /// Adds a text.
    fn put_text(&mut self, name: &str, value: String);
    /// The records of a list.
    fn list(&mut self, name: &str) -> Vec<&mut Self>;
    /// Adds a list of records.
    fn put_list(&mut self, name: &str, records: Vec<Self>);
}

/// The lists of records in a session's record, and the fields that their records have.
pub(in crate::store) fn lists() -> [(&'static str, &'static [&'static str]); 4] {
    [
        ("participants", field_names::<ParticipantRecord>()),
        ("invites", field_names::<InviteRecord>()),
        ("removals", field_names::<RemovalRecord>()),
        ("given_names", field_names::<GivenNameRecord>()),
    ]
}

/// Removes the unknown fields from a session's record and returns them; `None` if there are none.
pub(in crate::store) fn split<F: Fields>(record: &mut F) -> Option<F> {
    let mut unknown = split_one(record, SessionRecord::field_names());
    for (list, known) in lists() {
        let unknown_record = record.list(list).into_iter().filter_map(|one| {
            let mut unknown = split_one(one, known);
            if unknown.names().is_empty() {
                return None;
            }
            unknown.put_text(KEY, one.text(KEY)?.to_owned());
            Some(unknown)
        });
        let unknown_record: Vec<_> = unknown_record.collect();
        if !unknown_record.is_empty() {
            unknown.put_list(list, unknown_record);
        }
    }
    (!unknown.names().is_empty()).then_some(unknown)
}

fn split_one<F: Fields>(record: &mut F, known: &[&str]) -> F {
    let mut unknown = F::default();
    for name in record.names() {
        if !known.contains(&name.as_str())
            && let Some(value) = record.take(&name)
        {
            unknown.put(name, value);
        }
    }
    unknown
}

/// Merges unknown fields back into a session's record. Those of a user who is no longer in a list are dropped.
pub(in crate::store) fn merge<F: Fields>(record: &mut F, mut unknown: F) {
    for (list, _) in lists() {
        for unknown_record in unknown.list(list) {
            let user_id = unknown_record.text(KEY).map(ToOwned::to_owned);
            let mut records = record.list(list).into_iter();
            if let Some(one) = records.find(|one| one.text(KEY) == user_id.as_deref()) {
                move_fields(unknown_record, one);
            }
        }
        unknown.take(list);
    }
    move_fields(&mut unknown, record);
}

fn move_fields<F: Fields>(from: &mut F, to: &mut F) {
    let known = to.names();
    for name in from.names() {
        if !known.contains(&name)
            && let Some(value) = from.take(&name)
        {
            to.put(name, value);
        }
    }
}
