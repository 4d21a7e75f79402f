//! The queue to one page. Values are queued under a room's lock; the page's connection takes them and writes their text.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::CloseCode;
use super::message::{ServerMessage, relay_text};
use crate::bus::Relay;

/// What a connection sends to its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToPage {
    /// A message, as JSON.
    Text(Arc<str>),
    /// The end of the connection. Nothing follows.
    Close(CloseCode),
}

/// The values that a connection must send to its page, in order. Bounded: a page that does not keep up is closed with
/// [`CloseCode::TooSlow`], because a lost message cannot be recovered.
pub struct Outbox {
    queue: mpsc::Receiver<Queued>,
    overflow: CancellationToken,
}

impl Outbox {
    /// Waits for the next value to send; `None` once the service has dropped the connection. Cancel-safe.
    pub async fn next(&mut self) -> Option<ToPage> {
        tokio::select! {
            biased;
            () = self.overflow.cancelled() => Some(ToPage::Close(CloseCode::TooSlow)),
            queued = self.queue.recv() => Some(match queued? {
                Queued::Message(message) => ToPage::Text(message.text()),
                Queued::Close(code) => ToPage::Close(code),
            }),
        }
    }

    /// Waits until the queue overflows. For a connection that is busy sending.
    pub async fn overflowed(&self) {
        self.overflow.cancelled().await;
    }
}

enum Queued {
    Message(PageMessage),
    Close(CloseCode),
}

/// The sending end of an [`Outbox`].
#[derive(Clone)]
pub(super) struct PageQueue {
    queue: mpsc::Sender<Queued>,
    overflow: CancellationToken,
}

impl PageQueue {
    /// A queue that holds up to `queue_max` values.
    pub(super) fn new(queue_max: usize) -> (Self, Outbox) {
        let (sender, queue) = mpsc::channel(queue_max);
        let overflow = CancellationToken::new();
        let outbox = Outbox {
            queue,
            overflow: overflow.clone(),
        };
        let queue = Self {
            queue: sender,
            overflow,
        };
        (queue, outbox)
    }

    /// Queues a message.
    pub(super) fn send(&self, message: &PageMessage) {
        self.put(Queued::Message(message.clone()));
    }

    /// Queues the end of the connection.
    pub(super) fn close(&self, code: CloseCode) {
        self.put(Queued::Close(code));
    }

    fn put(&self, queued: Queued) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(queued) {
            self.overflow.cancel();
        }
    }
}

/// A message to one or several pages. The first connection that sends it writes its JSON once, outside any lock.
#[derive(Clone)]
pub(super) struct PageMessage(Arc<Content>);

struct Content {
    message: Body,
    text: OnceLock<Arc<str>>,
}

enum Body {
    Service(ServerMessage),
    Relay(Arc<Relay>),
}

impl PageMessage {
    fn new(message: Body) -> Self {
        Self(Arc::new(Content {
            message,
            text: OnceLock::new(),
        }))
    }

    fn text(&self) -> Arc<str> {
        let text = self.0.text.get_or_init(|| match &self.0.message {
            Body::Service(message) => message.text(),
            Body::Relay(relay) => relay_text(relay),
        });
        Arc::clone(text)
    }
}

impl From<ServerMessage> for PageMessage {
    fn from(message: ServerMessage) -> Self {
        Self::new(Body::Service(message))
    }
}

impl From<Arc<Relay>> for PageMessage {
    fn from(relay: Arc<Relay>) -> Self {
        Self::new(Body::Relay(relay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn queued_values_arrive_in_order_and_an_overflow_closes_at_once() {
        let (queue, mut outbox) = PageQueue::new(2);
        let pong = PageMessage::from(ServerMessage::Pong);
        queue.send(&pong);
        queue.close(CloseCode::Ended);
        assert_eq!(
            outbox.next().await,
            Some(ToPage::Text(r#"{"type":"pong"}"#.into()))
        );
        assert_eq!(outbox.next().await, Some(ToPage::Close(CloseCode::Ended)));
        for _ in 0..3 {
            queue.send(&pong);
        }
        outbox.overflowed().await;
        assert_eq!(outbox.next().await, Some(ToPage::Close(CloseCode::TooSlow)));
    }

    #[tokio::test]
    async fn a_dropped_queue_is_emptied_first() {
        let (queue, mut outbox) = PageQueue::new(2);
        queue.close(CloseCode::Replaced);
        drop(queue);
        assert_eq!(
            outbox.next().await,
            Some(ToPage::Close(CloseCode::Replaced))
        );
        assert_eq!(outbox.next().await, None);
    }
}
