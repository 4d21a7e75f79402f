//! Accepts connections: so many at once, and none that takes for ever to say what it wants.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::{ConnectionLimits, PeerAddress, Place};

/// The most that a request's headers may take, cookies of several participants included.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// The pause after a failed accept: the process is out of file descriptors, and will be for a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    closing: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    while let Some(permit) = closing
        .run_until_cancelled(Arc::clone(&room).acquire_owned())
        .await
    {
        let Ok(permit) = permit else { break };
        match closing.run_until_cancelled(listener.accept()).await {
            Some(Ok((stream, address))) => {
                let service = router.clone();
                serve_one(
                    stream,
                    PeerAddress(address),
                    service,
                    limits,
                    &graceful,
                    permit,
                );
            }
            Some(Err(_)) => tokio::time::sleep(ACCEPT_PAUSE).await,
            None => break,
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

fn serve_one(
    stream: TcpStream,
    address: PeerAddress,
    router: Router,
    limits: ConnectionLimits,
    graceful: &GracefulShutdown,
    permit: OwnedSemaphorePermit,
) {
    // Signalling is many small messages, none of which should wait for the next.
    let _ = stream.set_nodelay(true);
    let place = Place(Arc::new(permit));
    let held = place.clone();
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(address);
        request.extensions_mut().insert(place.clone());
        let mut router = router.clone();
        async move {
            router
                .call(request.map(axum::body::Body::new) as Request)
                .await
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let connection = graceful.watch(connection.into_owned());
    tokio::spawn(async move {
        // A connection that breaks is the client's affair.
        let _ = connection.await;
        drop(held);
    });
}
