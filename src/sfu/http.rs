//! HTTP to a node: one client per node, answers of a limited size, and errors without URLs.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Url, redirect};

use super::{Outage, SfuError};

/// The longest answer that is read, in bytes. The participants of a large room, with all their tracks, take a tenth of it.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How many unused connections are kept per node.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// What a node answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads JSON.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, SfuError> {
        serde_json::from_slice(&self.body).map_err(|_| SfuError::Malformed)
    }
}

/// Parses a node's base URL.
pub(super) fn parse_base(text: &str) -> Result<Url, SfuError> {
    let base = Url::parse(text.trim_end_matches('/'))
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or(SfuError::Misconfigured(
            "its API URL is not an http or https URL",
        ))?;
    if !base.username().is_empty() || base.password().is_some() {
        return Err(SfuError::Misconfigured(
            "its API URL contains a user or a password",
        ));
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err(SfuError::Misconfigured(
            "its API URL contains a query or a fragment",
        ));
    }
    Ok(base)
}

/// The base URL with path segments added, each escaped as one.
pub(super) fn join<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    // Only a URL that cannot have a path has none.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// A client for one node.
pub(super) fn client(base: &Url) -> Result<Client, SfuError> {
    let mut builder = Client::builder()
        // A credential goes to the node and nowhere else.
        .redirect(redirect::Policy::none())
        .referer(false)
        // Nodes are ours: a proxy from the environment is not meant for them.
        .no_proxy()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
    if base.scheme() == "http" {
        // The machine's root certificates are not needed, and may be missing in a small container.
        builder = builder.tls_certs_only([]);
    }
    builder
        .build()
        .map_err(|_| SfuError::Misconfigured("no root certificates are installed to check its own"))
}

/// Sends a request and reads the answer.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, SfuError> {
    let mut response = request.send().await.map_err(|error| outage(&error))?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| outage(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(SfuError::Malformed);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body })
}

pub(super) fn outage(error: &reqwest::Error) -> SfuError {
    SfuError::Unavailable(if error.is_timeout() {
        Outage::TimedOut
    } else if is_refused(error) {
        Outage::ConnectionRefused
    } else if error.is_connect() {
        Outage::Unreachable
    } else {
        Outage::ConnectionLost
    })
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        source = error.source();
    }
    false
}
