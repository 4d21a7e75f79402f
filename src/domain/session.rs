//! A session: how it comes to be, changes and ends. Every function here is pure; a store commits what they return.

use std::time::Duration;

use super::access::{Role, permit_join};
use super::error::Error;
use super::event::{Event, EventKind};
use super::id::{AppointmentId, NodeId, SessionId, UserId};
use super::label::Labels;
use super::participant::{Admission, GivenName, Invite, LeaveCause, Participant, Removal};
use super::presence::left;
use super::time::Timestamp;

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Created; nobody has connected yet.
    Created,
    /// A participant has connected.
    Active,
    /// Ended for good.
    Ended,
}

impl SessionState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Created, Self::Active, Self::Ended];

    /// The state's name in stores and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Active => "active",
            Self::Ended => "ended",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// The backend, by EndSession.
    Backend,
    /// The host, from the page.
    Host,
    /// Its window closed.
    TimeOver,
    /// Everybody had left.
    Empty,
}

impl EndCause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Backend, Self::Host, Self::TimeOver, Self::Empty];

    /// Its name in stores and signalling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Host => "host",
            Self::TimeOver => "time-over",
            Self::Empty => "empty",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// The reason that is noted where nobody gave one.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Backend => "",
            Self::Host => "ended by the host",
            Self::TimeOver => "time over",
            Self::Empty => "everybody left",
        }
    }
}

/// When the consultation is to take place. Either end may be open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Its start.
    pub start: Option<Timestamp>,
    /// Its end.
    pub end: Option<Timestamp>,
}

impl Schedule {
    /// True when it ends before it has begun.
    pub fn is_reversed(&self) -> bool {
        matches!((self.start, self.end), (Some(start), Some(end)) if end <= start)
    }
}

/// How much earlier and later than scheduled a session may be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinWindow {
    /// Seconds before the scheduled start.
    pub early_secs: u64,
    /// Seconds after the scheduled end.
    pub late_secs: u64,
}

impl JoinWindow {
    /// When the door opens.
    pub fn opens(&self, schedule: &Schedule) -> Option<Timestamp> {
        schedule
            .start
            .map(|start| start.minus_secs(self.early_secs))
    }

    /// When the door closes.
    pub fn closes(&self, schedule: &Schedule) -> Option<Timestamp> {
        schedule.end.map(|end| end.plus_secs(self.late_secs))
    }
}

/// A wish of the caller's, or what stands for one that was not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish<T> {
    /// The value.
    pub value: T,
    /// Whether the caller gave it: only then a repeated create with another value is another request.
    pub given: bool,
}

impl<T: PartialEq> Wish<T> {
    /// What the caller asked for.
    pub fn of(value: T) -> Self {
        Self { value, given: true }
    }

    /// What stands for a wish that was not told.
    pub fn none(value: T) -> Self {
        Self {
            value,
            given: false,
        }
    }

    fn differs_from(&self, value: &T) -> bool {
        self.given && self.value != *value
    }
}

/// What a caller asks for when creating a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// The appointment.
    pub appointment_id: AppointmentId,
    /// Who may join as doctor.
    pub doctor_id: UserId,
    /// Who may join as patient.
    pub patient_id: UserId,
    /// When it is to take place.
    pub schedule: Schedule,
    /// The backend's notes.
    pub labels: Labels,
    /// Who gets past the waiting room.
    pub admission: Wish<Admission>,
    /// How many may be connected at once.
    pub max_participants: Wish<u16>,
}

/// A session that has no SFU node yet: the store assigns one together with the turn that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnplacedSession {
    /// Its id.
    pub session_id: SessionId,
    /// Which session of its appointment this is, from 1. Unique per appointment, and one is only ever added after the
    /// one before it has ended: so an appointment never has two live sessions.
    pub incarnation: i64,
    /// When it is created.
    pub create_time: Timestamp,
    /// What was asked for.
    pub request: SessionRequest,
}

