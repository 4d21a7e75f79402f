//! Serves HTTP/1.1 and HTTP/2 beside gRPC. tonic's own server would answer a passed `grpc-timeout` in gRPC's way, with status 200.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;

use futures::{Stream, StreamExt as _};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use prost::bytes::Bytes;
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected as _;
use tower::{BoxError, Service};

use super::Config;
use super::incoming::Connection;

/// The size limit of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// In the extensions of a request: the address at the other end of its connection.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub SocketAddr);

/// The body of an answer.
pub trait HttpBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static> HttpBody for B {}

/// What answers requests.
pub trait HttpService<B: HttpBody>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S, B: HttpBody> HttpService<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Serves `connections` until they end, then lets requests in progress finish.
pub(super) async fn serve<B: HttpBody>(
    connections: impl Stream<Item = std::io::Result<Connection>>,
    config: &Config,
    service: impl HttpService<B>,
    stop: CancellationToken,
) {
    let serving = TaskTracker::new();
    let mut connections = pin!(connections);
    while let Some(connection) = connections.next().await {
        if let Ok(connection) = connection {
            let (service, stop) = (service.clone(), stop.clone());
            serving.spawn(serve_one(connection, config.clone(), service, stop));
        }
    }
    serving.close();
    serving.wait().await;
}

async fn serve_one<B: HttpBody>(
    connection: Connection,
    config: Config,
    service: impl HttpService<B>,
    stop: CancellationToken,
) {
    let peer = connection.connect_info();
    let address = connection.peer_address().map(PeerAddress);
    let mut stream = TimeoutStream::new(connection);
    // HTTP/1.1 has no pings: this finds clients that take nothing any more.
    stream.set_write_timeout(Some(config.keepalive));
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        if let Some(address) = address {
            request.extensions_mut().insert(address);
        }
        service.clone().call(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.http1_idle_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams_per_connection_max)
        .max_pending_accept_reset_streams(usize::try_from(config.streams_per_connection_max).ok())
        .keep_alive_interval(Some(config.keepalive))
        .keep_alive_timeout(config.keepalive);
    let serving = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut serving = pin!(serving);
    let aged = async {
        match config.connection_age_max {
            Some(age) => sleep(age).await,
            None => std::future::pending().await,
        }
    };
    // A broken connection needs no handling.
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stop.cancelled() => {}
        () = aged => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = serving.await;
}
