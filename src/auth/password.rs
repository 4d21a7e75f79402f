//! Passwords of users: their hashes by Argon2id, and whether a password is the one of a hash. Both take a while by design, so
//! they do not belong on a thread that serves others.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordHasher as _, PasswordVerifier as _};

/// The longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// The most memory that a hash may ask for, in KiB: two checks at once must not take the machine's.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
/// The most passes over that memory that a hash may ask for.
const PASSES_MAX: u32 = 32;
/// The most lanes that a hash may ask for.
const LANES_MAX: u32 = 16;
/// The shortest hash, in bytes.
const HASH_BYTES_MIN: usize = 16;

/// What a hash must be, as operators read it.
pub const HASH_RULE: &str = "must be an Argon2id hash as `video-session hash-password` prints it, of at most 256 MiB, 32 passes and 16 lanes";

/// The text is no hash that can be used; see [`HASH_RULE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidHash;

/// The password cannot be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is empty or too long.
    #[error("the password must have 1 to {PASSWORD_BYTES_MAX} bytes")]
    Length,
    /// The system gives no random salt.
    #[error("the password could not be hashed")]
    Hashing,
}

/// The hash of a password.
#[derive(Clone)]
pub struct StoredPassword(PasswordHash);

impl StoredPassword {
    /// Reads a hash, as in `$argon2id$v=19$m=19456,t=2,p=1$…$…`.
    ///
    /// # Errors
    /// [`InvalidHash`]
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        let hash = PasswordHash::new(text).map_err(|_| InvalidHash)?;
        let params = Params::try_from(&hash).map_err(|_| InvalidHash)?;
        let is_long_enough =
            |output: &argon2::password_hash::phc::Output| output.as_bytes().len() >= HASH_BYTES_MIN;
        let is_usable = hash.algorithm.as_str() == "argon2id"
            && hash.version.is_none_or(|version| version == 0x13)
            && hash.salt.is_some()
            && hash.hash.as_ref().is_some_and(is_long_enough)
            && params.m_cost() <= MEMORY_KIB_MAX
            && params.t_cost() <= PASSES_MAX
            && params.p_cost() <= LANES_MAX;
        is_usable.then_some(Self(hash)).ok_or(InvalidHash)
    }

    /// Whether this is the password. Blocks for as long as the hash asks for.
    pub fn is_of(&self, password: &[u8]) -> bool {
        password.len() <= PASSWORD_BYTES_MAX
            && Argon2::default().verify_password(password, &self.0).is_ok()
    }
}

/// A new hash of a password, with a salt of its own. Blocks.
///
/// # Errors
/// [`PasswordError`]
pub fn hash_password(password: &[u8]) -> Result<String, PasswordError> {
    if !(1..=PASSWORD_BYTES_MAX).contains(&password.len()) {
        return Err(PasswordError::Length);
    }
    let hash = Argon2::default().hash_password(password);
    hash.map(|hash| hash.to_string())
        .map_err(|_| PasswordError::Hashing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_only() {
        let text = hash_password(b"correct horse").expect("hashed");
        assert!(text.starts_with("$argon2id$v=19$"), "{text}");
        let stored = StoredPassword::parse(&text).expect("as it was printed");
        assert!(stored.is_of(b"correct horse"));
        for wrong in [&b""[..], b"correct hors", b"correct horse ", &[b'x'; 5000]] {
            assert!(!stored.is_of(wrong));
        }
        assert_ne!(text, hash_password(b"correct horse").expect("hashed"));
    }

    #[test]
    fn passwords_without_an_end_and_without_a_beginning_are_refused() {
        assert_eq!(hash_password(b""), Err(PasswordError::Length));
        let long = vec![b'x'; PASSWORD_BYTES_MAX + 1];
        assert_eq!(hash_password(&long), Err(PasswordError::Length));
        assert!(hash_password(&long[1..]).is_ok());
    }

    #[test]
    fn hashes_of_other_kinds_and_of_any_cost_are_refused() {
        const REST: &str = "$c29tZXNhbHRzb21lc2FsdA$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI";
        let good = format!("$argon2id$v=19$m=19456,t=2,p=1{REST}");
        assert!(StoredPassword::parse(&good).is_ok());
        for bad in [
            String::new(),
            "secret".to_owned(),
            format!("$argon2i$v=19$m=19456,t=2,p=1{REST}"),
            format!("$argon2id$v=16$m=19456,t=2,p=1{REST}"),
            format!("$argon2id$v=19$m=4194304,t=2,p=1{REST}"),
            format!("$argon2id$v=19$m=19456,t=1000000,p=1{REST}"),
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA".to_owned(),
            "$argon2id$v=19$m=19456,t=2,p=1".to_owned(),
            "$2b$12$KIXQ".to_owned(),
            format!("{good} "),
        ] {
            assert!(StoredPassword::parse(&bad).is_err(), "{bad}");
        }
    }
}
