//! Closes a connection without losing the last data sent.
//!
//! Closing a socket with unread bytes resets the connection, and the reset overtakes the data sent before, such as a close
//! code or an error page. So the write half is closed first, and input is read and discarded until the client closes its
//! side, within limits (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::ConnectionPermit;

/// How many bytes are discarded at once.
const DISCARD_BYTES: usize = 4 * 1024;

/// Limits on reading from a client whose connection is being closed.
#[derive(Debug, Clone, Copy)]
pub struct LingerLimits {
    /// The longest time.
    pub time: Duration,
    /// The most bytes.
    pub bytes_max: usize,
}

/// A client's connection. If it is dropped before the client has closed its side, a task keeps the connection and its permit
/// until the client closes it, within the limits.
pub(super) struct LingeringStream {
    /// `None` only during the drop.
    stream: Option<TcpStream>,
    permit: Option<ConnectionPermit>,
    /// The client has closed its side, or the connection broke.
    ended: bool,
    limits: LingerLimits,
    tasks: TaskTracker,
    runtime: Handle,
}

impl LingeringStream {
    /// Must be called within a runtime.
    pub(super) fn new(
        stream: TcpStream,
        permit: ConnectionPermit,
        limits: LingerLimits,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            stream: Some(stream),
            permit: Some(permit),
            ended: false,
            limits,
            tasks,
            runtime: Handle::current(),
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.stream.as_mut().map(Pin::new);
        stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Records whether the connection broke.
    fn track_outcome<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.ended |= matches!(outcome, Poll::Ready(Err(_)));
        outcome
    }
}

impl AsyncRead for LingeringStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, has_room) = (buf.filled().len(), buf.remaining() > 0);
        let outcome = self.stream()?.poll_read(cx, buf);
        if matches!(outcome, Poll::Ready(Ok(()))) && has_room && buf.filled().len() == before {
            self.ended = true;
        }
        self.track_outcome(outcome)
    }
}

impl AsyncWrite for LingeringStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream()?.poll_write(cx, buf);
        self.track_outcome(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream()?.poll_write_vectored(cx, bufs);
        self.track_outcome(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = self.stream()?.poll_flush(cx);
        self.track_outcome(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = self.stream()?.poll_shutdown(cx);
        self.track_outcome(outcome)
    }
}

impl Drop for LingeringStream {
    fn drop(&mut self) {
        let (Some(stream), Some(permit)) = (self.stream.take(), self.permit.take()) else {
            return;
        };
        if self.ended {
            return;
        }
        let limits = self.limits;
        let lingering = async move {
            // After the time limit, the connection is reset.
            let _ = timeout(limits.time, discard(stream, limits.bytes_max)).await;
            drop(permit);
        };
        self.tasks.spawn_on(lingering, &self.runtime);
    }
}

/// Closes the write half; then reads until the client closes its side, the connection breaks, or `bytes_max` are read.
async fn discard(mut stream: TcpStream, bytes_max: usize) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut discarded = 0;
    while discarded < bytes_max && stream.readable().await.is_ok() {
        // On the stack and not across an await, so that waiting tasks hold no buffer.
        match stream.try_read(&mut [0; DISCARD_BYTES]) {
            Ok(0) => return,
            Ok(count) => discarded += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
