//! Several instances on one MongoDB and one Redis, with the participants of each session on two of them.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::try_join_all;
use redis::AsyncCommands as _;

use crate::page::Page;
use crate::service::Server;
use crate::{AT_ONCE, Outcome, TALK, TALKING, shown};

/// As long as a relay between instances.
const MESSAGE: [u8; 480] = [b'x'; 480];

/// A child that ends with its owner.
struct Peer {
    child: Child,
    addr: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    fn start_mongo() -> Outcome<Self> {
        let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".peers/bin/mongo-peer");
        let mut child = Command::new(own)
            .args(["--port", "0", "--exit-with-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().ok_or("no output")?).read_line(&mut line)?;
        let addr = line.trim().replacen("listening ", "", 1);
        Ok(Self { child, addr })
    }

    async fn start_redis() -> Outcome<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()?;
        let addr = format!("127.0.0.1:{port}");
        while tokio::net::TcpStream::connect(&addr).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { child, addr })
    }
}

pub(crate) async fn measure(instances: usize, sessions: usize) -> Outcome<()> {
    let (mongo, redis) = (Peer::start_mongo()?, Peer::start_redis().await?);
    let pairs = sessions.min(TALKING);
    let bare = try_join_all((0..pairs).map(|n| publish_and_hear(&redis.addr, n))).await?;
    let bare = shown(0.0, bare.concat(), 0.0);

    let settings = [
        ("MONGO_URI", format!("mongodb://{}/sockets", mongo.addr)),
        ("REDIS_URL", format!("redis://{}", redis.addr)),
        // The peer speaks the protocol, not MongoDB's speed.
        ("STORE_TIMEOUT_MS", "20000".to_owned()),
    ];
    let mut servers = Vec::new();
    let mut scratch = Vec::new();
    for _ in 0..instances {
        let home = tempfile::tempdir()?;
        servers.push(Server::start_with(home.path(), None, &settings).await?);
        scratch.push(home);
    }
    let links = servers[0].create_sessions(sessions).await?;
    let (mut pages, started) = (Vec::new(), Instant::now());
    let numbered: Vec<_> = links.chunks_exact(2).enumerate().collect();
    for some in numbered.chunks(AT_ONCE / 2) {
        for place in [0, 1] {
            let opening = some.iter().map(|(n, pair)| {
                let server = &servers[(n + place) % servers.len()];
                server.open(&pair[place])
            });
            let opened = try_join_all(opening).await?;
            pages.extend(some.iter().map(|(n, _)| (*n, place)).zip(opened));
        }
    }
    let connected = started.elapsed();
    pages.sort_unstable_by_key(|(place, _)| *place);
    let mut pages: Vec<_> = pages.into_iter().map(|(_, page)| page).collect();
    // The first of each pair speaks to the second, once its instance knows where that is.
    let arrivals = pages.iter_mut().step_by(2);
    try_join_all(arrivals.map(|page| page.await_type("user-joined"))).await?;
    let talks = pages
        .chunks_exact_mut(2)
        .take(pairs)
        .map(|pair| Page::talk(pair, TALK));
    let own = shown(0.0, try_join_all(talks).await?.concat(), 0.0);
    println!(
        "| {instances} instances, {} sockets, {pairs} pairs | bare Redis | video-session |",
        pages.len()
    );
    println!("|---|--:|--:|");
    println!(
        "| message there, p50 | {:.0} µs | {:.0} µs |",
        bare.p50_us, own.p50_us
    );
    println!(
        "| message there, p99 | {:.0} µs | {:.0} µs |",
        bare.p99_us, own.p99_us
    );
    println!(
        "| messages/s | {:.0} | {:.0} |",
        bare.per_second, own.per_second
    );
    println!(
        "| all connected after | – | {:.1} s |",
        connected.as_secs_f64()
    );
    Ok(())
}

/// A publisher and a subscriber, each on a connection of its own: says something and hears it, again and again.
async fn publish_and_hear(addr: &str, n: usize) -> Outcome<Vec<Duration>> {
    let client = redis::Client::open(format!("redis://{addr}"))?;
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
