//! What a doctor sees of the sessions of a day.

use super::access::permit_day;
use super::id::{SessionId, UserId};
use super::participant::{Participant, ParticipantStatus};
use super::role::Role;
use super::session::{JoinWindow, Session, SessionState};
use super::short_link::ShortLink;
use super::time::Timestamp;

/// The longest day, in seconds: the page adds four hours of the night before or after it, and clocks are set back an hour, in places two.
const DAY_SECS_MAX: u64 = 30 * 3600;
/// How far the day may be from the present, in seconds: clocks differ, and the page changes days a moment after midnight.
const NOT_TODAY_SECS_MAX: u64 = 26 * 3600;

/// A day, as the doctor's device counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    from: Timestamp,
    to: Timestamp,
}

/// A session in the list of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayEntry {
    /// Its id.
    pub session_id: SessionId,
    /// Its scheduled start, or else when it was created.
    pub time: Timestamp,
    /// Whether `time` is a scheduled start.
    pub is_scheduled: bool,
    /// When it is scheduled to end.
    pub scheduled_end: Option<Timestamp>,
    /// When its join window opens; `None`: it is open.
    pub opens: Option<Timestamp>,
    /// Its state.
    pub state: SessionState,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// The patient's name, as their link has it; empty if they have no link with a name.
    pub patient_name: String,
    /// Who waits to be admitted, those first who have waited longest.
    pub waiting: Vec<DayPerson>,
    /// Who is in the call, in the order in which they came.
    pub present: Vec<DayPerson>,
}

/// A participant, as the other participants see them. The user id stays with the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayPerson {
    /// The name shown to the others; may be empty.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// When they connected. Who waits has waited since then.
    pub since: Timestamp,
    /// Whether they are the doctor whose day it is.
    pub is_doctor: bool,
}

impl Day {
    /// The day between two times; `None` if they are not the bounds of a day about now.
    pub fn about_now(from: Timestamp, to: Timestamp, now: Timestamp) -> Option<Self> {
        let is_day = from < to && to <= from.plus_secs(DAY_SECS_MAX);
        let is_about_now =
            from.minus_secs(NOT_TODAY_SECS_MAX) <= now && now <= to.plus_secs(NOT_TODAY_SECS_MAX);
        (is_day && is_about_now).then_some(Self { from, to })
    }

    fn has(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }
}

impl DayEntry {
    /// What a doctor sees of a session in the list of a day; `None` if it is not theirs, or not of that day: scheduled for it, created
    /// or ended on it, or with people in it.
    pub fn of(
        session: &Session,
        doctor_id: &UserId,
        day: &Day,
        window: &JoinWindow,
    ) -> Option<Self> {
        permit_day(session, doctor_id).ok()?;
        let time = session.schedule.start.unwrap_or(session.create_time);
        let is_running_then = session
            .schedule
            .end
            .is_some_and(|end| time < day.to && end > day.from);
        let is_of_day = day.has(time)
            || is_running_then
            || session.end_time.is_some_and(|end| day.has(end))
            || !session.participants.is_empty();
        let people = |status| {
            let mut people: Vec<_> = (session.participants.iter())
                .filter(|participant| participant.status == status)
                .map(|participant| DayPerson::of(participant, doctor_id))
                .collect();
            people.sort_by_key(|person| person.since);
            people
        };
        let is_patients =
            |link: &&ShortLink| link.role == Role::Patient && link.user_id == session.patient_id;
        let patient_name = (session.short_links.iter())
            .find(is_patients)
            .map_or_else(String::new, |link| link.display_name.clone());
        is_of_day.then(|| Self {
            session_id: session.session_id.clone(),
            time,
            is_scheduled: session.schedule.start.is_some(),
            scheduled_end: session.schedule.end,
            opens: window.opens_at(&session.schedule),
            state: session.state,
            end_time: session.end_time,
            patient_name,
            waiting: people(ParticipantStatus::Waiting),
            present: people(ParticipantStatus::Admitted),
        })
    }

    /// Whether it has not ended.
    pub fn is_live(&self) -> bool {
        self.state != SessionState::Ended
    }
}

