//! Accepts connections, and watches each of them until it is closed: the handshake (TLS, HTTP/2's preface, the client's
//! first SETTINGS frame) must be finished in time, and a connection that has to make way ([`ConnectionTable`]) is closed. Of
//! those that have finished their handshake, HTTP/2's pings find the ones that fall silent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::Config;
use super::connections::{ConnectionPermit, ConnectionTable, Peer};
use crate::net::subscriber_of;

/// The pause after a failed accept: the process is out of file descriptors, and will be for a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many connections may wait to be served.
const ACCEPTED_MAX: usize = 128;
/// How long the connections without a call that showed the secret may take to close once the service stops: they may never
/// answer that they have heard of it.
const STRANGER_GRACE: Duration = Duration::from_secs(1);

/// The connections to a listener, until `stop` is cancelled.
pub(super) fn accept(
    listener: TcpListener,
    config: &Config,
    tls: Option<TlsAcceptor>,
    stop: &CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let (accepted, incoming) = mpsc::channel(ACCEPTED_MAX);
    let connections =
        ConnectionTable::new(config.connections_max, config.connections_per_address_max);
    let accepting = Accepting {
        tls,
        hello_timeout: config.hello_timeout,
        accepted,
        stop: stop.clone(),
    };
    tokio::spawn(async move {
        let stop = accepting.stop.clone();
        let accept_all = accepting.accept_all(listener, &connections);
        let _ = stop.run_until_cancelled(accept_all).await;
        tokio::time::sleep(STRANGER_GRACE).await;
        connections.cut_strangers();
    });
    ReceiverStream::new(incoming)
}

#[derive(Clone)]
struct Accepting {
    tls: Option<TlsAcceptor>,
    hello_timeout: Duration,
    accepted: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
}

impl Accepting {
    async fn accept_all(&self, listener: TcpListener, connections: &Arc<ConnectionTable>) {
        loop {
            let Ok((stream, address)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // An answer's end must not wait for the acknowledgement of its beginning, which a client delays by 40 ms.
            let _ = stream.set_nodelay(true);
            // Without a permit, the stream is closed at once.
            let Some(permit) = connections.acquire(subscriber_of(address.ip())).await else {
                continue;
            };
            let deadline = Instant::now() + self.hello_timeout;
            match &self.tls {
                None => {
                    self.pass_to_server(Either::Left(stream), permit, deadline)
                        .await
                }
                Some(tls) => {
                    let (accepting, tls) = (self.clone(), tls.clone());
                    tokio::spawn(accepting.accept_tls(tls, stream, permit, deadline));
                }
            }
        }
    }

    async fn accept_tls(
        self,
        tls: TlsAcceptor,
        stream: TcpStream,
        permit: ConnectionPermit,
        deadline: Instant,
    ) {
        let finished = tokio::select! {
            finished = tokio::time::timeout_at(deadline, tls.accept(stream)) => finished,
            () = permit.peer().cut().cancelled() => return,
            () = self.stop.cancelled() => return,
        };
        if let Ok(Ok(stream)) = finished {
            self.pass_to_server(Either::Right(stream), permit, deadline)
                .await;
        }
    }

    async fn pass_to_server(&self, socket: Socket, permit: ConnectionPermit, deadline: Instant) {
        let connection = Connection::new(socket, permit, deadline, self.stop.clone());
        // No server takes it once the service stops.
        let _ = self.accepted.send(Ok(connection)).await;
    }
}

type Socket = Either<TcpStream, TlsStream<TcpStream>>;
/// Why a connection ends before its client wants it to.
type End = Pin<Box<dyn Future<Output = io::ErrorKind> + Send>>;

/// A connection that breaks when its time is up or it has to make way.
pub(super) struct Connection {
    socket: Socket,
    permit: ConnectionPermit,
    /// `None` once it is finished.
    handshake: Option<Handshake>,
    /// `None` once it has come.
    end: Option<End>,
}

impl Connection {
    fn new(
        socket: Socket,
        permit: ConnectionPermit,
        deadline: Instant,
        stop: CancellationToken,
    ) -> Self {
        let cut = permit.peer().cut().clone();
        let end = async move {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => io::ErrorKind::TimedOut,
                () = cut.cancelled() => io::ErrorKind::ConnectionAborted,
                () = stop.cancelled() => io::ErrorKind::ConnectionAborted,
            }
        };
        Self {
            socket,
            permit,
            handshake: Some(Handshake::default()),
            end: Some(Box::pin(end)),
        }
    }

    /// Fails when the connection has come to its end. Every read and write asks, so that a client that takes nothing of what
    /// it is sent is found too.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.handshake.is_none() && self.permit.peer().is_known() {
            return Ok(());
        }
        let Some(end) = &mut self.end else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        match end.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(kind) => {
                self.end = None;
                Err(kind.into())
            }
        }
    }

    /// Follows the handshake; when it is finished, it has no deadline any more.
    fn follow_handshake(&mut self, read: &[u8]) -> io::Result<()> {
        let Some(handshake) = &mut self.handshake else {
            return Ok(());
        };
        if handshake.read(read)? {
            self.handshake = None;
            let cut = self.permit.peer().cut().clone();
            self.end = Some(Box::pin(async move {
                cut.cancelled().await;
                io::ErrorKind::ConnectionAborted
            }));
        }
        Ok(())
    }
}

/// How far a client has come: 24 bytes of preface, then a SETTINGS frame.
#[derive(Debug, Default)]
struct Handshake {
    bytes_read: usize,
    frame_header: [u8; FRAME_HEADER_BYTES],
}

const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;
const SETTINGS_TYPE: u8 = 4;

impl Handshake {
    /// Takes what was read next; whether the handshake is finished. What the preface and the settings say is HTTP/2's affair.
    fn read(&mut self, bytes: &[u8]) -> io::Result<bool> {
        const HEADER_END: usize = PREFACE_BYTES + FRAME_HEADER_BYTES;
        for byte in bytes {
            if (PREFACE_BYTES..HEADER_END).contains(&self.bytes_read) {
                self.frame_header[self.bytes_read - PREFACE_BYTES] = *byte;
            }
            self.bytes_read += 1;
            if self.bytes_read < HEADER_END {
                continue;
            }
            let [high, middle, low, frame_type, ..] = self.frame_header;
            if frame_type != SETTINGS_TYPE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let payload_bytes = u32::from_be_bytes([0, high, middle, low]);
            if self.bytes_read - HEADER_END >= payload_bytes as usize {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.permit.peer().clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(context, buffer))?;
        this.follow_handshake(&buffer.filled()[before..])?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.socket).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.socket).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes it takes, read in pieces of that size.
    fn finished_after(sent: &[u8], piece: usize) -> io::Result<Option<usize>> {
        let mut handshake = Handshake::default();
        let mut read = 0;
        for bytes in sent.chunks(piece) {
            read += bytes.len();
            if handshake.read(bytes)? {
                return Ok(Some(read));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_handshake_ends_with_its_first_settings() {
        let preface = [b'x'; PREFACE_BYTES];
        let empty = [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        let one = [&preface[..], &[0, 0, 6, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6]].concat();
        for sent in [empty, one] {
            assert_eq!(finished_after(&sent, 1).expect("good"), Some(sent.len()));
            assert_eq!(finished_after(&sent, 100).expect("good"), Some(sent.len()));
            assert_eq!(
                finished_after(&sent[..sent.len() - 1], 7).expect("good"),
                None
            );
        }
        let ping = [&preface[..], &[0, 0, 8, 6, 0, 0, 0, 0, 0]].concat();
        assert!(finished_after(&ping, 1).is_err());
    }
}
