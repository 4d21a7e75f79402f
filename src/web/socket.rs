//! Signalling sockets: one participant's messages to the application and back. docs/signalling.md is the contract.

use std::num::NonZeroU32;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use super::{Edge, SocketConfig, join};
use crate::app::signalling::message::ServerMessage;
use crate::app::signalling::{CloseCode, Connection, Heard, Pass};
use crate::domain::error::{Error, ParticipantError};
use crate::domain::id::SessionId;
use crate::hub::connections::{Outbox, Outgoing};

/// A signalling message is small; a large one grows the buffer while it lasts.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// How many messages are read of a page that is being closed, one by one, until it answers.
const MESSAGES_WHILE_CLOSING_MAX: usize = 100;

#[derive(Default, Deserialize)]
pub(super) struct SocketQuery {
    /// The participant's slot.
    #[serde(default)]
    p: String,
}

/// `GET /join/{session_id}/ws`
pub(super) async fn open(
    State(edge): State<Edge>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<SocketQuery>, QueryRejection>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let (session_id, query) = (join::text(session_id), query.unwrap_or_default().0);
    // From before the connection becomes a socket, so that the server does not think it closed in between.
    let open = edge.connections.token();
    match enter(&edge, session_id, &query.p, &headers).await {
        Ok(pass) => upgrade
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(edge.config.socket.message_bytes_max)
            .max_frame_size(edge.config.socket.message_bytes_max)
            .on_upgrade(async move |socket| {
                converse(edge, pass, socket).await;
                drop(open);
            }),
        Err(refusal) => edge.assets.refuse(&refusal, &headers, &edge.config),
    }
}

async fn enter(
    edge: &Edge,
    session_id: String,
    slot: &str,
    headers: &HeaderMap,
) -> Result<Pass, Refusal> {
    if !edge.config.is_own_origin(headers) {
        return Err(Refusal::Origin);
    }
    let session_id = SessionId::parse(session_id).map_err(|_| Refusal::UnknownSession)?;
    join::bearer(edge, &session_id, slot, headers).await
}

/// How a conversation ended.
enum Ending {
    /// The participant left.
    Left,
    /// The service closes, with this code.
    Close(u16),
    /// The connection broke, or the page closed it without leaving.
    Lost,
}

async fn converse(edge: Edge, pass: Pass, mut socket: WebSocket) {
    let _counted = edge.app.signalling.count_connection();
    let began = Instant::now();
    let code = match hold(&edge, &pass, &mut socket).await {
        Ending::Left => Some(CloseCode::Left.number()),
        Ending::Close(code) => Some(code),
        Ending::Lost => None,
    };
    edge.app.signalling.count_ending(code);
    tracing::info!(
        session_id = %pass.session_id,
        role = pass.role.name(),
        close_code = code,
        connected_secs = began.elapsed().as_secs(),
        "signalling ended"
    );
    if let Some(code) = code {
        close(socket, &edge.config.socket, code).await;
    }
}

/// From coming in to the end.
async fn hold(edge: &Edge, pass: &Pass, socket: &mut WebSocket) -> Ending {
    let config = &edge.config.socket;
    let (queue, outgoing) = mpsc::channel(config.queue_max);
    let too_slow = CancellationToken::new();
    let outbox = Outbox {
        queue,
        too_slow: too_slow.clone(),
    };
    let connection = match edge.app.signalling.connect(pass, outbox).await {
        Ok(connection) => connection,
        Err(error) => return Ending::Close(close_code(&error).number()),
    };
    let mut conversation = Conversation {
        edge,
        connection: &connection,
        socket,
        outgoing,
        too_slow,
        flood: flood_limit(config),
        heard: Instant::now(),
    };
    let ending = conversation.run().await;
    let heard = conversation.heard;
    let left = matches!(ending, Ending::Left);
    edge.app.signalling.disconnect(connection, left, heard);
    ending
}

/// The close code for an error that came up while connecting, after the handshake.
fn close_code(error: &Error) -> CloseCode {
    match error.for_participant() {
        ParticipantError::SessionEnded => CloseCode::Ended,
        ParticipantError::Removed => CloseCode::Removed,
        ParticipantError::SessionFull => CloseCode::Full,
        ParticipantError::Busy => CloseCode::StoreAway,
        ParticipantError::TryAgain => CloseCode::GoingAway,
        ParticipantError::NotInvited
        | ParticipantError::NotOpenYet { .. }
        | ParticipantError::WindowClosed => CloseCode::NotLetIn,
        // Connecting asks for nothing that these answer.
        ParticipantError::SessionUnknown
        | ParticipantError::NotAllowed
        | ParticipantError::ParticipantUnknown
        | ParticipantError::Fault => CloseCode::Internal,
    }
}

