//! The builtin driver: browsers connect to each other, so that there is no node to ask.

use async_trait::async_trait;

use super::{
    Admit, Capabilities, InvalidWebhook, NodeLoad, NodeStatus, NodeTicket, ParticipantOnNode,
    SfuDriver, SfuError, SignallingAnswer, SignallingRequest, WebhookEvent,
};
use crate::domain::id::UserId;
use crate::domain::place::Driver;

/// Does nothing, always successfully.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtin;

#[async_trait]
impl SfuDriver for Builtin {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            carries_media: Driver::Builtin.carries_media(),
            records: false,
            moderates: false,
            // DTLS-SRTP from browser to browser.
            encrypts_end_to_end: Driver::Builtin.encrypts_end_to_end(),
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

    async fn list_rooms(&self) -> Result<Vec<String>, SfuError> {
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

    async fn open_signalling(
        &self,
        _room: &str,
        _admit: &Admit,
        _request: &SignallingRequest,
    ) -> Result<SignallingAnswer, SfuError> {
        Err(SfuError::Misconfigured(
            "pages cannot signal with this kind of node",
        ))
    }

    fn verify_webhook(
        &self,
        _raw_body: &[u8],
        _authorization: &[u8],
    ) -> Result<WebhookEvent, InvalidWebhook> {
        Err(InvalidWebhook::Forged)
    }
}
