//! What was seen, as a Markdown table for people and as JSON for comparisons.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::Outcome;
use crate::calls::Call;
use crate::driver::Seen;
use crate::process::Memory;

/// Everything that one run saw.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) seconds_per_row: f64,
    pub(crate) idle: Vec<Idle>,
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
    pub(crate) took_seconds: f64,
}

#[derive(Serialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    kernel: String,
    file_system: String,
}

/// A service without load.
#[derive(Serialize)]
pub(crate) struct Idle {
    pub(crate) store: &'static str,
    pub(crate) sessions: usize,
    /// From spawn to ready, shortest first.
    pub(crate) ready_after_ms: Vec<f64>,
    pub(crate) memory: Memory,
    /// What its files take, in bytes; `None` where they are another process's.
    pub(crate) disk: Option<u64>,
}

/// One kind of call from so many callers, on one store.
#[derive(Serialize)]
pub(crate) struct Row {
    store: &'static str,
    /// How many were stored at the beginning; `None` for the echo.
    sessions: Option<usize>,
    call: &'static str,
    callers: usize,
    calls: usize,
    calls_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Calls per second to those of the echo beside it.
    of_echo: f64,
    /// Calls per second to those of the same call on the store that has few sessions.
    of_few_sessions: Option<f64>,
    server_cpu_percent: f64,
    server_cpu_us_per_call: f64,
    /// What the system wrote to the disk for the server; a call is also what was left to it by calls before.
    written_bytes_per_call: f64,
    /// How often the server's threads waited for something.
    waits_per_call: f64,
    peer_cpu_percent: f64,
    generator_cpu_percent: f64,
    memory: Memory,
    errors: u64,
    error_example: Option<String>,
}

impl Row {
    pub(crate) fn new(
        store: &'static str,
        sessions: Option<usize>,
        call: Call,
        callers: usize,
        mut seen: Seen,
    ) -> Self {
        seen.latencies.sort_unstable();
        let calls = seen.latencies.len();
        let secs = seen.measured.as_secs_f64();
        let per_call = |amount: f64| amount / calls.max(1) as f64;
        let percent = |cpu: f64| cpu / secs * 100.0;
        Self {
            store,
            sessions,
            call: call.name(),
            callers,
            calls,
            calls_per_second: calls as f64 / secs,
            p50_ms: quantile_ms(&seen.latencies, 0.50),
            p99_ms: quantile_ms(&seen.latencies, 0.99),
            max_ms: quantile_ms(&seen.latencies, 1.0),
            of_echo: 1.0,
            of_few_sessions: None,
            server_cpu_percent: percent(seen.cpu.server),
            server_cpu_us_per_call: per_call(seen.cpu.server * 1e6),
            written_bytes_per_call: per_call(seen.activity.written as f64),
            waits_per_call: per_call(seen.activity.waits as f64),
            peer_cpu_percent: percent(seen.cpu.peer),
            generator_cpu_percent: percent(seen.cpu.generator),
            memory: seen.memory,
            errors: seen.errors,
            error_example: seen.error_example,
        }
    }

    pub(crate) fn compare(&mut self, echo: &Self, few_sessions: Option<&Self>) {
        self.of_echo = self.calls_per_second / echo.calls_per_second;
        self.of_few_sessions = few_sessions.map(|few| self.calls_per_second / few.calls_per_second);
    }

    /// A row without calls has failed as well.
    fn failed(&self) -> bool {
        self.errors > 0 || self.calls == 0
    }

