//! Reads the internal secret, other secrets, and files.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::env::Env;
use crate::domain::id::random_id;

/// The shortest internal secret without a warning.
const LENGTH_ADVISED: usize = 16;

/// The internal secret.
pub(super) struct Secrets {
    pub(super) current: Option<SecretString>,
    /// Whether `--dev` generated it.
    pub(super) is_generated: bool,
    /// The previous secret, during a rotation.
    pub(super) previous: Option<SecretString>,
}

/// Reads a setting that must not be logged.
pub(super) fn read_secret(env: &mut Env<'_>, setting: &'static str) -> Option<SecretString> {
    env.optional(setting).map(SecretString::from)
}

pub(super) fn generate_secret() -> SecretString {
    SecretString::from(random_id() + &random_id())
}

pub(super) fn read(env: &mut Env<'_>, dev: bool, warnings: &mut Vec<&'static str>) -> Secrets {
    let printable = |secret: &SecretString| {
        let text = secret.expose_secret();
        text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    let rule = "must be printable ASCII, because it is sent in a header";
    let current = read_secret(env, "INTERNAL_SECRET");
    if current.as_ref().is_some_and(|secret| !printable(secret)) {
        env.report_fault("INTERNAL_SECRET", rule);
    }
    let previous = read_secret(env, "INTERNAL_SECRET_PREVIOUS");
    if previous.as_ref().is_some_and(|secret| !printable(secret)) {
        env.report_fault("INTERNAL_SECRET_PREVIOUS", rule);
    }
    if current.is_none() && !dev {
        env.report_fault(
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
        current: current.or_else(|| dev.then(generate_secret)),
        previous,
    }
}

/// Reads the file that a setting names.
pub(super) fn read_file(env: &mut Env<'_>, setting: &'static str) -> Option<Vec<u8>> {
    let path = env.optional(setting)?;
    match std::fs::read(Path::new(&path)) {
        Ok(contents) => Some(contents),
        Err(error) => {
            env.report_fault(
                setting,
                format!("names a file that cannot be read: {}", error.kind()),
            );
            None
        }
    }
}
