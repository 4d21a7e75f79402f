//! LiveKit's access tokens: JWTs signed with the node's secret (HS256).

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::domain::role::{Action, Role};
use crate::domain::time::Timestamp;
use crate::sfu::{Admit, Metadata};

/// How far the service's clock and a node's may differ, in seconds.
pub(super) const CLOCK_SKEW_SECS: u64 = 60;
/// How long a token for one call of the server API is valid, in seconds.
const CALL_TOKEN_SECS: u64 = 60;
/// The sources that a publishing role may send.
const SOURCES: [&str; 4] = ["camera", "microphone", "screen_share", "screen_share_audio"];

/// What a call of the server API needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant<'a> {
    /// Making and ending rooms.
    CreateRooms,
    /// Listing rooms.
    ListRooms,
    /// Managing the participants of one room.
    Administer(&'a str),
}

/// Signs with a node's key.
pub(super) struct Signer {
    api_key: String,
    secret: hmac::Key,
}

impl Signer {
    pub(super) fn new(api_key: &str, api_secret: &SecretString) -> Self {
        let secret = api_secret.expose_secret().as_bytes();
        Self {
            api_key: api_key.to_owned(),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    pub(super) fn api_key(&self) -> &str {
        &self.api_key
    }

    pub(super) fn secret(&self) -> &hmac::Key {
        &self.secret
    }

    /// A token for one call of the server API, with no more than that call needs.
    pub(super) fn issue_call_token(&self, grant: Grant<'_>, now: Timestamp) -> SecretString {
        let video = match grant {
            Grant::CreateRooms => json!({"roomCreate": true}),
            Grant::ListRooms => json!({"roomList": true}),
            Grant::Administer(room) => json!({"roomAdmin": true, "room": room}),
        };
        self.sign(&json!({
            "iss": self.api_key,
            "nbf": now.minus_secs(CLOCK_SKEW_SECS).as_secs(),
            "exp": now.plus_secs(CALL_TOKEN_SECS).as_secs(),
            "video": video,
        }))
    }

    /// A token that admits a participant to a room until `expire_time`.
    pub(super) fn issue_join_token(
        &self,
        room: &str,
        admit: &Admit,
        now: Timestamp,
        expire_time: Timestamp,
    ) -> SecretString {
        let metadata = Metadata {
            sequence: admit.sequence,
        };
        self.sign(&json!({
            "iss": self.api_key,
            "sub": admit.user_id.as_str(),
            "nbf": now.minus_secs(CLOCK_SKEW_SECS).as_secs(),
            "exp": expire_time.as_secs(),
            "metadata": json!(metadata).to_string(),
            "video": join_grant(room, admit.role),
        }))
    }

    fn sign(&self, claims: &Value) -> SecretString {
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        let signed = format!("{header}.{claims}");
        let signature = hmac::sign(&self.secret, signed.as_bytes());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref());
        SecretString::from(format!("{signed}.{signature}"))
    }
}

/// When a token that is issued now for `ttl` expires, in whole seconds.
pub(super) fn expiry(now: Timestamp, ttl: Duration) -> Timestamp {
    now.plus_secs(ttl.as_secs().max(1)).floor_to_secs()
}

/// What a role may do in a room. Denies explicitly what is not granted, because LiveKit's defaults allow it.
fn join_grant(room: &str, role: Role) -> Value {
    let mut grant = json!({
        "roomJoin": true,
        "room": room,
        "canSubscribe": true,
        "canPublish": role.may(Action::Publish),
        "canPublishData": false,
        "canUpdateOwnMetadata": false,
    });
    if role.may(Action::Publish) {
        grant["canPublishSources"] = json!(SOURCES);
    }
    grant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::UserId;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};

    const NOW: i64 = 1_795_273_000;

    fn signer() -> Signer {
        Signer::new(
            "key",
            &SecretString::from("a secret of 32 characters or more"),
        )
    }

    /// The claims, read by another implementation.
    fn claims(token: &SecretString) -> Value {
        // Fails only if it is installed already.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        let key = DecodingKey::from_secret(b"a secret of 32 characters or more");
        jsonwebtoken::decode::<Value>(token.expose_secret(), &key, &validation)
            .unwrap()
            .claims
    }

    fn join_claims(role: Role) -> Value {
        let now = Timestamp::from_millis(NOW * 1000 + 999);
        let admit = Admit {
            user_id: UserId::from_stored("user@1".into()),
            role,
            sequence: 7,
            ttl: Duration::from_secs(30),
        };
        let expire_time = expiry(now, admit.ttl);
        claims(&signer().issue_join_token("room_1", &admit, now, expire_time))
    }

    #[test]
    fn a_join_token_says_who_may_join_what_and_until_when() {
        let claims = join_claims(Role::Patient);
        let expected = json!({
            "iss": "key", "sub": "user@1", "nbf": NOW - 60, "exp": NOW + 30,
            "metadata": r#"{"sequence":7}"#,
            "video": {
                "roomJoin": true, "room": "room_1", "canSubscribe": true, "canPublish": true,
                "canPublishData": false, "canUpdateOwnMetadata": false,
                "canPublishSources": ["camera", "microphone", "screen_share", "screen_share_audio"],
            },
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn only_those_who_may_publish_can_and_nobody_administers() {
        for role in Role::ALL.iter().copied() {
            let grant = &join_claims(role)["video"];
            assert_eq!(grant["canPublish"], role != Role::Observer, "{role:?}");
            let names = grant.as_object().unwrap().keys();
            let admin = ["roomAdmin", "roomCreate", "roomList", "hidden", "recorder"];
            let found: Vec<_> = names
                .filter(|name| admin.contains(&name.as_str()))
                .collect();
            assert!(found.is_empty(), "{role:?}: {found:?}");
        }
        assert!(join_claims(Role::Observer)["video"]["canPublishSources"].is_null());
    }

    #[test]
    fn a_call_token_is_good_for_its_call_for_a_minute() {
        let now = Timestamp::from_millis(NOW * 1000);
        let issue = |grant| claims(&signer().issue_call_token(grant, now));
        let room = issue(Grant::Administer("room_1"));
        assert_eq!(room["exp"], NOW + 60);
        assert!(room["sub"].is_null(), "it joins nothing");
        assert_eq!(room["video"], json!({"roomAdmin": true, "room": "room_1"}));
        assert_eq!(
            issue(Grant::CreateRooms)["video"],
            json!({"roomCreate": true})
        );
        assert_eq!(issue(Grant::ListRooms)["video"], json!({"roomList": true}));
    }
}
