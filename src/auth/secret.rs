//! The internal secret that every call of a backend carries.

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::{Choice, ConstantTimeEq as _};

use crate::domain::error::Error;

/// The secret in force and, while rotating, the one before it.
pub struct InternalSecrets {
    digests: Vec<[u8; 32]>,
}

impl InternalSecrets {
    /// Accepts `current` and, while rotating, `previous`.
    pub fn new(current: &SecretString, previous: Option<&SecretString>) -> Self {
        let digests = std::iter::once(current)
            .chain(previous)
            .map(|secret| sha256(secret.expose_secret().as_bytes()))
            .collect();
        Self { digests }
    }

    /// Compares digests, each with each, in a time that depends neither on where nor on how long the secrets differ.
    ///
    /// # Errors
    /// [`Error::SecretMissing`], [`Error::SecretInvalid`]
    pub fn check(&self, shown: Option<&[u8]>) -> Result<(), Error> {
        let shown = sha256(shown.ok_or(Error::SecretMissing)?);
        let matches = self.digests.iter().fold(Choice::from(0), |found, digest| {
            found | digest.ct_eq(&shown)
        });
        if bool::from(matches) {
            Ok(())
        } else {
            Err(Error::SecretInvalid)
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
        assert_eq!(secrets.check(Some(b"new")), Ok(()));
        assert_eq!(secrets.check(Some(b"old")), Ok(()));
        assert_eq!(secrets.check(Some(b"ne")), Err(Error::SecretInvalid));
        assert_eq!(secrets.check(Some(b"")), Err(Error::SecretInvalid));
        assert_eq!(secrets.check(None), Err(Error::SecretMissing));
    }
}
