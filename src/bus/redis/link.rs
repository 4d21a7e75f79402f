//! The connection to Redis: one at a time, for what is sent and for what is heard.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, PushInfo, PushKind, RedisError, Value};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::outgoing::{Outgoing, Queued, Waiting};
use super::server::Server;
use super::wire::{self, HINTS_MAX};
use super::{Dropped, RedisConfig, Shared};

/// The shortest pause between two attempts to connect.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// How many messages are sent at once.
const BATCH_MAX: usize = 128;
/// How many batches may wait for Redis' answer. Fewer than the driver's own queue holds (50), where they would lose their order.
const BATCHES_MAX: usize = 32;

pub(super) struct Link {
    shared: Arc<Shared>,
    server: Server,
    config: RedisConfig,
    waiting: Waiting,
}

/// Why the connection failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Redis' error code, or the driver's category, never an address or a password.
    #[error("{}", .0.code().unwrap_or(.0.category()))]
    Redis(#[from] RedisError),
    #[error("no answer in time")]
    Silent,
    #[error("the connection was closed")]
    Closed,
    #[error("the subscription is gone")]
    Unsubscribed,
}

/// What is remembered from one connection to the next, until one lasts.
struct Outage {
    /// The pause before the next attempt to connect.
    pause: Duration,
    is_logged: bool,
}

impl Outage {
    /// Logs the first failure only.
    fn log(&mut self, error: &LinkError) {
        if !std::mem::replace(&mut self.is_logged, true) {
            tracing::error!(
                reason = %error,
                "the bus between instances is down: instances read the store instead"
            );
        }
    }

    /// A pause, longer each time. Instances that lost the same server do not return all at once.
    fn next_pause(&mut self, pause_max: Duration) -> Duration {
        let jittered = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.pause = (2 * self.pause).min(pause_max);
        jittered
    }

    /// Ends the outage: a connection lasts.
    fn end(&mut self) {
        self.pause = RETRY_MIN;
        if std::mem::take(&mut self.is_logged) {
            log_up();
        }
    }
}

fn log_up() {
    tracing::info!("the bus between instances is up");
}

/// Completes with Redis' answer.
type Sent = BoxFuture<'static, Result<(), LinkError>>;

/// An open connection, subscribed to both channels.
struct Open {
    connection: MultiplexedConnection,
    closed: Arc<Notify>,
}

