//! OpenVidu's webhooks. They are not signed: a secret in the `Authorization` header, which the operator configures on the node,
//! is all that shows where they come from.

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::wire::{ServerData, WebhookBody};
use crate::domain::id::UserId;
use crate::sfu::{InvalidWebhook, WebhookEvent, WebhookKind};

/// Reads a message with the secret in its header.
pub(super) fn verify(
    secret: Option<&SecretString>,
    raw_body: &[u8],
    authorization: &[u8],
) -> Result<WebhookEvent, InvalidWebhook> {
    let secret = secret.ok_or(InvalidWebhook::Forged)?;
    let expected = format!("Bearer {}", secret.expose_secret());
    // Digests are of one length, so that the time shows neither content nor length.
    let expected = digest(&SHA256, expected.as_bytes());
    let shown = digest(&SHA256, authorization);
    if !bool::from(expected.as_ref().ct_eq(shown.as_ref())) {
        return Err(InvalidWebhook::Forged);
    }
    read(raw_body)
}

fn read(raw_body: &[u8]) -> Result<WebhookEvent, InvalidWebhook> {
    let body: WebhookBody =
        serde_json::from_slice(raw_body).map_err(|_| InvalidWebhook::Malformed)?;
    let data = body.server_data.as_deref().and_then(ServerData::read);
    let sequence = data.as_ref().map(|data| data.sequence);
    let user_id = data.map_or(body.connection_id, |data| data.user_id);
    let is_user = !user_id.is_empty();
    let user_id = UserId::from_stored(user_id);
    let kind = match body.event.as_str() {
        "sessionCreated" => WebhookKind::RoomStarted,
        "sessionDestroyed" => WebhookKind::RoomFinished,
        "participantJoined" if is_user => WebhookKind::ParticipantJoined { user_id, sequence },
        "participantLeft" if is_user => WebhookKind::ParticipantLeft { user_id },
        "participantJoined" | "participantLeft" => return Err(InvalidWebhook::Malformed),
        _ => WebhookKind::Other,
    };
    Ok(WebhookEvent {
        room: body.session_id,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verify(body: &str, authorization: &str) -> Result<WebhookEvent, InvalidWebhook> {
        let secret = SecretString::from("the hook's secret");
        super::verify(Some(&secret), body.as_bytes(), authorization.as_bytes())
    }

    fn event(kind: &str) -> String {
        let data = json!({"user_id": "user@1", "sequence": 3}).to_string();
        let event = json!({
            "sessionId": "room_1", "uniqueSessionId": "room_1_1795272564914",
            "timestamp": 1_795_272_564_914_i64, "connectionId": "con_1", "serverData": data,
            "event": kind,
        });
        event.to_string()
    }

    #[test]
    fn reads_what_carries_the_secret() {
        let read = |name| verify(&event(name), "Bearer the hook's secret").unwrap();
        let user_id = UserId::from_stored("user@1".into());
        let kinds = [
            ("sessionCreated", WebhookKind::RoomStarted),
            ("sessionDestroyed", WebhookKind::RoomFinished),
            (
                "participantJoined",
                WebhookKind::ParticipantJoined {
                    user_id: user_id.clone(),
                    sequence: Some(3),
                },
            ),
            ("participantLeft", WebhookKind::ParticipantLeft { user_id }),
            ("webrtcConnectionCreated", WebhookKind::Other),
        ];
        for (name, kind) in kinds {
            let event = read(name);
            assert_eq!((event.room.as_str(), event.kind), ("room_1", kind));
        }
    }

    #[test]
    fn refuses_what_does_not() {
        let body = event("sessionCreated");
        for shown in [
            "",
            "Bearer ",
            "the hook's secret",
            "Bearer the hook's secret ",
            "Bearer x",
        ] {
            assert_eq!(verify(&body, shown), Err(InvalidWebhook::Forged), "{shown}");
        }
        let unset = super::verify(None, body.as_bytes(), b"Bearer ");
        assert_eq!(
            unset,
            Err(InvalidWebhook::Forged),
            "no secret is not an empty one"
        );
        for body in ["", "[]", "{}", r#"{"event":"participantJoined"}"#] {
            let outcome = verify(body, "Bearer the hook's secret");
            assert_eq!(outcome, Err(InvalidWebhook::Malformed), "{body}");
        }
    }
}
