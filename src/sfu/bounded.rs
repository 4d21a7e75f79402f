//! Limits the time of a driver's calls, and repeats them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Admit, Capabilities, InvalidWebhook, NodeLoad, NodeStatus, NodeTicket, Outage,
    ParticipantOnNode, SfuDriver, SfuError, SignallingAnswer, SignallingRequest, UnusedTicket,
    WebhookEvent,
};
use crate::domain::id::UserId;

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The time for a call, with all its attempts and the pauses between them.
    pub call_timeout: Duration,
    /// The time for one attempt. A node that says nothing is asked again after it.
    pub attempt_timeout: Duration,
    /// The number of attempts, at least 1.
    pub attempts_max: u32,
    /// The longest pause before the second attempt. It doubles with each further attempt, and up to half of it is random.
    pub backoff: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_millis(2_400),
            attempts_max: 3,
            backoff: Duration::from_millis(200),
        }
    }
}

/// A driver whose calls end in time. Errors that may pass are hidden by repeating the call; a health check is not repeated, so
/// that it shows the node as it is.
pub struct Bounded {
    driver: Arc<dyn SfuDriver>,
    limits: Limits,
}

impl Bounded {
    /// Limits the calls of `driver`.
    pub fn new(driver: Arc<dyn SfuDriver>, limits: Limits) -> Self {
        Self { driver, limits }
    }

    async fn run<'a, T>(
        &self,
        call: impl Fn() -> BoxFuture<'a, Result<T, SfuError>> + Send + Sync,
    ) -> Result<T, SfuError> {
        let deadline = Instant::now() + self.limits.call_timeout;
        let mut pause = self.limits.backoff;
        let mut attempts_left = self.limits.attempts_max;
        loop {
            let attempt_ends = deadline.min(Instant::now() + self.limits.attempt_timeout);
            let error = match timeout_at(attempt_ends, call()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => SfuError::Unavailable(Outage::TimedOut),
            };
            attempts_left = attempts_left.saturating_sub(1);
            let next = Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
            if attempts_left == 0 || !error.is_retryable() || next >= deadline {
                return Err(error);
            }
            sleep(next.saturating_duration_since(Instant::now())).await;
            pause = pause.saturating_mul(2);
        }
    }
}

#[async_trait]
impl SfuDriver for Bounded {
    fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }

    async fn ensure_room(&self, room: &str) -> Result<(), SfuError> {
        self.run(|| self.driver.ensure_room(room)).await
    }

    async fn issue_ticket(
        &self,
        room: &str,
        admit: &Admit,
    ) -> Result<Option<NodeTicket>, SfuError> {
        self.run(|| self.driver.issue_ticket(room, admit)).await
    }

    async fn list_rooms(&self) -> Result<Vec<String>, SfuError> {
        self.run(|| self.driver.list_rooms()).await
    }

    async fn list_participants(&self, room: &str) -> Result<Vec<ParticipantOnNode>, SfuError> {
        self.run(|| self.driver.list_participants(room)).await
    }

    async fn list_unused_tickets(&self, room: &str) -> Result<Vec<UnusedTicket>, SfuError> {
        self.run(|| self.driver.list_unused_tickets(room)).await
    }

    async fn revoke_ticket(&self, room: &str, ticket: &UnusedTicket) -> Result<(), SfuError> {
        self.run(|| self.driver.revoke_ticket(room, ticket)).await
    }

    async fn remove_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError> {
        self.run(|| self.driver.remove_participant(room, user_id))
            .await
    }

    async fn mute_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError> {
        self.run(|| self.driver.mute_participant(room, user_id))
            .await
    }

    async fn end_room(&self, room: &str) -> Result<(), SfuError> {
        self.run(|| self.driver.end_room(room)).await
    }

    async fn check_health(&self) -> Result<NodeStatus, SfuError> {
        let deadline = Instant::now() + self.limits.call_timeout;
        timeout_at(deadline, self.driver.check_health())
            .await
            .unwrap_or(Err(SfuError::Unavailable(Outage::TimedOut)))
    }

    async fn read_load(&self) -> Result<NodeLoad, SfuError> {
        self.run(|| self.driver.read_load()).await
    }

    /// Asks once: pages try again themselves.
    async fn open_signalling(
        &self,
        room: &str,
        admit: &Admit,
        request: &SignallingRequest,
    ) -> Result<SignallingAnswer, SfuError> {
        let deadline = Instant::now() + self.limits.call_timeout;
        timeout_at(deadline, self.driver.open_signalling(room, admit, request))
            .await
            .unwrap_or(Err(SfuError::Unavailable(Outage::TimedOut)))
    }

    fn verify_webhook(
        &self,
        raw_body: &[u8],
        authorization: &[u8],
    ) -> Result<WebhookEvent, InvalidWebhook> {
        self.driver.verify_webhook(raw_body, authorization)
    }
}
