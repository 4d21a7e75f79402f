//! Fields of a record that this version does not know.

use std::sync::Arc;

/// Fields of a stored record that another version wrote. They are kept from the read to the next write, so that changing a session
/// does not lose them. Only the store that made the value can read it. An empty value, the usual case, costs nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UnknownFields(Option<Arc<[u8]>>);

impl UnknownFields {
    /// Fields in the store's format.
    pub fn of_stored(bytes: Vec<u8>) -> Self {
        Self(Some(bytes.into()))
    }

    /// The fields in the store's format; `None` if there are none.
    pub fn stored(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

/// Omits the values, which may name a person.
impl std::fmt::Debug for UnknownFields {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = self.0.as_ref().map_or(0, |bytes| bytes.len());
        write!(formatter, "UnknownFields({length} bytes)")
    }
}
