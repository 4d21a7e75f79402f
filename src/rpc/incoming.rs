//! Accepts connections: so many at once, and none that does not begin to speak. HTTP/2 keeps watch over those that have.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::Config;

/// The pause after a failed accept: the process is out of file descriptors, and will be for a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many connections that have begun to speak may wait to be served.
const SPEAKING_MAX: usize = 128;

pin_project! {
    /// A connection, counted until it is closed.
    pub(super) struct Connection {
        #[pin]
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
    }
}

/// The connections to a listener that have begun to speak, until `stop` is cancelled.
pub(super) fn accept(
    listener: TcpListener,
    config: &Config,
    stop: &CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let (speaking, connections) = mpsc::channel(SPEAKING_MAX);
    let room = Arc::new(Semaphore::new(config.connections_max));
    let (hello_timeout, stop) = (config.hello_timeout, stop.clone());
    tokio::spawn(async move {
        let accepting = accept_for_ever(&listener, room, hello_timeout, &speaking, &stop);
        let _ = stop.run_until_cancelled(accepting).await;
    });
    ReceiverStream::new(connections)
}

async fn accept_for_ever(
    listener: &TcpListener,
    room: Arc<Semaphore>,
    hello_timeout: Duration,
    speaking: &mpsc::Sender<io::Result<Connection>>,
    stop: &CancellationToken,
) {
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // An answer's end must not wait for the acknowledgement of its beginning, which a client delays by 40 ms.
        let _ = stream.set_nodelay(true);
        let (speaking, stop) = (speaking.clone(), stop.clone());
        tokio::spawn(async move {
            let mut first = [0];
            let heard = tokio::time::timeout(hello_timeout, stream.peek(&mut first));
            let heard = stop.run_until_cancelled(heard).await;
            // A connection that closed without a word peeks nothing.
            if matches!(heard, Some(Ok(Ok(1)))) {
                let _ = speaking.send(Ok(Connection { stream, permit })).await;
            }
        });
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().stream.poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
