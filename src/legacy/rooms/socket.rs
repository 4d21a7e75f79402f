//! `WS /ws/{room_id}`: the guests of a room.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::dialect::{NO_ROOM, RoomDialect};
use super::{NoRoom, RoomId, Rooms, RoomsEdge, detail, refused, text, too_many};
use crate::api::error::CallError;
use crate::app::signalling::ParticipantIdentity;
use crate::domain::error::Error;
use crate::domain::id::SessionId;
use crate::participant_socket::{Page, close, limited, serve};
use crate::rpc::{EncodedStatus, Peer};

/// When an address with too many open sockets may try again: nobody knows when one of them closes.
const OPEN_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn open(State(rooms): Rooms, room_id: RoomId, request: Request) -> Response {
    rooms.count("WS /ws/{room_id}");
    let room_id = text(room_id);
    let (mut parts, _body) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &rooms).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    if !rooms.is_allowed_origin(&parts.headers) {
        return detail(StatusCode::FORBIDDEN, "Origin not allowed").into_response();
    }
    let client = rooms.client(&parts.extensions, &parts.headers);
    if let Err(wait) = rooms.sockets.check(client) {
        return too_many("Too many connections", wait).into_response();
    }
    let Some(slot) = (rooms.open_sockets).acquire(client, rooms.config.sockets_per_address) else {
        return too_many("Too many open connections", OPEN_WAIT).into_response();
    };
    let peer = parts.extensions.get::<Peer>().cloned();
    let entered = match rooms.room(&room_id, parts.extensions).await {
        Ok(session) => rooms.enter(session.session_id).await,
        Err(NoRoom::Unknown) => Ok(None),
        Err(NoRoom::Failed(error)) => Err(*error),
    };
    let limit = rooms.config.socket.send_timeout;
    let held = rooms.guests.signalling.hold_open();
    let upgrade = limited(upgrade, &rooms.config.socket);
    match entered {
        Ok(Some(identity)) => {
            if let Some(peer) = peer {
                // Otherwise, the next connections of the same clinic would push this one out.
                peer.mark_trusted();
            }
            let page = rooms.page(room_id, identity);
            upgrade.on_upgrade(async move |socket| {
                serve(socket, page).await;
                drop((held, slot));
            })
        }
        // Its page waits for this code, and tries again after any other refusal.
        Ok(None) => upgrade.on_upgrade(async move |socket: WebSocket| {
            close(socket, limit, NO_ROOM).await;
            drop((held, slot));
        }),
        Err(error) => refused(&error).into_response(),
    }
}

impl RoomsEdge {
    /// A new guest of a session; `None` if it takes none any more.
    async fn enter(
        &self,
        session_id: String,
    ) -> Result<Option<ParticipantIdentity>, EncodedStatus> {
        let Ok(session_id) = SessionId::parse(session_id) else {
            return Ok(None);
        };
        match self.guests.signalling.authorize_guest(&session_id).await {
            Ok(identity) => Ok(Some(identity)),
            Err(error) if error.retry_after().is_some() || matches!(error, Error::Internal) => {
                Err(CallError::from(error).into())
            }
            Err(_) => Ok(None),
        }
    }

    fn page(&self, room_id: String, identity: ParticipantIdentity) -> Page<RoomDialect> {
        Page {
            identity,
            door: "".into(),
            dialect: RoomDialect::new(room_id),
            signalling: Arc::clone(&self.guests.signalling),
            config: self.config.socket.clone(),
            closing: self.guests.closing.clone(),
        }
    }
}
