//! Participants' connections: who may connect, what they may say, and what becomes of the session when they come and go.

mod follow;
mod ice;
pub mod message;

pub use ice::{Config as IceConfig, IcePolicy};

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::App;
use super::sessions::Decision;
use crate::auth::token::{Claims, InvalidToken, Purpose};
use crate::domain::access::{Action, Role, permit_action, permit_entry};
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::participant::{Arrival, LeaveCause, Participant, ParticipantStatus};
use crate::domain::session::{EndCause, Session};
use crate::domain::time::Timestamp;
use crate::hub::Relay;
use crate::hub::connections::{Outbox, Outgoing, Room};
use crate::telemetry::metrics::Metrics;
use message::{ClientMessage, Connected, Described, Refused, RelayKind, Relayed, ServerMessage};

/// The codes with which connections are closed; docs/signalling.md tells pages what to do about each.
pub mod close {
    /// One left.
    pub const LEFT: u16 = 1000;
    /// The instance goes away.
    pub const GOING_AWAY: u16 = 1001;
    /// The cookie is no longer good.
    pub const NOT_LET_IN: u16 = 4001;
    /// One was removed.
    pub const REMOVED: u16 = 4003;
    /// The session has ended.
    pub const ENDED: u16 = 4004;
    /// One connected elsewhere.
    pub const REPLACED: u16 = 4005;
    /// Too many messages.
    pub const FLOOD: u16 = 4008;
    /// Too slow a reader.
    pub const TOO_SLOW: u16 = 4009;
    /// The session is full.
    pub const FULL: u16 = 4010;
    /// The store is away.
    pub const STORE_AWAY: u16 = 4013;
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLetIn {
    /// The credential was ours, and its time is over.
    Expired,
    /// The credential is not one of ours.
    Forged,
    /// The credential is for another session.
    OtherSession,
    /// The session, or the store, says no.
    Session(Error),
}

/// Somebody who may enter a session now.
#[derive(Debug, Clone)]
pub struct Pass {
    /// What their credential says.
    pub claims: Claims,
    /// The session.
    pub session_id: SessionId,
    /// Who.
    pub user_id: UserId,
    /// In which role.
    pub role: Role,
    /// When the door closes, if it does and the session was asked.
    pub closes: Option<Timestamp>,
}

/// A connection that was taken in.
#[derive(Debug, Clone)]
pub struct Connection {
    id: u64,
    session_id: SessionId,
    user_id: UserId,
    role: Role,
}

/// How somebody came in.
struct Entrance {
    /// The session with them in it.
    session: Session,
    /// They were there before.
    resumed: bool,
    /// Whom their coming let in.
    let_in: Vec<UserId>,
}

/// What follows from a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The connection goes on.
    Continue,
    /// The sender wants to know that the connection lives.
    Pinged,
    /// The sender leaves.
    Leave,
}

impl App {
    /// Counts a signalling connection as open until the answer is dropped.
    pub fn count_connection(&self) -> impl Drop + use<> {
        CountedConnection::new(Arc::clone(&self.metrics))
    }

    /// Who the bearer of a credential is. Asks nobody but the keys: whether the session lets them in is another question.
    ///
    /// # Errors
    /// [`NotLetIn`], all but [`NotLetIn::Session`]
    pub fn recognise(
        &self,
        jwt: &str,
        purpose: Purpose,
        session_id: &SessionId,
    ) -> Result<Pass, NotLetIn> {
        let claims = self
            .tokens
            .verify(jwt, purpose)
            .map_err(|error| match error {
                InvalidToken::Expired => NotLetIn::Expired,
                InvalidToken::Forged => NotLetIn::Forged,
            })?;
        if claims.session_id != session_id.as_str() {
            return Err(NotLetIn::OtherSession);
        }
        let role = Role::from_name(&claims.role).ok_or(NotLetIn::Forged)?;
        let user_id = UserId::parse(claims.sub.as_str()).map_err(|_| NotLetIn::Forged)?;
        Ok(Pass {
            claims,
            session_id: session_id.clone(),
            user_id,
            role,
            closes: None,
        })
    }

