//! Which STUN and TURN servers a participant is given: the TURN REST convention that coturn implements
//! (draft-uberti-behave-turn-rest-00), with credentials that expire.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use super::message::IceServer;
use crate::domain::id::random_id;
use crate::domain::time::Timestamp;

/// Which ways to each other participants may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcePolicy {
    /// Any.
    All,
    /// Only through TURN, so that nobody learns another's address.
    Relay,
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
    /// How long TURN credentials are good.
    pub turn_ttl_secs: u64,
    /// Which ways may be used.
    pub policy: IcePolicy,
}

impl Config {
    pub(super) fn policy(&self) -> &'static str {
        match self.policy {
            IcePolicy::All => "all",
            IcePolicy::Relay => "relay",
        }
    }

    /// The servers, with credentials for one participant. The user name that a TURN server sees, and logs, does not tell
    /// who they are.
    pub(super) fn servers(&self, now: Timestamp) -> Vec<IceServer> {
        let stun = (!self.stun_urls.is_empty()).then(|| IceServer {
            urls: self.stun_urls.clone(),
            username: None,
            credential: None,
        });
        let turn = self.turn_secret.as_ref().map(|secret| {
            let expires = now.plus_secs(self.turn_ttl_secs).as_secs();
            let username = format!("{expires}:{}", random_id());
            // The convention is HMAC-SHA1, which is still sound as a MAC.
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
