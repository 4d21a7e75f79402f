//! Callers in a closed loop: each makes its next call when it has the answer to the one before.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::Outcome;
use crate::calls::{Call, Caller, Clients, Known, make};
use crate::process::{Activity, Memory, activity, cpu_secs, memory};

/// A server under load.
pub(crate) struct Target {
    pub(crate) clients: Clients,
    pub(crate) known: Arc<Vec<Known>>,
    pub(crate) server_pid: u32,
    /// The process behind the server, if there is one.
    pub(crate) peer_pid: Option<u32>,
}

/// What was seen of one kind of call, over all its slices.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) measured: Duration,
    /// In nanoseconds; in no order.
    pub(crate) latencies: Vec<u64>,
    pub(crate) errors: u64,
    pub(crate) error_example: Option<String>,
    pub(crate) cpu: Cpu,
    /// The server's.
    pub(crate) activity: Activity,
    pub(crate) memory: Memory,
}

/// Seconds of processor time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) server: f64,
    pub(crate) peer: f64,
    pub(crate) generator: f64,
}

impl Cpu {
    fn of(target: &Target) -> Outcome<Self> {
        Ok(Self {
            server: cpu_secs(target.server_pid)?,
            peer: target.peer_pid.map(cpu_secs).transpose()?.unwrap_or(0.0),
            generator: cpu_secs(std::process::id())?,
        })
    }

    fn add_difference(&mut self, before: Self, after: Self) {
        self.server += after.server - before.server;
        self.peer += after.peer - before.peer;
        self.generator += after.generator - before.generator;
    }
}

/// When calls count: those that end from `begin` on and before `end`.
#[derive(Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
}

#[derive(Default)]
struct Tally {
    latencies: Vec<u64>,
    errors: u64,
    error_example: Option<String>,
}

/// Puts a server under load for `warm_up` and then `measured`, and adds what was seen.
pub(crate) async fn slice(
    target: &Target,
    call: Call,
    callers: usize,
    warm_up: Duration,
    measured: Duration,
    seen: &mut Seen,
) -> Outcome<()> {
    let begin = Instant::now() + warm_up;
    let window = Window {
        begin,
        end: begin + measured,
    };
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let caller = target.clients.of(caller);
            let known = Arc::clone(&target.known);
            tokio::spawn(call_again_and_again(caller, call, known, window))
        })
        .collect();
    sleep_until(window.begin).await;
    let before = (Cpu::of(target)?, activity(target.server_pid)?);
    sleep_until(window.end).await;
    seen.cpu.add_difference(before.0, Cpu::of(target)?);
    let after = activity(target.server_pid)?;
    seen.activity.written += after.written.saturating_sub(before.1.written);
    seen.activity.waits += after.waits.saturating_sub(before.1.waits);
    seen.memory = memory(target.server_pid)?;
    seen.measured += measured;
    for task in tasks {
        let tally = task.await?;
        seen.latencies.extend(tally.latencies);
        seen.errors += tally.errors;
        seen.error_example = seen.error_example.take().or(tally.error_example);
    }
    Ok(())
}

async fn call_again_and_again(
    mut caller: Caller,
    call: Call,
    known: Arc<Vec<Known>>,
    window: Window,
) -> Tally {
    let mut tally = Tally::default();
    loop {
        let started = Instant::now();
        if started >= window.end {
            return tally;
        }
        let outcome = make(&mut caller, call, &known).await;
        let ended = Instant::now();
        match outcome {
            Ok(()) if window.begin <= ended && ended < window.end => {
                let nanos = ended.duration_since(started).as_nanos();
                tally
                    .latencies
                    .push(u64::try_from(nanos).unwrap_or(u64::MAX));
            }
            Ok(()) => {}
            // During the warm-up too: nothing may go wrong.
            Err(status) => {
                tally.errors += 1;
                tally.error_example.get_or_insert(status.to_string());
            }
        }
    }
}
