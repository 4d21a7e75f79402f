//! The cookie that a join token is exchanged for. Each participant has their own, so that several can share a browser.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use std::time::Duration;

use super::Config;
use crate::domain::id::{SessionId, UserId};

/// The bytes of the hash in a slot: enough to distinguish the participants of a session.
const SLOT_BYTES: usize = 6;

/// Identifies a participant within their session and browser without revealing the user id.
pub(super) fn slot(session_id: &SessionId, user_id: &UserId) -> String {
    slot_of(&format!("{session_id} {user_id}"))
}

fn slot_of(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref()
        .iter()
        .take(SLOT_BYTES)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Identifies a doctor's page within their browser. No participant has such a slot: a session's id comes first there.
pub(super) fn doctor_slot(user_id: &UserId) -> String {
    slot_of(&format!("doctor {user_id}"))
}

/// Whether a text has the form of a slot.
pub(super) fn is_slot(text: &str) -> bool {
    text.len() == 2 * SLOT_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The header that sets a slot's cookie, for a page at a path.
pub(super) fn set(
    config: &Config,
    path: &str,
    slot: &str,
    credential: &str,
    good_for: Duration,
) -> String {
    let is_secure = config.links.is_secure();
    // In a frame of another site, browsers send only SameSite=None cookies, and only over TLS. Other sites cannot misuse
    // them, because the origin of every request that changes something is checked.
    let site = if is_secure && config.frame_ancestors != "'none'" {
        "; SameSite=None; Secure; Partitioned"
    } else if is_secure {
        "; SameSite=Lax; Secure"
    } else {
        "; SameSite=Lax"
    };
    format!(
        "vs_{slot}={credential}; Path={path}; Max-Age={}; HttpOnly{site}",
        good_for.as_secs(),
    )
}

/// The value of a slot's cookie.
pub(super) fn read<'a>(headers: &'a HeaderMap, slot: &str) -> Option<&'a str> {
    let name = format!("vs_{slot}");
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}
