//! Writes log lines to standard output. Callers append to a buffer, and one thread writes the gathered lines with a single
//! system call: a line costs its caller one copy and no allocation, and wakes no thread while lines keep coming.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How long the thread lets lines gather after it has written some.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the end of the process waits for the last lines to be written.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);
/// A buffer that has grown beyond this is shrunk once it is written.
const BUFFER_KEPT_BYTES: usize = 256 * 1024;

/// Buffers callers' lines. Lines that do not fit are dropped, because a slow reader of standard output must not block the
/// service.
pub(super) struct Output(Arc<Shared>);

/// Writes the remaining lines when it is dropped.
pub(super) struct OutputGuard(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    /// Whether the thread waits for a line, and must be woken.
    idle: bool,
    /// Whether no more lines will come.
    closed: bool,
    /// Whether the thread has written the last line.
    finished: bool,
}

/// Starts the thread that writes to `sink`. At most `bytes_max` bytes wait for it.
pub(super) fn start(
    sink: impl Write + Send + 'static,
    bytes_max: usize,
) -> io::Result<(Output, OutputGuard)> {
    let shared = Arc::new(Shared {
        waiting: Mutex::default(),
        changed: Condvar::new(),
        bytes_max,
    });
    let of_thread = Arc::clone(&shared);
    thread::Builder::new()
        .name("log-writer".into())
        .spawn(move || {
            of_thread.write_lines(sink);
            of_thread.lock().finished = true;
            of_thread.changed.notify_all();
        })?;
    Ok((Output(Arc::clone(&shared)), OutputGuard(shared)))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code panics while it holds the lock, and the buffer is consistent at every step.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lines(&self, mut sink: impl Write) {
        let mut text = Vec::new();
        loop {
            {
                let mut waiting = self.lock();
                while waiting.text.is_empty() {
                    if waiting.closed {
                        return;
                    }
                    waiting.idle = true;
                    waiting = self
                        .changed
                        .wait(waiting)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                waiting.idle = false;
                std::mem::swap(&mut waiting.text, &mut text);
            }
            // There is nowhere left to report that standard output cannot be written to.
            let _ = sink.write_all(&text).and_then(|()| sink.flush());
            text.clear();
            text.shrink_to(BUFFER_KEPT_BYTES);
            let waiting = self.lock();
            drop(
                self.changed
                    .wait_timeout_while(waiting, PAUSE, |waiting| !waiting.closed),
            );
        }
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Output {
    /// Buffers a whole line or none of it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shared = &self.0;
        let mut waiting = shared.lock();
        if waiting.text.len() + line.len() <= shared.bytes_max {
            waiting.text.extend_from_slice(line);
        }
        let wake = std::mem::take(&mut waiting.idle);
        drop(waiting);
        if wake {
            shared.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OutputGuard {
    fn drop(&mut self) {
        let shared = &self.0;
        let mut waiting = shared.lock();
        waiting.closed = true;
        shared.changed.notify_all();
        // A reader that has stalled must not keep the process from ending.
        drop(
            shared
                .changed
                .wait_timeout_while(waiting, LAST_LINES_WAIT, |waiting| !waiting.finished),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Passes on each write, and waits for the gate before the next.
    struct Gated {
        written: mpsc::Sender<Vec<u8>>,
        gate: mpsc::Receiver<()>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written
                .send(bytes.to_vec())
                .map_err(io::Error::other)?;
            self.gate.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Gated, mpsc::Receiver<Vec<u8>>, mpsc::Sender<()>) {
        let (written, seen) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        (Gated { written, gate }, seen, open)
    }

    #[test]
    fn lines_that_come_during_a_write_are_written_together() {
        let (sink, seen, open) = gated();
        let (output, guard) = start(sink, 100).unwrap();
        (&output).write_all(b"first\n").unwrap();
        assert_eq!(seen.recv().unwrap(), b"first\n");
        (&output).write_all(b"second\n").unwrap();
        (&output).write_all(b"third\n").unwrap();
        open.send(()).unwrap();
        assert_eq!(seen.recv().unwrap(), b"second\nthird\n");
        open.send(()).unwrap();
        drop(guard);
    }

    #[test]
    fn lines_that_do_not_fit_are_dropped_whole_and_later_ones_are_written() {
        let (sink, seen, open) = gated();
        let (output, guard) = start(sink, 10).unwrap();
        (&output).write_all(b"first\n").unwrap();
        assert_eq!(seen.recv().unwrap(), b"first\n");
        (&output).write_all(b"waiting\n").unwrap();
        (&output).write_all(b"too long\n").unwrap();
        (&output).write_all(b"x\n").unwrap();
        open.send(()).unwrap();
        assert_eq!(seen.recv().unwrap(), b"waiting\nx\n");
        open.send(()).unwrap();
        (&output).write_all(b"later\n").unwrap();
        assert_eq!(seen.recv().unwrap(), b"later\n");
        open.send(()).unwrap();
        drop(guard);
    }

    #[test]
    fn the_last_lines_are_written_before_the_guard_is_gone() {
        let (written, seen) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let (output, guard) = start(Gated { written, gate }, 100).unwrap();
        open.send(()).unwrap();
        open.send(()).unwrap();
        (&output).write_all(b"first\n").unwrap();
        assert_eq!(seen.recv().unwrap(), b"first\n");
        (&output).write_all(b"last\n").unwrap();
        drop(guard);
        assert_eq!(seen.try_recv().unwrap(), b"last\n");
    }
}
