//! Reads the secrets of an entry, which are not in the file itself.

use std::path::PathBuf;

use secrecy::SecretString;

use super::text::NodeText;
use super::{FILE_BYTES_MAX, Faults, read_text};

/// A secret of a node: in the file that one key names, or in the environment variable that the other names.
pub(super) struct SecretKeys {
    file_key: &'static str,
    variable_key: &'static str,
    file: fn(&NodeText) -> Option<&PathBuf>,
    variable: fn(&NodeText) -> Option<&String>,
}

pub(super) const API_SECRET: SecretKeys = SecretKeys {
    file_key: "api_secret_file",
    variable_key: "api_secret_env",
    file: |entry| entry.api_secret_file.as_ref(),
    variable: |entry| entry.api_secret_env.as_ref(),
};

pub(super) const WEBHOOK_SECRET: SecretKeys = SecretKeys {
    file_key: "webhook_secret_file",
    variable_key: "webhook_secret_env",
    file: |entry| entry.webhook_secret_file.as_ref(),
    variable: |entry| entry.webhook_secret_env.as_ref(),
};

/// The secret of an entry; `None` if it cannot be read.
pub(super) fn read_secret(
    keys: SecretKeys,
    entry: &NodeText,
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    faults: &mut Faults,
) -> Option<SecretString> {
    let SecretKeys {
        file_key,
        variable_key,
        file,
        variable,
    } = keys;
    let secret = match (file(entry), variable(entry)) {
        (Some(path), None) => {
            read_text(path, FILE_BYTES_MAX).map_err(|fault| format!("{file_key} {fault}"))
        }
        (None, Some(variable)) => lookup(variable)
            .ok_or_else(|| format!("{variable_key} names a variable that is not set")),
        (None, None) | (Some(_), Some(_)) => {
            Err(format!("must have either {file_key} or {variable_key}"))
        }
    };
    match secret.map(|secret| secret.trim().to_owned()) {
        Ok(secret) if secret.is_empty() => {
            faults.add(
                name,
                format!("the secret of {file_key} or {variable_key} is empty"),
            );
            None
        }
        Ok(secret) => Some(SecretString::from(secret)),
        Err(fault) => {
            faults.add(name, fault);
            None
        }
    }
}
