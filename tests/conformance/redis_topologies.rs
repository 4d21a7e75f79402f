//! The bus between instances, on Redis servers that Sentinels watch over, and on a cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use secrecy::SecretString;
use tokio::time::timeout;
use video_session::bus::Bus;
use video_session::bus::redis::RedisConfig;

use crate::buses::{LIMIT, THERE, relay, session, suite};
use crate::redis::{RedisServer, SelfSigned, free_ports};
use crate::redis_bus::{Between, Instance, config, next};

/// A new primary is chosen within seconds, on a loaded machine within more.
const ELECTION_MAX: Duration = Duration::from_secs(90);

const PRIMARY_PASSWORD: &str = "p@ss";
const SENTINEL_PASSWORD: &str = "s/cret";

/// One answer of a server.
async fn ask<T: redis::FromRedisValue>(url: &str, command: &[&str]) -> RedisResult<T> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let (name, arguments) = command.split_first().expect("a command");
    redis::cmd(name)
        .arg(arguments)
        .query_async(&mut connection)
        .await
}

/// Waits until a server's answer has all these parts.
async fn answers(url: &str, command: &[&str], parts: &[&str]) {
    let waiting = async {
        loop {
            let answer: RedisResult<redis::Value> = ask(url, command).await;
            let text = match answer {
                Ok(redis::Value::VerbatimString { text, .. }) => text,
                other => format!("{other:?}"),
            };
            if parts.iter().all(|part| text.contains(part)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = timeout(ELECTION_MAX, waiting).await;
    waited.unwrap_or_else(|_| panic!("{command:?} never answers {parts:?}"));
}

fn watching(config: RedisConfig, sentinels: String) -> RedisConfig {
    RedisConfig {
        sentinels: Some(SecretString::from(sentinels)),
        ..config
    }
}

fn sentinel_of(home: &Path, primary: &RedisServer) -> RedisServer {
    let port = primary.port;
    let configuration = format!(
        "port PORT
        requirepass {SENTINEL_PASSWORD}
        sentinel sentinel-pass {SENTINEL_PASSWORD}
        sentinel monitor calls 127.0.0.1 {port} 2
        sentinel auth-pass calls {PRIMARY_PASSWORD}
        sentinel down-after-milliseconds calls 1000
        sentinel failover-timeout calls 5000"
    );
    RedisServer::start_sentinel(home, &configuration)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn instances_follow_the_primary_that_sentinels_know() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().display().to_string();
    let common = [
        "--requirepass",
        PRIMARY_PASSWORD,
        "--masterauth",
        PRIMARY_PASSWORD,
    ];
    let dir = ["--dir", &directory, "--repl-diskless-sync-delay", "0"];
    let mut primary = RedisServer::start_with(&[&common[..], &dir].concat());
    let of_primary = ["--replicaof", "127.0.0.1", &primary.port.to_string()];
    let replica = RedisServer::start_with(&[&common[..], &dir, &of_primary].concat());
    let sentinels = [(); 3].map(|()| sentinel_of(home.path(), &primary));
    for one in &sentinels {
        let url = format!("redis://:s%2Fcret@{}", one.addr());
        answers(&url, &["INFO", "sentinel"], &["slaves=1,sentinels=3"]).await;
    }
    // One that hangs, and is named first.
    sentinels[0].signal("STOP");
    let hosts = sentinels.each_ref().map(RedisServer::addr).join(",");
    let with = |url: &str, sentinels: String| watching(config(url.into()), sentinels);
    let good = with(
        "redis://:p%40ss@calls",
        format!("redis://:s%2Fcret@{hosts}"),
    );
    let here = Instance::up(&good, "here").await;
    let there = Instance::up(&good, THERE).await;
    let refused = [
        Instance::start(
            &with("redis://:p%40ss@calls", format!("redis://:wrong@{hosts}")),
            "x",
        ),
        Instance::start(
            &with(
                "redis://:p%40ss@other",
                format!("redis://:s%2Fcret@{hosts}"),
            ),
            "x",
        ),
        Instance::start(
            &with("redis://:wrong@calls", format!("redis://:s%2Fcret@{hosts}")),
            "x",
        ),
    ];
    let mut relays = there.bus.subscribe_relays(&session(1));
    here.send(&session(1), 1, &[THERE]);
    assert_eq!(next(&mut relays).await, relay(&session(1), "a", 1));
    for instance in &refused {
        instance.fails_again().await;
    }

    primary.kill();
    here.becomes(false).await;
    there.becomes(false).await;
    let url = format!("redis://:p%40ss@{}", replica.addr());
    answers(&url, &["ROLE"], &["master"]).await;
    here.becomes(true).await;
    there.becomes(true).await;
    here.send(&session(1), 2, &[THERE]);
    assert_eq!(next(&mut relays).await, relay(&session(1), "a", 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn sentinels_and_their_primary_are_verified() {
    let home = tempfile::tempdir().unwrap();
    let SelfSigned {
        certificate,
        key,
        pem,
    } = SelfSigned::new(home.path(), "own");
    let primary = RedisServer::start_tls(&certificate, &key, &[]);
    // Another authority signed the certificate of this one.
    let strange = SelfSigned::new(home.path(), "strange");
    let stranger = RedisServer::start_tls(&strange.certificate, &strange.key, &[]);
    let configuration = format!(
        "port 0
        tls-port PORT
        tls-cert-file {certificate}
        tls-key-file {key}
        tls-ca-cert-file {certificate}
        tls-auth-clients no
        tls-replication yes
        sentinel resolve-hostnames yes
        sentinel announce-hostnames yes
        sentinel monitor calls localhost {port} 1
        sentinel monitor strange localhost {strange_port} 1",
        strange_port = stranger.port,
        certificate = certificate.display(),
        key = key.display(),
        port = primary.port,
    );
    let sentinel = RedisServer::start_sentinel(home.path(), &configuration);
    let with = |name: &str, ca: Option<&str>| RedisConfig {
        ca: ca.map(|ca| ca.as_bytes().to_vec()),
        ..watching(
            config(format!("rediss://{name}")),
            format!("rediss://localhost:{}", sentinel.port),
        )
    };
    let good = Instance::up(&with("calls", Some(&pem)), "here").await;
    let other = Instance::up(&with("calls", Some(&pem)), THERE).await;
    let mut relays = other.bus.subscribe_relays(&session(1));
    good.send(&session(1), 1, &[THERE]);
    assert_eq!(next(&mut relays).await, relay(&session(1), "a", 1));
    for refused in [with("calls", None), with("strange", Some(&pem))] {
        Instance::start(&refused, "x").fails_again().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis; .ci/peers installs it"]
async fn instances_on_different_nodes_of_a_cluster_hear_each_other() {
    let home = tempfile::tempdir().unwrap();
    let nodes = free_ports::<3>().map(|bus| {
        let bus = bus.to_string();
        let file = home.path().join(&bus).display().to_string();
        let args = [
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            &file,
            "--cluster-port",
            &bus,
        ];
        (RedisServer::start_with(&args), bus)
    });
    let [(first, _), (second, _), _] = &nodes;
    for (node, bus) in &nodes[1..] {
        let meet = ["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string(), bus];
        let _: () = ask(&first.url(), &meet).await.unwrap();
    }
    for (node, _) in &nodes {
        let known = ["cluster_known_nodes:3"];
        answers(&node.url(), &["CLUSTER", "INFO"], &known).await;
    }
    let here = Arc::new(Instance::up(&config(first.url()), "here").await);
    let there = Arc::new(Instance::up(&config(second.url()), THERE).await);
    let hearing = async {
        while !(here.bus.hears(THERE) && there.bus.hears("here")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let heard = timeout(ELECTION_MAX, hearing).await;
    heard.expect("the nodes pass messages on");
    let bus = || {
        let (here, there) = (Arc::clone(&here), Arc::clone(&there));
        Arc::new(Between { here, there }) as Arc<dyn Bus>
    };
    assert_eq!(suite(bus, LIMIT).await, Ok(()));
}
