//! The door to SFU nodes: passes a page's signalling on to the node of its session. docs/sfu.md says why.

use std::io;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CONNECTION, HeaderValue, UPGRADE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio_io_timeout::TimeoutStream;

use super::page_error::PageError;
use super::{Edge, join};
use crate::app::signalling::{DoorAccess, DoorClosed, DoorPass};
use crate::domain::id::SessionId;
use crate::sfu::{NodeStream, SignallingAnswer, SignallingRequest};

/// What a LiveKit client asks its server for: the socket, in the newer and the older form, and why that was refused.
const PATHS: [&str; 4] = ["rtc/v1", "rtc", "rtc/v1/validate", "rtc/validate"];

/// What LiveKit's client says of itself and of its connection. Everything else stays here: `access_token` is replaced with one of
/// our own, and `publish` would give the participant a second identity.
const PARAMETERS: [&str; 18] = [
    "adaptive_stream",
    "auto_subscribe",
    "browser",
    "browser_version",
    "client_protocol",
    "device_model",
    "disable_ice_lite",
    "join_request",
    "network",
    "os",
    "os_version",
    "protocol",
    "reconnect",
    "reconnect_reason",
    "sdk",
    "sid",
    "subscriber_allow_pause",
    "version",
];

/// `GET /join/{session_id}/sfu/{slot}/{generation}/{*path}`
pub(super) async fn open(
    State(edge): State<Edge>,
    address: Result<Path<(String, String, String, String)>, PathRejection>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    request: Request,
) -> Response {
    let (headers, query) = (request.headers().clone(), query.unwrap_or_default().0);
    let outcome = match address {
        Ok(Path(address)) => pass_on(&edge, address, query, request).await,
        Err(_) => Err(Refusal::Page(PageError::NotFound)),
    };
    match outcome {
        Ok(answer) => answer,
        Err(Refusal::Page(error)) => edge.assets.error_page(&error, &headers, &edge.config),
        Err(Refusal::Door(reason)) => closed_answer(reason),
    }
}

/// Why the door does not open.
enum Refusal {
    /// The page may not enter the session.
    Page(PageError),
    /// The page may enter the session, but not this door.
    Door(DoorClosed),
}

impl From<PageError> for Refusal {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}

/// LiveKit's client shows the text to developers only.
fn closed_answer(reason: DoorClosed) -> Response {
    match reason {
        DoorClosed::NotInCall => (StatusCode::FORBIDDEN, "you are not in the call"),
        DoorClosed::OtherPlace => (StatusCode::CONFLICT, "the call does not go this way"),
        DoorClosed::NodeUnavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the SFU node does not answer",
        ),
    }
    .into_response()
}

async fn pass_on(
    edge: &Edge,
    (session_id, slot, generation, path): (String, String, String, String),
    mut query: Vec<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    if !PATHS.contains(&path.as_str()) {
        return Err(PageError::NotFound.into());
    }
    let headers = request.headers().clone();
    let wants_socket = headers.contains_key(UPGRADE);
    // Browsers name the origin of every socket, and of no request for the same origin.
    if wants_socket && !edge.config.is_own_origin(&headers) {
        return Err(PageError::Origin.into());
    }
    let session_id = SessionId::parse(session_id).map_err(|_| PageError::UnknownSession)?;
    let generation = generation.parse().map_err(|_| PageError::NotFound)?;
    let participant = join::authorize_cookie(edge, &session_id, &slot, &headers).await?;
    let opening = edge.signalling.open_door(participant, generation);
    let pass = opening.await.map_err(Refusal::Door)?;
    query.retain(|(name, _)| PARAMETERS.contains(&name.as_str()));
    let asked = SignallingRequest {
        path,
        query,
        headers,
    };
    let answer = pass.connect(&asked).await.map_err(Refusal::Door)?;
    Ok(match answer {
        SignallingAnswer::Closed(status) => status.into_response(),
        SignallingAnswer::Open { headers, stream } => {
            let DoorPass { access, .. } = pass;
            connect_page(edge.clone(), request, stream, access);
            switch_protocols(headers)
        }
    })
}

fn switch_protocols(handshake: HeaderMap) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.extend(handshake);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}

/// Passes bytes both ways, as soon as the page has the answer, until one side ends or the participant may no longer stay.
fn connect_page(edge: Edge, request: Request, node: Box<dyn NodeStream>, access: DoorAccess) {
    let upgrade = hyper::upgrade::on(request);
    let connections = edge.connections.clone();
    connections.spawn(async move {
        let Ok(upgraded) = upgrade.await else {
            return;
        };
        let _counter = edge.signalling.count_door();
        let door = &edge.config.door;
        let write_timeout = Some(edge.config.connections.write_timeout);
        let mut page = TimeoutStream::new(TokioIo::new(upgraded));
        page.set_read_timeout(Some(door.silence_max));
        page.set_write_timeout(write_timeout);
        let mut node = TimeoutStream::new(node);
        node.set_write_timeout(write_timeout);
        let (from_page, to_page) = split(Box::pin(page));
        let (from_node, to_node) = split(Box::pin(node));
        // The end of one side ends the other: both are dropped, even if the other one says nothing.
        tokio::select! {
            _ = pass_bytes(from_page, to_node, door.buffer_bytes) => {}
            _ = pass_bytes(from_node, to_page, door.buffer_bytes) => {}
            () = access.revoked() => {}
            () = edge.closing.cancelled() => {}
        }
    });
}

/// Passes on what comes from one side, until it ends.
async fn pass_bytes(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    buffer_bytes: usize,
) -> io::Result<()> {
    let mut buffer = vec![0; buffer_bytes];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}
