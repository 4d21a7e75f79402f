//! Histories of the participants of a session.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::domain::access::{permit_entry, permit_join};
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::id::{AppointmentId, NodeId, UserId};
use crate::domain::label::Labels;
use crate::domain::medium::MediaMode;
use crate::domain::participant::{
    Admission, ConnectRequest, INVITES_MAX, Invite, ParticipantStatus, REMOVALS_MAX,
};
use crate::domain::place::Driver;
use crate::domain::role::{Action, Role};
use crate::domain::rules::create::UnplacedSession;
use crate::domain::session::{
    JoinWindow, Requested, Schedule, Session, SessionRequest, SessionState, SessionUpdate,
};
use crate::domain::short_link::ShortLink;
use crate::domain::time::Timestamp;

const ALWAYS_OPEN: JoinWindow = JoinWindow {
    early_secs: 0,
    late_secs: 0,
};
pub(super) const NOW: Timestamp = Timestamp::MIN;
/// Two users who may be the doctor, the patient, and three users who may be invited.
const USERS: [&str; 6] = [
    "doctor-1", "doctor-2", "patient", "guest-1", "guest-2", "guest-3",
];
const MAX_PARTICIPANTS: u16 = 3;

pub(super) fn user(name: &str) -> UserId {
    UserId::from_stored(name.to_owned())
}

/// A participant, or the backend if `by` is `None`.
fn acting(by: Option<&str>) -> Actor {
    by.map_or(Actor::Backend, |name| Actor::Participant {
        role: Role::Doctor,
        user_id: user(name),
    })
}

fn patient_acting(name: &str) -> Actor {
    Actor::Participant {
        role: Role::Patient,
        user_id: user(name),
    }
}

fn session(admission: Admission) -> Session {
    session_of(admission, |_| ())
}

pub(super) fn session_of(
    admission: Admission,
    change: impl FnOnce(&mut SessionRequest),
) -> Session {
    UnplacedSession::new(request_of(admission, change), None, Actor::Backend, NOW)
        .place(NodeId::from_stored("sfu-1".into()), Driver::Builtin)
        .session
}

pub(super) fn request_of(
    admission: Admission,
    change: impl FnOnce(&mut SessionRequest),
) -> SessionRequest {
    let mut request = SessionRequest {
        appointment_id: AppointmentId::from_stored("appointment".into()),
        doctor_id: user("doctor-1"),
        patient_id: user("patient"),
        schedule: Schedule::default(),
        labels: Labels::new(),
        admission: Requested::explicit(admission),
        max_participants: Requested::explicit(MAX_PARTICIPANTS),
        media: Requested::default_of(MediaMode::default()),
        region: None,
        end_to_end_encrypted: false,
        empty_timeout_secs: None,
        open_to_guests: false,
        doctor_name: String::new(),
    };
    change(&mut request);
    request
}

