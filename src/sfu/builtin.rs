//! The builtin driver: browsers connect to each other, so that there is no node to ask.

use async_trait::async_trait;
use secrecy::SecretString;

use super::{
    Admit, Capabilities, InvalidWebhook, NodeLoad, NodeStatus, NodeTicket, ParticipantOnNode,
    RoomOnNode, SfuDriver, SfuError, WebhookEvent,
};
use crate::domain::id::UserId;

/// Does nothing, always successfully.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtin;

#[async_trait]
impl SfuDriver for Builtin {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            carries_media: false,
            records: false,
            moderates: false,
            // DTLS-SRTP from browser to browser.
            encrypts_end_to_end: true,
        }
    }

    async fn ensure_room(&self, _room: &str) -> Result<(), SfuError> {
        Ok(())
    }

    async fn issue_ticket(
        &self,
        _room: &str,
        _admit: &Admit,
    ) -> Result<Option<NodeTicket>, SfuError> {
        Ok(None)
    }

    async fn list_rooms(&self) -> Result<Vec<RoomOnNode>, SfuError> {
        Ok(Vec::new())
    }

    async fn list_participants(&self, _room: &str) -> Result<Vec<ParticipantOnNode>, SfuError> {
        Ok(Vec::new())
    }

    async fn remove_participant(&self, _room: &str, _user_id: &UserId) -> Result<(), SfuError> {
        Ok(())
    }

    async fn mute_participant(&self, _room: &str, _user_id: &UserId) -> Result<(), SfuError> {
        Ok(())
    }

    async fn end_room(&self, _room: &str) -> Result<(), SfuError> {
        Ok(())
    }

    async fn check_health(&self) -> Result<NodeStatus, SfuError> {
        Ok(NodeStatus::default())
    }

    async fn read_load(&self) -> Result<NodeLoad, SfuError> {
        Ok(NodeLoad::default())
    }

    fn signalling_base(&self) -> Option<&str> {
        None
    }

    fn door_token(&self, _room: &str, _admit: &Admit) -> Option<SecretString> {
        None
    }

    fn verify_webhook(
        &self,
        _raw_body: &[u8],
        _authorization: &[u8],
    ) -> Result<WebhookEvent, InvalidWebhook> {
        Err(InvalidWebhook::Forged)
    }
}
