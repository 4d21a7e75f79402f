//! Several instances on one MongoDB and one Redis, with the participants of each session on two of them.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::try_join_all;

use crate::page::Page;
use crate::relays::{Buses, publish_and_hear, talk_by_bridge};
use crate::service::Server;
use crate::{AT_ONCE, Outcome, TALK, TALKING, shown};

const SETTLE_MAX: Duration = Duration::from_secs(60);
/// Of the processors' time.
const IDLE_SHARE: f64 = 0.95;

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

/// Waits until the machine has nothing to do, for a minute at most: the MongoDB peer compiles itself long after it was asked
/// something, and would share the processors with what is measured.
async fn await_idle() -> Outcome<()> {
    let (mut before, deadline) = (processor_times()?, Instant::now() + SETTLE_MAX);
    while Instant::now() < deadline {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = processor_times()?;
        if now.idle - before.idle >= IDLE_SHARE * (now.all - before.all) {
            return Ok(());
        }
        before = now;
    }
    println!("The machine does other things; read the figures as upper bounds.");
    Ok(())
}

/// Times of all processors since the machine started.
struct ProcessorTimes {
    idle: f64,
    all: f64,
}

fn processor_times() -> Outcome<ProcessorTimes> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().ok_or("no processors")?;
    let times: Vec<f64> = line.split_whitespace().flat_map(str::parse).collect();
    let idle = *times.get(3).ok_or("no idle time")?;
    Ok(ProcessorTimes {
        idle,
        all: times.iter().sum(),
    })
}

pub(crate) async fn measure(instances: usize, sessions: usize) -> Outcome<()> {
    let (mongo, redis) = (Peer::start_mongo()?, Peer::start_redis().await?);
    let pairs = sessions.min(TALKING);
    await_idle().await?;
    let bare = try_join_all((0..pairs).map(|n| publish_and_hear(&redis.addr, n))).await?;
    let bare = shown(0.0, bare.concat(), 0.0);
    let buses = Buses::start(&redis.addr).await?;
    await_idle().await?;
    let bus = try_join_all((0..pairs).map(|n| buses.relay_and_hear(n))).await?;
    let bus = shown(0.0, bus.concat(), 0.0);
    drop(buses);
    await_idle().await?;
    let bridge = shown(0.0, talk_by_bridge(&redis.addr, pairs).await?, 0.0);

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
    await_idle().await?;
    let talks = pages
        .chunks_exact_mut(2)
        .take(pairs)
        .map(|pair| Page::talk(pair, TALK));
    let own = shown(0.0, try_join_all(talks).await?.concat(), 0.0);
    println!(
        "| {instances} instances, {} sockets, {pairs} pairs | bare Redis | our bus | bare bridge, page to page | video-session, page to page |",
        pages.len()
    );
    println!("|---|--:|--:|--:|--:|");
    let all = [bare, bus, bridge, own];
    let row = |name, figures: [String; 4]| println!("| {name} | {} |", figures.join(" | "));
    row(
        "message there, p50",
        all.each_ref().map(|one| format!("{:.0} µs", one.p50_us)),
    );
    row(
        "message there, p99",
        all.each_ref().map(|one| format!("{:.0} µs", one.p99_us)),
    );
    row(
        "messages/s",
        all.each_ref().map(|one| format!("{:.0}", one.per_second)),
    );
    println!(
        "| all connected after | – | – | – | {:.1} s |",
        connected.as_secs_f64()
    );
    Ok(())
}