    /// The session of somebody who belongs to it, if not necessarily now.
    ///
    /// # Errors
    /// Those of [`permit_entry`]; [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn session_of(&self, pass: &Pass) -> Result<Session, Error> {
        let key = super::SessionKey::Session(pass.session_id.clone());
        let session = self.get_session(&key).await?;
        let issued_at = pass.claims.issued_at_sequence;
        permit_entry(
            &session,
            pass.role,
            &pass.user_id,
            issued_at,
            Timestamp::now(),
        )?;
        Ok(session)
    }

    /// Whether a credential lets its bearer into a session now.
    ///
    /// # Errors
    /// [`NotLetIn`]
    pub async fn let_in(
        &self,
        jwt: &str,
        purpose: Purpose,
        session_id: &SessionId,
    ) -> Result<Pass, NotLetIn> {
        let pass = self.recognise(jwt, purpose, session_id)?;
        let session = self.session_of(&pass).await.map_err(NotLetIn::Session)?;
        let window = &self.config.window;
        let closes = session
            .admit(pass.role, &pass.user_id, window, Timestamp::now())
            .map_err(NotLetIn::Session)?;
        Ok(Pass { closes, ..pass })
    }

    /// The credential that a page keeps in the place of its join token, and for how long. It may outlast the session's
    /// window, which is looked at whenever it is used: an appointment that is prolonged must not need another link.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn stay_credential(&self, pass: &Pass) -> Result<(String, Duration), Error> {
        let good_for = Duration::from_secs(self.config.stay_secs);
        let until = Timestamp::now().plus_secs(self.config.stay_secs);
        let jwt = self
            .tokens
            .exchange(&pass.claims, until.as_secs())
            .map_err(|_| Error::Internal)?;
        Ok((jwt, good_for))
    }

    /// Takes in a connection: the page is told where it is, the others that it came.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::SessionFull`]; [`Error::StoreUnavailable`]
    pub async fn connect(
        self: &Arc<Self>,
        pass: &Pass,
        outbox: Outbox,
    ) -> Result<Connection, Error> {
        let (id, older) =
            self.connections
                .attach(&pass.session_id, pass.user_id.clone(), pass.role, outbox);
        if let Some(older) = older {
            older.send(Outgoing::Text(ServerMessage::Replaced.text()));
            older.send(Outgoing::Close(close::REPLACED));
        }
        let connection = Connection {
            id,
            session_id: pass.session_id.clone(),
            user_id: pass.user_id.clone(),
            role: pass.role,
        };
        let entrance = match self.arrive(pass).await {
            Ok(entrance) => entrance,
            Err(error) => {
                self.connections.detach(&pass.session_id, id);
                return Err(error);
            }
        };
        match self.welcome(pass, &connection, entrance).await {
            Ok(()) => Ok(connection),
            Err(error) => {
                // They are in the session by now, and leave it as one whose connection was lost.
                self.disconnect(connection, false, Instant::now());
                Err(error)
            }
        }
    }

    async fn arrive(&self, pass: &Pass) -> Result<Entrance, Error> {
        self.change(&pass.session_id, |session| {
            let now = Timestamp::now();
            let issued_at = pass.claims.issued_at_sequence;
            permit_entry(session, pass.role, &pass.user_id, issued_at, now)?;
            let arrived = session.arrived(
                Arrival {
                    user_id: pass.user_id.clone(),
                    role: pass.role,
                    display_name: pass.claims.name.clone(),
                    instance_id: self.instance_id.clone(),
                },
                now,
            )?;
            let entrance = |session: &Session| Entrance {
                session: session.clone(),
                resumed: arrived.resumed,
                let_in: arrived.let_in.clone(),
            };
            Ok(match arrived.change {
                Some(change) => {
                    let answer = entrance(&change.session);
                    Decision::Commit(Box::new(change), answer)
                }
                None => Decision::Keep(entrance(session)),
            })
        })
        .await
    }

    /// Tells the page what there is; from then on its room tells it what changes.
    async fn welcome(
        self: &Arc<Self>,
        pass: &Pass,
        connection: &Connection,
        mut entrance: Entrance,
    ) -> Result<(), Error> {
        loop {
            let told = self.connections.with_room(&pass.session_id, |room| {
                let current = entrance.session.version >= room.told;
                if current {
                    self.introduce(pass, connection, &entrance, room);
                }
                (current, !std::mem::replace(&mut room.followed, true))
            });
            match told {
                // The connection was replaced or lost meanwhile.
                None => return Ok(()),
                Some((current, first)) => {
                    if first {
                        follow::start(Arc::clone(self), &entrance.session);
                    }
                    if current {
                        return Ok(());
                    }
                }
            }
            // The room has heard of more than this view of the session holds.
            let key = super::SessionKey::Session(pass.session_id.clone());
            entrance.session = self.get_session(&key).await?;
            if entrance.session.participant(&pass.user_id).is_none() {
                // Gone again meanwhile: removed, or with the session; or as one who had been lost before this.
                let issued_at = pass.claims.issued_at_sequence;
                let now = Timestamp::now();
                permit_entry(&entrance.session, pass.role, &pass.user_id, issued_at, now)?;
                return Err(Error::Contention {
                    retry_after: self.config.retry_after,
                });
            }
        }
    }

    fn introduce(
        &self,
        pass: &Pass,
        connection: &Connection,
        entrance: &Entrance,
        room: &mut Room,
    ) {
        let session = &entrance.session;
        let Some(own) = session.participant(&pass.user_id) else {
            return;
        };
        let messages = self.introduction(pass, connection, entrance, own, room);
        room.told = room.told.max(session.version);
        let Some(peer) = room
            .peers
            .iter_mut()
            .find(|peer| peer.connection == connection.id)
        else {
            return;
        };
        peer.admitted = own.status == ParticipantStatus::Admitted;
        peer.knows = session.version;
        for text in messages {
            peer.outbox.send(Outgoing::Text(text));
        }
    }

    fn introduction(
        &self,
        pass: &Pass,
        connection: &Connection,
        entrance: &Entrance,
        own: &Participant,
        room: &Room,
    ) -> Vec<Arc<str>> {
        let Entrance {
            session,
            resumed,
            let_in,
        } = entrance;
        let now = Timestamp::now();
        let mut messages = vec![
            ServerMessage::Connected(Box::new(Connected {
                user_id: pass.user_id.as_str(),
                role: pass.role.name(),
                name: &pass.claims.name,
                permissions: pass.role.permissions(),
                publishes: pass.role.may(Action::Publish),
                session_id: pass.session_id.as_str(),
                room_id: pass.session_id.as_str(),
                status: own.status.name(),
                connection_id: connection.id.to_string(),
                resumed: *resumed,
                ice_servers: self.ice.servers(now),
                ice_policy: self.ice.policy(),
                server_time: now.to_string(),
                closes_at: pass.closes.map(|closes| closes.to_string()),
                message: "Successfully connected to room",
            }))
            .text(),
        ];
        match own.status {
            ParticipantStatus::Waiting => messages.push(waiting(session, own).text()),
            ParticipantStatus::Admitted => {
                // Those whom one's coming let in came after oneself, and are introduced as such.
                let (later, earlier): (Vec<_>, Vec<_>) = session
                    .admitted()
                    .filter(|other| other.user_id != pass.user_id)
                    .partition(|other| let_in.contains(&other.user_id));
                messages.push(existing(session, earlier, room).text());
                messages.extend(later.into_iter().map(|other| {
                    ServerMessage::UserJoined {
                        room_id: pass.session_id.as_str(),
                        who: described(other, room),
                    }
                    .text()
                }));
                if pass.role.may(Action::Admit) {
                    let others = session
                        .participants
                        .iter()
                        .filter(|other| other.status == ParticipantStatus::Waiting);
                    messages.extend(others.map(|other| waiting(session, other).text()));
                }
            }
        }
        messages
    }

    /// Does what a page asks for, if its bearer's role allows it.
    ///
    /// # Errors
    /// [`Refused`], to be told to the page.
    pub async fn hear(&self, connection: &Connection, text: &str) -> Result<Heard, Refused> {
        let Connection {
            id: _,
            session_id,
            user_id,
            role,
        } = connection;
        let permit = |action| permit_action(*role, action).map_err(refused);
        let by = Some(user_id);
        match ClientMessage::parse(text)? {
            ClientMessage::Relayed(relayed) => self.relay(connection, relayed)?,
            ClientMessage::Ping => return Ok(Heard::Pinged),
            ClientMessage::Join => {}
            ClientMessage::Leave => return Ok(Heard::Leave),
            ClientMessage::Admit { target_id } => {
                permit(Action::Admit)?;
                let target = member(target_id)?;
                let admitted = self.admit_participant(session_id, &target, by).await;
                admitted.map_err(refused)?;
            }
            ClientMessage::MuteRequest { target_id } => {
                permit(Action::Mute)?;
                let target = member(target_id)?;
                let muted = self.mute_participant(session_id, &target, by).await;
                muted.map_err(refused)?;
            }
            ClientMessage::Remove {
                target_id,
                keep_out,
            } => {
                permit(Action::Remove)?;
                let target = member(target_id)?;
                let removed = self.remove_participant(session_id, &target, by, keep_out);
                removed.await.map_err(refused)?;
            }
            ClientMessage::EndSession => {
                permit(Action::EndSession)?;
                let host = EndCause::Host;
                let ended = self.end_session(session_id, host, host.reason());
                ended.await.map_err(refused)?;
            }
        }
        Ok(Heard::Continue)
    }

    fn relay(&self, connection: &Connection, relayed: Relayed) -> Result<(), Refused> {
        let publishes = match relayed.kind {
            RelayKind::MuteStatus => true,
            RelayKind::Offer | RelayKind::Answer => relayed.sends_media(),
            RelayKind::IceCandidate | RelayKind::Emoji => false,
        };
        if publishes {
            permit_action(connection.role, Action::Publish).map_err(refused)?;
        }
        let to = relayed.target_id.clone().map(member).transpose()?;
        let noted = self.connections.with_room(&connection.session_id, |room| {
            let peer = room.peer_mut(&connection.user_id)?;
            if peer.connection != connection.id {
                return None;
            }
            if relayed.kind == RelayKind::MuteStatus {
                peer.muted = relayed.flag("muted");
                peer.camera_off = relayed.flag("camera_off");
            }
            Some(peer.admitted)
        });
        match noted.flatten() {
            Some(true) => {}
            // Its microphone may be told of before it is let in; the others hear of it then.
            Some(false) if relayed.kind == RelayKind::MuteStatus => return Ok(()),
            Some(false) => return Err(refused(Error::NotAllowed)),
            None => return Ok(()),
        }
        self.hub.relay(Relay {
            session_id: connection.session_id.clone(),
            from: connection.user_id.clone(),
            to,
            text: relayed.text(connection.user_id.as_str(), connection.session_id.as_str()),
        });
        Ok(())
    }

    /// A connection is over. One who left is gone at once; one whose connection was lost has until the grace is over,
    /// counted from when they were last heard.
    pub fn disconnect(self: &Arc<Self>, connection: Connection, left: bool, heard: Instant) {
        if !self
            .connections
            .detach(&connection.session_id, connection.id)
        {
            // Replaced by a newer one, to which the participant belongs.
            return;
        }
        let app = Arc::clone(self);
        self.tasks.spawn(async move {
            let cause = if left {
                LeaveCause::Left
            } else {
                let until = heard + app.config.reconnect_grace;
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    // Whoever is away when the instance goes is missed by the next one.
                    () = app.closing.cancelled() => return,
                }
                LeaveCause::Lost
            };
            if !app
                .connections
                .holds(&connection.session_id, &connection.user_id)
            {
                app.depart(&connection.session_id, &connection.user_id, cause)
                    .await;
            }
        });
    }

    async fn depart(&self, session_id: &SessionId, user_id: &UserId, cause: LeaveCause) {
        loop {
            let departed = self
                .change(session_id, |session| {
                    let now = Timestamp::now();
                    let change = session.departed(user_id, &self.instance_id, cause, now);
                    Ok(Decision::of(change, session))
                })
                .await;
            match departed {
                Err(
                    Error::StoreUnavailable { retry_after } | Error::Contention { retry_after },
                ) => {
                    tokio::select! {
                        () = tokio::time::sleep(retry_after) => {}
                        () = self.closing.cancelled() => return,
                    }
                }
                _ => return,
            }
        }
    }
}