impl Link {
    pub(super) fn new(
        shared: Arc<Shared>,
        server: Server,
        config: RedisConfig,
        waiting: Waiting,
    ) -> Self {
        Self {
            shared,
            server,
            config,
            waiting,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut outage = Outage {
            pause: RETRY_MIN,
            is_logged: false,
        };
        while !stop.is_cancelled() {
            let opened = stop.run_until_cancelled(self.open()).await;
            let error = match opened {
                None => return,
                Some(Ok(open)) => {
                    // Hints were lost until now. The first heartbeat of `serve` says so.
                    self.shared.begin_epoch();
                    self.shared.set_up(true);
                    if !outage.is_logged {
                        log_up();
                    }
                    let served = self.serve(open, &mut outage, &stop).await;
                    self.shared.set_up(false);
                    self.drop_waiting();
                    served.err()
                }
                Some(Err(error)) => Some(error),
            };
            let Some(error) = error else { return };
            self.shared.metrics.bus_failures.inc();
            outage.log(&error);
            let pause = outage.next_pause(self.config.retry_max);
            let paused = stop.run_until_cancelled(tokio::time::sleep(pause));
            if paused.await.is_none() {
                return;
            }
        }
    }

    /// Connects, subscribes, and makes sure that messages arrive.
    async fn open(&self) -> Result<Open, LinkError> {
        let client = self.server.find(2 * self.config.timeout).await?;
        let opening = timeout(2 * self.config.timeout, self.connect(&client));
        opening.await.map_err(|_| LinkError::Silent)?
    }

    async fn connect(&self, client: &Client) -> Result<Open, LinkError> {
        let closed = Arc::new(Notify::new());
        let hear = {
            let (shared, closed) = (Arc::clone(&self.shared), Arc::clone(&closed));
            move |push: PushInfo| -> Result<(), io::Error> {
                match push.kind {
                    PushKind::Message => {
                        if let [_, Value::BulkString(text)] = push.data.as_slice() {
                            shared.receive(text);
                        }
                    }
                    PushKind::Disconnection | PushKind::Unsubscribe => closed.notify_one(),
                    _ => {}
                }
                Ok(())
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.timeout))
            .set_response_timeout(Some(self.config.timeout))
            .set_push_sender(hear);
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await?;
        let channels = &self.shared.channels;
        connection
            .subscribe(&[&channels.all, &channels.own])
            .await?;
        self.beat(connection.clone()).await?;
        Ok(Open { connection, closed })
    }

    /// Sends messages until the connection breaks, or `stop` is cancelled: then sends what is waiting and returns. Ends the outage
    /// when the connection has lasted for one interval of heartbeats.
    async fn serve(
        &mut self,
        open: Open,
        outage: &mut Outage,
        stop: &CancellationToken,
    ) -> Result<(), LinkError> {
        let Open { connection, closed } = open;
        let opened_at = Instant::now();
        let mut closed = std::pin::pin!(closed.notified());
        let mut sending = FuturesUnordered::<Sent>::new();
        let mut beating: Option<Sent> = None;
        let mut beats = interval(self.config.ping_interval);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                () = &mut closed => return Err(LinkError::Closed),
                () = stop.cancelled() => break,
                Some(sent) = sending.next(), if !sending.is_empty() => sent?,
                beaten = async { beating.as_mut()?.await.err() }, if beating.is_some() => {
                    beating = None;
                    if let Some(error) = beaten {
                        return Err(error);
                    }
                }
                _ = beats.tick(), if beating.is_none() => {
                    if opened_at.elapsed() >= self.config.ping_interval {
                        outage.end();
                    }
                    if self.shared.others.note_silence() {
                        self.shared.gaps.send_replace(());
                    }
                    beating = Some(self.beat(connection.clone()).boxed());
                }
                () = self.shared.epoch_began.notified(), if beating.is_none() => {
                    beating = Some(self.beat(connection.clone()).boxed());
                }
                count = self.waiting.recv_many(&mut batch, BATCH_MAX), if sending.len() < BATCHES_MAX => {
                    if count == 0 {
                        // The bus is gone.
                        stop.cancelled().await;
                        return Ok(());
                    }
                    sending.push(self.send(connection.clone(), std::mem::take(&mut batch)));
                }
            }
        }
        while let Ok(queued) = self.waiting.try_recv() {
            batch.push(queued);
        }
        if !batch.is_empty() {
            sending.push(self.send(connection, batch));
        }
        while let Some(sent) = sending.next().await {
            sent?;
        }
        Ok(())
    }

    /// Sends a batch. Keeps the order of relays; hints of one batch are sent first, together.
    fn send(&self, mut connection: MultiplexedConnection, batch: Vec<Queued>) -> Sent {
        let shared = Arc::clone(&self.shared);
        let mut commands = Pipeline::with_capacity(batch.len());
        let mut changed: Vec<_> = batch
            .iter()
            .filter_map(|queued| match &queued.outgoing {
                Outgoing::Changed(session_id) => Some(session_id),
                Outgoing::Relay { .. } => None,
            })
            .collect();
        changed.sort_unstable();
        changed.dedup();
        for hints in changed.chunks(HINTS_MAX) {
            let text = wire::hints(&shared.instance_id, hints);
            publish(&mut commands, &shared.channels.all, &text);
        }
        for queued in &batch {
            if let Outgoing::Relay { channels, text } = &queued.outgoing {
                for channel in channels {
                    publish(&mut commands, channel, text);
                }
            }
        }
        let mut unanswered = Unanswered { shared, batch };
        async move {
            commands.exec_async(&mut connection).await?;
            let sent = std::mem::take(&mut unanswered.batch).len();
            let sent = u64::try_from(sent).unwrap_or(u64::MAX);
            unanswered.shared.metrics.bus_sent.inc_by(sent);
            Ok(())
        }
        .boxed()
    }

    /// Publishes a heartbeat on both channels; fails if Redis reports no subscriber.
    fn beat(
        &self,
        mut connection: MultiplexedConnection,
    ) -> impl Future<Output = Result<(), LinkError>> + Send + use<> {
        let text = wire::beat(
            &self.shared.instance_id,
            self.shared.epoch.load(Ordering::Relaxed),
        );
        let channels = &self.shared.channels;
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("PUBLISH").arg(&channels.own).arg(&text);
        commands.cmd("PUBLISH").arg(&channels.all).arg(&text);
        async move {
            let heard_by: (u64, u64) = commands.query_async(&mut connection).await?;
            match heard_by {
                (0, _) | (_, 0) => Err(LinkError::Unsubscribed),
                _ => Ok(()),
            }
        }
    }

    fn drop_waiting(&mut self) {
        let mut dropped = 0;
        while self.waiting.try_recv().is_ok() {
            dropped += 1;
        }
        self.shared.count_dropped(Dropped::Down, dropped);
    }
}

fn publish(commands: &mut Pipeline, channel: &str, text: &[u8]) {
    commands.cmd("PUBLISH").arg(channel).arg(text).ignore();
}

/// A batch on its way. Counts as dropped what Redis does not answer.
struct Unanswered {
    shared: Arc<Shared>,
    batch: Vec<Queued>,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let count = self.batch.len();
        self.shared.count_dropped(Dropped::Unanswered, count);
    }
}