impl DayPerson {
    fn of(participant: &Participant, doctor_id: &UserId) -> Self {
        Self {
            name: participant.display_name.clone(),
            role: participant.role,
            since: participant.connect_time,
            is_doctor: participant.user_id == *doctor_id,
        }
    }
}

/// Sorts the entries of a day by their times, and keeps at most `max`. What is left out first are sessions that have ended, then those
/// that are latest; those with people in them stay longest. Returns whether all are kept.
pub fn keep_most_urgent(entries: &mut Vec<DayEntry>, max: usize) -> bool {
    let is_complete = entries.len() <= max;
    let has_people = |entry: &DayEntry| !entry.waiting.is_empty() || !entry.present.is_empty();
    entries.sort_by(|one, other| {
        let key = |entry: &DayEntry| (!has_people(entry), !entry.is_live(), entry.time);
        (key(one), &one.session_id).cmp(&(key(other), &other.session_id))
    });
    entries.truncate(max);
    entries.sort_by(|one, other| (one.time, &one.session_id).cmp(&(other.time, &other.session_id)));
    is_complete
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::actor::Actor;
    use crate::domain::id::{AppointmentId, NodeId};
    use crate::domain::label::Labels;
    use crate::domain::medium::MediaMode;
    use crate::domain::participant::{Admission, ConnectRequest};
    use crate::domain::place::Driver;
    use crate::domain::rules::create::UnplacedSession;
    use crate::domain::session::{Requested, Schedule, SessionRequest};

    const HOUR: i64 = 3600;
    const WINDOW: JoinWindow = JoinWindow {
        early_secs: 900,
        late_secs: 3600,
    };

    /// So many seconds after the day began.
    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + secs * 1000)
    }

    fn day() -> Day {
        Day::about_now(at(0), at(24 * HOUR), at(10 * HOUR)).expect("today")
    }

    fn user(name: &str) -> UserId {
        UserId::from_stored(name.to_owned())
    }

    fn session(created: Timestamp, start: Option<i64>, end: Option<i64>) -> Session {
        let request = SessionRequest {
            appointment_id: AppointmentId::from_stored("appt-1".into()),
            doctor_id: user("doctor"),
            patient_id: user("patient"),
            doctor_name: String::new(),
            schedule: Schedule {
                start: start.map(at),
                end: end.map(at),
            },
            labels: Labels::new(),
            admission: Requested::default_of(Admission::default()),
            max_participants: Requested::default_of(8),
            media: Requested::default_of(MediaMode::default()),
            region: None,
            end_to_end_encrypted: false,
            empty_timeout_secs: None,
            open_to_guests: false,
        };
        UnplacedSession::new(request, None, Actor::Backend, created)
            .place(NodeId::from_stored("sfu-1".into()), Driver::Builtin)
            .session
    }

    fn connect(session: &Session, role: Role, name: &str, time: Timestamp) -> Session {
        let request = ConnectRequest {
            user_id: user(name),
            role,
            display_name: name.to_uppercase(),
            instance_id: "instance".into(),
        };
        let outcome = session.connect_participant(request, time).expect("room");
        outcome.change.expect("a change").session
    }

    fn entry(session: &Session) -> Option<DayEntry> {
        DayEntry::of(session, &user("doctor"), &day(), &WINDOW)
    }

    #[test]
    fn a_day_is_a_day_and_about_now() {
        let day = |from, to, now| Day::about_now(at(from), at(to), at(now)).is_some();
        assert!(day(0, 24 * HOUR, 0) && day(0, 30 * HOUR, 24 * HOUR));
        assert!(!day(0, 31 * HOUR, 0), "too long");
        assert!(!day(HOUR, HOUR, HOUR) && !day(HOUR, 0, HOUR), "reversed");
        assert!(!day(0, 24 * HOUR, 51 * HOUR) && !day(0, 24 * HOUR, -27 * HOUR));
    }

    #[test]
    fn a_doctor_sees_their_own_sessions_of_the_day_only() {
        let early = at(-90 * 24 * HOUR);
        let today = session(early, Some(9 * HOUR), Some(10 * HOUR));
        assert!(entry(&today).is_some());
        for other in ["doctor-2", "patient", ""] {
            assert_eq!(DayEntry::of(&today, &user(other), &day(), &WINDOW), None);
        }
        assert!(
            entry(&session(early, Some(24 * HOUR), None)).is_none(),
            "tomorrow"
        );
        assert!(
            entry(&session(early, Some(-1), None)).is_none(),
            "yesterday"
        );
        assert!(
            entry(&session(early, Some(-1), Some(1))).is_some(),
            "over midnight"
        );
        assert!(
            entry(&session(early, None, None)).is_none(),
            "never scheduled"
        );
        assert!(
            entry(&session(at(HOUR), None, None)).is_some(),
            "made today"
        );
        let visited = connect(&session(early, None, None), Role::Patient, "patient", at(0));
        assert!(entry(&visited).is_some(), "somebody is there");
    }

    #[test]
    fn an_entry_says_who_waits_and_who_is_there_without_their_ids() {
        let session = session(at(0), Some(9 * HOUR), Some(10 * HOUR));
        let session = connect(&session, Role::Patient, "patient", at(8 * HOUR));
        let waiting = entry(&session).expect("an entry");
        assert_eq!(waiting.opens, Some(at(9 * HOUR - 900)));
        assert_eq!(waiting.present, []);
        let patient = DayPerson {
            name: "PATIENT".into(),
            role: Role::Patient,
            since: at(8 * HOUR),
            is_doctor: false,
        };
        assert_eq!(waiting.waiting, std::slice::from_ref(&patient));
        let session = connect(&session, Role::Doctor, "doctor", at(9 * HOUR));
        let begun = entry(&session).expect("an entry");
        assert_eq!(begun.waiting, []);
        assert_eq!(begun.present[0], patient);
        assert!(begun.present[1].is_doctor);
    }

    #[test]
    fn an_entry_names_the_patient_as_soon_as_their_link_does() {
        let mut session = session(at(0), Some(9 * HOUR), None);
        assert_eq!(entry(&session).expect("an entry").patient_name, "");
        let link = |name: &str, role, shown: &str| ShortLink {
            display_name: shown.to_owned(),
            ..ShortLink::example(user(name), role, 1)
        };
        session.short_links = vec![
            link("doctor", Role::Doctor, "Dr. Ana"),
            link("friend", Role::Guest, "A friend"),
            // Of the patient before UpdateSession named another one.
            link("patient-before", Role::Patient, "Somebody else"),
            link("patient", Role::Patient, "Rosa"),
        ];
        assert_eq!(entry(&session).expect("an entry").patient_name, "Rosa");
    }

    #[test]
    fn what_is_left_out_of_a_long_day_is_what_matters_least() {
        let entry_at = |start: i64| {
            let session = session(at(0), Some(start), None);
            let entry = entry(&session).expect("an entry");
            DayEntry {
                session_id: SessionId::from_stored(format!("sess_{start}")),
                ..entry
            }
        };
        let ended = DayEntry {
            state: SessionState::Ended,
            ..entry_at(HOUR)
        };
        let person = DayPerson {
            name: String::new(),
            role: Role::Patient,
            since: at(0),
            is_doctor: false,
        };
        let waited_for = DayEntry {
            waiting: vec![person],
            ..entry_at(9 * HOUR)
        };
        let all = [waited_for, entry_at(3 * HOUR), ended, entry_at(2 * HOUR)];
        let kept = |max| {
            let mut entries = all.to_vec();
            let is_complete = keep_most_urgent(&mut entries, max);
            let times: Vec<_> = (entries.iter())
                .map(|entry| entry.time.since(at(0)).as_secs() / 3600)
                .collect();
            (times, is_complete)
        };
        assert_eq!(kept(4), (vec![1, 2, 3, 9], true));
        assert_eq!(kept(3), (vec![2, 3, 9], false));
        assert_eq!(kept(2), (vec![2, 9], false));
        assert_eq!(kept(1), (vec![9], false));
    }
}
