//! The bus between instances, on a real Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use redis::AsyncCommands as _;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use video_session::bus::redis::{RedisBus, RedisConfig};
use video_session::bus::{Bus, ChangeSubscription, Delivery, Message, Relay, RelaySubscription};
use video_session::domain::id::SessionId;
use video_session::telemetry::metrics::Metrics;

use crate::buses::{LIMIT, THERE, expect_failures, relay, session, suite};
use crate::redis::{RedisServer, SelfSigned};
use crate::toxiproxy::{Fault, Toxiproxy};

/// One instance's end of the bus.
pub(crate) struct Instance {
    pub(crate) bus: RedisBus,
    metrics: Arc<Metrics>,
    _stop: DropGuard,
}

pub(crate) fn config(url: String) -> RedisConfig {
    RedisConfig {
        url: SecretString::from(url),
        sentinels: None,
        ca: None,
        channel_prefix: "test".into(),
        // Also on a machine that does much else.
        timeout: Duration::from_secs(2),
        ping_interval: Duration::from_millis(100),
        retry_max: Duration::from_millis(100),
        queue_max: 4096,
        queue_bytes_max: 16 << 20,
    }
}

impl Instance {
    pub(crate) fn start(config: &RedisConfig, name: &str) -> Self {
        let metrics = Arc::new(Metrics::default());
        let (bus, link) = RedisBus::new(config, name, Arc::clone(&metrics)).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(link.run(stop.clone()));
        Self {
            bus,
            metrics,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) async fn up(config: &RedisConfig, name: &str) -> Self {
        let instance = Self::start(config, name);
        instance.becomes(true).await;
        instance
    }

    /// Waits until it is connected, or not.
    pub(crate) async fn becomes(&self, up: bool) {
        let mut is_up = self.bus.is_up();
        let waiting = is_up.wait_for(|is| *is == up);
        let waited = timeout(LIMIT, waiting).await;
        waited.expect("the connection changes").unwrap();
        assert_eq!(self.metric("bus_up{} "), u64::from(up));
    }

    pub(crate) fn send(&self, session_id: &SessionId, n: usize, to: &[&str]) {
        self.bus.publish(Message::Relay {
            relay: relay(session_id, "a", n),
            instances: to.iter().map(ToString::to_string).collect(),
        });
    }

    fn metric(&self, name: &str) -> u64 {
        let name = format!("video_session_{name}");
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Waits until it could not connect again and again.
    pub(crate) async fn fails_again(&self) {
        let failing = async {
            while self.metric("bus_failures_total ") < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let failed = timeout(LIMIT, failing).await;
        failed.expect("it tries again");
        assert!(!*self.bus.is_up().borrow());
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.metric(&format!("bus_dropped_total{{reason=\"{reason}\"}} "))
    }
}

pub(crate) async fn next(relays: &mut RelaySubscription) -> Relay {
    match timeout(LIMIT, relays.next()).await.expect("a relay") {
        Delivery::Relay(relay) => (*relay).clone(),
        Delivery::Lagged(count) => panic!("{count} are lost"),
    }
}

/// What one instance publishes and another one's subscribers hear.
pub(crate) struct Between {
    pub(crate) here: Arc<Instance>,
    pub(crate) there: Arc<Instance>,
}

impl Bus for Between {
    fn publish(&self, message: Message) {
        self.here.bus.publish(message);
    }

    fn publish_here(&self, session_id: &SessionId) {
        self.here.bus.publish_here(session_id);
    }

    fn is_up(&self) -> watch::Receiver<bool> {
        self.here.bus.is_up()
    }

    fn hears(&self, instance_id: &str) -> bool {
        self.there.bus.hears(instance_id)
    }

    fn gaps(&self) -> watch::Receiver<()> {
        self.there.bus.gaps()
    }

    fn subscribe_changes(&self, session_id: &SessionId) -> ChangeSubscription {
        self.there.bus.subscribe_changes(session_id)
    }

    fn subscribe_relays(&self, session_id: &SessionId) -> RelaySubscription {
        self.there.bus.subscribe_relays(session_id)
    }
}

async fn two(server: &RedisServer) -> (Arc<Instance>, Arc<Instance>) {
    let config = config(server.url());
    let here = Instance::up(&config, "here").await;
    let there = Instance::up(&config, THERE).await;
    (Arc::new(here), Arc::new(there))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn redis_bus_between_two_instances() {
    let server = RedisServer::start();
    let (here, there) = two(&server).await;
    let bus = || {
        let (here, there) = (Arc::clone(&here), Arc::clone(&there));
        Arc::new(Between { here, there }) as Arc<dyn Bus>
    };
    assert_eq!(suite(bus, LIMIT).await, Ok(()));
    expect_failures(bus, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn redis_bus_within_one_instance() {
    let server = RedisServer::start();
    let config = config(server.url());
    let here = Arc::new(Instance::up(&config, "here").await);
    let bus = || {
        let (here, there) = (Arc::clone(&here), Arc::clone(&here));
        Arc::new(Between { here, there }) as Arc<dyn Bus>
    };
    assert_eq!(suite(bus, LIMIT).await, Ok(()));
    // The same while Redis is away.
    drop(server);
    here.becomes(false).await;
    assert_eq!(suite(bus, LIMIT).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn hints_reach_all_instances_and_relays_those_that_they_name() {
    let server = RedisServer::start();
    let (here, there) = two(&server).await;
    let third = Instance::up(&config(server.url()), "third").await;
    let mut own = here.bus.subscribe_relays(&session(1));
    let mut named = there.bus.subscribe_relays(&session(1));
    let mut not_named = third.bus.subscribe_relays(&session(1));
    let mut hints = [&*here, &*there, &third].map(|one| one.bus.subscribe_changes(&session(1)));
    here.bus.publish(Message::Changed(session(1)));
    for hint in &mut hints {
        timeout(LIMIT, hint.changed()).await.expect("a hint");
    }
    here.send(&session(1), 1, &[THERE]);
    here.send(&session(1), 2, &[THERE, "third"]);
    here.send(&session(1), 3, &[]);
    here.send(&session(1), 4, &[THERE]);
    for n in 1..=4 {
        assert_eq!(next(&mut own).await, relay(&session(1), "a", n));
    }
    for n in [1, 2, 4] {
        assert_eq!(next(&mut named).await, relay(&session(1), "a", n));
    }
    assert_eq!(next(&mut not_named).await, relay(&session(1), "a", 2));
    // Nothing comes back to the one that published, nor goes on from those that heard.
    for n in 5..=6 {
        third.send(&session(1), n, &["here", THERE]);
        for relays in [&mut own, &mut named, &mut not_named] {
            assert_eq!(next(relays).await, relay(&session(1), "a", n));
        }
    }
    assert!(
        hints
            .iter_mut()
            .all(|hint| hint.changed().now_or_never().is_none())
    );
    // Hints of this instance's own feed stay here.
    here.bus.publish_here(&session(1));
    timeout(LIMIT, hints[0].changed()).await.expect("a hint");
    here.send(&session(1), 7, &[THERE]);
    assert_eq!(next(&mut named).await, relay(&session(1), "a", 7));
    assert!(hints[1].changed().now_or_never().is_none());
    assert_eq!(here.metric("bus_received_total "), 2);
    assert!(here.bus.hears(THERE) && there.bus.hears("third") && !here.bus.hears("here"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn an_instance_that_stops_is_not_heard_any_more() {
    let server = RedisServer::start();
    let (here, there) = two(&server).await;
    let heard = |is: bool| {
        let here = Arc::clone(&here);
        timeout(LIMIT, async move {
            while here.bus.hears(THERE) != is {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    heard(true).await.expect("it is heard");
    // What is waiting is sent first.
    let mut relays = here.bus.subscribe_relays(&session(1));
    there.send(&session(1), 1, &["here"]);
    drop(there);
    assert_eq!(next(&mut relays).await, relay(&session(1), "a", 1));
    heard(false).await.expect("it is silent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn what_is_no_message_of_an_instance_is_counted_and_ignored() {
    let server = RedisServer::start();
    let (here, there) = two(&server).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut stranger = client.get_multiplexed_async_connection().await.unwrap();
    let mut relays = here.bus.subscribe_relays(&session(1));
    let large = vec![b'x'; 5 << 20];
    for text in [
        &b""[..],
        b"{}",
        b"\xff\xfe",
        b"{\"v\":9,\"from\":\"x\"}",
        &large,
    ] {
        for channel in ["test:all", "test:to:here"] {
            let _: u64 = stranger.publish(channel, text).await.unwrap();
        }
    }
    there.send(&session(1), 1, &["here"]);
    assert_eq!(next(&mut relays).await, relay(&session(1), "a", 1));
    assert_eq!(here.dropped("unreadable"), 10);
    here.becomes(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn the_bus_comes_back_with_redis() {
    let mut server = RedisServer::start();
    let (here, there) = two(&server).await;
    let late = {
        server.kill();
        Instance::start(&config(server.url()), "late")
    };
    let mut relays = there.bus.subscribe_relays(&session(1));
    let mut late_relays = late.bus.subscribe_relays(&session(1));
    for instance in [&*here, &*there, &late] {
        instance.becomes(false).await;
    }
    here.send(&session(1), 1, &[THERE, "late"]);
    here.bus.publish(Message::Changed(session(1)));
    assert_eq!(here.dropped("down"), 2);
    server.restart();
    for instance in [&*here, &*there, &late] {
        instance.becomes(true).await;
    }
    // What was lost stays lost: nothing is delivered late.
    here.send(&session(1), 2, &[THERE, "late"]);
    assert_eq!(next(&mut relays).await, relay(&session(1), "a", 2));
    assert_eq!(next(&mut late_relays).await, relay(&session(1), "a", 2));
}

/// Waits until the first heartbeats of one instance have reached another one. Returns the gaps that follow at the latter.
async fn gaps_between(here: &Instance, there: &Instance) -> watch::Receiver<()> {
    let mut relays = there.bus.subscribe_relays(&session(1));
    for n in 0..20 {
        here.send(&session(1), n, &[THERE]);
        assert_eq!(next(&mut relays).await, relay(&session(1), "a", n));
    }
    there.bus.gaps()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis and toxiproxy; .ci/peers installs them"]
async fn the_others_learn_that_hints_of_a_broken_connection_were_lost() {
    for fault in [Fault::Cut, Fault::RequestsVanish] {
        let server = RedisServer::start();
        let way = Toxiproxy::start(&server.addr()).await;
        let away = config(format!("redis://{}", way.addr));
        let here = Instance::up(&away, "here").await;
        let there = Instance::up(&config(server.url()), THERE).await;
        let mut gaps = gaps_between(&here, &there).await;
        let up = there.bus.is_up();
        way.inject(fault).await;
        here.bus.publish(Message::Changed(session(1)));
        here.becomes(false).await;
        let lost = ["down", "unanswered"].map(|why| here.dropped(why));
        // The answers to earlier messages may be lost, too.
        assert!(lost.iter().sum::<u64>() >= 1, "{fault:?}");
        // Once when it falls silent, and once when it is back.
        let gap = timeout(LIMIT, gaps.changed()).await;
        gap.expect("a gap").unwrap();
        way.heal(fault).await;
        let gap = timeout(LIMIT, gaps.changed()).await;
        gap.expect("a gap").unwrap();
        here.becomes(true).await;
        assert!(!up.has_changed().unwrap(), "its own connection is good");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn the_others_learn_that_there_was_no_room_for_a_hint() {
    let server = RedisServer::start();
    // No heartbeat comes in time but the one that the lost hint asks for.
    let config = RedisConfig {
        queue_max: 1,
        ping_interval: Duration::from_secs(60),
        ..config(server.url())
    };
    let there = Instance::up(&config, THERE).await;
    let here = Instance::up(&config, "here").await;
    let mut gaps = gaps_between(&here, &there).await;
    let up = here.bus.is_up();
    while here.dropped("full") == 0 {
        here.bus.publish(Message::Changed(session(1)));
    }
    let gap = timeout(LIMIT, gaps.changed()).await;
    gap.expect("a gap").unwrap();
    assert!(!up.has_changed().unwrap(), "the connection is good");
}

/// A server that takes connections and answers nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn publishing_never_waits_for_a_redis_that_hangs() {
    let server = RedisServer::start();
    let (here, there) = two(&server).await;
    let mut relays = there.bus.subscribe_relays(&session(1));
    server.signal("STOP");
    let started = Instant::now();
    for n in 0..50_000 {
        here.send(&session(1), n, &[THERE]);
    }
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
    assert!(here.dropped("full") > 0);
    for instance in [&here, &there] {
        instance.becomes(false).await;
    }
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
    let lost = || ["full", "down", "unanswered"].map(|why| here.dropped(why));
    // What waited is counted when it is dropped.
    let all_counted = async {
        while lost().iter().sum::<u64>() + here.metric("bus_sent_total ") != 50_000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, all_counted).await.expect("each is counted");
    server.signal("CONT");
    for instance in [&here, &there] {
        instance.becomes(true).await;
    }
    here.send(&session(1), 50_001, &[THERE]);
    while next(&mut relays).await != relay(&session(1), "a", 50_001) {}
}

/// An end that is subscribed to nothing hears nothing, although every command works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn a_user_needs_the_channels_and_their_password() {
    let home = tempfile::tempdir().unwrap();
    let SelfSigned {
        certificate,
        key,
        pem,
    } = SelfSigned::new(home.path(), "own");
    let rules = "--user default off
        --user calls on >p@ss &test:* -@all +publish +subscribe +unsubscribe +hello
        --user other on >p@ss &other:* -@all +publish +subscribe +unsubscribe +hello";
    let rules: Vec<_> = rules.split_whitespace().collect();
    let server = RedisServer::start_tls(&certificate, &key, &rules);
    let url = |user: &str| format!("rediss://{user}@localhost:{}", server.port);
    let with = |user: &str, ca: Option<&str>| RedisConfig {
        ca: ca.map(|ca| ca.as_bytes().to_vec()),
        ..config(url(user))
    };
    let good = Instance::up(&with("calls:p%40ss", Some(&pem)), "here").await;
    let refused = [
        Instance::start(&with("calls:wrong", Some(&pem)), "x"),
        Instance::start(&with("other:p%40ss", Some(&pem)), "x"),
        Instance::start(&with("calls:p%40ss", None), "x"),
    ];
    let other = Instance::up(&with("calls:p%40ss", Some(&pem)), THERE).await;
    let mut relays = other.bus.subscribe_relays(&session(1));
    good.send(&session(1), 1, &[THERE]);
    assert_eq!(next(&mut relays).await, relay(&session(1), "a", 1));
    for instance in &refused {
        instance.fails_again().await;
    }
}
