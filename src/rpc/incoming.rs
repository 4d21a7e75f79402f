//! Accepts connections and watches each until it is closed. Closes those that do not finish their handshake (TLS, HTTP/2's
//! preface, the client's first SETTINGS frame) in time, and those that [`ConnectionTable`] closes for new ones. After the
//! handshake, HTTP/2's pings find silent connections.

use std::io;
use std::net::SocketAddr;
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
use crate::net::client_network_of;

/// The pause after a failed accept: the process is probably out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Accepted connections that may wait to be served.
const ACCEPTED_MAX: usize = 128;
/// How long untrusted connections may take to close once the service stops. They may never acknowledge the shutdown.
const UNTRUSTED_GRACE: Duration = Duration::from_secs(1);

/// What a listener's clients may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocols {
    /// HTTP/2 only, as gRPC does.
    Http2,
    /// HTTP/1.1, too.
    Any,
}

/// A listener's connections, until `stop` is cancelled.
pub(super) fn accept(
    listener: TcpListener,
    config: &Config,
    tls: Option<TlsAcceptor>,
    protocols: Protocols,
    stop: &CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let (accepted, incoming) = mpsc::channel(ACCEPTED_MAX);
    let connections =
        ConnectionTable::new(config.connections_max, config.connections_per_address_max);
    let acceptor = Acceptor {
        tls,
        protocols,
        hello_timeout: config.hello_timeout,
        accepted,
        stop: stop.clone(),
    };
    tokio::spawn(async move {
        let stop = acceptor.stop.clone();
        let accept_connections = acceptor.accept_connections(listener, &connections);
        let _ = stop.run_until_cancelled(accept_connections).await;
        tokio::time::sleep(UNTRUSTED_GRACE).await;
        connections.close_all_untrusted();
    });
    ReceiverStream::new(incoming)
}

#[derive(Clone)]
struct Acceptor {
    tls: Option<TlsAcceptor>,
    protocols: Protocols,
    hello_timeout: Duration,
    accepted: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
}

