//! Histories of a session: joins, updates and its end.

use proptest::option;
use proptest::prelude::*;

use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::id::{AppointmentId, NodeId, UserId};
use crate::domain::label::Labels;
use crate::domain::medium::MediaMode;
use crate::domain::participant::Admission;
use crate::domain::place::Driver;
use crate::domain::role::Role;
use crate::domain::rules::create::UnplacedSession;
use crate::domain::session::{
    JoinWindow, Requested, Schedule, Session, SessionRequest, SessionState, SessionUpdate,
};
use crate::domain::short_link::ShortLink;
use crate::domain::time::Timestamp;

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
        admission: Requested::default_of(Admission::default()),
        max_participants: Requested::default_of(8),
        media: Requested::default_of(MediaMode::default()),
        region: None,
        end_to_end_encrypted: false,
        empty_timeout_secs: None,
        open_to_guests: false,
        doctor_name: String::new(),
    }
}

fn session(schedule: Schedule) -> Session {
    UnplacedSession::new(request(schedule), None, Actor::Backend, at(0))
        .place(NodeId::from_stored("sfu-1".into()), Driver::Builtin)
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
    ReplaceDoctor(u8),
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(doctor, right)| Step::Join(doctor, right)),
        (option::of(-5000i64..5000), option::of(-5000i64..5000))
            .prop_map(|(start, end)| Step::Reschedule(start, end)),
        (0u8..3).prop_map(Step::ReplaceDoctor),
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
            session.join_deadline(role, &who, &window(), now)?;
            assert!(*right, "a user without a role got a token");
            let link = ShortLink::example(who, role, session.version + 1);
            let jti = "jti".to_owned();
            Ok(Some(session.record_token(
                jti,
                now,
                link,
                &Actor::Backend,
                now,
            )))
        }
        Step::Reschedule(start, end) => {
            let update = SessionUpdate {
                scheduled_start_time: Some(start.map(at)),
                scheduled_end_time: Some(end.map(at)),
                ..SessionUpdate::default()
            };
            session.update(update, None, &Actor::Backend, now)
        }
        Step::ReplaceDoctor(n) => {
            let update = SessionUpdate {
                doctor_id: Some(user(&format!("doctor-{n}"))),
                ..SessionUpdate::default()
            };
            session.update(update, Some(session.version), &Actor::Backend, now)
        }
        Step::End => session.end(Some("done".into()), &Actor::Backend, now),
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
            prop_assert_eq!(change.base_version(), session.version);
            prop_assert!(change.session.update_time >= session.update_time);
            prop_assert!(change.events.iter().all(|event| event.time == change.session.update_time));
            prop_assert!(!change.session.schedule.is_reversed());
            prop_assert_eq!(change.session.end_time.is_some(), change.session.state == SessionState::Ended);
            session = change.session;
        }
        prop_assert_eq!(
            (&session.session_id, &session.appointment_id, &session.patient_id, &session.place),
            (&fixed.session_id, &fixed.appointment_id, &fixed.patient_id, &fixed.place)
        );
    }

    #[test]
    fn tokens_are_issued_exactly_inside_the_join_window(
        start in option::of(-9000i64..9000), length in option::of(1i64..9000), now in -30_000i64..30_000
    ) {
        let schedule = Schedule {
            start: start.map(at),
            end: length.map(|length| at(start.unwrap_or(0) + length)),
        };
        let outcome = session(schedule).join_deadline(Role::Patient, &user("patient"), &window(), at(now));
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
        let _ = session(schedule).join_deadline(Role::Doctor, &user("doctor"), &window, Timestamp::from_millis(now));
    }
}

#[test]
fn a_user_cannot_join_in_the_role_of_another() {
    let session = session(Schedule::default());
    for (role, who) in [
        (Role::Doctor, "patient"),
        (Role::Patient, "doctor"),
        (Role::Doctor, "stranger"),
    ] {
        let refused = session.join_deadline(role, &user(who), &window(), NOW);
        assert_eq!(refused, Err(Error::NotAParticipant { role }));
    }
}

#[test]
fn errors_report_the_end_first_then_the_join_window_then_the_user() {
    let schedule = Schedule {
        start: Some(at(100_000)),
        end: None,
    };
    let live = session(schedule);
    let stranger =
        |session: &Session| session.join_deadline(Role::Doctor, &user("x"), &window(), at(0));
    assert!(matches!(stranger(&live), Err(Error::JoinTooEarly { .. })));
    let ended = live
        .end(Some("done".into()), &Actor::Backend, at(0))
        .expect("the backend may")
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
fn an_update_without_differences_makes_no_change() {
    let session = session(Schedule::default());
    let same = SessionUpdate {
        doctor_id: Some(user("doctor")),
        labels: Some(Labels::new()),
        ..SessionUpdate::default()
    };
    assert_eq!(session.update(same, None, &Actor::Backend, NOW), Ok(None));
}

#[test]
fn a_stale_version_is_refused() {
    let session = session(Schedule::default());
    let refused = session.update(SessionUpdate::default(), Some(7), &Actor::Backend, NOW);
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
    let refused = session(Schedule::default()).update(update, None, &Actor::Backend, NOW);
    assert!(matches!(refused, Err(Error::Validation(_))));
}
