//! Connects participants: commits them to the session and sends their page its initial state.

use std::sync::Arc;

use tokio::time::Instant;

use super::describe::{
    closes_at, existing_participants_message, user_joined_message, waiting_message,
};
use super::follow::Follower;
use super::message::{Connected, ServerMessage};
use super::outbox::{Outbox, PageMessage, PageQueue};
use super::room::InitialMessages;
use super::room::{MediaStates, PageState};
use super::{CloseCode, DisconnectCause, ParticipantConnection, ParticipantIdentity, Signalling};
use crate::app::changes::Decision;
use crate::bus::RelaySubscription;
use crate::domain::error::Error;
use crate::domain::id::UserId;
use crate::domain::participant::{ConnectRequest, Participant, ParticipantStatus};
use crate::domain::role::Action;
use crate::domain::session::Session;

/// Where a participant's page signals.
pub struct PageAddress {
    /// The path of the door for this participant.
    pub door: Arc<str>,
    /// How many values may wait for the page.
    pub queue_max: usize,
}

/// A participant who was connected to the session.
struct ConnectedParticipant {
    /// The session, including the participant.
    session: Session,
    /// Whether they were in it before.
    resumed: bool,
    /// The participants who were in the call before them. All others, also in a later version of the session, joined
    /// after them.
    earlier: Vec<UserId>,
}

impl Signalling {
    /// Connects a participant, sends their page the initial state and notifies the others. `page` is where their page signals.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::SessionFull`]; [`Error::StoreUnavailable`]. [`CloseCode::of`] says how to close the
    /// connection then.
    pub async fn connect_participant(
        self: &Arc<Self>,
        identity: ParticipantIdentity,
        page: PageAddress,
    ) -> Result<(ParticipantConnection, Outbox), Error> {
        let PageAddress { door, queue_max } = page;
        let (queue, outbox) = PageQueue::new(queue_max);
        let added = self.rooms.add_connection(
            &identity.session_id,
            &identity.user_id,
            identity.role,
            &queue,
            &door,
        );
        drop(queue);
        let connection = ParticipantConnection {
            id: added.connection_id,
            room: added.room,
            user_id: identity.user_id.clone(),
            role: identity.role,
        };
        // Before the commit: once others learn of this participant, they may send to them.
        let is_followed = connection.room.is_followed();
        let relays = (!is_followed).then(|| self.bus.subscribe_relays(&identity.session_id));
        let arrival = match self.commit_connect(&identity, &connection).await {
            Ok(arrival) => arrival,
            Err(error) => {
                // An earlier connection, or a connect that was stored after all, now starts its grace period.
                self.disconnect_participant(connection, lost_now());
                return Err(error);
            }
        };
        if let Some(older) = added.replaced {
            older.send(&ServerMessage::Replaced.into());
            older.close(CloseCode::Replaced);
        }
        let sending = self.send_initial_state(&identity, &connection, arrival, &door, relays);
        match sending.await {
            Ok(()) => Ok((connection, outbox)),
            Err(error) => {
                // The participant is in the session by now: their grace period starts, as for any lost connection.
                self.disconnect_participant(connection, lost_now());
                Err(error)
            }
        }
    }

    async fn commit_connect(
        &self,
        identity: &ParticipantIdentity,
        connection: &ParticipantConnection,
    ) -> Result<ConnectedParticipant, Error> {
        let decide = |session: &Session| {
            let now = self.clock.now();
            identity.permit_entry(session, now)?;
            if !connection.room.is_current(connection.id) {
                // A newer connection replaced this one. It commits the connect itself and closes this one's page.
                return Ok(Decision::Keep(ConnectedParticipant {
                    session: session.clone(),
                    resumed: true,
                    earlier: Vec::new(),
                }));
            }
            let outcome = session.connect_participant(
                ConnectRequest {
                    user_id: identity.user_id.clone(),
                    role: identity.role,
                    display_name: identity.name.clone(),
                    instance_id: self.instance_id.clone(),
                },
                now,
            )?;
            let arrival = |session: &Session| ConnectedParticipant {
                session: session.clone(),
                resumed: outcome.resumed,
                earlier: session
                    .admitted_participants()
                    .map(|other| other.user_id.clone())
                    .filter(|other| !outcome.admitted_with_host.contains(other))
                    .collect(),
            };
            Ok(match outcome.change {
                Some(change) => {
                    let answer = arrival(&change.session);
                    Decision::Commit(Box::new(change), answer)
                }
                None => Decision::Keep(arrival(session)),
            })
        };
        self.changes.change(&identity.session_id, decide).await
    }