/// A video consultation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// Its appointment.
    pub appointment_id: AppointmentId,
    /// See [`UnplacedSession::incarnation`].
    pub incarnation: i64,
    /// Who may join as doctor.
    pub doctor_id: UserId,
    /// The sequence of the event that made them the doctor: a doctor's credential issued until then is void, also if the same
    /// person was the doctor before.
    pub doctor_since: i64,
    /// Who may join as patient.
    pub patient_id: UserId,
    /// The node it was placed on, for its whole life.
    pub sfu_node_id: NodeId,
    /// Where it is in its life.
    pub state: SessionState,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// When it is to take place.
    pub schedule: Schedule,
    /// What ended it; `None` while it has not.
    pub end_cause: Option<EndCause>,
    /// The reason that was given for its end; empty while it has not.
    pub end_reason: String,
    /// The backend's notes.
    pub labels: Labels,
    /// Counts its events from 1.
    pub version: i64,
    /// Who gets past the waiting room.
    pub admission: Admission,
    /// How many may be connected at once.
    pub max_participants: u16,
    /// Who is connected.
    pub participants: Vec<Participant>,
    /// Who was let in one by one, and need not wait again.
    pub let_in: Vec<UserId>,
    /// Who is invited.
    pub invites: Vec<Invite>,
    /// Who was removed.
    pub removals: Vec<Removal>,
    /// The names that participants gave themselves, whose links came without one.
    pub given_names: Vec<GivenName>,
    /// Since when nobody is connected any more; unset before the first one was.
    pub empty_since: Option<Timestamp>,
}

/// A session as it becomes, and the events that tell of it: one atomic write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The session after the change.
    pub session: Session,
    /// The events, at least one, numbered on from the version before; the last one's sequence is the session's version.
    pub events: Vec<Event>,
}

impl Change {
    /// The version that it is a change of; it commits over no other.
    pub fn before(&self) -> i64 {
        self.session.version - i64::try_from(self.events.len()).unwrap_or(0)
    }

    /// This change and one of the session that it leads to, as one write.
    pub fn then(self, next: Self) -> Self {
        let mut events = self.events;
        events.extend(next.events);
        Self { events, ..next }
    }

    /// The mark by which the write can be recognised.
    pub fn write_id(&self) -> &str {
        self.events.first().map_or("", |event| &event.write_id)
    }
}

/// What UpdateSession changes; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionUpdate {
    /// The new start, or none.
    pub scheduled_start_time: Option<Option<Timestamp>>,
    /// The new end, or none.
    pub scheduled_end_time: Option<Option<Timestamp>>,
    /// The new labels.
    pub labels: Option<Labels>,
    /// The doctor who stands in.
    pub doctor_id: Option<UserId>,
}

impl UnplacedSession {
    /// The session that a request leads to. `previous` is the appointment's latest session, which must have ended.
    pub fn new(request: SessionRequest, previous: Option<&Session>, now: Timestamp) -> Self {
        Self {
            session_id: SessionId::generate(now),
            incarnation: previous.map_or(1, |session| session.incarnation + 1),
            create_time: now,
            request,
        }
    }

    /// The session on its node, at version 1, and the event of its creation.
    pub fn place(self, sfu_node_id: NodeId) -> Change {
        let kind = EventKind::Created {
            appointment_id: self.request.appointment_id.clone(),
            sfu_node_id: sfu_node_id.clone(),
        };
        let event = Event::new(1, self.session_id.clone(), self.create_time, kind);
        let session = Session {
            session_id: self.session_id,
            appointment_id: self.request.appointment_id,
            incarnation: self.incarnation,
            doctor_id: self.request.doctor_id,
            doctor_since: 1,
            patient_id: self.request.patient_id,
            sfu_node_id,
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
            participants: Vec::new(),
            let_in: Vec::new(),
            invites: Vec::new(),
            removals: Vec::new(),
            given_names: Vec::new(),
            empty_since: None,
        };
        Change {
            session,
            events: vec![event],
        }
    }
}

impl Session {
    /// The room's name on the SFU. Never reused, as session ids are not.
    pub fn room_name(&self) -> String {
        format!("room_{}", self.session_id)
    }

