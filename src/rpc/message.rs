//! Waits for a call's message before the call goes on, so that a call whose message does not arrive takes no place that
//! others need. Only a message that is not there at once waits: for so long, and so many at a time. Where too many wait, the
//! one that has waited longest is given up in favour of the newcomer.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::connections::Peer;
use super::methods::{has_single_request, is_health};
use super::middleware::{Answer, Middleware, Next};
use super::status::early_status;
use super::{Config, HEALTH_MESSAGE_BYTES_MAX};
use crate::api::error::{CallError, CallFault};
use crate::domain::error::Error;

/// What precedes a message: whether it is compressed, and its length.
const FRAME_HEADER_BYTES: usize = 5;

#[derive(Clone)]
pub(super) struct MessageFirst {
    calls: Arc<Reception>,
    /// Apart, so that those without the secret give up nobody who has it.
    health: Arc<Reception>,
}

impl MessageFirst {
    pub(super) fn new(config: &Config) -> Self {
        let reception = |message_bytes_max| {
            Arc::new(Reception {
                message_bytes_max,
                timeout: config.body_timeout,
                waiting_max: config.in_flight_max,
                waiting: Mutex::default(),
                retry_after: config.retry_after,
            })
        };
        Self {
            calls: reception(config.message_bytes_max),
            health: reception(HEALTH_MESSAGE_BYTES_MAX),
        }
    }
}

impl Middleware for MessageFirst {
    type Body = Body;

    fn call<S: Next>(&self, request: Request<Body>, next: &mut S) -> Answer<Body, S::Error> {
        if let Some(peer) = request.extensions().get::<Peer>() {
            peer.note_call();
        }
        let path = request.uri().path();
        // A stream of messages never arrives in full, and an unknown method's message is not looked at.
        if !has_single_request(path) {
            return Box::pin(next.call(request));
        }
        let reception = if is_health(path) {
            Arc::clone(&self.health)
        } else {
            Arc::clone(&self.calls)
        };
        // The service that is ready is the one to call; its clone may not be.
        let other = next.clone();
        let mut next = std::mem::replace(next, other);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            match reception.receive(body).await {
                Ok(message) => {
                    let body = Body::new(Full::from(message));
                    next.call(Request::from_parts(parts, body)).await
                }
                Err(error) => Ok(early_status(parts.uri.path(), error).into_http()),
            }
        })
    }
}

/// Where messages arrive.
struct Reception {
    message_bytes_max: usize,
    timeout: Duration,
    waiting_max: usize,
    waiting: Mutex<Waiting>,
    retry_after: Duration,
}

/// The calls whose message has not arrived yet, the oldest first.
#[derive(Default)]
struct Waiting {
    begun: u64,
    calls: BTreeMap<u64, CancellationToken>,
}

impl Reception {
    async fn receive(&self, body: Body) -> Result<Vec<u8>, CallError> {
        let mut message = pin!(read(body, self.message_bytes_max));
        if let Poll::Ready(message) = futures::poll!(message.as_mut()) {
            return message;
        }
        let waiter = self.wait();
        tokio::select! {
            message = message => message,
            () = waiter.given_up.cancelled() => Err(Error::Overloaded { retry_after: self.retry_after }.into()),
            () = tokio::time::sleep(self.timeout) => Err(CallFault::RequestIncomplete.into()),
        }
    }

    fn wait(&self) -> Waiter<'_> {
        let given_up = CancellationToken::new();
        let mut waiting = self.waiting();
        if waiting.calls.len() >= self.waiting_max
            && let Some((_, oldest)) = waiting.calls.pop_first()
        {
            oldest.cancel();
        }
        waiting.begun += 1;
        let number = waiting.begun;
        waiting.calls.insert(number, given_up.clone());
        Waiter {
            reception: self,
            number,
            given_up,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that waits for its message, until it is dropped.
struct Waiter<'a> {
    reception: &'a Reception,
    number: u64,
    given_up: CancellationToken,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.reception.waiting().calls.remove(&self.number);
    }
}

/// A call's body, to its end.
async fn read(mut body: Body, message_bytes_max: usize) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            // The caller broke off. HTTP/2 gives the call up, or else it waits until its time is over.
            return pending().await;
        };
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
        let announced = announced_bytes(&bytes).unwrap_or(0);
        let arrived = bytes.len().saturating_sub(FRAME_HEADER_BYTES);
        if announced.max(arrived) > message_bytes_max {
            return Err(CallFault::MessageTooLarge.into());
        }
    }
    Ok(bytes)
}

/// The length that a message's header tells.
fn announced_bytes(bytes: &[u8]) -> Option<usize> {
    let (header, _) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>()?;
    let [_, length @ ..] = *header;
    usize::try_from(u32::from_be_bytes(length)).ok()
}
