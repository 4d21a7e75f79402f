//! The benchmark whose table is in the README: `cargo build --release && cargo run --release --example load`.
//!
//! The service, a bare echo and, where it is there, the MongoDB peer run as processes of their own; the load comes from
//! this one, on the same cores. For each number of callers, echo and calls take turns in short slices on services that
//! hold few sessions and on ones that hold a million, so that whatever else the machine does falls on all of them alike.

mod calls;
mod driver;
mod echo;
mod process;
mod report;
mod seed;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};

use calls::{Call, Clients};
use driver::{Seen, Target, slice};
use process::{Backend, Server, memory, start_echo, start_peer, start_service};
use report::{Idle, Machine, Report, Row, thousands};

/// A value, or whatever went wrong on the way to it.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What a store holds that is called empty: enough for joins not to meet each other all the time.
const FEW_SESSIONS: usize = 10_000;
/// Each row is measured in so many slices.
const SLICES: u32 = 3;
const WARM_UP: Duration = Duration::from_millis(500);
/// When memory without load is looked at, after readiness.
const IDLE: Duration = Duration::from_secs(2);
/// How often the time to readiness is measured on a new store.
const STARTS: usize = 5;

/// Measures the service against a bare echo.
#[derive(Parser)]
#[command(name = "load")]
struct Args {
    /// Which stores.
    #[arg(long, value_enum, default_value = "both")]
    store: Stores,
    /// How many callers at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 512])]
    callers: Vec<usize>,
    /// Which calls, beside the echo.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["get", "create", "join", "join-one", "json-create", "json-join"])]
    calls: Vec<Call>,
    /// How long each row is measured.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// How many sessions full stores hold: a store for each number. Ten million take a while and some 30 GB of disk.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000_000])]
    sessions: Vec<usize>,
    /// Leave full stores out.
    #[arg(long)]
    skip_million: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stores {
    Sqlite,
    Mongo,
    Both,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Be the echo; the benchmark starts it by itself.
    #[command(hide = true)]
    Echo,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("load: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match args.command {
        Some(Command::Echo) => runtime.block_on(echo::serve()).map(|()| false),
        None => runtime.block_on(run(&args)),
    };
    match outcome {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => {
            eprintln!("load: some calls failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether any call failed.
async fn run(args: &Args) -> Outcome<bool> {
    let started = Instant::now();
    // Not in /tmp, which is memory on many machines: a sync would cost nothing there.
    let target_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let scratch = tempfile::TempDir::with_prefix_in("load-", &target_dir)?;
    let mut report = Report {
        machine: Machine::this(scratch.path())?,
        seconds_per_row: f64::from(args.seconds),
        idle: Vec::new(),
        rows: Vec::new(),
        notes: Vec::new(),
        took_seconds: 0.0,
    };
    if args.store != Stores::Mongo {
        let services = sqlite_services(args, scratch.path(), &mut report).await?;
        measure(args, "embedded", &services, &mut report).await?;
    }
    if args.store != Stores::Sqlite {
        let services = mongo_services(args, scratch.path(), &mut report).await?;
        measure(args, "MongoDB peer", &services, &mut report).await?;
    }
    report.took_seconds = started.elapsed().as_secs_f64();
    println!("\n{}", report.markdown());
    let raw = target_dir.join("load.json");
    std::fs::write(&raw, serde_json::to_string_pretty(&report)?)?;
    eprintln!("load: raw results are in {}", raw.display());
    Ok(report.failed())
}

/// A service that runs on a store with that many sessions.
struct Service {
    sessions: usize,
    target: Target,
    _server: Server,
    _peer: Option<Server>,
}

fn store_sizes(args: &Args) -> Vec<usize> {
    let full = args.sessions.iter().copied();
    let full = full.filter(|_| !args.skip_million);
    std::iter::once(FEW_SESSIONS).chain(full).collect()
}

async fn sqlite_services(
    args: &Args,
    scratch: &Path,
    report: &mut Report,
) -> Outcome<Vec<Service>> {
    report.idle.push(empty_sqlite(scratch).await?);
    let mut services = Vec::new();
    for sessions in store_sizes(args) {
        let data_dir = scratch.join(format!("sqlite-{sessions}"));
        let begun = Instant::now();
        let known = seed::sqlite(&data_dir, sessions).await?;
        tell_of_seeding(sessions, begun);
        let server = start_service(&Backend::Sqlite(data_dir.clone()), scratch).await?;
        let disk = Some(disk_bytes(&data_dir)?);
        let idle = idle("embedded", sessions, &server).await?;
        report.idle.push(Idle { disk, ..idle });
        services.push(service(sessions, known, server, None).await?);
    }
    Ok(services)
}

/// How soon the service is ready, and what memory it takes, when it begins with nothing.
async fn empty_sqlite(scratch: &Path) -> Outcome<Idle> {
    let mut starts = Vec::new();
    let mut last = None;
    for start in 0..STARTS {
        let data_dir = scratch.join(format!("start-{start}"));
        let server = start_service(&Backend::Sqlite(data_dir), scratch).await?;
        starts.push(server.ready_after.as_secs_f64() * 1e3);
        last = Some(server);
    }
    starts.sort_by(f64::total_cmp);
    let last = last.ok_or("nothing was started")?;
    Ok(Idle {
        ready_after_ms: starts,
        ..idle("embedded", 0, &last).await?
    })
}

async fn mongo_services(args: &Args, scratch: &Path, report: &mut Report) -> Outcome<Vec<Service>> {
    let mut services = Vec::new();
    for sessions in store_sizes(args) {
        let Some(peer) = start_peer()? else {
            let note = "NOT MEASURED: MongoDB. There is no mongo-peer in .peers/bin or PATH; .ci/peers makes it.";
            eprintln!("load: {note}");
            report.notes.push(note.to_owned());
            break;
        };
        let uri = format!("mongodb://{}/load", peer.addr);
        let begun = Instant::now();
        let known = seed::mongo(&uri, sessions).await?;
        tell_of_seeding(sessions, begun);
        let server = start_service(&Backend::Mongo(uri), scratch).await?;
        report
            .idle
            .push(idle("MongoDB peer", sessions, &server).await?);
        services.push(service(sessions, known, server, Some(peer)).await?);
    }
    Ok(services)
}

async fn service(
    sessions: usize,
    known: Vec<calls::Known>,
    server: Server,
    peer: Option<Server>,
) -> Outcome<Service> {
    Ok(Service {
        sessions,
        target: target(&server, known, peer.as_ref()).await?,
        _server: server,
        _peer: peer,
    })
}

async fn target(
    server: &Server,
    known: Vec<calls::Known>,
    peer: Option<&Server>,
) -> Outcome<Target> {
    Ok(Target {
        clients: Clients::connect(&server.addr, server.json_addr.as_deref()).await?,
        known: Arc::new(known),
        server_pid: server.pid(),
        peer_pid: peer.map(Server::pid),
    })
}

fn tell_of_seeding(sessions: usize, begun: Instant) {
    let secs = begun.elapsed().as_secs_f64();
    eprintln!(
        "load: {} sessions stored in {secs:.1} s",
        thousands(sessions)
    );
}

async fn idle(store: &'static str, sessions: usize, server: &Server) -> Outcome<Idle> {
    tokio::time::sleep(IDLE).await;
    Ok(Idle {
        store,
        sessions,
        ready_after_ms: vec![server.ready_after.as_secs_f64() * 1e3],
        memory: memory(server.pid())?,
        disk: None,
    })
}

/// What the files of a directory take.
fn disk_bytes(dir: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(dir)? {
        bytes += file?.metadata()?.len();
    }
    Ok(bytes)
}

/// Measures every call on every one of the services, the first of which holds few sessions, with an echo beside them.
async fn measure(
    args: &Args,
    store: &'static str,
    services: &[Service],
    report: &mut Report,
) -> Outcome<()> {
    let Some(first) = services.first() else {
        return Ok(());
    };
    let echo_server = start_echo()?;
    let echo = Target {
        clients: Clients::connect(&echo_server.addr, None).await?,
        known: Arc::clone(&first.target.known),
        server_pid: echo_server.pid(),
        peer_pid: None,
    };
    let mut lanes = vec![(None, &echo, Call::Echo)];
    for &call in &args.calls {
        lanes.extend(
            services
                .iter()
                .map(|service| (Some(service.sessions), &service.target, call)),
        );
    }
    for &callers in &args.callers {
        let mut seen: Vec<Seen> = lanes.iter().map(|_| Seen::default()).collect();
        for _ in 0..SLICES {
            for ((_, target, call), seen) in lanes.iter().zip(&mut seen) {
                let measured = Duration::from_secs(args.seconds.into()) / SLICES;
                slice(target, *call, callers, WARM_UP, measured, seen).await?;
            }
        }
        let rows = lanes
            .iter()
            .zip(seen)
            .map(|((sessions, _, call), seen)| Row::new(store, *sessions, *call, callers, seen));
        add_compared(rows.collect(), services.len(), report);
    }
    Ok(())
}

/// The first row is the echo's; then come, for each call, as many as there are services, the one with few sessions first.
fn add_compared(mut rows: Vec<Row>, services: usize, report: &mut Report) {
    let Some((echo, rest)) = rows.split_first_mut() else {
        return;
    };
    for of_call in rest.chunks_mut(services) {
        if let Some((few, full)) = of_call.split_first_mut() {
            few.compare(echo, None);
            full.iter_mut().for_each(|row| row.compare(echo, Some(few)));
        }
    }
    for row in &rows {
        eprintln!("load: {row}");
    }
    report.rows.extend(rows);
}