    /// Whether this live session is the one that a repeated create asks for. Labels are not compared.
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

    /// Whether a user may join now in a role, and when the door closes after them: no token may outlive that.
    ///
    /// # Errors
    /// In this order: those of [`Session::require_not_over`], [`Error::JoinTooEarly`], [`Error::JoinTooLate`],
    /// [`Error::NotAParticipant`], [`Error::ParticipantRemoved`].
    pub fn may_join(
        &self,
        role: Role,
        user_id: &UserId,
        window: &JoinWindow,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let closes = self.require_open(window, now)?;
        permit_join(self, role, user_id, now)?;
        let invite_ends = self
            .invites
            .iter()
            .find(|invite| invite.user_id == *user_id)
            .and_then(|invite| invite.expire_time);
        Ok([closes, invite_ends].into_iter().flatten().min())
    }

    /// Whether the door is open, and when it closes.
    ///
    /// # Errors
    /// Those of [`Session::require_not_over`]; [`Error::JoinTooEarly`], [`Error::JoinTooLate`].
    pub fn require_open(
        &self,
        window: &JoinWindow,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        self.require_not_over(window)?;
        if let Some(opens) = window.opens(&self.schedule).filter(|opens| now < *opens) {
            return Err(Error::JoinTooEarly { opens });
        }
        match window.closes(&self.schedule) {
            Some(closed) if self.is_past_window(window, now) => Err(Error::JoinTooLate { closed }),
            closes => Ok(closes),
        }
    }

    /// Whether the join window has closed.
    pub fn is_past_window(&self, window: &JoinWindow, now: Timestamp) -> bool {
        // A token's times are whole seconds: one that could not live for a second is not issued.
        window
            .closes(&self.schedule)
            .is_some_and(|closes| closes.as_secs() <= now.as_secs())
    }

    /// The session after a token was issued.
    pub fn token_issued(
        &self,
        user_id: UserId,
        role: Role,
        jti: String,
        expire_time: Timestamp,
        now: Timestamp,
    ) -> Change {
        let kind = EventKind::Joined {
            user_id,
            role,
            jti,
            expire_time,
        };
        self.changed(now, vec![kind], |_| ())
    }

