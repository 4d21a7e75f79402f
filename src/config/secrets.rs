//! The internal secret, and how secrets and files of secrets are read.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::env::Env;
use crate::domain::id::random_id;

/// The shortest internal secret that causes no warning.
const LENGTH_ADVISED: usize = 16;

/// The internal secret.
pub(super) struct Secrets {
    pub(super) current: Option<SecretString>,
    /// Whether `--dev` made it up.
    pub(super) is_generated: bool,
    /// The one before it, while rotating.
    pub(super) previous: Option<SecretString>,
}

/// A setting that must not be logged.
pub(super) fn secret(env: &mut Env<'_>, setting: &'static str) -> Option<SecretString> {
    env.optional(setting).map(SecretString::from)
}

pub(super) fn generated_secret() -> SecretString {
    SecretString::from(random_id() + &random_id())
}

pub(super) fn read(env: &mut Env<'_>, dev: bool, warnings: &mut Vec<&'static str>) -> Secrets {
    let printable = |secret: &SecretString| {
        let text = secret.expose_secret();
        text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    let rule = "must be printable ASCII, as it travels in a header";
    let current = secret(env, "INTERNAL_SECRET");
    if current.as_ref().is_some_and(|secret| !printable(secret)) {
        env.fault("INTERNAL_SECRET", rule);
    }
    let previous = secret(env, "INTERNAL_SECRET_PREVIOUS");
    if previous.as_ref().is_some_and(|secret| !printable(secret)) {
        env.fault("INTERNAL_SECRET_PREVIOUS", rule);
    }
    if current.is_none() && !dev {
        env.fault(
            "INTERNAL_SECRET",
            "must be set (or use --dev, which is not for production)",
        );
    }
    if current
        .as_ref()
        .is_some_and(|secret| secret.expose_secret().len() < LENGTH_ADVISED)
    {
        warnings.push("INTERNAL_SECRET is shorter than 16 characters and may be guessed");
    }
    Secrets {
        is_generated: current.is_none(),
        current: current.or_else(|| dev.then(generated_secret)),
        previous,
    }
}

/// The contents of the file that a setting names.
pub(super) fn file(env: &mut Env<'_>, setting: &'static str) -> Option<Vec<u8>> {
    let path = env.optional(setting)?;
    match std::fs::read(Path::new(&path)) {
        Ok(contents) => Some(contents),
        Err(error) => {
            env.fault(
                setting,
                format!("names a file that cannot be read: {}", error.kind()),
            );
            None
        }
    }
}
