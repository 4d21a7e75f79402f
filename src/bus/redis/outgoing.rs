//! Messages that wait to be sent.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::domain::id::SessionId;

/// The bytes that a queued hint counts as.
const HINT_BYTES: usize = 128;

/// A message to other instances.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A hint, for all instances.
    Changed(SessionId),
    /// A relay, for the instances that hear these channels.
    Relay {
        channels: Vec<String>,
        text: Vec<u8>,
    },
}

/// A message in the queue, or on its way. Counts against the limit of bytes until it is dropped.
pub(super) struct Queued {
    pub(super) outgoing: Outgoing,
    _bytes: OwnedSemaphorePermit,
}

/// The queue's sending end; it never waits.
pub(super) struct Queue {
    messages: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
}

/// The queue's receiving end.
pub(super) type Waiting = mpsc::Receiver<Queued>;

/// The queue is full.
#[derive(Debug)]
pub(super) struct Full;

impl Queue {
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> (Self, Waiting) {
        let (messages, waiting) = mpsc::channel(messages_max);
        let bytes = Arc::new(Semaphore::new(bytes_max));
        (Self { messages, bytes }, waiting)
    }

    /// Queues a message, or drops it.
    pub(super) fn push(&self, outgoing: Outgoing) -> Result<(), Full> {
        let size = match &outgoing {
            Outgoing::Changed(_) => HINT_BYTES,
            Outgoing::Relay { channels, text } => channels.len().max(1) * text.len(),
        };
        let size = u32::try_from(size).map_err(|_| Full)?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(size);
        let queued = Queued {
            outgoing,
            _bytes: bytes.map_err(|_| Full)?,
        };
        self.messages.try_send(queued).map_err(|_| Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(bytes: usize) -> Outgoing {
        Outgoing::Relay {
            channels: vec!["one".into(), "two".into()],
            text: vec![0; bytes],
        }
    }

    #[test]
    fn the_queue_has_a_limit_of_messages_and_one_of_bytes() {
        let (queue, mut waiting) = Queue::new(2, 1000);
        assert!(queue.push(relay(501)).is_err());
        assert!(queue.push(relay(100)).is_ok() && queue.push(relay(100)).is_ok());
        assert!(queue.push(relay(1)).is_err(), "two messages");
        let first = waiting.try_recv().unwrap();
        assert!(queue.push(relay(400)).is_err(), "the first is on its way");
        drop(first);
        assert!(queue.push(relay(400)).is_ok());
        assert!(queue.push(relay(1)).is_err());
    }
}