fn flood_limit(config: &SocketConfig) -> DefaultDirectRateLimiter {
    let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::per_second(number(config.messages_per_second));
    RateLimiter::direct(quota.allow_burst(number(config.messages_burst)))
}

/// Sends the close code, and reads what the page had under way until it answers. If it does not, or goes on sending, the
/// connection lingers for a while after the socket is dropped (`lingering`), so that the code arrives all the same.
async fn close(mut socket: WebSocket, config: &SocketConfig, code: u16) {
    let frame = CloseFrame {
        code,
        reason: "".into(),
    };
    // A page that does not take the close code is left without one.
    let _ = timeout(config.send_timeout, async {
        socket.send(Message::Close(Some(frame))).await?;
        for _ in 0..MESSAGES_WHILE_CLOSING_MAX {
            if !matches!(socket.recv().await, Some(Ok(_))) {
                break;
            }
        }
        Ok::<_, axum::Error>(())
    })
    .await;
}

struct Conversation<'a> {
    edge: &'a Edge,
    connection: &'a Connection,
    socket: &'a mut WebSocket,
    outgoing: mpsc::Receiver<Outgoing>,
    too_slow: CancellationToken,
    flood: DefaultDirectRateLimiter,
    heard: Instant,
}

impl Conversation<'_> {
    async fn run(&mut self) -> Ending {
        let config = &self.edge.config.socket;
        let mut pings = interval(config.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ending = tokio::select! {
                biased;
                () = self.edge.closing.cancelled() => Some(Ending::Close(CloseCode::GoingAway.number())),
                () = self.too_slow.cancelled() => Some(Ending::Close(CloseCode::TooSlow.number())),
                outgoing = self.outgoing.recv() => match outgoing {
                    Some(Outgoing::Text(text)) => self.send(Message::text(&*text)).await,
                    Some(Outgoing::Close(code)) => Some(Ending::Close(code)),
                    None => Some(Ending::Lost),
                },
                incoming = self.socket.recv() => self.hear(incoming).await,
                _ = pings.tick() => {
                    if self.heard.elapsed() > config.silence_max {
                        Some(Ending::Lost)
                    } else {
                        self.send(Message::Ping(Vec::new().into())).await
                    }
                }
            };
            if let Some(ending) = ending {
                return ending;
            }
        }
    }

    async fn hear(&mut self, incoming: Option<Result<Message, axum::Error>>) -> Option<Ending> {
        let message = match incoming {
            Some(Ok(message)) => message,
            Some(Err(error)) if is_too_big(&error) => {
                return Some(Ending::Close(CloseCode::MessageTooBig.number()));
            }
            Some(Err(_)) | None => return Some(Ending::Lost),
        };
        self.heard = Instant::now();
        if matches!(message, Message::Close(_)) {
            return Some(Ending::Lost);
        }
        if self.flood.check().is_err() {
            return Some(Ending::Close(CloseCode::Flood.number()));
        }
        let Message::Text(text) = message else {
            return None;
        };
        match self.edge.app.signalling.hear(self.connection, &text).await {
            Ok(Heard::Continue) => None,
            Ok(Heard::Pinged) => self.send(Message::text(&*ServerMessage::Pong.text())).await,
            Ok(Heard::Leave) => Some(Ending::Left),
            Err(refused) => {
                let error = ServerMessage::Error {
                    code: refused.code,
                    message: refused.message,
                };
                self.send(Message::text(&*error.text())).await
            }
        }
    }

    async fn send(&mut self, message: Message) -> Option<Ending> {
        let sending = timeout(
            self.edge.config.socket.send_timeout,
            self.socket.send(message),
        );
        tokio::select! {
            () = self.too_slow.cancelled() => Some(Ending::Close(CloseCode::TooSlow.number())),
            sent = sending => match sent {
                Ok(Ok(())) => None,
                Ok(Err(_)) => Some(Ending::Lost),
                Err(_) => Some(Ending::Close(CloseCode::TooSlow.number())),
            },
        }
    }
}

fn is_too_big(error: &axum::Error) -> bool {
    use tungstenite::Error as WsError;
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(WsError::Capacity(_)) = error.downcast_ref::<WsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_error_while_connecting_says_what_to_do() {
        let retry_after = Duration::from_secs(1);
        for (error, code) in [
            (Error::Contention { retry_after }, CloseCode::GoingAway),
            (Error::ShuttingDown { retry_after }, CloseCode::GoingAway),
            (
                Error::StoreUnavailable { retry_after },
                CloseCode::StoreAway,
            ),
            (Error::Overloaded { retry_after }, CloseCode::StoreAway),
            (Error::Internal, CloseCode::Internal),
            (Error::ParticipantRemoved, CloseCode::Removed),
            (Error::SessionFull, CloseCode::Full),
        ] {
            assert_eq!(close_code(&error), code, "{error:?}");
        }
    }
}
