//! Coming in: the session learns of it, and the page of the session.

use std::sync::Arc;

use tokio::time::Instant;

use super::describe::{closes_at, described, existing, waiting};
use super::message::{Connected, ServerMessage};
use super::{CloseCode, Connection, Pass, Signalling, follow};
use crate::app::changes::Decision;
use crate::domain::access::{Action, permit_entry};
use crate::domain::error::Error;
use crate::domain::id::UserId;
use crate::domain::participant::{Arrival, Participant, ParticipantStatus};
use crate::domain::session::Session;
use crate::hub::connections::{Outbox, Outgoing, Room};

/// How somebody came in.
struct Entrance {
    /// The session with them in it.
    session: Session,
    /// They were there before.
    resumed: bool,
    /// Who was in the call before them. Everybody else who is, also in a later view of the session, came after them.
    earlier: Vec<UserId>,
}

impl Signalling {
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
        let connection = Connection {
            id,
            session_id: pass.session_id.clone(),
            user_id: pass.user_id.clone(),
            role: pass.role,
        };
        let entrance = match self.arrive(pass, id).await {
            Ok(entrance) => entrance,
            Err(error) => {
                // Whoever was connected before, or whose coming was stored after all, is missed from now on.
                self.disconnect(connection, false, Instant::now());
                return Err(error);
            }
        };
        if let Some(older) = older {
            older.send(Outgoing::Text(ServerMessage::Replaced.text()));
            older.send(Outgoing::Close(CloseCode::Replaced.number()));
        }
        match self.welcome(pass, &connection, entrance).await {
            Ok(()) => Ok(connection),
            Err(error) => {
                // They are in the session by now, and leave it as one whose connection was lost.
                self.disconnect(connection, false, Instant::now());
                Err(error)
            }
        }
    }

    async fn arrive(&self, pass: &Pass, connection: u64) -> Result<Entrance, Error> {
        self.changes
            .change(&pass.session_id, |session| {
                let now = self.clock.now();
                let issued_at = pass.claims.issued_at_sequence;
                permit_entry(session, pass.role, &pass.user_id, issued_at, now)?;
                if !self.connections.is_current(&pass.session_id, connection) {
                    // A newer connection took this one's place, comes in itself, and tells this one's page.
                    return Ok(Decision::Keep(Entrance {
                        session: session.clone(),
                        resumed: true,
                        earlier: Vec::new(),
                    }));
                }
                let arrived = session.arrived(
                    Arrival {
                        user_id: pass.user_id.clone(),
                        role: pass.role,
                        display_name: pass.name.clone(),
                        instance_id: self.instance_id.clone(),
                    },
                    now,
                )?;
                let entrance = |session: &Session| Entrance {
                    session: session.clone(),
                    resumed: arrived.resumed,
                    earlier: session
                        .admitted()
                        .map(|other| other.user_id.clone())
                        .filter(|other| !arrived.let_in.contains(other))
                        .collect(),
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
            entrance.session = self.access.session(&pass.session_id).await?;
            if entrance.session.participant(&pass.user_id).is_none() {
                // Gone again meanwhile: removed, or with the session; or as one who had been lost before this.
                let issued_at = pass.claims.issued_at_sequence;
                let now = self.clock.now();
                permit_entry(&entrance.session, pass.role, &pass.user_id, issued_at, now)?;
                return Err(Error::Contention {
                    retry_after: self.access.patience.retry_after,
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
            earlier,
        } = entrance;
        let now = self.clock.now();
        let mut messages = vec![
            ServerMessage::Connected(Box::new(Connected {
                user_id: pass.user_id.as_str(),
                role: pass.role.name(),
                name: &own.display_name,
                permissions: pass.role.permissions(),
                publishes: pass.role.may(Action::Publish),
                media: "builtin",
                session_id: pass.session_id.as_str(),
                room_id: pass.session_id.as_str(),
                status: own.status.name(),
                connection_id: connection.id.to_string(),
                resumed: *resumed,
                ice_servers: self.ice.servers(now),
                ice_policy: self.ice.policy(),
                server_time: now.to_string(),
                closes_at: closes_at(&self.window, session),
                message: "Successfully connected to room",
            }))
            .text(),
        ];
        match own.status {
            ParticipantStatus::Waiting => messages.push(waiting(session, own).text()),
            ParticipantStatus::Admitted => {
                // Of two, one is told that the other is new: whoever came after oneself is introduced as such.
                let (earlier, later): (Vec<_>, Vec<_>) = session
                    .admitted()
                    .filter(|other| other.user_id != pass.user_id)
                    .partition(|other| earlier.contains(&other.user_id));
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
}
