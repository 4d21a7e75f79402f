//! Connects and disconnects participants.

use super::events::{admitted_events, joined_event, left_event};
use crate::domain::access::permit_departure;
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::id::UserId;
use crate::domain::participant::{
    Admission, ConnectRequest, LeaveCause, Participant, ParticipantStatus,
};
use crate::domain::role::{Action, Role};
use crate::domain::session::{Session, SessionState};
use crate::domain::time::Timestamp;

/// The outcome of a connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOutcome {
    /// The change; `None` if they were connected already, to the same instance.
    pub change: Option<Change>,
    /// Whether they were connected before.
    pub resumed: bool,
    /// The waiting participants who are admitted because the host connected.
    pub admitted_with_host: Vec<UserId>,
}

impl Session {
    /// Connects a participant. The first one activates the session; the host's arrival admits waiting participants.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::SessionFull`]
    pub fn connect_participant(
        &self,
        request: ConnectRequest,
        now: Timestamp,
    ) -> Result<ConnectOutcome, Error> {
        self.require_live()?;
        let actor = &Actor::Participant {
            role: request.role,
            user_id: request.user_id.clone(),
        };
        // A guest who became the doctor connects again, as the host.
        let changed_role = match self.participant(&request.user_id) {
            Some(present) if present.role == request.role => {
                return Ok(self.reconnect_participant(present.clone(), request, actor, now));
            }
            present => present,
        };
        let full = self.participants.len() >= usize::from(self.max_participants);
        if full && !request.role.may(Action::SkipLimit) {
            return Err(Error::SessionFull);
        }
        let status = self.status_on_connect(&request);
        let ConnectRequest {
            user_id,
            role,
            display_name,
            instance_id,
        } = request;
        let display_name = if display_name.is_empty() {
            self.given_name(&user_id).to_owned()
        } else {
            display_name
        };
        let waits_for_host = |participant: &&Participant| {
            self.admission == Admission::WhenHostPresent
                && role.may(Action::SkipWaiting)
                && participant.status == ParticipantStatus::Waiting
                && participant.user_id != user_id
        };
        let admitted_with_host: Vec<_> = self
            .participants
            .iter()
            .filter(waits_for_host)
            .map(|waiting| (waiting.user_id.clone(), waiting.role))
            .collect();
        let mut kinds: Vec<_> = changed_role
            .map(|before| left_event(before, LeaveCause::Replaced))
            .into_iter()
            .collect();
        kinds.push(match status {
            ParticipantStatus::Waiting => EventKind::ParticipantWaiting {
                user_id: user_id.clone(),
                role,
            },
            ParticipantStatus::Admitted => joined_event(&user_id, role, false),
        });
        for (waiting, waiting_role) in &admitted_with_host {
            kinds.extend(admitted_events(waiting, *waiting_role, None));
        }
        let admitted_with_host: Vec<_> = admitted_with_host
            .into_iter()
            .map(|(user_id, _)| user_id)
            .collect();
        let change = self.next_version(actor, now, kinds, |session| {
            session.state = SessionState::Active;
            (session.empty_since, session.empty_deadline) = (None, None);
            session
                .participants
                .retain(|participant| participant.user_id != user_id);
            session.participants.push(Participant {
                user_id,
                role,
                display_name,
                status,
                connect_time: now,
                instance_id,
            });
            for user_id in &admitted_with_host {
                session.set_admitted(user_id);
            }
        });
        Ok(ConnectOutcome {
            change: Some(change.with_needed_medium(actor, now)),
            resumed: false,
            admitted_with_host,
        })
    }

    /// Whether a user who joins in a role is in the call at once.
    pub fn enters_at_once(&self, user_id: &UserId, role: Role) -> bool {
        role.may(Action::SkipWaiting)
            || match self.admission {
                Admission::Open => true,
                Admission::WhenHostPresent => self.host_is_present(),
                Admission::Manual => self.admitted_users.contains(user_id),
            }
    }

    fn status_on_connect(&self, request: &ConnectRequest) -> ParticipantStatus {
        if self.enters_at_once(&request.user_id, request.role) {
            ParticipantStatus::Admitted
        } else {
            ParticipantStatus::Waiting
        }
    }

    /// Reconnects a connected participant. Nothing changes unless the connection moved to another instance.
    fn reconnect_participant(
        &self,
        present: Participant,
        request: ConnectRequest,
        actor: &Actor,
        now: Timestamp,
    ) -> ConnectOutcome {
        let moved = present.instance_id != request.instance_id;
        let change = moved.then(|| {
            let kind = match present.status {
                ParticipantStatus::Waiting => EventKind::ParticipantWaiting {
                    user_id: present.user_id.clone(),
                    role: present.role,
                },
                ParticipantStatus::Admitted => joined_event(&present.user_id, present.role, true),
            };
            self.next_version(actor, now, vec![kind], |session| {
                session.update_participant(&present.user_id, |participant| {
                    participant.instance_id = request.instance_id;
                });
            })
        });
        ConnectOutcome {
            change,
            resumed: true,
            admitted_with_host: Vec::new(),
        }
    }

    /// Disconnects a participant who left or whose connection is lost. `None` if they are not connected, or have moved to another
    /// instance.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]
    pub fn disconnect_participant(
        &self,
        user_id: &UserId,
        instance_id: &str,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        permit_departure(actor, user_id)?;
        let held_here = self
            .participant(user_id)
            .filter(|participant| participant.instance_id == instance_id);
        let Some(participant) = held_here.filter(|_| self.state != SessionState::Ended) else {
            return Ok(None);
        };
        let kind = left_event(participant, actor.leave_cause());
        let left = self.next_version(actor, now, vec![kind], |session| {
            session.remove_participants_where(now, |participant| participant.user_id == *user_id);
        });
        Ok(Some(left.with_end_if_deserted(now)))
    }

    pub(super) fn set_admitted(&mut self, user_id: &UserId) {
        self.update_participant(user_id, |participant| {
            participant.status = ParticipantStatus::Admitted;
        });
    }

    pub(super) fn update_participant(
        &mut self,
        user_id: &UserId,
        apply: impl FnOnce(&mut Participant),
    ) {
        let found = self
            .participants
            .iter_mut()
            .find(|participant| participant.user_id == *user_id);
        if let Some(participant) = found {
            apply(participant);
        }
    }

    pub(super) fn remove_participants_where(
        &mut self,
        now: Timestamp,
        gone: impl Fn(&Participant) -> bool,
    ) {
        let before = self.participants.len();
        self.participants.retain(|participant| !gone(participant));
        // A session that never had a participant does not count as left.
        if self.participants.is_empty() && before > 0 {
            match self.empty_timeout_secs {
                Some(secs) => self.empty_deadline = Some(now.plus_secs(secs)),
                None => self.empty_since = Some(now),
            }
        }
    }
}
