//! The cookie that a join token is exchanged for: one a participant, so that several can share a browser.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use std::time::Duration;

use super::Config;
use crate::domain::id::{SessionId, UserId};

/// How many bytes of a hash name a slot: enough to tell the participants of one session apart.
const SLOT_BYTES: usize = 6;

/// Names a participant within their session and browser, without telling who they are.
pub(super) fn slot(session_id: &SessionId, user_id: &UserId) -> String {
    let hash = digest(&SHA256, format!("{session_id} {user_id}").as_bytes());
    hash.as_ref()
        .iter()
        .take(SLOT_BYTES)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether a text can be a slot.
pub(super) fn is_slot(text: &str) -> bool {
    text.len() == 2 * SLOT_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The header that sets a slot's cookie.
pub(super) fn set(
    config: &Config,
    session_id: &SessionId,
    slot: &str,
    credential: &str,
    good_for: Duration,
) -> String {
    let is_secure = config.links.is_secure();
    // Within another site's frame only a cookie for all sites is sent, and browsers take that over TLS only. It is of no
    // use to other sites: every request that changes something has its origin checked.
    let site = if is_secure && config.frame_ancestors != "'none'" {
        "; SameSite=None; Secure; Partitioned"
    } else if is_secure {
        "; SameSite=Lax; Secure"
    } else {
        "; SameSite=Lax"
    };
    format!(
        "vs_{slot}={credential}; Path={}; Max-Age={}; HttpOnly{site}",
        config.links.page_path(session_id),
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
