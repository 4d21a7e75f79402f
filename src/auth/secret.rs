//! The internal secret, which every call of a backend carries.

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::{Choice, ConstantTimeEq as _};

/// The current secret and, during a rotation, the previous one.
pub struct InternalSecrets {
    current: [u8; 32],
    previous: Option<[u8; 32]>,
}

/// The secret that a call carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptedSecret {
    /// The current secret.
    Current,
    /// The previous secret.
    Previous,
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The call carries no secret.
    #[error("no secret was shown")]
    Missing,
    /// The call carries a wrong secret.
    #[error("the secret is wrong")]
    Invalid,
}

impl InternalSecrets {
    /// Accepts `current` and, during a rotation, `previous`.
    pub fn new(current: &SecretString, previous: Option<&SecretString>) -> Self {
        let digest = |secret: &SecretString| sha256(secret.expose_secret().as_bytes());
        Self {
            current: digest(current),
            previous: previous.map(digest),
        }
    }

    /// Compares digests in constant time, independent of the secrets' content and length.
    ///
    /// # Errors
    /// [`SecretError`]
    pub fn check(&self, shown: Option<&[u8]>) -> Result<AcceptedSecret, SecretError> {
        let shown = sha256(shown.ok_or(SecretError::Missing)?);
        let is_current = self.current.ct_eq(&shown);
        let is_previous = self
            .previous
            .map_or(Choice::from(0), |previous| previous.ct_eq(&shown));
        match (bool::from(is_current), bool::from(is_previous)) {
            (true, _) => Ok(AcceptedSecret::Current),
            (false, true) => Ok(AcceptedSecret::Previous),
            (false, false) => Err(SecretError::Invalid),
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut output = [0; 32];
    output.copy_from_slice(digest(&SHA256, bytes).as_ref());
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_current_and_the_previous_secret_only() {
        let secret = |text: &str| SecretString::from(text.to_owned());
        let secrets = InternalSecrets::new(&secret("new"), Some(&secret("old")));
        assert_eq!(secrets.check(Some(b"new")), Ok(AcceptedSecret::Current));
        assert_eq!(secrets.check(Some(b"old")), Ok(AcceptedSecret::Previous));
        assert_eq!(secrets.check(Some(b"ne")), Err(SecretError::Invalid));
        assert_eq!(secrets.check(Some(b"")), Err(SecretError::Invalid));
        assert_eq!(secrets.check(None), Err(SecretError::Missing));
    }
}
