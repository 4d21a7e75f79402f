//! A participant's WebSocket: reads, pings, limits input, and writes from a bounded queue. What is said on it is a matter of its
//! [`Dialect`].

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::signalling::{
    CloseCode, DisconnectCause, MessageOutcome, Outbox, PageAddress, ParticipantConnection,
    ParticipantIdentity, Signalling, ToPage,
};

/// A signalling message is small; a large one grows the buffer while it lasts.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// How many messages are read from a page after the close code, until it answers.
const MESSAGES_WHILE_CLOSING_MAX: usize = 100;

/// Settings of participants' sockets.
#[derive(Debug, Clone)]
pub struct Config {
    /// The largest message.
    pub message_bytes_max: usize,
    /// Messages that a participant may send per second, on average.
    pub messages_per_second: u32,
    /// Messages that a participant may send at once.
    pub messages_burst: u32,
    /// How many messages may wait for a page.
    pub queue_max: usize,
    /// How often a page is pinged.
    pub ping_interval: Duration,
    /// How long a page may be silent before its connection counts as lost.
    pub silence_max: Duration,
    /// How long a message may take to be written.
    pub send_timeout: Duration,
}

/// What the pages of one kind say and are told.
pub trait Dialect: Send {
    /// Whether a participant whose connection broke has left. Otherwise, they may come back as the same participant.
    const LOST_IS_LEFT: bool;

    /// What a page is sent for a message of the service, in this order.
    fn translate(&mut self, message: Arc<str>) -> [Option<Arc<str>>; 2];

    /// Executes a message of a page.
    fn handle(
        &mut self,
        signalling: &Signalling,
        connection: &ParticipantConnection,
        text: &str,
    ) -> impl Future<Output = MessageOutcome> + Send;

    /// The code and the reason of a close.
    fn close(&self, code: CloseCode) -> (u16, &'static str);
}

/// A participant's page, and how it is served.
pub struct Page<D> {
    /// The participant.
    pub identity: ParticipantIdentity,
    /// The path of the door for this participant; empty if their page cannot use it.
    pub door: Arc<str>,
    /// What it speaks.
    pub dialect: D,
    /// What it connects to.
    pub signalling: Arc<Signalling>,
    /// The settings.
    pub config: Config,
    /// Cancelled when connections must end.
    pub closing: CancellationToken,
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

/// An upgrade with the limits of a participant's socket.
pub fn limited(upgrade: WebSocketUpgrade, config: &Config) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(config.message_bytes_max)
        .max_frame_size(config.message_bytes_max)
}

/// Serves a page until its connection ends.
pub async fn serve<D: Dialect>(mut socket: WebSocket, mut page: Page<D>) {
    let _counter = page.signalling.count_connection();
    let began = Instant::now();
    let code = match run_connection(&mut page, &mut socket).await {
        ConnectionEnd::Left => Some(CloseCode::Left),
        ConnectionEnd::Close(code) => Some(code),
        ConnectionEnd::Lost => None,
    };
    page.signalling.count_connection_end(code);
    tracing::info!(
        session_id = page.identity.session_id.as_str(),
        role = page.identity.role.name(),
        close_code = code.map(CloseCode::number),
        connected_secs = began.elapsed().as_secs(),
        "signalling ended"
    );
    if let Some(code) = code {
        close(socket, page.config.send_timeout, page.dialect.close(code)).await;
    }
}

/// Connects the participant, and serves the connection until it ends.
async fn run_connection<D: Dialect>(page: &mut Page<D>, socket: &mut WebSocket) -> ConnectionEnd {
    let address = PageAddress {
        door: Arc::clone(&page.door),
        queue_max: page.config.queue_max,
    };
    let signalling = Arc::clone(&page.signalling);
    let connecting = signalling.connect_participant(page.identity.clone(), address);
    let (connection, outbox) = match connecting.await {
        Ok(connected) => connected,
        Err(error) => return ConnectionEnd::Close(CloseCode::of(&error)),
    };
    let flood = flood_limit(&page.config);
    let mut socket_loop = SocketLoop {
        page,
        connection: &connection,
        socket,
        outbox,
        flood,
        last_message_at: Instant::now(),
    };
    let end = socket_loop.run().await;
    let last_message_at = socket_loop.last_message_at;
    let lost = DisconnectCause::Lost { last_message_at };
    let departure = match end {
        ConnectionEnd::Left => DisconnectCause::Left,
        // Participants of an instance that stops come back to another one.
        ConnectionEnd::Close(CloseCode::GoingAway) => lost,
        ConnectionEnd::Close(_) | ConnectionEnd::Lost if D::LOST_IS_LEFT => DisconnectCause::Left,
        ConnectionEnd::Close(_) | ConnectionEnd::Lost => lost,
    };
    signalling.disconnect_participant(connection, departure);
    end
}

fn flood_limit(config: &Config) -> DefaultDirectRateLimiter {
    let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::per_second(number(config.messages_per_second));
    RateLimiter::direct(quota.allow_burst(number(config.messages_burst)))
}

/// Closes a socket and reads until the page answers, for at most `limit`.
pub async fn close(mut socket: WebSocket, limit: Duration, (code, reason): (u16, &'static str)) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    // A page that does not read gets no close code.
    let _ = timeout(limit, async {
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
struct SocketLoop<'a, D> {
    page: &'a mut Page<D>,
    connection: &'a ParticipantConnection,
    socket: &'a mut WebSocket,
    outbox: Outbox,
    flood: DefaultDirectRateLimiter,
    /// When the page last sent anything.
    last_message_at: Instant,
}

impl<D: Dialect> SocketLoop<'_, D> {
    async fn run(&mut self) -> ConnectionEnd {
        let mut pings = interval(self.page.config.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let closing = self.page.closing.clone();
        loop {
            let end = tokio::select! {
                biased;
                () = closing.cancelled() => Some(ConnectionEnd::Close(CloseCode::GoingAway)),
                outgoing = self.outbox.next() => match outgoing {
                    Some(ToPage::Text(text)) => self.send_translated(text).await,
                    Some(ToPage::Close(code)) => Some(ConnectionEnd::Close(code)),
                    None => Some(ConnectionEnd::Lost),
                },
                incoming = self.socket.recv() => self.receive_message(incoming).await,
                _ = pings.tick() => {
                    if self.last_message_at.elapsed() > self.page.config.silence_max {
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
        let signalling = Arc::clone(&self.page.signalling);
        let handling = (self.page.dialect).handle(&signalling, self.connection, &text);
        match handling.await {
            MessageOutcome::Continue => None,
            MessageOutcome::Reply(text) => self.send_message(Message::text(&*text)).await,
            MessageOutcome::Leave => Some(ConnectionEnd::Left),
        }
    }

    async fn send_translated(&mut self, text: Arc<str>) -> Option<ConnectionEnd> {
        for text in self.page.dialect.translate(text).into_iter().flatten() {
            let end = self.send_message(Message::text(&*text)).await;
            if end.is_some() {
                return end;
            }
        }
        None
    }

    async fn send_message(&mut self, message: Message) -> Option<ConnectionEnd> {
        let sending = timeout(self.page.config.send_timeout, self.socket.send(message));
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