    fn markdown(&self) -> String {
        let mark = if self.failed() { " **FAILED**" } else { "" };
        format!(
            "| {} | {} | {}{mark} | {} | {} | {:.2} | {} | {} | {} | {:.0} % | {:.0} µs | {:.1} | {:.2} | {} | {:.0} % | {} | {} |",
            self.store,
            self.sessions.map_or("–".to_owned(), thousands),
            self.call,
            self.callers,
            thousands(self.calls_per_second.round() as usize),
            self.of_echo,
            self.of_few_sessions
                .map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
            millis(self.p50_ms),
            millis(self.p99_ms),
            self.server_cpu_percent,
            self.server_cpu_us_per_call,
            self.written_bytes_per_call / 1e3,
            self.waits_per_call,
            if self.peer_cpu_percent > 0.0 {
                format!("{:.0} %", self.peer_cpu_percent)
            } else {
                "–".to_owned()
            },
            self.generator_cpu_percent,
            mebibytes(self.memory),
            self.errors,
        )
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, {} sessions at first, {} from {}: {:.0}/s, {:.2} of the echo, p50 {} ms, p99 {} ms, {:.0} µs and {:.1} kB a call, {} errors",
            self.store,
            self.sessions.unwrap_or(0),
            self.call,
            self.callers,
            self.calls_per_second,
            self.of_echo,
            millis(self.p50_ms),
            millis(self.p99_ms),
            self.server_cpu_us_per_call,
            self.written_bytes_per_call / 1e3,
            self.errors
        )
    }
}

/// Of sorted nanoseconds.
fn quantile_ms(sorted: &[u64], quantile: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (last as f64 * quantile).round() as usize;
    sorted.get(place).map_or(0.0, |nanos| *nanos as f64 / 1e6)
}

fn millis(millis: f64) -> String {
    match millis {
        ..1.0 => format!("{millis:.2}"),
        ..10.0 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

fn mebibytes(memory: Memory) -> String {
    let mebi = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "{:.0} / {:.0}",
        mebi(memory.resident),
        mebi(memory.resident_most)
    )
}

/// With a comma between thousands.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    groups.join(",")
}

impl Machine {
    /// This one; the file system is that of `data`.
    pub(crate) fn this(data: &Path) -> Outcome<Self> {
        let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
        let cpu = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .and_then(|rest| rest.split_once(": "))
            .map_or("unknown", |(_, model)| model);
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            cpu: cpu.to_owned(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            file_system: file_system(data)?,
        })
    }
}

/// Of the mount that a path is on: the one that shares most of it, and the last of those.
fn file_system(path: &Path) -> Outcome<String> {
    let path = path.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind) = (fields.next()?, fields.next()?);
            path.starts_with(point).then_some((point.len(), kind))
        })
        .max_by_key(|(length, _)| *length)
        .map_or("unknown", |(_, kind)| kind);
    Ok(kind.to_owned())
}

impl Report {
    pub(crate) fn failed(&self) -> bool {
        self.rows.iter().any(Row::failed)
    }

    pub(crate) fn markdown(&self) -> String {
        let Machine {
            cores,
            cpu,
            kernel,
            file_system,
        } = &self.machine;
        let head = [
            format!("{cores} cores, {cpu}, Linux {kernel}, {file_system}."),
            String::new(),
            "| store | sessions at first | call | callers | calls/s | of the echo | of few sessions | p50 ms | p99 ms | server's CPU, of a core | of it a call | written a call, kB | waits a call | peer's CPU | load generator's CPU | server's memory, now / most, MiB | errors |".to_owned(),
            "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|".to_owned(),
        ];
        let rows = self.rows.iter().map(Row::markdown);
        let idle = self.idle.iter().map(Idle::markdown);
        let errors = self.rows.iter().filter_map(|row| {
            let example = row.error_example.as_ref()?;
            Some(format!("{} from {}: {example}", row.call, row.callers))
        });
        let took = Duration::from_secs_f64(self.took_seconds).as_secs();
        head.into_iter()
            .chain(rows)
            .chain([String::new()])
            .chain(idle)
            .chain(errors)
            .chain(self.notes.iter().cloned())
            .chain([format!("The run took {took} s.")])
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Idle {
    fn markdown(&self) -> String {
        let middle = self.ready_after_ms.get(self.ready_after_ms.len() / 2);
        format!(
            "{}, {} sessions: ready {:.0} ms after its start ({}), then {:.1} MiB of memory without load{}.",
            self.store,
            thousands(self.sessions),
            middle.unwrap_or(&0.0),
            self.ready_after_ms
                .iter()
                .map(|ms| format!("{ms:.0}"))
                .collect::<Vec<_>>()
                .join(", "),
            self.memory.resident as f64 / f64::from(1 << 20),
            self.disk.map_or(String::new(), |disk| format!(
                ", and {:.3} GB on disk",
                disk as f64 / 1e9
            )),
        )
    }
}