struct CountedConnection(Arc<Metrics>);

impl CountedConnection {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.signalling_connections.inc();
        Self(metrics)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.signalling_connections.dec();
    }
}

/// What is said of one who waits.
fn waiting<'a>(session: &Session, who: &'a Participant) -> ServerMessage<'a> {
    let host_is_there = session
        .admitted()
        .any(|other| other.role.may(Action::Admit));
    ServerMessage::Waiting {
        user_id: who.user_id.as_str(),
        name: &who.display_name,
        role: who.role.name(),
        reason: if host_is_there {
            "needs-admission"
        } else {
            "host-absent"
        },
    }
}

/// Who else is in the call.
fn existing<'a>(
    session: &'a Session,
    others: impl IntoIterator<Item = &'a Participant>,
    room: &Room,
) -> ServerMessage<'a> {
    let others = others.into_iter();
    ServerMessage::ExistingParticipants {
        room_id: session.session_id.as_str(),
        participants: others.map(|other| described(other, room)).collect(),
    }
}

fn described<'a>(who: &'a Participant, room: &Room) -> Described<'a> {
    let peer = room.peer(&who.user_id);
    Described {
        user_id: who.user_id.as_str(),
        name: &who.display_name,
        role: who.role.name(),
        muted: peer.is_some_and(|peer| peer.muted),
        camera_off: peer.is_some_and(|peer| peer.camera_off),
        publishes: who.role.may(Action::Publish),
    }
}

fn member(target_id: String) -> Result<UserId, Refused> {
    UserId::parse(target_id).map_err(|_| Refused {
        code: "bad-target",
        message: "target_id must name a participant".into(),
    })
}

fn refused(error: Error) -> Refused {
    Refused {
        code: match &error {
            Error::NotAllowed => "not-allowed",
            Error::ParticipantNotFound => "participant-not-found",
            Error::SessionEnded { .. } => "session-ended",
            _ => "try-again",
        },
        message: error.message(),
    }
}