    /// The session after an update; `None` when it would change nothing.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::VersionMismatch`]; [`Error::Validation`] when start and end would be reversed,
    /// or the doctor would be the patient.
    pub fn updated(
        &self,
        update: SessionUpdate,
        expected_version: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        self.require_live()?;
        if let Some(expected) = expected_version.filter(|expected| *expected != self.version) {
            return Err(Error::VersionMismatch {
                expected,
                stored: self.version,
            });
        }
        let schedule = Schedule {
            start: update.scheduled_start_time.unwrap_or(self.schedule.start),
            end: update.scheduled_end_time.unwrap_or(self.schedule.end),
        };
        if schedule.is_reversed() {
            return Err(Error::field(
                "scheduled_end_time",
                "must be later than scheduled_start_time",
            ));
        }
        let doctor_id = update.doctor_id.unwrap_or_else(|| self.doctor_id.clone());
        if doctor_id == self.patient_id {
            return Err(Error::field("doctor_id", "must not be the patient"));
        }
        let labels = update.labels.unwrap_or_else(|| self.labels.clone());

        let changes = [
            (
                "scheduled_start_time",
                schedule.start != self.schedule.start,
            ),
            ("scheduled_end_time", schedule.end != self.schedule.end),
            ("labels", labels != self.labels),
            ("doctor_id", doctor_id != self.doctor_id),
        ];
        let fields: Vec<_> = changes
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(field, _)| field.to_owned())
            .collect();
        if fields.is_empty() {
            return Ok(None);
        }
        let mut kinds = vec![EventKind::Updated { fields }];
        // A doctor who was replaced is the host no longer, and is not to stay as one, nor to come back by an old link.
        let replaced = (doctor_id != self.doctor_id).then_some(&self.doctor_id);
        if let Some(doctor) = replaced.and_then(|doctor_id| self.participant(doctor_id)) {
            kinds.push(EventKind::ParticipantRemoved {
                user_id: doctor.user_id.clone(),
                by: None,
                keep_out: false,
            });
            kinds.push(left(doctor, LeaveCause::Removed));
        }
        Ok(Some(self.changed(now, kinds, |session| {
            session.schedule = schedule;
            session.labels = labels;
            if let Some(replaced) = replaced {
                session.replace_doctor(replaced, doctor_id, self.version + 1, now);
            }
        })))
    }

    /// No credential is issued in the same change, so that any of its events, such as `sequence`, tells those before from those
    /// after.
    fn replace_doctor(
        &mut self,
        replaced: &UserId,
        doctor_id: UserId,
        sequence: i64,
        now: Timestamp,
    ) {
        self.expel(replaced, sequence, false, now);
        // The new doctor is no guest any more, whatever became of them as one.
        self.invites.retain(|invite| invite.user_id != doctor_id);
        for removal in &mut self.removals {
            removal.keep_out &= removal.user_id != doctor_id;
        }
        self.doctor_id = doctor_id;
        self.doctor_since = sequence;
    }

    /// The session after its end; `None` when it has ended already.
    pub fn ended(&self, cause: EndCause, reason: String, now: Timestamp) -> Option<Change> {
        self.require_live().ok()?;
        let mut kinds: Vec<_> = self
            .participants
            .iter()
            .map(|participant| left(participant, LeaveCause::SessionEnded))
            .collect();
        kinds.push(EventKind::Ended {
            cause,
            reason: reason.clone(),
        });
        Some(self.changed(now, kinds, |session| {
            session.participants.clear();
            session.state = SessionState::Ended;
            session.end_time = Some(session.update_time);
            session.end_cause = Some(cause);
            session.end_reason = reason;
        }))
    }

    /// A session that ended with its window is told apart from one that somebody ended: it is the hour that stands in the
    /// way.
    ///
    /// # Errors
    /// [`Error::SessionEnded`], [`Error::JoinTooLate`]
    pub fn require_not_over(&self, window: &JoinWindow) -> Result<(), Error> {
        match window.closes(&self.schedule) {
            Some(closed) if self.end_cause == Some(EndCause::TimeOver) => {
                Err(Error::JoinTooLate { closed })
            }
            _ => self.require_live(),
        }
    }

    /// What ends the session by itself at this time, if anything does.
    pub fn ends_by_itself(
        &self,
        window: &JoinWindow,
        empty_timeout: Option<Duration>,
        now: Timestamp,
    ) -> Option<EndCause> {
        let is_over = self.is_past_window(window, now);
        let was_left = self
            .empty_since
            .zip(empty_timeout)
            .is_some_and(|(since, timeout)| since.plus_secs(timeout.as_secs()) < now);
        match (is_over, was_left) {
            (true, _) => Some(EndCause::TimeOver),
            (false, true) => Some(EndCause::Empty),
            (false, false) => None,
        }
    }

    pub(super) fn require_live(&self) -> Result<(), Error> {
        match self.state {
            SessionState::Created | SessionState::Active => Ok(()),
            SessionState::Ended => Err(Error::SessionEnded {
                session_id: self.session_id.clone(),
            }),
        }
    }

    /// The only way from one version to the next. Times never run backwards, even where the instances' clocks differ.
    pub(super) fn changed(
        &self,
        now: Timestamp,
        kinds: Vec<EventKind>,
        apply: impl FnOnce(&mut Session),
    ) -> Change {
        let mut session = self.clone();
        session.update_time = now.max(self.update_time);
        let events: Vec<_> = (self.version + 1..)
            .zip(kinds)
            .map(|(sequence, kind)| {
                Event::new(
                    sequence,
                    session.session_id.clone(),
                    session.update_time,
                    kind,
                )
            })
            .collect();
        session.version = events.last().map_or(self.version, |event| event.sequence);
        apply(&mut session);
        Change { session, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::option;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::MIN;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + secs * 1000)
    }

    fn user(name: &str) -> UserId {
        UserId::from_stored(name.to_owned())
    }

    fn request(schedule: Schedule) -> SessionRequest {
        SessionRequest {
            appointment_id: AppointmentId::from_stored("appt-1".into()),
            doctor_id: user("doctor"),
            patient_id: user("patient"),
            schedule,
            labels: Labels::new(),
            admission: Wish::none(Admission::default()),
            max_participants: Wish::none(8),
        }
    }

    fn session(schedule: Schedule) -> Session {
        UnplacedSession::new(request(schedule), None, at(0))
            .place(NodeId::from_stored("sfu-1".into()))
            .session
    }

    fn window() -> JoinWindow {
        JoinWindow {
            early_secs: 900,
            late_secs: 3600,
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join(bool, bool),
        Reschedule(Option<i64>, Option<i64>),
        StandIn(u8),
        End,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (any::<bool>(), any::<bool>()).prop_map(|(doctor, right)| Step::Join(doctor, right)),
            (option::of(-5000i64..5000), option::of(-5000i64..5000))
                .prop_map(|(start, end)| Step::Reschedule(start, end)),
            (0u8..3).prop_map(Step::StandIn),
            Just(Step::End),
        ]
    }

    fn apply(session: &Session, step: &Step, now: Timestamp) -> Result<Option<Change>, Error> {
        match step {
            Step::Join(doctor, right) => {
                let role = if *doctor { Role::Doctor } else { Role::Patient };
                let stored = if *doctor {
                    &session.doctor_id
                } else {
                    &session.patient_id
                };
                let who = if *right {
                    stored.clone()
                } else {
                    user("stranger")
                };
                session.may_join(role, &who, &window(), now)?;
                assert!(*right, "a stranger was admitted");
                Ok(Some(session.token_issued(
                    who,
                    role,
                    "jti".into(),
                    now,
                    now,
                )))
            }
            Step::Reschedule(start, end) => {
                let update = SessionUpdate {
                    scheduled_start_time: Some(start.map(at)),
                    scheduled_end_time: Some(end.map(at)),
                    ..SessionUpdate::default()
                };
                session.updated(update, None, now)
            }
            Step::StandIn(n) => {
                let update = SessionUpdate {
                    doctor_id: Some(user(&format!("doctor-{n}"))),
                    ..SessionUpdate::default()
                };
                session.updated(update, Some(session.version), now)
            }
            Step::End => Ok(session.ended(EndCause::Backend, "done".into(), now)),
        }
    }

    proptest! {
        #[test]
        fn every_history_is_numbered_without_gaps_and_ends_once(
            steps in prop::collection::vec((step(), -4000i64..4000), 0..40)
        ) {
            let mut session = session(Schedule::default());
            let fixed = session.clone();
            for (step, secs) in steps {
                let ended_before = session.state == SessionState::Ended;
                let Ok(Some(change)) = apply(&session, &step, at(secs)) else { continue };
                prop_assert!(!ended_before, "an ended session changed");
                let sequences: Vec<_> = change.events.iter().map(|event| event.sequence).collect();
                prop_assert_eq!(&sequences, &(session.version + 1..=change.session.version).collect::<Vec<_>>());
                prop_assert!(!sequences.is_empty());
                prop_assert_eq!(change.before(), session.version);
                prop_assert!(change.session.update_time >= session.update_time);
                prop_assert!(change.events.iter().all(|event| event.time == change.session.update_time));
                prop_assert!(!change.session.schedule.is_reversed());
                prop_assert_eq!(change.session.end_time.is_some(), change.session.state == SessionState::Ended);
                session = change.session;
            }
            prop_assert_eq!(
                (&session.session_id, &session.appointment_id, &session.patient_id, &session.sfu_node_id),
                (&fixed.session_id, &fixed.appointment_id, &fixed.patient_id, &fixed.sfu_node_id)
            );
        }

        #[test]
        fn the_door_is_open_exactly_inside_the_window(
            start in option::of(-9000i64..9000), length in option::of(1i64..9000), now in -30_000i64..30_000
        ) {
            let schedule = Schedule {
                start: start.map(at),
                end: length.map(|length| at(start.unwrap_or(0) + length)),
            };
            let outcome = session(schedule).may_join(Role::Patient, &user("patient"), &window(), at(now));
            let early = start.is_some_and(|start| now < start - 900);
            let late = length.is_some_and(|length| now >= start.unwrap_or(0) + length + 3600);
            match outcome {
                Ok(closes) => {
                    prop_assert!(!early && !late);
                    prop_assert_eq!(closes, schedule.end.map(|end| end.plus_secs(3600)));
                }
                Err(Error::JoinTooEarly { opens }) => {
                    prop_assert!(early);
                    prop_assert_eq!(Some(opens), schedule.start.map(|start| start.minus_secs(900)));
                }
                Err(Error::JoinTooLate { .. }) => prop_assert!(late && !early),
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn extreme_schedules_and_windows_do_not_panic(start: i64, end: i64, early: u64, late: u64, now: i64) {
            let schedule = Schedule { start: Some(Timestamp::from_millis(start)), end: Some(Timestamp::from_millis(end)) };
            let window = JoinWindow { early_secs: early, late_secs: late };
            let _ = session(schedule).may_join(Role::Doctor, &user("doctor"), &window, Timestamp::from_millis(now));
        }
    }

    #[test]
    fn nobody_takes_the_role_of_another() {
        let session = session(Schedule::default());
        for (role, who) in [
            (Role::Doctor, "patient"),
            (Role::Patient, "doctor"),
            (Role::Doctor, "stranger"),
        ] {
            let refused = session.may_join(role, &user(who), &window(), NOW);
            assert_eq!(refused, Err(Error::NotAParticipant { role }));
        }
    }

    #[test]
    fn the_end_is_told_before_the_hour_and_the_hour_before_the_person() {
        let schedule = Schedule {
            start: Some(at(100_000)),
            end: None,
        };
        let live = session(schedule);
        let stranger =
            |session: &Session| session.may_join(Role::Doctor, &user("x"), &window(), at(0));
        assert!(matches!(stranger(&live), Err(Error::JoinTooEarly { .. })));
        let ended = live
            .ended(EndCause::Backend, "done".into(), at(0))
            .expect("was live")
            .session;
        assert!(matches!(stranger(&ended), Err(Error::SessionEnded { .. })));
    }

    #[test]
    fn a_conflict_names_every_field_that_differs_and_ignores_labels() {
        let session = session(Schedule::default());
        let mut asked = request(Schedule::default());
        asked.labels.insert("ward".into(), "7".into());
        assert_eq!(session.matches(&asked), Ok(()));

        asked.doctor_id = user("other");
        asked.schedule.end = Some(at(5));
        let Err(Error::AppointmentConflict { session_id, fields }) = session.matches(&asked) else {
            panic!("no conflict");
        };
        assert_eq!(session_id, session.session_id);
        assert_eq!(fields, ["doctor_id", "scheduled_end_time"]);
    }

    #[test]
    fn an_update_that_changes_nothing_is_no_change() {
        let session = session(Schedule::default());
        let same = SessionUpdate {
            doctor_id: Some(user("doctor")),
            labels: Some(Labels::new()),
            ..SessionUpdate::default()
        };
        assert_eq!(session.updated(same, None, NOW), Ok(None));
    }

    #[test]
    fn a_stale_version_is_refused() {
        let session = session(Schedule::default());
        let refused = session.updated(SessionUpdate::default(), Some(7), NOW);
        assert_eq!(
            refused,
            Err(Error::VersionMismatch {
                expected: 7,
                stored: 1
            })
        );
    }

    #[test]
    fn a_patient_cannot_become_the_doctor() {
        let update = SessionUpdate {
            doctor_id: Some(user("patient")),
            ..SessionUpdate::default()
        };
        let refused = session(Schedule::default()).updated(update, None, NOW);
        assert!(matches!(refused, Err(Error::Validation(_))));
    }
}
