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

use super::page_error::PageError;
use super::{Edge, SocketConfig, cookie, join};
use crate::app::signalling::{
    AuthorizedParticipant, CloseCode, DisconnectCause, MessageOutcome, Outbox, PageAddress,
    ParticipantConnection, ToPage,
};
use crate::domain::id::SessionId;

/// A signalling message is small; a large one grows the buffer while it lasts.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// How many messages are read from a page after the close code, until it answers.
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
    let (session_id, query) = (join::path_text(session_id), query.unwrap_or_default().0);
    // Taken before the upgrade, so that the server does not count the connection as closed in between.
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
        Err(error) => edge.assets.error_page(&error, &headers, &edge.config),
    }
}

async fn authorize(
    edge: &Edge,
    session_id: String,
    slot: &str,
    headers: &HeaderMap,
) -> Result<AuthorizedParticipant, PageError> {
    if !edge.config.is_own_origin(headers) {
        return Err(PageError::Origin);
    }
    let session_id = SessionId::parse(session_id).map_err(|_| PageError::UnknownSession)?;
    join::authorize_cookie(edge, &session_id, slot, headers).await
}

/// How a connection ended.
enum ConnectionEnd {
    /// The participant left.
    Left,
    /// The service closes the connection, with this code.
    Close(CloseCode),
    /// The connection broke, or the page closed it without leaving.
    Lost,
}

async fn serve_socket(edge: Edge, participant: AuthorizedParticipant, mut socket: WebSocket) {
    let _counter = edge.signalling.count_connection();
    let began = Instant::now();
    let session_id = participant.identity.session_id.clone();
    let role = participant.identity.role;
    let code = match run_connection(&edge, participant, &mut socket).await {
        ConnectionEnd::Left => Some(CloseCode::Left),
        ConnectionEnd::Close(code) => Some(code),
        ConnectionEnd::Lost => None,
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
        close_socket(socket, &edge.config.socket, code).await;
    }
}

/// Connects the participant, and serves the connection until it ends.
async fn run_connection(
    edge: &Edge,
    participant: AuthorizedParticipant,
    socket: &mut WebSocket,
) -> ConnectionEnd {
    let config = &edge.config.socket;
    let identity = participant.identity;
    let (session_id, slot) = (
        &identity.session_id,
        cookie::slot(&identity.session_id, &identity.user_id),
    );
    let page = PageAddress {
        door: edge.config.links.door_path(session_id, &slot).into(),
        queue_max: config.queue_max,
    };
    let connecting = edge.signalling.connect_participant(identity, page);
    let (connection, outbox) = match connecting.await {
        Ok(connected) => connected,
        Err(error) => return ConnectionEnd::Close(CloseCode::of(&error)),
    };
    let mut socket_loop = SocketLoop {
        edge,
        connection: &connection,
        socket,
        outbox,
        flood: flood_limit(config),
        last_message_at: Instant::now(),
    };
    let end = socket_loop.run().await;
    let last_message_at = socket_loop.last_message_at;
    let departure = match end {
        ConnectionEnd::Left => DisconnectCause::Left,
        ConnectionEnd::Close(_) | ConnectionEnd::Lost => DisconnectCause::Lost { last_message_at },
    };
    edge.signalling
        .disconnect_participant(connection, departure);
    end
}

fn flood_limit(config: &SocketConfig) -> DefaultDirectRateLimiter {
    let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::per_second(number(config.messages_per_second));
    RateLimiter::direct(quota.allow_burst(number(config.messages_burst)))
}

/// Sends the close code, and reads until the page answers. If it does not, the connection lingers for a while after the
/// socket is dropped (`lingering`), so that the client still receives the code.
async fn close_socket(mut socket: WebSocket, config: &SocketConfig, code: CloseCode) {
    let frame = CloseFrame {
        code: code.number(),
        reason: "".into(),
    };
    // A page that does not read gets no close code.
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

/// The loop that serves one connection.
struct SocketLoop<'a> {
    edge: &'a Edge,
    connection: &'a ParticipantConnection,
    socket: &'a mut WebSocket,
    outbox: Outbox,
    flood: DefaultDirectRateLimiter,
    /// When the page last sent anything.
    last_message_at: Instant,
}

impl SocketLoop<'_> {
    async fn run(&mut self) -> ConnectionEnd {
        let config = &self.edge.config.socket;
        let mut pings = interval(config.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let end = tokio::select! {
                biased;
                () = self.edge.closing.cancelled() => Some(ConnectionEnd::Close(CloseCode::GoingAway)),
                outgoing = self.outbox.next() => match outgoing {
                    Some(ToPage::Text(text)) => self.send_message(Message::text(&*text)).await,
                    Some(ToPage::Close(code)) => Some(ConnectionEnd::Close(code)),
                    None => Some(ConnectionEnd::Lost),
                },
                incoming = self.socket.recv() => self.receive_message(incoming).await,
                _ = pings.tick() => {
                    if self.last_message_at.elapsed() > config.silence_max {
                        Some(ConnectionEnd::Lost)
                    } else {
                        self.send_message(Message::Ping(Vec::new().into())).await
                    }
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    async fn receive_message(
        &mut self,
        incoming: Option<Result<Message, axum::Error>>,
    ) -> Option<ConnectionEnd> {
        let message = match incoming {
            Some(Ok(message)) => message,
            Some(Err(error)) if is_too_big(&error) => {
                return Some(ConnectionEnd::Close(CloseCode::MessageTooBig));
            }
            Some(Err(_)) | None => return Some(ConnectionEnd::Lost),
        };
        self.last_message_at = Instant::now();
        if matches!(message, Message::Close(_)) {
            return Some(ConnectionEnd::Lost);
        }
        if self.flood.check().is_err() {
            return Some(ConnectionEnd::Close(CloseCode::Flood));
        }
        let Message::Text(text) = message else {
            return None;
        };
        let handling = self.edge.signalling.handle_message(self.connection, &text);
        match handling.await {
            MessageOutcome::Continue => None,
            MessageOutcome::Reply(text) => self.send_message(Message::text(&*text)).await,
            MessageOutcome::Leave => Some(ConnectionEnd::Left),
        }
    }

    async fn send_message(&mut self, message: Message) -> Option<ConnectionEnd> {
        let sending = timeout(
            self.edge.config.socket.send_timeout,
            self.socket.send(message),
        );
        tokio::select! {
            () = self.outbox.overflowed() => Some(ConnectionEnd::Close(CloseCode::TooSlow)),
            sent = sending => match sent {
                Ok(Ok(())) => None,
                Ok(Err(_)) => Some(ConnectionEnd::Lost),
                Err(_) => Some(ConnectionEnd::Close(CloseCode::TooSlow)),
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