impl Acceptor {
    async fn accept_connections(&self, listener: TcpListener, connections: &Arc<ConnectionTable>) {
        loop {
            let Ok((stream, address)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // The end of an answer must not wait for the acknowledgement of its beginning, which clients delay by 40 ms.
            let _ = stream.set_nodelay(true);
            // Without a permit, the stream is closed at once.
            let Some(permit) = connections.acquire(client_network_of(address.ip())).await else {
                continue;
            };
            let deadline = Instant::now() + self.hello_timeout;
            match &self.tls {
                None => {
                    self.pass_to_server(Either::Left(stream), permit, deadline)
                        .await
                }
                Some(tls) => {
                    let (acceptor, tls) = (self.clone(), tls.clone());
                    tokio::spawn(acceptor.accept_tls(tls, stream, permit, deadline));
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
            () = permit.peer().closing().cancelled() => return,
            () = self.stop.cancelled() => return,
        };
        if let Ok(Ok(stream)) = finished {
            self.pass_to_server(Either::Right(stream), permit, deadline)
                .await;
        }
    }

    async fn pass_to_server(&self, socket: Socket, permit: ConnectionPermit, deadline: Instant) {
        let handshake = Handshake::new(self.protocols);
        let connection = Connection::new(socket, handshake, permit, deadline, self.stop.clone());
        // Fails once the service stops.
        let _ = self.accepted.send(Ok(connection)).await;
    }
}

type Socket = Either<TcpStream, TlsStream<TcpStream>>;
/// Completes with the reason when the connection must be closed.
type End = Pin<Box<dyn Future<Output = io::ErrorKind> + Send>>;

/// A connection that fails when its deadline passes or it is told to close.
pub(super) struct Connection {
    socket: Socket,
    permit: ConnectionPermit,
    /// `None` after the handshake.
    handshake: Option<Handshake>,
    /// `None` once it has completed.
    end: Option<End>,
}

impl Connection {
    fn new(
        socket: Socket,
        handshake: Handshake,
        permit: ConnectionPermit,
        deadline: Instant,
        stop: CancellationToken,
    ) -> Self {
        let closing = permit.peer().closing().clone();
        let end = async move {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => io::ErrorKind::TimedOut,
                () = closing.cancelled() => io::ErrorKind::ConnectionAborted,
                () = stop.cancelled() => io::ErrorKind::ConnectionAborted,
            }
        };
        Self {
            socket,
            permit,
            handshake: Some(handshake),
            end: Some(Box::pin(end)),
        }
    }

    /// The address at its other end; `None` if it has just been closed.
    pub(super) fn peer_address(&self) -> Option<SocketAddr> {
        let socket = match &self.socket {
            Either::Left(socket) => socket,
            Either::Right(tls) => tls.get_ref().0,
        };
        socket.peer_addr().ok()
    }

    /// Fails when the connection must be closed. Called on every read and write, so that it also closes connections whose
    /// client reads nothing.
    fn check_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.handshake.is_none() && self.permit.peer().is_trusted() {
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

    /// Follows the handshake; lifts the deadline when it is finished.
    fn follow_handshake(&mut self, read: &[u8]) -> io::Result<()> {
        let Some(handshake) = &mut self.handshake else {
            return Ok(());
        };
        if handshake.read(read)? {
            self.handshake = None;
            let closing = self.permit.peer().closing().clone();
            self.end = Some(Box::pin(async move {
                closing.cancelled().await;
                io::ErrorKind::ConnectionAborted
            }));
        }
        Ok(())
    }
}

/// The progress of the handshake. For HTTP/2, it is 24 bytes of preface and a SETTINGS frame; for HTTP/1.1, the head of the first
/// request.
#[derive(Debug)]
struct Handshake {
    protocols: Protocols,
    bytes_read: usize,
    frame_header: [u8; FRAME_HEADER_BYTES],
    /// Of HTTP/1.1, once the bytes differ from HTTP/2's preface.
    head: Option<Head>,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_BYTES: usize = PREFACE.len();
const FRAME_HEADER_BYTES: usize = 9;
const SETTINGS_TYPE: u8 = 4;

impl Handshake {
    fn new(protocols: Protocols) -> Self {
        Self {
            protocols,
            bytes_read: 0,
            frame_header: [0; FRAME_HEADER_BYTES],
            head: None,
        }
    }

    /// Takes the next bytes read; returns whether the handshake is finished. HTTP's code checks the contents.
    fn read(&mut self, bytes: &[u8]) -> io::Result<bool> {
        for byte in bytes {
            if self.read_byte(*byte)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_byte(&mut self, byte: u8) -> io::Result<bool> {
        const HEADER_END: usize = PREFACE_BYTES + FRAME_HEADER_BYTES;
        if self.protocols == Protocols::Any {
            let expected = PREFACE.get(self.bytes_read);
            if expected.is_some_and(|expected| *expected != byte) {
                self.head.get_or_insert_default();
            }
            if let Some(head) = &mut self.head {
                return Ok(head.ends_with(byte));
            }
        }
        if (PREFACE_BYTES..HEADER_END).contains(&self.bytes_read) {
            self.frame_header[self.bytes_read - PREFACE_BYTES] = byte;
        }
        self.bytes_read += 1;
        if self.bytes_read < HEADER_END {
            return Ok(false);
        }
        let [high, middle, low, frame_type, ..] = self.frame_header;
        if frame_type != SETTINGS_TYPE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let payload_bytes = u32::from_be_bytes([0, high, middle, low]);
        Ok(self.bytes_read - HEADER_END >= payload_bytes as usize)
    }
}

/// The head of a request, line by line.
#[derive(Debug, Default)]
struct Head {
    /// Empty lines before it do not count.
    has_begun: bool,
    line_has_text: bool,
}

impl Head {
    /// Whether the head ends with this byte: the end of an empty line.
    fn ends_with(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' => {
                let ends = self.has_begun && !self.line_has_text;
                self.line_has_text = false;
                ends
            }
            b'\r' => false,
            _ => {
                self.has_begun = true;
                self.line_has_text = true;
                false
            }
        }
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
        this.check_end(context)?;
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
        this.check_end(context)?;
        Pin::new(&mut this.socket).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check_end(context)?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check_end(context)?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_end(context)?;
        Pin::new(&mut this.socket).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes until the handshake is finished, read in pieces of that size.
    fn finished_after(
        protocols: Protocols,
        sent: &[u8],
        piece: usize,
    ) -> io::Result<Option<usize>> {
        let mut handshake = Handshake::new(protocols);
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
        let empty = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        let one = [PREFACE, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6]].concat();
        let ping = [PREFACE, &[0, 0, 8, 6, 0, 0, 0, 0, 0]].concat();
        for protocols in [Protocols::Http2, Protocols::Any] {
            for sent in [&empty, &one] {
                let finished = |sent, piece| finished_after(protocols, sent, piece).expect("good");
                assert_eq!(finished(sent, 1), Some(sent.len()));
                assert_eq!(finished(sent, 100), Some(sent.len()));
                assert_eq!(finished(&sent[..sent.len() - 1], 7), None);
            }
            assert!(finished_after(protocols, &ping, 1).is_err());
        }
    }

    #[test]
    fn a_handshake_of_http_1_ends_with_the_head_of_the_first_request() {
        let finished =
            |sent: &[u8], piece| finished_after(Protocols::Any, sent, piece).expect("good");
        for request in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "PRI / HTTP/1.1\r\nhost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\nhost: a\n\n",
            "POST / HTTP/1.1\r\n\r\n",
        ] {
            let request = request.as_bytes();
            assert_eq!(finished(request, 1), Some(request.len()));
            assert_eq!(finished(&request[..request.len() - 1], 3), None);
        }
    }
}
