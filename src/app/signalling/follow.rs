//! Tells the pages of a session that are connected here what happens to it, wherever it happens: one task a session turns
//! its events into messages.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use super::CloseCode;
use super::Signalling;
use super::describe::{closes_at, described, existing, waiting};
use super::message::ServerMessage;
use crate::domain::access::{Action, Role};
use crate::domain::error::Error;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{SessionId, UserId};
use crate::domain::participant::{LeaveCause, Participant, ParticipantStatus};
use crate::domain::session::{JoinWindow, Session};
use crate::hub::connections::{Outgoing, Peer, Room};

/// How often a session in which nothing happens is looked at: whether anybody is left to tell.
const EMPTY_CHECK: Duration = Duration::from_secs(15);

/// Follows a session for as long as somebody is connected to it here.
pub(super) fn start(app: Arc<Signalling>, session: &Session) {
    let (session_id, after) = (session.session_id.clone(), session.version);
    let tasks = app.tasks.clone();
    tasks.spawn(async move {
        let mut after = after;
        loop {
            if let Err(error) = follow(&app, &session_id, &mut after).await {
                if app.closing.is_cancelled() {
                    return;
                }
                tokio::time::sleep(
                    error
                        .retry_after()
                        .unwrap_or(app.access.patience.retry_after),
                )
                .await;
            }
            if app.connections.forget_if_empty(&session_id) {
                return;
            }
        }
    });
}

/// Until the last page is gone, or the store is.
async fn follow(
    app: &Arc<Signalling>,
    session_id: &SessionId,
    after: &mut i64,
) -> Result<(), Error> {
    let mut events = app.events.follow(session_id.clone(), *after);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = tokio::time::sleep(EMPTY_CHECK) => {
                if app.connections.with_room(session_id, |room| room.peers.is_empty()) != Some(false) {
                    return Ok(());
                }
                continue;
            }
        };
        let Some(event) = event else {
            return Ok(());
        };
        let event = match event {
            Ok(event) => event,
            Err(Error::Internal) => {
                *after = send_pages_to_reconnect(app, session_id).await?;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        tell(app, session_id, &event).await?;
        *after = event.sequence;
        if app
            .connections
            .with_room(session_id, |room| room.peers.is_empty())
            != Some(false)
        {
            return Ok(());
        }
    }
}

/// An event that cannot be read, as one that a newer version wrote, may be a removal or the end. What it led to is in the
/// session: so every page connects anew, and is told of the session as it is, or refused. Returns the version up to which
/// nothing more is to be told.
async fn send_pages_to_reconnect(
    app: &Arc<Signalling>,
    session_id: &SessionId,
) -> Result<i64, Error> {
    let version = match app.access.session(session_id).await {
        Ok(session) => session.version,
        Err(error) => {
            if error == Error::Internal {
                // Who may be here cannot be known: nobody stays who may have been removed.
                app.connections.with_room(session_id, |room| {
                    for peer in &room.peers {
                        let code = CloseCode::Internal.number();
                        peer.outbox.send(Outgoing::Close(code));
                    }
                });
            }
            return Err(error);
        }
    };
    app.connections.with_room(session_id, |room| {
        for peer in room.peers.iter().filter(|peer| peer.knows < version) {
            let code = CloseCode::GoingAway.number();
            peer.outbox.send(Outgoing::Close(code));
        }
        room.told = room.told.max(version);
    });
    Ok(version)
}

async fn tell(app: &Arc<Signalling>, session_id: &SessionId, event: &Event) -> Result<(), Error> {
    let session = if needs_session(&event.kind) {
        Some(app.access.session(session_id).await?)
    } else {
        None
    };
    let window = &app.window;
    app.connections.with_room(session_id, |room| {
        room.told = room.told.max(event.sequence);
        tell_room(room, window, session.as_ref(), event);
    });
    Ok(())
}

/// Whether an event is told of by more than what it holds itself.
fn needs_session(kind: &EventKind) -> bool {
    match kind {
        EventKind::ParticipantWaiting { .. } | EventKind::ParticipantJoined { .. } => true,
        EventKind::Updated { fields } => moves_end(fields),
        EventKind::ParticipantLeft { role, .. } => role.may(Action::Admit),
        _ => false,
    }
}

fn moves_end(fields: &[String]) -> bool {
    fields.iter().any(|field| field == "scheduled_end_time")
}