#[derive(Debug, Clone)]
enum Step {
    /// A user requests a credential in a role; `None`: the role that the session stores for them.
    Issue(&'static str, Option<Role>),
    /// The bearer of a credential connects.
    Connect(prop::sample::Index),
    Disconnect(&'static str, bool),
    Admit(&'static str, Option<&'static str>),
    Remove(&'static str, Option<&'static str>, bool),
    Mute(&'static str, Option<&'static str>),
    Invite(&'static str, Role),
    Revoke(&'static str),
    Name(&'static str, &'static str),
    ReplaceDoctor(&'static str),
    Relabel(u8),
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || prop::sample::select(USERS.to_vec());
    // Mostly the backend, because few others may act.
    let by = || prop::option::weighted(0.3, prop::sample::select(USERS.to_vec()));
    let role = || prop::sample::select(Role::ALL);
    let own_or = move || prop::option::weighted(0.2, role());
    prop_oneof![
        12 => (who(), own_or()).prop_map(|(who, role)| Step::Issue(who, role)),
        12 => any::<prop::sample::Index>().prop_map(Step::Connect),
        3 => (who(), any::<bool>()).prop_map(|(who, by_themselves)| Step::Disconnect(who, by_themselves)),
        3 => (who(), by()).prop_map(|(who, by)| Step::Admit(who, by)),
        6 => (who(), by(), any::<bool>()).prop_map(|(who, by, keep_out)| Step::Remove(who, by, keep_out)),
        1 => (who(), by()).prop_map(|(who, by)| Step::Mute(who, by)),
        6 => (who(), role()).prop_map(|(who, role)| Step::Invite(who, role)),
        2 => who().prop_map(Step::Revoke),
        1 => (who(), prop::sample::select(vec!["Ana", "Rosa"])).prop_map(|(who, name)| Step::Name(who, name)),
        2 => prop::sample::select(vec!["doctor-1", "doctor-2", "guest-1"]).prop_map(Step::ReplaceDoctor),
        4 => any::<u8>().prop_map(Step::Relabel),
        1 => Just(Step::End),
    ]
}

/// A credential, valid until it is revoked.
#[derive(Debug, Clone)]
struct Credential {
    user_id: UserId,
    role: Role,
    issued_at: i64,
    revoked: bool,
}

/// A session, and what must be true of it after its history.
struct History {
    session: Session,
    credentials: Vec<Credential>,
    /// Users who may get no new credentials.
    kept_out: BTreeSet<UserId>,
    /// The connected participants and their status, according to the events.
    present: BTreeMap<UserId, ParticipantStatus>,
}

impl History {
    #[expect(clippy::too_many_lines, reason = "an arm a step")]
    fn take(&mut self, step: &Step) -> Result<Option<Change>, Error> {
        let session = &self.session;
        match step {
            Step::Issue(who, asked) => {
                let role = asked.unwrap_or_else(|| stored_role(session, &user(who)));
                session.join_deadline(role, &user(who), &ALWAYS_OPEN, NOW)?;
                assert!(!self.kept_out.contains(&user(who)), "{who} is kept out");
                let jti = "jti".to_owned();
                let link = ShortLink::example(user(who), role, session.version + 1);
                let change = session.record_token(jti, NOW, link, &Actor::Backend, NOW);
                self.credentials.push(Credential {
                    user_id: user(who),
                    role,
                    issued_at: change.session.version,
                    revoked: false,
                });
                Ok(Some(change))
            }
            Step::Connect(index) => {
                if self.credentials.is_empty() {
                    return Ok(None);
                }
                let Credential {
                    user_id,
                    role,
                    issued_at,
                    revoked,
                } = index.get(&self.credentials).clone();
                permit_entry(session, role, &user_id, issued_at, NOW)?;
                assert!(!revoked, "{user_id} connected with a revoked credential");
                let request = ConnectRequest {
                    user_id,
                    role,
                    display_name: String::new(),
                    instance_id: "one".into(),
                };
                Ok(session.connect_participant(request, NOW)?.change)
            }
            Step::Disconnect(who, by_themselves) => {
                let actor = if *by_themselves {
                    Actor::Participant {
                        role: Role::Guest,
                        user_id: user(who),
                    }
                } else {
                    Actor::System(SystemCause::ConnectionLost)
                };
                session.disconnect_participant(&user(who), "one", &actor, NOW)
            }
            Step::Admit(who, by) => session.admit_participant(&user(who), &acting(*by), NOW),
            Step::Remove(who, by, keep_out) => {
                let change =
                    session.remove_participant(&user(who), &acting(*by), *keep_out, NOW)?;
                self.revoke_where(|credential| credential.user_id == user(who));
                if *keep_out {
                    self.kept_out.insert(user(who));
                }
                Ok(change)
            }
            Step::Mute(who, by) => session
                .request_mute(&user(who), &acting(*by), NOW)
                .map(Some),
            Step::Invite(who, role) => {
                if !role.is_invited() {
                    return Ok(None);
                }
                let invite = Invite::new(user(who), *role, String::new(), None);
                let change = session.invite_user(invite, &Actor::Backend, NOW)?;
                self.kept_out.remove(&user(who));
                Ok(change)
            }
            Step::Revoke(who) => {
                let change = session.revoke_invite(&user(who), &Actor::Backend, NOW)?;
                self.revoke_where(|credential| credential.user_id == user(who));
                self.kept_out.insert(user(who));
                Ok(change)
            }
            Step::Name(who, name) => session.set_given_name(name, &patient_acting(who), NOW),
            Step::ReplaceDoctor(who) => {
                let update = SessionUpdate {
                    doctor_id: Some(user(who)),
                    ..SessionUpdate::default()
                };
                let replaced = session.doctor_id.clone();
                let change = session.update(update, None, &Actor::Backend, NOW)?;
                if change.is_some() {
                    self.revoke_where(|credential| credential.user_id == replaced);
                    let new = user(who);
                    self.kept_out.remove(&new);
                    self.kept_out.remove(&replaced);
                    self.revoke_where(|credential| {
                        credential.user_id == new && credential.role == Role::Doctor
                    });
                }
                Ok(change)
            }
            Step::Relabel(n) => {
                let update = SessionUpdate {
                    labels: Some([("n".to_owned(), n.to_string())].into()),
                    ..SessionUpdate::default()
                };
                session.update(update, None, &Actor::Backend, NOW)
            }
            Step::End => session.end(None, &Actor::Backend, NOW),
        }
    }

    fn revoke_where(&mut self, concerned: impl Fn(&Credential) -> bool) {
        for credential in &mut self.credentials {
            credential.revoked |= concerned(credential);
        }
    }

    /// Tracks the connected participants by the events alone.
    fn follow(&mut self, kind: &EventKind) {
        match kind {
            EventKind::ParticipantWaiting { user_id, .. } => {
                let before = self
                    .present
                    .insert(user_id.clone(), ParticipantStatus::Waiting);
                assert_eq!(before, None, "{user_id} connected twice");
            }
            EventKind::ParticipantAdmitted { user_id, .. } => {
                assert_eq!(self.present.get(user_id), Some(&ParticipantStatus::Waiting));
            }
            EventKind::ParticipantJoined { user_id, .. } => {
                let before = self
                    .present
                    .insert(user_id.clone(), ParticipantStatus::Admitted);
                assert_ne!(
                    before,
                    Some(ParticipantStatus::Admitted),
                    "{user_id} connected twice"
                );
            }
            EventKind::ParticipantLeft { user_id, .. } => {
                assert!(
                    self.present.remove(user_id).is_some(),
                    "{user_id} left twice"
                );
            }
            EventKind::ParticipantMuted { user_id, .. } => {
                assert_eq!(
                    self.present.get(user_id),
                    Some(&ParticipantStatus::Admitted)
                );
            }
            // The others do not change who is connected.
            _ => {}
        }
    }

    fn check(&self) {
        let session = &self.session;
        for credential in self
            .credentials
            .iter()
            .filter(|credential| credential.revoked)
        {
            let Credential {
                user_id,
                role,
                issued_at,
                revoked: _,
            } = credential;
            let entry = permit_entry(session, *role, user_id, *issued_at, NOW);
            assert!(entry.is_err(), "{credential:?} is valid again");
        }
        let present: BTreeMap<_, _> = (session.participants.iter())
            .map(|participant| (participant.user_id.clone(), participant.status))
            .collect();
        assert_eq!(present, self.present);
        assert_eq!(present.len(), session.participants.len());
        let guests = session.participants.iter();
        let guests = guests.filter(|participant| !participant.role.may(Action::SkipLimit));
        assert!(guests.count() <= usize::from(MAX_PARTICIPANTS));
        if session.host_is_present() && session.admission == Admission::WhenHostPresent {
            assert_eq!(
                session.admitted_participants().count(),
                present.len(),
                "a participant waits although the host is present"
            );
        }
        assert!(session.invites.len() <= INVITES_MAX);
        assert!(session.removals.len() <= REMOVALS_MAX);
    }
}

fn stored_role(session: &Session, user_id: &UserId) -> Role {
    if *user_id == session.doctor_id {
        return Role::Doctor;
    }
    let invite = (session.invites.iter()).find(|invite| invite.user_id == *user_id);
    invite.map_or(Role::Patient, |invite| invite.role)
}

/// Asserts that the acting participant was in the call as doctor before the step.
fn assert_entitled(before: &Session, step: &Step) {
    let (Step::Admit(_, Some(by)) | Step::Remove(_, Some(by), _) | Step::Mute(_, Some(by))) = step
    else {
        return;
    };
    let host = before.participant(&user(by)).expect("they are connected");
    assert_eq!(
        (host.role, host.status),
        (Role::Doctor, ParticipantStatus::Admitted)
    );
}

proptest! {
    #[test]
    fn no_history_revives_a_credential_and_the_events_match_the_participants(
        steps in prop::collection::vec(step(), 0..80),
        admission in prop::sample::select(Admission::ALL),
    ) {
        let mut history = History {
            session: session(admission),
            credentials: Vec::new(),
            kept_out: BTreeSet::new(),
            present: BTreeMap::new(),
        };
        for step in &steps {
            let before = history.session.clone();
            let issued = history.credentials.len();
            let Ok(change) = history.take(step) else { continue };
            let Some(change) = change else {
                history.check();
                continue;
            };
            prop_assert!(before.state != SessionState::Ended, "an ended session changed");
            assert_entitled(&before, step);
            for event in &change.events {
                history.follow(&event.kind);
            }
            history.session = change.session;
            history.check();
            // A new credential is valid.
            for credential in &history.credentials[issued..] {
                let entry = permit_entry(
                    &history.session, credential.role, &credential.user_id, credential.issued_at, NOW,
                );
                prop_assert_eq!(entry, Ok(()));
            }
        }
    }
}

pub(super) fn connect_request(name: &str, role: Role) -> ConnectRequest {
    ConnectRequest {
        user_id: user(name),
        role,
        display_name: String::new(),
        instance_id: "one".into(),
    }
}

#[test]
fn only_removals_of_users_who_may_not_join_are_forgotten() {
    let mut session = session(Admission::Open);
    let remove = |session: &Session, name: &str| {
        let change = session.remove_participant(&user(name), &Actor::Backend, true, NOW);
        change.unwrap().unwrap().session
    };
    session = remove(&session, "patient");
    for n in 0..2 * REMOVALS_MAX {
        let name = format!("guest-{n}");
        let invite = Invite::new(user(&name), Role::Guest, String::new(), None);
        session = session
            .invite_user(invite, &Actor::Backend, NOW)
            .unwrap()
            .unwrap()
            .session;
        session = remove(&session, &name);
    }
    assert_eq!(session.removals.len(), REMOVALS_MAX);
    let refused = permit_join(&session, Role::Patient, &user("patient"), NOW);
    assert_eq!(refused, Err(Error::ParticipantRemoved));
}

#[test]
fn only_the_host_may_enter_a_full_session() {
    let mut session = session(Admission::Open);
    for n in 0..MAX_PARTICIPANTS {
        let connected =
            session.connect_participant(connect_request(&format!("guest-{n}"), Role::Guest), NOW);
        session = connected.unwrap().change.unwrap().session;
    }
    let refused = session.connect_participant(connect_request("patient", Role::Patient), NOW);
    assert_eq!(refused, Err(Error::SessionFull));
    assert!(
        session
            .connect_participant(connect_request("doctor-1", Role::Doctor), NOW)
            .is_ok()
    );
}

#[test]
fn a_name_can_be_chosen_once() {
    let session = session(Admission::Open);
    let patient = user("patient");
    let named = session.set_given_name("Ana", &patient_acting("patient"), NOW);
    let named = named.unwrap().unwrap().session;
    assert_eq!(named.given_name(&patient), "Ana");
    assert_eq!(
        named.set_given_name("Ana", &patient_acting("patient"), NOW),
        Ok(None)
    );
    let refused = named.set_given_name("Rosa", &patient_acting("patient"), NOW);
    assert_eq!(refused, Err(Error::NameGiven));
    let connected = named
        .connect_participant(connect_request("patient", Role::Patient), NOW)
        .unwrap();
    let connected = connected.change.unwrap().session;
    assert_eq!(connected.participants[0].display_name, "Ana");
}
