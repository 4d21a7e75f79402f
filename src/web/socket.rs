//! Signalling sockets: one participant's messages to the application and back. docs/signalling.md is the contract.

use std::num::NonZeroU32;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::refusal::Refusal;
use super::{Edge, SocketConfig, join};
use crate::app::signalling::{
    AuthorizedParticipant, CloseCode, DisconnectCause, MessageOutcome, Outbox,
    ParticipantConnection, ToPage,
};
use crate::domain::id::SessionId;

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
    match authorize(&edge, session_id, &query.p, &headers).await {
        Ok(participant) => upgrade
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(edge.config.socket.message_bytes_max)
            .max_frame_size(edge.config.socket.message_bytes_max)
            .on_upgrade(async move |socket| {
                serve_socket(edge, participant, socket).await;
                drop(open);
            }),
        Err(refusal) => edge.assets.refuse(&refusal, &headers, &edge.config),
    }
}

async fn authorize(
    edge: &Edge,
    session_id: String,
    slot: &str,
    headers: &HeaderMap,
) -> Result<AuthorizedParticipant, Refusal> {
    if !edge.config.is_own_origin(headers) {
        return Err(Refusal::Origin);
    }
    let session_id = SessionId::parse(session_id).map_err(|_| Refusal::UnknownSession)?;
    join::bearer(edge, &session_id, slot, headers).await
}

/// How a connection ended.
enum Ending {
    /// The participant left.
    Left,
    /// The service closes it, with this code.
    Close(CloseCode),
    /// The connection broke, or the page closed it without leaving.
    Lost,
}

async fn serve_socket(edge: Edge, participant: AuthorizedParticipant, mut socket: WebSocket) {
    let _counted = edge.signalling.count_connection();
    let began = Instant::now();
    let session_id = participant.identity.session_id.clone();
    let role = participant.identity.role;
    let code = match run_connection(&edge, participant, &mut socket).await {
        Ending::Left => Some(CloseCode::Left),
        Ending::Close(code) => Some(code),
        Ending::Lost => None,
    };
    edge.signalling.count_connection_end(code);
    tracing::info!(
        session_id = session_id.as_str(),
        role = role.name(),
        close_code = code.map(CloseCode::number),
        connected_secs = began.elapsed().as_secs(),
        "signalling ended"
    );
    if let Some(code) = code {
        close(socket, &edge.config.socket, code).await;
    }
}

/// Connects the participant, and serves the connection until it ends.
async fn run_connection(
    edge: &Edge,
    participant: AuthorizedParticipant,
    socket: &mut WebSocket,
) -> Ending {
    let config = &edge.config.socket;
    let connecting = edge
        .signalling
        .connect_participant(participant, config.queue_max);
    let (connection, outbox) = match connecting.await {
        Ok(connected) => connected,
        Err(error) => return Ending::Close(CloseCode::of(&error)),
    };
    let mut serving = Serving {
        edge,
        connection: &connection,
        socket,
        outbox,
        flood: flood_limit(config),
        last_message_at: Instant::now(),
    };
    let ending = serving.run().await;
    let last_message_at = serving.last_message_at;
    let departure = match ending {
        Ending::Left => DisconnectCause::Left,
        Ending::Close(_) | Ending::Lost => DisconnectCause::Lost { last_message_at },
    };
    edge.signalling
        .disconnect_participant(connection, departure);
    ending
}

fn flood_limit(config: &SocketConfig) -> DefaultDirectRateLimiter {
    let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::per_second(number(config.messages_per_second));
    RateLimiter::direct(quota.allow_burst(number(config.messages_burst)))
}

/// Sends the close code, and reads what the page had under way until it answers. If it does not, or goes on sending, the
/// connection lingers for a while after the socket is dropped (`lingering`), so that the code arrives all the same.
async fn close(mut socket: WebSocket, config: &SocketConfig, code: CloseCode) {
    let frame = CloseFrame {
        code: code.number(),
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

/// A connection while it is served.
struct Serving<'a> {
    edge: &'a Edge,
    connection: &'a ParticipantConnection,
    socket: &'a mut WebSocket,
    outbox: Outbox,
    flood: DefaultDirectRateLimiter,
    /// When the page last sent anything.
    last_message_at: Instant,
}

impl Serving<'_> {
    async fn run(&mut self) -> Ending {
        let config = &self.edge.config.socket;
        let mut pings = interval(config.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ending = tokio::select! {
                biased;
                () = self.edge.closing.cancelled() => Some(Ending::Close(CloseCode::GoingAway)),
                outgoing = self.outbox.next() => match outgoing {
                    Some(ToPage::Text(text)) => self.send(Message::text(&*text)).await,
                    Some(ToPage::Close(code)) => Some(Ending::Close(code)),
                    None => Some(Ending::Lost),
                },
                incoming = self.socket.recv() => self.receive(incoming).await,
                _ = pings.tick() => {
                    if self.last_message_at.elapsed() > config.silence_max {
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

    async fn receive(&mut self, incoming: Option<Result<Message, axum::Error>>) -> Option<Ending> {
        let message = match incoming {
            Some(Ok(message)) => message,
            Some(Err(error)) if is_too_big(&error) => {
                return Some(Ending::Close(CloseCode::MessageTooBig));
            }
            Some(Err(_)) | None => return Some(Ending::Lost),
        };
        self.last_message_at = Instant::now();
        if matches!(message, Message::Close(_)) {
            return Some(Ending::Lost);
        }
        if self.flood.check().is_err() {
            return Some(Ending::Close(CloseCode::Flood));
        }
        let Message::Text(text) = message else {
            return None;
        };
        let handling = self.edge.signalling.handle_message(self.connection, &text);
        match handling.await {
            MessageOutcome::Continue => None,
            MessageOutcome::Reply(text) => self.send(Message::text(&*text)).await,
            MessageOutcome::Leave => Some(Ending::Left),
        }
    }

    async fn send(&mut self, message: Message) -> Option<Ending> {
        let sending = timeout(
            self.edge.config.socket.send_timeout,
            self.socket.send(message),
        );
        tokio::select! {
            () = self.outbox.overflowed() => Some(Ending::Close(CloseCode::TooSlow)),
            sent = sending => match sent {
                Ok(Ok(())) => None,
                Ok(Err(_)) => Some(Ending::Lost),
                Err(_) => Some(Ending::Close(CloseCode::TooSlow)),
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