fn tell_room(room: &mut Room, window: &JoinWindow, session: Option<&Session>, event: &Event) {
    match &event.kind {
        EventKind::ParticipantWaiting { user_id, .. } => {
            if let Some((session, who)) = present(session, user_id) {
                let text = waiting(session, who).text();
                send(room, event, &text, |peer| {
                    peer.role.may(Action::Admit) && peer.user_id != *user_id
                });
            }
            replace(room, event, user_id);
        }
        EventKind::ParticipantAdmitted { user_id, .. } => {
            let text = ServerMessage::Admitted {
                user_id: user_id.as_str(),
            }
            .text();
            send(room, event, &text, |peer| {
                peer.user_id == *user_id || peer.role.may(Action::Admit)
            });
        }
        EventKind::ParticipantJoined {
            user_id,
            role,
            resumed,
        } => {
            joined(room, session, event, user_id, *resumed);
            tell_waiting(room, session, event, *role);
        }
        // That it is over for everybody is said once, by the event that follows.
        EventKind::ParticipantLeft {
            cause: LeaveCause::SessionEnded,
            ..
        } => {}
        EventKind::ParticipantLeft {
            user_id,
            role,
            cause,
        } => {
            gone(room, event, user_id, *cause);
            tell_waiting(room, session, event, *role);
        }
        EventKind::ParticipantRemoved { user_id, .. } => {
            let text = ServerMessage::Removed.text();
            let is_removed = |peer: &Peer| peer.user_id == *user_id;
            send(room, event, &text, is_removed);
            end(room, event, CloseCode::Removed, is_removed);
        }
        EventKind::ParticipantMuted { user_id, by } => {
            let sender_id = by.as_ref().map_or("", UserId::as_str);
            let text = ServerMessage::MuteRequest { sender_id }.text();
            send(room, event, &text, |peer| peer.user_id == *user_id);
        }
        EventKind::Ended { cause, reason } => {
            let text = ServerMessage::SessionEnded {
                cause: cause.name(),
                reason,
            }
            .text();
            send(room, event, &text, |_| true);
            end(room, event, CloseCode::Ended, |_| true);
        }
        EventKind::Updated { fields } if moves_end(fields) => {
            let closes_at = session.and_then(|session| closes_at(window, session));
            let text = ServerMessage::SessionUpdated { closes_at }.text();
            send(room, event, &text, |_| true);
        }
        EventKind::Created { .. }
        | EventKind::Updated { .. }
        | EventKind::Joined { .. }
        | EventKind::ParticipantInvited { .. }
        | EventKind::ParticipantNamed { .. }
        | EventKind::Unknown { .. } => {}
    }
}

/// Somebody is in the call: they learn who else is, and the others of them. One who only moved to another instance is no
/// news to the others, but the connection that they had here is an old one.
fn joined(
    room: &mut Room,
    session: Option<&Session>,
    event: &Event,
    user_id: &UserId,
    resumed: bool,
) {
    if resumed {
        replace(room, event, user_id);
        return;
    }
    let Some((session, who)) = present(session, user_id) else {
        return;
    };
    let text = ServerMessage::UserJoined {
        room_id: event.session_id.as_str(),
        who: described(who, room),
    }
    .text();
    send(room, event, &text, |peer| {
        peer.admitted && peer.user_id != *user_id
    });
    let others = session.admitted().filter(|other| other.user_id != *user_id);
    let others = existing(session, others, room).text();
    if let Some(peer) = room.peer_mut(user_id)
        && peer.knows < event.sequence
    {
        peer.admitted = true;
        peer.outbox.send(Outgoing::Text(others));
    }
}

/// Somebody is gone, or has given up waiting.
fn gone(room: &mut Room, event: &Event, user_id: &UserId, cause: LeaveCause) {
    room.said.remove(user_id);
    let text = ServerMessage::UserLeft {
        room_id: event.session_id.as_str(),
        user_id: user_id.as_str(),
        cause: cause.name(),
    }
    .text();
    send(room, event, &text, |peer| {
        peer.admitted && peer.user_id != *user_id
    });
    if cause == LeaveCause::Replaced {
        replace(room, event, user_id);
    } else if cause != LeaveCause::Removed {
        // Whoever came back while their leaving was being written, or was taken for dead with this instance, is connected
        // and in no session: they are to come in anew.
        end(room, event, CloseCode::GoingAway, |peer| {
            peer.user_id == *user_id
        });
    }
}

/// What they wait for depends on whether the host is there, who came or went.
fn tell_waiting(room: &Room, session: Option<&Session>, event: &Event, role: Role) {
    let Some(session) = session.filter(|_| role.may(Action::Admit)) else {
        return;
    };
    let is_waiting = |who: &&Participant| who.status == ParticipantStatus::Waiting;
    for who in session.participants.iter().filter(is_waiting) {
        let text = waiting(session, who).text();
        send(room, event, &text, |peer| peer.user_id == who.user_id);
    }
}

/// One who moved to another instance has an old connection here.
fn replace(room: &Room, event: &Event, user_id: &UserId) {
    let is_old = |peer: &Peer| peer.user_id == *user_id;
    send(room, event, &ServerMessage::Replaced.text(), is_old);
    end(room, event, CloseCode::Replaced, is_old);
}

fn present<'a>(
    session: Option<&'a Session>,
    user_id: &UserId,
) -> Option<(&'a Session, &'a Participant)> {
    let session = session?;
    // Gone again by the time of looking: the event of that follows.
    Some((session, session.participant(user_id)?))
}

/// To those whom it concerns and who do not know yet.
fn send(room: &Room, event: &Event, text: &Arc<str>, concerns: impl Fn(&Peer) -> bool) {
    for peer in &room.peers {
        if peer.knows < event.sequence && concerns(peer) {
            peer.outbox.send(Outgoing::Text(Arc::clone(text)));
        }
    }
}

fn end(room: &Room, event: &Event, code: CloseCode, concerns: impl Fn(&Peer) -> bool) {
    for peer in &room.peers {
        if peer.knows < event.sequence && concerns(peer) {
            peer.outbox.send(Outgoing::Close(code.number()));
        }
    }
}
