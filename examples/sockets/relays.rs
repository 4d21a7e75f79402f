//! What carries a message from one process to another by the same Redis, to compare the service with: bare publish/subscribe, the
//! service's bus alone, and the least that pages on two processes need, a bridge from WebSockets to publish/subscribe.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::{Message as Frame, WebSocket};
use axum::extract::{Path, State, WebSocketUpgrade};
use axum::routing::get;
use futures::StreamExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, AsyncConnectionConfig, PushInfo, PushKind, Value};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use video_session::bus::redis::{RedisBus, RedisConfig};
use video_session::bus::{Bus as _, Delivery, Message, Relay, RelayKind};
use video_session::domain::id::{SessionId, UserId};
use video_session::telemetry::metrics::Metrics;

use crate::page::{self, Page};
use crate::service::Server;
use crate::{Outcome, TALK};

/// As long as a relay between instances.
const MESSAGE: [u8; 480] = [b'x'; 480];

/// A publisher and a subscriber, each on a connection of its own: says something and hears it, again and again.
pub(crate) async fn publish_and_hear(redis: &str, n: usize) -> Outcome<Vec<Duration>> {
    let client = redis::Client::open(format!("redis://{redis}"))?;
    let mut publisher = client.get_multiplexed_async_connection().await?;
    let mut subscriber = client.get_async_pubsub().await?;
    let channel = format!("pair-{n}");
    subscriber.subscribe(&channel).await?;
    let mut heard = subscriber.on_message();
    let (started, mut delays) = (Instant::now(), Vec::new());
    while started.elapsed() < TALK {
        let said = Instant::now();
        let _: u64 = publisher.publish(&channel, &MESSAGE).await?;
        heard.next().await.ok_or("the subscription ended")?;
        delays.push(said.elapsed());
    }
    Ok(delays)
}

/// The service's bus alone, without pages: one end relays what is parsed already, a subscription at the other end hears it.
pub(crate) struct Buses {
    here: RedisBus,
    there: RedisBus,
    stop: CancellationToken,
}

impl Drop for Buses {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Buses {
    pub(crate) async fn start(redis: &str) -> Outcome<Self> {
        let config = RedisConfig {
            url: format!("redis://{redis}").into(),
            sentinels: None,
            ca: None,
            channel_prefix: "bare".into(),
            timeout: Duration::from_secs(2),
            ping_interval: Duration::from_secs(1),
            retry_max: Duration::from_secs(1),
            queue_max: 4096,
            queue_bytes_max: 16 << 20,
        };
        let stop = CancellationToken::new();
        let open = async |name| {
            let (bus, link) = RedisBus::new(&config, name, Arc::new(Metrics::default()))?;
            tokio::spawn(link.run(stop.clone()));
            bus.is_up().wait_for(|is_up| *is_up).await?;
            Outcome::Ok(bus)
        };
        let (here, there) = (open("here").await?, open("there").await?);
        Ok(Self { here, there, stop })
    }

    pub(crate) async fn relay_and_hear(&self, n: usize) -> Outcome<Vec<Duration>> {
        let session_id = SessionId::from_stored(format!("sess_{n}"));
        let mut relays = self.there.subscribe_relays(&session_id);
        let mut payload: serde_json::Map<_, _> = serde_json::from_str(page::MESSAGE)?;
        payload.remove("type");
        let relay = Relay {
            session_id,
            from: UserId::from_stored("doctor".into()),
            to: Some(UserId::from_stored("patient".into())),
            kind: RelayKind::IceCandidate,
            version: 7,
            payload,
        };
        let (started, mut delays) = (Instant::now(), Vec::new());
        while started.elapsed() < TALK {
            let said = Instant::now();
            let (relay, instances) = (relay.clone(), vec!["there".to_owned()]);
            self.here.publish(Message::Relay { relay, instances });
            if !matches!(relays.next().await, Delivery::Relay(_)) {
                return Err("a relay was lost".into());
            }
            delays.push(said.elapsed());
        }
        Ok(delays)
    }
}

/// What is heard of each channel goes to the socket that asked for it.
type Sockets = Arc<Mutex<HashMap<Vec<u8>, mpsc::Sender<Vec<u8>>>>>;

#[derive(Clone)]
struct Bridge {
    sockets: Sockets,
    connection: MultiplexedConnection,
}

/// Two bridges, each a process of its own, as the service's instances are.
pub(crate) async fn talk_by_bridge(redis: &str, pairs: usize) -> Outcome<Vec<Duration>> {
    let bridges = [Server::start_bridge(redis)?, Server::start_bridge(redis)?];
    let mut pages = Vec::new();
    for n in 0..pairs {
        for (place, (hears, says)) in [("a", "b"), ("b", "a")].into_iter().enumerate() {
            let bridge = &bridges[(n + place) % bridges.len()].addr;
            let url = format!("ws://{bridge}/{hears}{n}/{says}{n}");
            let mut page = Page::open(&url, None).await?;
            page.await_type("ready").await?;
            pages.push(page);
        }
    }
    let talks = pages.chunks_exact_mut(2).map(|pair| Page::talk(pair, TALK));
    Ok(futures::future::try_join_all(talks).await?.concat())
}

pub(crate) async fn serve_bridge(redis: &str) -> Outcome<()> {
    let sockets = Sockets::default();
    let hear = {
        let sockets = Arc::clone(&sockets);
        move |push: PushInfo| {
            if push.kind == PushKind::Message
                && let [Value::BulkString(channel), Value::BulkString(text)] = push.data.as_slice()
                && let Some(socket) = lock(&sockets).get(channel)
            {
                // The pages of the measurement wait for each message.
                let _ = socket.try_send(text.clone());
            }
            Ok::<_, Infallible>(())
        }
    };
    let client = redis::Client::open(format!("redis://{redis}/?protocol=resp3"))?;
    let config = AsyncConnectionConfig::new().set_push_sender(hear);
    let connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let state = Bridge {
        sockets,
        connection,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    let upgrade = |State(bridge), Path(channels), upgrade: WebSocketUpgrade| async {
        let upgrade = upgrade.read_buffer_size(4096).write_buffer_size(0);
        upgrade.on_upgrade(|socket| bridge_socket(socket, bridge, channels))
    };
    let router = Router::new().route("/{hears}/{says}", get(upgrade));
    axum::serve(listener, router.with_state(state)).await?;
    Ok(())
}

async fn bridge_socket(mut socket: WebSocket, mut bridge: Bridge, (hears, says): (String, String)) {
    let (sender, mut heard) = mpsc::channel(64);
    lock(&bridge.sockets).insert(hears.clone().into_bytes(), sender);
    if bridge.connection.subscribe(&hears).await.is_err() {
        return;
    }
    let ready = socket.send(Frame::text(r#"{"type":"ready"}"#)).await;
    let mut is_open = ready.is_ok();
    while is_open {
        is_open = tokio::select! {
            Some(text) = heard.recv() => match String::from_utf8(text) {
                Ok(text) => socket.send(Frame::text(text)).await.is_ok(),
                Err(_) => false,
            },
            Some(Ok(Frame::Text(text))) = socket.recv() => {
                let said: redis::RedisResult<u64> = bridge.connection.publish(&says, text.as_bytes()).await;
                said.is_ok()
            }
            else => false,
        };
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