    /// Sends the page the current state of the session. Afterwards its room announces each event.
    async fn send_initial_state(
        self: &Arc<Self>,
        identity: &ParticipantIdentity,
        connection: &ParticipantConnection,
        mut arrival: ConnectedParticipant,
        door: &str,
        relays: Option<RelaySubscription>,
    ) -> Result<(), Error> {
        let room = &connection.room;
        loop {
            let Some(own) = arrival.session.participant(&identity.user_id) else {
                return self.explain_absence(identity, connection, &arrival.session);
            };
            self.note_instances(room, &arrival.session);
            let page_state = PageState {
                version: arrival.session.version,
                status: own.status,
            };
            let connected = self.connected_message(identity, connection, &arrival, own, door);
            let outcome = room.queue_initial_messages(connection.id, page_state, |media| {
                initial_messages(connected, &arrival, own, media)
            });
            match outcome {
                InitialMessages::Queued { must_follow } => {
                    if must_follow {
                        let relays =
                            relays.unwrap_or_else(|| self.bus.subscribe_relays(room.session_id()));
                        Follower::start(self, room, page_state.version, relays);
                    }
                    return Ok(());
                }
                InitialMessages::Gone => return Ok(()),
                InitialMessages::Outdated => {
                    arrival.session = self.read_session(&identity.session_id).await?;
                }
            }
        }
    }

    /// Returns why a participant is no longer in the session, as an error; `Ok` if their connection was replaced.
    fn explain_absence(
        &self,
        identity: &ParticipantIdentity,
        connection: &ParticipantConnection,
        session: &Session,
    ) -> Result<(), Error> {
        if !connection.room.is_current(connection.id) {
            // The connection that replaced this one closes its page.
            return Ok(());
        }
        // They were removed, or the session ended. Otherwise an earlier connection was declared lost: then they must reconnect.
        identity.permit_entry(session, self.clock.now())?;
        Err(self.access.contention_error())
    }

    fn connected_message(
        &self,
        identity: &ParticipantIdentity,
        connection: &ParticipantConnection,
        arrival: &ConnectedParticipant,
        own: &Participant,
        door: &str,
    ) -> Connected {
        Connected {
            user_id: identity.user_id.to_string(),
            role: identity.role.name(),
            name: own.display_name.clone(),
            permissions: identity.role.permissions(),
            publishes: identity.role.may(Action::Publish),
            media: self.tickets.page_media(&arrival.session, door),
            session_id: identity.session_id.to_string(),
            room_id: identity.session_id.to_string(),
            status: own.status.name(),
            connection_id: connection.id.to_string(),
            resumed: arrival.resumed,
            server_time: self.clock.now().to_string(),
            closes_at: closes_at(&self.window, &arrival.session),
            message: "Successfully connected to room",
        }
    }
}

fn lost_now() -> DisconnectCause {
    DisconnectCause::Lost {
        last_message_at: Instant::now(),
    }
}

/// The first messages to a page. Runs under the room's lock.
fn initial_messages(
    connected: Connected,
    arrival: &ConnectedParticipant,
    own: &Participant,
    media: &MediaStates,
) -> Vec<PageMessage> {
    let ConnectedParticipant {
        session,
        resumed: _,
        earlier,
    } = arrival;
    let mut messages = vec![ServerMessage::Connected(Box::new(connected))];
    match own.status {
        ParticipantStatus::Waiting => messages.push(waiting_message(session, own)),
        ParticipantStatus::Admitted => {
            // Of two participants, only the one who joined first is told that the other is new.
            let (earlier, later): (Vec<_>, Vec<_>) = session
                .admitted_participants()
                .filter(|other| other.user_id != own.user_id)
                .partition(|other| earlier.contains(&other.user_id));
            messages.push(existing_participants_message(session, earlier, media));
            let later = later.into_iter();
            messages.extend(later.map(|other| user_joined_message(session, other, media)));
            if own.role.may(Action::Admit) {
                let others = session.participants.iter();
                let others = others.filter(|other| other.status == ParticipantStatus::Waiting);
                messages.extend(others.map(|other| waiting_message(session, other)));
            }
        }
    }
    messages.into_iter().map(PageMessage::from).collect()
}
