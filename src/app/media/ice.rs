//! The STUN and TURN servers for a participant, by the TURN REST convention that coturn implements
//! (draft-uberti-behave-turn-rest-00), with credentials that expire.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::domain::id::random_id;
use crate::domain::time::Timestamp;

/// The connections that participants may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IcePolicy {
    /// All connections.
    All,
    /// Only through TURN, so that no participant learns another's address.
    Relay,
}

/// A STUN or TURN server, in RTCPeerConnection's format. Holds a credential: never log it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// Its addresses.
    pub urls: Vec<String>,
    /// When the credential expires, and a random part. Missing for STUN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Missing for STUN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Settings of ICE.
#[derive(Debug, Clone)]
pub struct Config {
    /// `stun:` URLs.
    pub stun_urls: Vec<String>,
    /// `turn:` and `turns:` URLs.
    pub turn_urls: Vec<String>,
    /// The secret shared with the TURN servers.
    pub turn_secret: Option<SecretString>,
    /// How long TURN credentials are valid.
    pub turn_ttl_secs: u64,
    /// The connections that may be used.
    pub policy: IcePolicy,
}

impl Config {
    /// The servers, with credentials for one participant that are valid for `ttl_secs`. A TURN server sees and logs the user name, so
    /// it does not identify the participant.
    pub(super) fn servers(&self, now: Timestamp, ttl_secs: u64) -> Vec<IceServer> {
        let stun = (!self.stun_urls.is_empty()).then(|| IceServer {
            urls: self.stun_urls.clone(),
            username: None,
            credential: None,
        });
        let turn = self.turn_secret.as_ref().map(|secret| {
            let expires = now.plus_secs(ttl_secs).as_secs();
            let username = format!("{expires}:{}", random_id());
            // The convention requires HMAC-SHA1, which is still secure as a MAC.
            let key = hmac::Key::new(
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                secret.expose_secret().as_bytes(),
            );
            let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
            IceServer {
                urls: self.turn_urls.clone(),
                username: Some(username),
                credential: Some(credential),
            }
        });
        stun.into_iter().chain(turn).collect()
    }
}
