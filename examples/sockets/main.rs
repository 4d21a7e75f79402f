//! Measures signalling: the memory of a socket, the delay of a relayed message, and the return after a restart, beside a
//! bare WebSocket echo on the same axum in the same run.
//!
//! `cargo build --release && cargo run --release --example sockets [sessions]`, with `ulimit -n 20000` before it.
//!
//! `cargo run --release --example sockets instances [instances] [sessions]` measures relays between instances: the bus alone beside
//! bare publish/subscribe of the same Redis, and from page to page beside a bare bridge. It needs the MongoDB peer and Redis, which
//! `.ci/peers` installs.

mod echo;
mod instances;
mod page;
mod relays;
mod service;

use std::error::Error;
use std::time::{Duration, Instant};

use futures::future::try_join_all;

use page::Page;
use service::{Link, Server};

/// Whatever went wrong.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SESSIONS_DEFAULT: usize = 2500;
/// Pairs that talk while all the others are silent.
const TALKING: usize = 64;
const TALK: Duration = Duration::from_secs(5);
const MEASURE_MAX: Duration = Duration::from_secs(600);
/// How many connect at once.
const AT_ONCE: usize = 64;

#[tokio::main]
async fn main() -> Outcome<()> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("echo") {
        return echo::serve().await;
    }
    if argument.as_deref() == Some("bridge") {
        return relays::serve_bridge(&std::env::args().nth(2).ok_or("no Redis")?).await;
    }
    if argument.as_deref() == Some("instances") {
        let number = |place: usize, default| match std::env::args().nth(place) {
            Some(number) => number.parse(),
            None => Ok(default),
        };
        // A message that is lost would be waited for.
        let measuring = instances::measure(number(2, 2)?, number(3, TALKING)?);
        return tokio::time::timeout(MEASURE_MAX, measuring).await?;
    }
    let sessions = match argument {
        Some(number) => number.parse()?,
        None => SESSIONS_DEFAULT,
    };
    let bare = measure_echo(2 * sessions).await?;
    let own = measure_service(sessions).await?;
    println!("| {} sockets | bare echo | video-session |", 2 * sessions);
    println!("|---|---|---|");
    println!(
        "| memory a socket | {:.1} kB | {:.1} kB |",
        bare.kb_a_socket, own.kb_a_socket
    );
    println!(
        "| message there, p50 | {:.0} µs | {:.0} µs |",
        bare.p50_us, own.p50_us
    );
    println!(
        "| message there, p99 | {:.0} µs | {:.0} µs |",
        bare.p99_us, own.p99_us
    );
    println!(
        "| messages/s, {TALKING} pairs in turn | {:.0} | {:.0} |",
        bare.per_second, own.per_second
    );
    println!(
        "| everybody back after kill -9 | – | {:.1} s |",
        own.back_secs
    );
    Ok(())
}

/// What one server showed.
struct Shown {
    kb_a_socket: f64,
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
    back_secs: f64,
}

async fn measure_echo(sockets: usize) -> Outcome<Shown> {
    let server = Server::start_echo()?;
    let before = server.resident_kb()?;
    let url = format!("ws://{}/", server.addr);
    let mut pages = Vec::with_capacity(sockets);
    while pages.len() < sockets {
        let count = AT_ONCE.min(sockets - pages.len());
        pages.extend(try_join_all((0..count).map(|_| Page::open(&url, None))).await?);
    }
    let kb_a_socket = (server.resident_kb()? - before) / sockets as f64;
    let talks = pages
        .iter_mut()
        .take(TALKING)
        .map(|page| page.talk_to_itself(TALK));
    let delays = try_join_all(talks).await?.concat();
    Ok(shown(kb_a_socket, delays, 0.0))
}

async fn measure_service(sessions: usize) -> Outcome<Shown> {
    let scratch = tempfile::tempdir()?;
    let server = Server::start_service(scratch.path(), None).await?;
    let links = server.create_sessions(sessions).await?;
    let before = server.resident_kb()?;
    let mut pages = connect_all(&server, &links).await?;
    let kb_a_socket = (server.resident_kb()? - before) / pages.len() as f64;

    let talks = pages
        .chunks_exact_mut(2)
        .take(TALKING)
        .map(|pair| Page::talk(pair, TALK));
    let delays = try_join_all(talks).await?.concat();

    let addr = server.http_addr.clone();
    drop(server);
    let killed = Instant::now();
    drop(pages);
    let server = Server::start_service(scratch.path(), Some(&addr)).await?;
    let pages = connect_all(&server, &links).await?;
    let back_secs = killed.elapsed().as_secs_f64();
    drop(pages);
    Ok(shown(kb_a_socket, delays, back_secs))
}

async fn connect_all(server: &Server, links: &[Link]) -> Outcome<Vec<Page>> {
    let mut pages = Vec::with_capacity(links.len());
    for some in links.chunks(AT_ONCE) {
        pages.extend(try_join_all(some.iter().map(|link| server.open(link))).await?);
    }
    Ok(pages)
}

fn shown(kb_a_socket: f64, mut delays: Vec<Duration>, back_secs: f64) -> Shown {
    delays.sort_unstable();
    let at = |share: f64| {
        let place = ((delays.len() as f64 - 1.0) * share) as usize;
        delays
            .get(place)
            .map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e6)
    };
    Shown {
        kb_a_socket,
        p50_us: at(0.5),
        p99_us: at(0.99),
        per_second: delays.len() as f64 / TALK.as_secs_f64(),
        back_secs,
    }
}
