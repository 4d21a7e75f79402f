//! Accepts connections: so many at once, so many from one address, and none that takes for ever to say what it wants or to
//! take its answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
use crate::net::client_network_of;

/// The most that a request's headers may take, cookies of several participants included.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// How long a connection without a request in progress may take to close, once the service stops.
const CLOSING_GRACE: Duration = Duration::from_secs(1);
/// The pause after a failed accept: the process is out of file descriptors, and will be for a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `closing` is cancelled and all `connections` are closed, the sockets that the router made of some included.
/// Connections of `proxies` are many clients', so they are not counted by address.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    proxies: &[IpNet],
    connections: TaskTracker,
    closing: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let addresses = Arc::new(Addresses::default());
    while let Some(permit) = closing
        .run_until_cancelled(Arc::clone(&room).acquire_owned())
        .await
    {
        let Ok(permit) = permit else { break };
        match closing.run_until_cancelled(listener.accept()).await {
            Some(Ok((stream, address))) => {
                let ip = address.ip().to_canonical();
                let is_proxy = proxies.iter().any(|network| network.contains(&ip));
                let counted = if is_proxy {
                    None
                } else {
                    match addresses.take(client_network_of(ip), limits.per_address_max) {
                        Some(counted) => Some(counted),
                        // Closed without a word: an address at its limit has to wait for its own connections.
                        None => continue,
                    }
                };
                let permit = ConnectionPermit { permit, counted };
                // Signalling is many small messages, none of which should wait for the next.
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
    let answering = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&answering);
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress(address));
        let mut router = router.clone();
        let counted = Answering::new(&counter);
        async move {
            let _counted = counted;
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
        // A connection that breaks is the client's affair.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                // A client that has not sent a whole request is not waited for, nor one that does not take its answer.
                while timeout(CLOSING_GRACE, connection.as_mut()).await.is_err() {
                    if answering.load(Ordering::Relaxed) == 0 {
                        break;
                    }
                }
            }
        }
    }
}

/// Counts a request as being answered until it is dropped.
struct Answering(Arc<AtomicUsize>);

impl Answering {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many connections each address has.
#[derive(Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// One of an address's connections, until it is dropped.
pub(super) struct Counted {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    fn take(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Counted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Counted {
            addresses: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let counts = &self.addresses.0;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
