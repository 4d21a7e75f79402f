//! Receives a call's whole message before the call takes an in-flight slot. A call whose message is not complete at once
//! waits, with a limit on the time and on the number of waiting calls. If too many wait, the oldest is refused.

use std::collections::BTreeMap;
use std::future;
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
use super::status::status_before_handler;
use super::{Config, HEALTH_MESSAGE_BYTES_MAX};
use crate::api::error::{CallError, CallFault};
use crate::domain::error::Error;

/// The bytes before a message: whether it is compressed, and its length.
pub(super) const FRAME_HEADER_BYTES: usize = 5;

/// How the body of a call that another edge makes becomes the method's message. The call carries it as an extension.
#[derive(Clone)]
pub struct Transcode(Arc<TranscodeBody>);

type TranscodeBody = dyn Fn(&[u8]) -> Result<Vec<u8>, CallError> + Send + Sync;

impl Transcode {
    /// Reads a message with `transcode`.
    pub fn new(
        transcode: impl Fn(&[u8]) -> Result<Vec<u8>, CallError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(transcode))
    }

    /// The message, framed as gRPC frames it.
    fn frame(&self, body: &[u8], message_bytes_max: usize) -> Result<Vec<u8>, CallError> {
        let message = (self.0)(body)?;
        let length = u32::try_from(message.len()).ok();
        let length = length.filter(|_| message.len() <= message_bytes_max);
        let length = length.ok_or(CallFault::MessageTooLarge)?.to_be_bytes();
        Ok([&[0], &length[..], &message].concat())
    }
}

#[derive(Clone)]
pub(super) struct MessageFirst {
    calls: Arc<PendingMessages>,
    /// Separate, so that callers without the secret cannot displace callers with it.
    health: Arc<PendingMessages>,
}

impl MessageFirst {
    pub(super) fn new(config: &Config) -> Self {
        let messages = |message_bytes_max| {
            Arc::new(PendingMessages {
                message_bytes_max,
                timeout: config.body_timeout,
                pending_max: config.in_flight_max,
                pending: Mutex::default(),
                retry_after: config.retry_after,
            })
        };
        Self {
            calls: messages(config.message_bytes_max),
            health: messages(HEALTH_MESSAGE_BYTES_MAX),
        }
    }
}

impl Middleware for MessageFirst {
    type Body = Body;

    fn call<S: Next>(&self, request: Request<Body>, next: &mut S) -> Answer<Body, S::Error> {
        if let Some(peer) = request.extensions().get::<Peer>() {
            peer.mark_called();
        }
        let path = request.uri().path();
        // A stream of messages is never complete, and an unknown method's message is not used.
        if !has_single_request(path) {
            return Box::pin(next.call(request));
        }
        let messages = if is_health(path) {
            Arc::clone(&self.health)
        } else {
            Arc::clone(&self.calls)
        };
        // Only this service has reported that it is ready; a clone may not be.
        let other = next.clone();
        let mut next = std::mem::replace(next, other);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let transcode = parts.extensions.get::<Transcode>();
            match messages.receive_body(body, transcode).await {
                Ok(message) => {
                    let body = Body::new(Full::from(message));
                    next.call(Request::from_parts(parts, body)).await
                }
                Err(error) => Ok(status_before_handler(parts.uri.path(), error).into_http()),
            }
        })
    }
}

/// Receives messages, and holds the calls that wait for theirs.
struct PendingMessages {
    message_bytes_max: usize,
    timeout: Duration,
    pending_max: usize,
    pending: Mutex<Pending>,
    retry_after: Duration,
}

/// The calls whose message has not arrived yet, oldest first.
#[derive(Default)]
struct Pending {
    begun: u64,
    calls: BTreeMap<u64, CancellationToken>,
}

impl PendingMessages {
    async fn receive_body(
        &self,
        body: Body,
        transcode: Option<&Transcode>,
    ) -> Result<Vec<u8>, CallError> {
        let is_framed = transcode.is_none();
        let body = self.receive_bytes(body, is_framed).await?;
        match transcode {
            Some(transcode) => transcode.frame(&body, self.message_bytes_max),
            None => Ok(body),
        }
    }

    async fn receive_bytes(&self, body: Body, is_framed: bool) -> Result<Vec<u8>, CallError> {
        let mut message = pin!(read_body(body, is_framed, self.message_bytes_max));
        if let Poll::Ready(message) = futures::poll!(message.as_mut()) {
            return message;
        }
        let call = self.add_pending();
        tokio::select! {
            message = message => message,
            () = call.displaced.cancelled() => Err(Error::Overloaded { retry_after: self.retry_after }.into()),
            () = tokio::time::sleep(self.timeout) => Err(CallFault::RequestIncomplete.into()),
        }
    }

    fn add_pending(&self) -> PendingCall<'_> {
        let displaced = CancellationToken::new();
        let mut pending = self.pending();
        if pending.calls.len() >= self.pending_max
            && let Some((_, oldest)) = pending.calls.pop_first()
        {
            oldest.cancel();
        }
        pending.begun += 1;
        let number = pending.begun;
        pending.calls.insert(number, displaced.clone());
        PendingCall {
            messages: self,
            number,
            displaced,
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that waits for its message until it is dropped.
struct PendingCall<'a> {
    messages: &'a PendingMessages,
    number: u64,
    displaced: CancellationToken,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.messages.pending().calls.remove(&self.number);
    }
}

/// Reads a call's body to its end.
async fn read_body(
    mut body: Body,
    is_framed: bool,
    message_bytes_max: usize,
) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            if !is_framed {
                return Err(CallFault::MessageMalformed.into());
            }
            // The stream broke. HTTP/2 drops the call, or else the timeout ends it.
            return future::pending().await;
        };
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
        let size = if is_framed {
            let arrived = bytes.len().saturating_sub(FRAME_HEADER_BYTES);
            announced_bytes(&bytes).unwrap_or(0).max(arrived)
        } else {
            bytes.len()
        };
        if size > message_bytes_max {
            return Err(CallFault::MessageTooLarge.into());
        }
    }
    Ok(bytes)
}

/// The length in the message's header.
fn announced_bytes(bytes: &[u8]) -> Option<usize> {
    let (header, _) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>()?;
    let [_, length @ ..] = *header;
    usize::try_from(u32::from_be_bytes(length)).ok()
}
