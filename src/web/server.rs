//! Accepts connections, with limits in total, per address, and on slow requests and responses.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::lingering::LingeringStream;
use super::{ConnectionLimits, ConnectionPermit, PeerAddress};
use crate::net::{AddressCounts, client_network_of};

/// The size limit of a request's headers, which may have the cookies of several participants.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// How long a connection without a request in progress may take to close once the service stops.
const CLOSING_GRACE: Duration = Duration::from_secs(1);
/// The pause after a failed accept: the process is probably out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `closing` is cancelled and all `connections` are closed, signalling sockets included. Connections of `proxies`
/// carry many clients, so they are not counted by address.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    proxies: &[IpNet],
    connections: TaskTracker,
    closing: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let addresses = Arc::new(AddressCounts::default());
    while let Some(permit) = closing
        .run_until_cancelled(Arc::clone(&room).acquire_owned())
        .await
    {
        let Ok(permit) = permit else { break };
        match closing.run_until_cancelled(listener.accept()).await {
            Some(Ok((stream, address))) => {
                let ip = address.ip().to_canonical();
                let is_proxy = proxies.iter().any(|network| network.contains(&ip));
                let address_slot = if is_proxy {
                    None
                } else {
                    match addresses.acquire(client_network_of(ip), limits.per_address_max) {
                        Some(slot) => Some(slot),
                        // Over the limit of the address: closed without an answer.
                        None => continue,
                    }
                };
                let permit = ConnectionPermit {
                    permit,
                    address_slot,
                };
                // Signalling sends many small messages, which must not wait for each other.
                let _ = stream.set_nodelay(true);
                let stream =
                    LingeringStream::new(stream, permit, limits.linger, connections.clone());
                let serving = serve_one(stream, address, router.clone(), limits, &closing);
                connections.spawn(serving);
            }
            Some(Err(_)) => tokio::time::sleep(ACCEPT_PAUSE).await,
            None => break,
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn serve_one(
    stream: LingeringStream,
    address: SocketAddr,
    router: Router,
    limits: ConnectionLimits,
    closing: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_timeout));
    let in_progress = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&in_progress);
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress(address));
        let mut router = router.clone();
        let guard = RequestGuard::new(&counter);
        async move {
            let _guard = guard;
            router
                .call(request.map(axum::body::Body::new) as Request)
                .await
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .with_upgrades();
    let closing = closing.clone();
    async move {
        let mut connection = pin!(connection);
        // A broken connection needs no handling.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                // Waits only while a handler runs, not for a client to send its request or to read its answer.
                while timeout(CLOSING_GRACE, connection.as_mut()).await.is_err() {
                    if in_progress.load(Ordering::Relaxed) == 0 {
                        break;
                    }
                }
            }
        }
    }
}

/// Counts a request in progress until it is dropped.
struct RequestGuard(Arc<AtomicUsize>);

impl RequestGuard {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
