//! Signalling with a node on behalf of a page: WebSocket handshakes are passed on, and what follows is passed through unread.

use http::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Outage, SfuError, http as node_http};

/// The request headers of the WebSocket handshake. Nothing else of a page's request reaches the node.
const REQUEST_HEADERS: [HeaderName; 4] = [
    http::header::SEC_WEBSOCKET_KEY,
    http::header::SEC_WEBSOCKET_VERSION,
    http::header::SEC_WEBSOCKET_PROTOCOL,
    http::header::SEC_WEBSOCKET_EXTENSIONS,
];

/// Those of the node's answer.
const ANSWER_HEADERS: [HeaderName; 3] = [
    http::header::SEC_WEBSOCKET_ACCEPT,
    http::header::SEC_WEBSOCKET_PROTOCOL,
    http::header::SEC_WEBSOCKET_EXTENSIONS,
];

/// A page's request to a node.
pub struct SignallingRequest {
    /// The path beneath the node's base URL.
    pub path: String,
    /// The query, without a credential.
    pub query: Vec<(String, String)>,
    /// The request's headers.
    pub headers: HeaderMap,
}

/// A node's answer to a page's request.
pub enum SignallingAnswer {
    /// The WebSocket is open.
    Open {
        /// The headers that complete the page's handshake.
        headers: HeaderMap,
        /// The connection to the node.
        stream: Box<dyn NodeStream>,
    },
    /// The node answered something else, with this status. Its text is dropped: it can repeat the credential.
    Closed(StatusCode),
}

/// A connection to a node.
pub trait NodeStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> NodeStream for T {}

/// Sends a page's request to a node, with the node's own credential.
pub(super) async fn open(
    client: &Client,
    base: &Url,
    request: &SignallingRequest,
    token: &SecretString,
) -> Result<SignallingAnswer, SfuError> {
    let mut url = node_http::join(base, request.path.split('/'));
    url.query_pairs_mut().extend_pairs(&request.query);
    let wants_socket = request.headers.contains_key(UPGRADE);
    let mut sending = client.get(url).header(AUTHORIZATION, bearer(token)?);
    if wants_socket {
        sending = sending
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .headers(select(&request.headers, &REQUEST_HEADERS));
    }
    let response = sending
        .send()
        .await
        .map_err(|error| node_http::outage(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(SignallingAnswer::Closed(response.status()));
    }
    let headers = select(response.headers(), &ANSWER_HEADERS);
    let stream = response.upgrade().await;
    let stream = stream.map_err(|_| SfuError::Unavailable(Outage::ConnectionLost))?;
    Ok(SignallingAnswer::Open {
        headers,
        stream: Box::new(stream),
    })
}

fn bearer(token: &SecretString) -> Result<HeaderValue, SfuError> {
    let text = format!("Bearer {}", token.expose_secret());
    let mut value = HeaderValue::from_str(&text).map_err(|_| SfuError::Malformed)?;
    value.set_sensitive(true);
    Ok(value)
}

fn select(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut selected = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            selected.append(name, value.clone());
        }
    }
    selected
}
