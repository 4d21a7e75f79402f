//! Connecting a participant: the session learns of them, and their page of the session.

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
use super::{
    AuthorizedParticipant, CloseCode, DisconnectCause, ParticipantConnection, ParticipantIdentity,
    Signalling,
};
use crate::app::changes::Decision;
use crate::app::tickets::Ticket;
use crate::domain::error::Error;
use crate::domain::id::UserId;
use crate::domain::participant::{Arrival, Participant, ParticipantStatus};
use crate::domain::role::Action;
use crate::domain::session::Session;

/// A participant's arrival in the session.
struct ConnectedParticipant {
    /// The session with them in it.
    session: Session,
    /// They were in it before.
    resumed: bool,
    /// The participants who were in the call before them. All others in the call, also in a later version of the session,
    /// joined after them.
    earlier: Vec<UserId>,
}

impl Signalling {
    /// Connects a participant: their page is told of the session, the others of them. The queue to the page holds up to
    /// `queue_max` values.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::SessionFull`]; those of [`Tickets::issue_ticket`](crate::app::tickets::Tickets);
    /// [`Error::StoreUnavailable`]. [`CloseCode::of`] says how to close the connection then.
    pub async fn connect_participant(
        self: &Arc<Self>,
        participant: AuthorizedParticipant,
        queue_max: usize,
    ) -> Result<(ParticipantConnection, Outbox), Error> {
        let AuthorizedParticipant { identity, session } = participant;
        // Before the session knows of the connection: without a ticket there is none.
        let issuing = self
            .tickets
            .issue_ticket(&session, &identity.user_id, identity.role);
        let ticket = issuing.await?;
        drop(session);
        let (queue, outbox) = PageQueue::new(queue_max);
        let added = self.rooms.add_connection(
            &identity.session_id,
            &identity.user_id,
            identity.role,
            &queue,
        );
        drop(queue);
        let connection = ParticipantConnection {
            id: added.connection_id,
            room: added.room,
            user_id: identity.user_id.clone(),
            role: identity.role,
        };
        let arrival = match self.commit_connect(&identity, &connection).await {
            Ok(arrival) => arrival,
            Err(error) => {
                // A participant who was connected before, or whose arrival was stored after all, counts as lost from now on.
                self.disconnect_participant(connection, lost_now());
                return Err(error);
            }
        };
        if let Some(older) = added.replaced {
            older.send(&ServerMessage::Replaced.into());
            older.close(CloseCode::Replaced);
        }
        let sending = self.send_initial_state(&identity, &connection, arrival, ticket);
        match sending.await {
            Ok(()) => Ok((connection, outbox)),
            Err(error) => {
                // The participant is in the session by now, and leaves it like any other whose connection was lost.
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
                // A newer connection replaced this one, commits the arrival itself, and closes this one's page.
                return Ok(Decision::Keep(ConnectedParticipant {
                    session: session.clone(),
                    resumed: true,
                    earlier: Vec::new(),
                }));
            }
            let arrived = session.arrived(
                Arrival {
                    user_id: identity.user_id.clone(),
                    role: identity.role,
                    display_name: identity.name.clone(),
                    instance_id: self.instance_id.clone(),
                },
                now,
            )?;
            let arrival = |session: &Session| ConnectedParticipant {
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
                    let answer = arrival(&change.session);
                    Decision::Commit(Box::new(change), answer)
                }
                None => Decision::Keep(arrival(session)),
            })
        };
        self.changes.change(&identity.session_id, decide).await
    }

    /// Tells the page of the session as it is; from then on its room tells it of each event.
    async fn send_initial_state(
        self: &Arc<Self>,
        identity: &ParticipantIdentity,
        connection: &ParticipantConnection,
        mut arrival: ConnectedParticipant,
        ticket: Ticket,
    ) -> Result<(), Error> {
        let room = &connection.room;
        loop {
            let Some(own) = arrival.session.participant(&identity.user_id) else {
                return self.explain_absence(identity, connection, &arrival.session);
            };
            // Before the introduction, so that no relay is lost that a page sends in answer to it.
            let relays =
                (!room.is_followed()).then(|| self.bus.subscribe_relays(room.session_id()));
            let page_state = PageState {
                version: arrival.session.version,
                status: own.status,
            };
            let connected =
                self.connected_message(identity, connection, &arrival, own, ticket.clone());
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

    /// Ends the introduction of a participant who is not in the session (any more).
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
        // They were removed, or the session ended. Or they left as a participant who had been lost before: then they reconnect.
        identity.permit_entry(session, self.clock.now())?;
        Err(self.access.contention())
    }

    fn connected_message(
        &self,
        identity: &ParticipantIdentity,
        connection: &ParticipantConnection,
        arrival: &ConnectedParticipant,
        own: &Participant,
        ticket: Ticket,
    ) -> Connected {
        Connected {
            user_id: identity.user_id.to_string(),
            role: identity.role.name(),
            name: own.display_name.clone(),
            permissions: identity.role.permissions(),
            publishes: identity.role.may(Action::Publish),
            media: ticket.media,
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

/// What a page is told first. Runs under the room's lock.
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
            // Of two participants, exactly one is told that the other is new: the one who was there first.
            let (earlier, later): (Vec<_>, Vec<_>) = session
                .admitted()
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
