//! Fields of a session's record that this version does not know, taken out of what was read and put into what is written.
//!
//! The records deny unknown fields, so that parsing costs nothing more where there are none. A store that meets one parses
//! again, without them.

use super::SessionRecord;
use super::names::field_names;
use super::participant::{GivenNameRecord, InviteRecord, ParticipantRecord, RemovalRecord};

/// The field by which the records of a list are told apart.
const KEY: &str = "user_id";

/// The fields of a record in a store's own form. What is unknown has the same form as the record that it was taken from.
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

/// Takes what is unknown out of a session's record; `None` when nothing is.
pub(in crate::store) fn split<F: Fields>(record: &mut F) -> Option<F> {
    let mut unknown = split_one(record, SessionRecord::field_names());
    for (list, known) in lists() {
        let strange = record.list(list).into_iter().filter_map(|one| {
            let mut unknown = split_one(one, known);
            if unknown.names().is_empty() {
                return None;
            }
            unknown.put_text(KEY, one.text(KEY)?.to_owned());
            Some(unknown)
        });
        let strange: Vec<_> = strange.collect();
        if !strange.is_empty() {
            unknown.put_list(list, strange);
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

/// Puts what is unknown back into a session's record. What belongs to somebody who is no longer in a list goes with them.
pub(in crate::store) fn merge<F: Fields>(record: &mut F, mut unknown: F) {
    for (list, _) in lists() {
        for strange in unknown.list(list) {
            let user_id = strange.text(KEY).map(ToOwned::to_owned);
            let mut records = record.list(list).into_iter();
            if let Some(one) = records.find(|one| one.text(KEY) == user_id.as_deref()) {
                move_fields(strange, one);
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
