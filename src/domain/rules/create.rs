//! Creates sessions.

use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{NodeId, SessionId};
use crate::domain::medium::{MediaMode, Medium};
use crate::domain::place::{Driver, Place};
use crate::domain::session::{Session, SessionRequest, SessionState};
use crate::domain::time::Timestamp;
use crate::domain::unknown::UnknownFields;

/// A new session without a place. The store's turn decides its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnplacedSession {
    /// Its id.
    pub session_id: SessionId,
    /// The number of this session within its appointment, from 1. Unique per appointment, and added only after the previous session
    /// has ended, so an appointment never has two live sessions.
    pub incarnation: i64,
    /// When it is created.
    pub create_time: Timestamp,
    /// The actor that creates it.
    pub actor: Actor,
    /// The request.
    pub request: SessionRequest,
}

impl UnplacedSession {
    /// The session for a request. `previous` is the appointment's latest session, which must have ended.
    pub fn new(
        request: SessionRequest,
        previous: Option<&Session>,
        actor: Actor,
        now: Timestamp,
    ) -> Self {
        Self {
            session_id: SessionId::generate(now),
            incarnation: previous.map_or(1, |session| session.incarnation + 1),
            create_time: now,
            actor,
            request,
        }
    }

    /// The session on a node, at version 1, and the event of its creation.
    pub fn place(self, node_id: NodeId, driver: Driver) -> Change {
        let kind = EventKind::Created {
            appointment_id: self.request.appointment_id.clone(),
            sfu_node_id: node_id.clone(),
        };
        let event = Event::new(
            1,
            self.session_id.clone(),
            self.create_time,
            self.actor,
            kind,
        );
        let session = Session {
            place: Place::first(&self.session_id, node_id, driver),
            former_room: None,
            session_id: self.session_id,
            appointment_id: self.request.appointment_id,
            incarnation: self.incarnation,
            doctor_id: self.request.doctor_id,
            doctor_since: 1,
            patient_id: self.request.patient_id,
            state: SessionState::Created,
            create_time: self.create_time,
            update_time: self.create_time,
            end_time: None,
            schedule: self.request.schedule,
            end_cause: None,
            end_reason: String::new(),
            labels: self.request.labels,
            version: 1,
            admission: self.request.admission.value,
            max_participants: self.request.max_participants.value,
            media: self.request.media.value,
            medium: first_medium(self.request.media.value, driver),
            fell_back: false,
            region: self.request.region,
            end_to_end_encrypted: self.request.end_to_end_encrypted,
            empty_timeout_secs: self.request.empty_timeout_secs,
            open_to_guests: self.request.open_to_guests,
            doctor_name: self.request.doctor_name,
            placement: None,
            participants: Vec::new(),
            admitted_users: Vec::new(),
            invites: Vec::new(),
            removals: Vec::new(),
            given_names: Vec::new(),
            short_links: Vec::new(),
            empty_since: None,
            empty_deadline: None,
            unknown_fields: UnknownFields::default(),
        };
        Change {
            session,
            events: vec![event],
        }
    }
}

impl Session {
    /// Checks that a repeated create asks for this live session. Labels are not compared.
    ///
    /// # Errors
    /// [`Error::AppointmentConflict`] with every field that differs.
    pub fn matches(&self, request: &SessionRequest) -> Result<(), Error> {
        let differs = [
            ("doctor_id", self.doctor_id != request.doctor_id),
            ("patient_id", self.patient_id != request.patient_id),
            (
                "scheduled_start_time",
                self.schedule.start != request.schedule.start,
            ),
            (
                "scheduled_end_time",
                self.schedule.end != request.schedule.end,
            ),
            ("admission", request.admission.differs_from(&self.admission)),
            (
                "max_participants",
                request
                    .max_participants
                    .differs_from(&self.max_participants),
            ),
            ("media", request.media.differs_from(&self.media)),
            (
                "region",
                request.region.is_some() && request.region != self.region,
            ),
            (
                "end_to_end_encrypted",
                request.end_to_end_encrypted && !self.end_to_end_encrypted,
            ),
            (
                "empty_timeout",
                request.empty_timeout_secs.is_some()
                    && request.empty_timeout_secs != self.empty_timeout_secs,
            ),
            (
                "open_to_guests",
                request.open_to_guests && !self.open_to_guests,
            ),
            (
                "doctor_name",
                !request.doctor_name.is_empty() && request.doctor_name != self.doctor_name,
            ),
        ];
        let fields: Vec<_> = differs
            .into_iter()
            .filter_map(|(field, differs)| differs.then_some(field))
            .collect();
        if fields.is_empty() {
            Ok(())
        } else {
            Err(Error::AppointmentConflict {
                session_id: self.session_id.clone(),
                fields,
            })
        }
    }
}

fn first_medium(media: MediaMode, driver: Driver) -> Medium {
    match media {
        MediaMode::Sfu if driver.carries_media() => Medium::Sfu,
        MediaMode::Auto | MediaMode::PeerToPeer | MediaMode::Sfu => Medium::PeerToPeer,
    }
}
