//! Settings of join tokens.

use secrecy::SecretString;

use super::env::Env;
use super::secrets::{generate_secret, read_file, read_secret};
use crate::auth::token::{Config, KeySource, SECRET_BYTES_MIN};

pub(super) fn read(env: &mut Env<'_>, dev: bool) -> Option<Config> {
    let secret_key = signing_secret(env, "VIDEO_JWT_SECRET");
    let secret_previous = signing_secret(env, "VIDEO_JWT_SECRET_PREVIOUS");
    let pem_key = private_key(env, "VIDEO_JWT_PRIVATE_KEY_FILE");
    let pem_previous = private_key(env, "VIDEO_JWT_PRIVATE_KEY_PREVIOUS_FILE");
    let current = match (secret_key, pem_key) {
        (Some(_), Some(_)) => {
            env.report_fault(
                "VIDEO_JWT_SECRET",
                "must not be set together with VIDEO_JWT_PRIVATE_KEY_FILE (a former secret goes into VIDEO_JWT_SECRET_PREVIOUS)",
            );
            None
        }
        (Some(key), None) | (None, Some(key)) => Some(key),
        (None, None) if dev => Some(KeySource::Secret(generate_secret())),
        (None, None) => {
            env.report_fault(
                "VIDEO_JWT_SECRET",
                format!("must be set, to at least {SECRET_BYTES_MIN} bytes (or VIDEO_JWT_PRIVATE_KEY_FILE, or use --dev)"),
            );
            None
        }
    };
    let named = |env: &mut Env<'_>, setting, default| {
        env.parse(setting, default, "must not be empty", |text| {
            Some(text.to_owned())
        })
    };
    let issuer = named(env, "VIDEO_JWT_ISSUER", "video-session");
    let audience = named(env, "VIDEO_JWT_AUDIENCE", "video-session-join");
    Some(Config {
        current: current?,
        previous: secret_previous.into_iter().chain(pem_previous).collect(),
        issuer: issuer?,
        audience: audience?,
    })
}

/// Reports a key that cannot be used. Returns the key anyway, because it counts as set.
fn check_key(env: &mut Env<'_>, setting: &'static str, key: KeySource) -> KeySource {
    if let Err(error) = key.check() {
        env.report_fault(setting, error.to_string());
    }
    key
}

fn signing_secret(env: &mut Env<'_>, setting: &'static str) -> Option<KeySource> {
    let key = read_secret(env, setting).map(KeySource::Secret)?;
    Some(check_key(env, setting, key))
}

fn private_key(env: &mut Env<'_>, setting: &'static str) -> Option<KeySource> {
    let bytes = read_file(env, setting)?;
    let Ok(pem) = String::from_utf8(bytes) else {
        env.report_fault(setting, "must name a PEM file");
        return None;
    };
    Some(check_key(
        env,
        setting,
        KeySource::Pem(SecretString::from(pem)),
    ))
}
