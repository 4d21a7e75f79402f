//! LiveKit's webhooks: signed with the node's key, over the body's hash.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq as _;

use super::token::{CLOCK_SKEW_SECS, Signer};
use super::wire::{WebhookBody, WebhookParticipant};
use crate::domain::id::UserId;
use crate::domain::time::Timestamp;
use crate::sfu::{InvalidWebhook, Metadata, WebhookEvent, WebhookKind};

/// The longest signature that is looked at, in bytes: LiveKit's have about 300.
const AUTHORIZATION_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    exp: i64,
    nbf: Option<i64>,
    /// The body's hash in standard base64.
    sha256: String,
}

/// Reads a message that the node signed.
pub(super) fn verify(
    signer: &Signer,
    raw_body: &[u8],
    authorization: &[u8],
    now: Timestamp,
) -> Result<WebhookEvent, InvalidWebhook> {
    let claims = verify_signature(signer, authorization)?;
    let signed_hash = BASE64_STANDARD.decode(&claims.sha256);
    let signed_hash = signed_hash.map_err(|_| InvalidWebhook::Forged)?;
    let hash = digest(&SHA256, raw_body);
    if !bool::from(hash.as_ref().ct_eq(&signed_hash)) || claims.iss != signer.api_key() {
        return Err(InvalidWebhook::Forged);
    }
    let has_expired = claims.exp < now.minus_secs(CLOCK_SKEW_SECS).as_secs();
    let latest_start = now.plus_secs(CLOCK_SKEW_SECS).as_secs();
    if has_expired || claims.nbf.is_some_and(|start| start > latest_start) {
        return Err(InvalidWebhook::Expired);
    }
    read(raw_body)
}

/// The claims of a JWT that the node signed.
fn verify_signature(signer: &Signer, authorization: &[u8]) -> Result<Claims, InvalidWebhook> {
    let text = std::str::from_utf8(authorization)
        .ok()
        .filter(|text| text.len() <= AUTHORIZATION_BYTES_MAX)
        .ok_or(InvalidWebhook::Forged)?;
    // LiveKit sends the bare token; some proxies add the scheme.
    let jwt = text.strip_prefix("Bearer ").unwrap_or(text);
    let (signed, signature) = jwt.rsplit_once('.').ok_or(InvalidWebhook::Forged)?;
    let (header, claims) = signed.split_once('.').ok_or(InvalidWebhook::Forged)?;
    let signature = BASE64_URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| InvalidWebhook::Forged)?;
    hmac::verify(signer.secret(), signed.as_bytes(), &signature)
        .map_err(|_| InvalidWebhook::Forged)?;
    let header: Header = decode(header)?;
    if header.alg != "HS256" {
        return Err(InvalidWebhook::Forged);
    }
    decode(claims)
}

fn decode<T: DeserializeOwned>(segment: &str) -> Result<T, InvalidWebhook> {
    let json = BASE64_URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| InvalidWebhook::Forged)?;
    serde_json::from_slice(&json).map_err(|_| InvalidWebhook::Forged)
}

