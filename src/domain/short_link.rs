//! Short links: addresses without a name or a token, short enough for a text message.

use super::id::UserId;
use super::locale::Locale;
use super::role::Role;

/// A user's short link to a session. It stays the same until its bearer is removed or loses the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortLink {
    /// Its bearer.
    pub user_id: UserId,
    /// Their role.
    pub role: Role,
    /// The name to show; may be empty.
    pub display_name: String,
    /// The language of their page.
    pub locale: Option<Locale>,
    /// The digest of its code. Who reads the store does not learn the code.
    pub digest: String,
    /// The id of the token with which it was issued.
    pub jti: String,
    /// The sequence of the event that records that token: a removal revokes the links issued up to it.
    pub since: i64,
}

impl ShortLink {
    /// The link of a user for tests.
    #[cfg(test)]
    pub(crate) fn example(user_id: UserId, role: Role, since: i64) -> Self {
        Self {
            user_id,
            role,
            display_name: String::new(),
            locale: None,
            digest: format!("digest-{since}"),
            jti: "jti".to_owned(),
            since,
        }
    }
}