fn read(raw_body: &[u8]) -> Result<WebhookEvent, InvalidWebhook> {
    let body: WebhookBody =
        serde_json::from_slice(raw_body).map_err(|_| InvalidWebhook::Malformed)?;
    let participant = |participant: Option<WebhookParticipant>| {
        participant
            .filter(|participant| !participant.identity.is_empty())
            .ok_or(InvalidWebhook::Malformed)
    };
    let kind = match body.event.as_str() {
        "room_started" => WebhookKind::RoomStarted,
        "room_finished" => WebhookKind::RoomFinished,
        "participant_joined" => {
            let participant = participant(body.participant)?;
            WebhookKind::ParticipantJoined {
                sequence: Metadata::sequence_in(&participant.metadata),
                user_id: UserId::from_stored(participant.identity),
            }
        }
        "participant_left" | "participant_connection_aborted" => WebhookKind::ParticipantLeft {
            user_id: UserId::from_stored(participant(body.participant)?.identity),
        },
        _ => WebhookKind::Other,
    };
    Ok(WebhookEvent {
        room: body.room.map(|room| room.name).unwrap_or_default(),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;
    use serde_json::{Value, json};

    const NOW: i64 = 1_795_273_300;
    const SECRET: &str = "a-secret-of-at-least-32-characters!!";
    /// What livekit-server 1.13.5 sends, shortened.
    const JOINED: &str = r#"{"event":"participant_joined","room":{"sid":"RM_pybLxkQwngSt","name":"controls"},"participant":{"sid":"PA_BDuzUzUesszK","identity":"doctor","state":"ACTIVE","metadata":"{\"sequence\":4}","joinedAt":"1795273169"},"id":"EV_UN3WKpYmHBFA","createdAt":"1795273169"}"#;

    fn signer() -> Signer {
        Signer::new("devkey", &SecretString::from(SECRET))
    }

    fn claims(body: &str) -> Value {
        let hash = BASE64_STANDARD.encode(digest(&SHA256, body.as_bytes()));
        json!({"iss": "devkey", "exp": NOW + 300, "nbf": NOW, "iat": NOW, "sha256": hash})
    }

    fn sign(secret: &str, alg: &str, claims: &Value) -> String {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        let signed = [header, claims.to_string()].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let signed = signed.join(".");
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn verify_at(secs: i64, body: &str, jwt: &str) -> Result<WebhookEvent, InvalidWebhook> {
        let now = Timestamp::from_millis(secs * 1000);
        verify(&signer(), body.as_bytes(), jwt.as_bytes(), now)
    }

    #[test]
    fn reads_what_the_node_signed() {
        let jwt = sign(SECRET, "HS256", &claims(JOINED));
        let event = verify_at(NOW, JOINED, &jwt).unwrap();
        let kind = WebhookKind::ParticipantJoined {
            user_id: UserId::from_stored("doctor".into()),
            sequence: Some(4),
        };
        assert_eq!((event.room.as_str(), event.kind), ("controls", kind));
        assert!(verify_at(NOW, JOINED, &format!("Bearer {jwt}")).is_ok());
    }

    #[test]
    fn refuses_what_it_did_not_sign() {
        let good = sign(SECRET, "HS256", &claims(JOINED));
        let mut other_key = claims(JOINED);
        other_key["iss"] = json!("another");
        let mut no_hash = claims(JOINED);
        no_hash.as_object_mut().unwrap().remove("sha256");
        let (signed, _) = good.rsplit_once('.').unwrap();
        let forged = [
            String::new(),
            "..".to_owned(),
            format!("{signed}."),
            "x".repeat(AUTHORIZATION_BYTES_MAX + 1),
            sign("another secret of 32 characters!", "HS256", &claims(JOINED)),
            sign(SECRET, "none", &claims(JOINED)),
            sign(SECRET, "HS256", &other_key),
            sign(SECRET, "HS256", &no_hash),
            sign(SECRET, "HS256", &claims("another body")),
        ];
        for jwt in forged {
            assert_eq!(
                verify_at(NOW, JOINED, &jwt),
                Err(InvalidWebhook::Forged),
                "{jwt}"
            );
        }
        let changed = JOINED.replace("doctor", "doctos");
        assert_eq!(verify_at(NOW, &changed, &good), Err(InvalidWebhook::Forged));
    }

    #[test]
    fn refuses_a_signature_that_is_not_of_now() {
        let jwt = sign(SECRET, "HS256", &claims(JOINED));
        assert!(verify_at(NOW + 360, JOINED, &jwt).is_ok(), "clocks differ");
        assert_eq!(
            verify_at(NOW + 361, JOINED, &jwt),
            Err(InvalidWebhook::Expired)
        );
        assert!(verify_at(NOW - 60, JOINED, &jwt).is_ok());
        assert_eq!(
            verify_at(NOW - 61, JOINED, &jwt),
            Err(InvalidWebhook::Expired)
        );
    }

    #[test]
    fn says_when_a_signed_message_makes_no_sense() {
        for body in [
            "",
            "[]",
            r#"{"event":"participant_joined","room":{"name":"r"}}"#,
        ] {
            let jwt = sign(SECRET, "HS256", &claims(body));
            assert_eq!(
                verify_at(NOW, body, &jwt),
                Err(InvalidWebhook::Malformed),
                "{body}"
            );
        }
        let unknown = r#"{"event":"something_new","more":1}"#;
        let event = verify_at(NOW, unknown, &sign(SECRET, "HS256", &claims(unknown)));
        assert_eq!(event.unwrap().kind, WebhookKind::Other);
    }
}
