//! A session to try the rules of calls on nodes with.

use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::event::EventKind;
use crate::domain::id::{AppointmentId, NodeId, UserId};
use crate::domain::label::Labels;
use crate::domain::medium::{MediaMode, MoveCause};
use crate::domain::participant::{Admission, ConnectRequest, Invite};
use crate::domain::place::Driver;
use crate::domain::role::Role;
use crate::domain::rules::create::UnplacedSession;
use crate::domain::session::{Requested, Schedule, Session, SessionRequest};
use crate::domain::short_link::ShortLink;
use crate::domain::time::Timestamp;

pub(super) const NOW: Timestamp = Timestamp::MIN;

pub(super) fn user(name: &str) -> UserId {
    UserId::from_stored(name.to_owned())
}

pub(super) fn node(name: &str) -> NodeId {
    NodeId::from_stored(name.to_owned())
}

/// The user whom a role is for.
pub(super) fn bearer(role: Role) -> UserId {
    user(match role {
        Role::Doctor => "doctor",
        Role::Patient => "patient",
        Role::Guest => "guest",
        Role::Interpreter => "interpreter",
        Role::Observer => "observer",
    })
}

/// A session on `sfu-1` to which everybody is invited, and its history so far.
pub(super) struct Call {
    pub(super) session: Session,
    /// The types of all events.
    pub(super) types: Vec<String>,
}

impl Call {
    pub(super) fn new(media: MediaMode, driver: Driver, admission: Admission) -> Self {
        let request = SessionRequest {
            appointment_id: AppointmentId::from_stored("appointment".into()),
            doctor_id: bearer(Role::Doctor),
            patient_id: bearer(Role::Patient),
            schedule: Schedule::default(),
            labels: Labels::new(),
            admission: Requested::explicit(admission),
            max_participants: Requested::explicit(8),
            media: Requested::explicit(media),
            region: None,
            end_to_end_encrypted: false,
            empty_timeout_secs: None,
            open_to_guests: false,
            doctor_name: String::new(),
        };
        let created =
            UnplacedSession::new(request, None, Actor::Backend, NOW).place(node("sfu-1"), driver);
        let mut call = Self {
            session: created.session,
            types: Vec::new(),
        };
        for role in [Role::Guest, Role::Interpreter, Role::Observer] {
            let invite = Invite::new(bearer(role), role, String::new(), None);
            let invited = call.session.invite_user(invite, &Actor::Backend, NOW);
            call.take(invited.unwrap().unwrap());
        }
        call
    }

    /// An open session on a LiveKit node.
    pub(super) fn on_livekit(media: MediaMode) -> Self {
        Self::new(media, Driver::LiveKit, Admission::Open)
    }

    /// Goes on from a change, which must number its events without a gap.
    pub(super) fn take(&mut self, change: Change) -> Vec<EventKind> {
        assert_eq!(change.base_version(), self.session.version);
        let numbers: Vec<_> = change.events.iter().map(|event| event.sequence).collect();
        let expected: Vec<_> = (self.session.version + 1..=change.session.version).collect();
        assert_eq!(numbers, expected, "{:?}", change.events);
        let kinds: Vec<_> = change.events.into_iter().map(|event| event.kind).collect();
        self.types
            .extend(kinds.iter().map(|kind| kind.name().to_owned()));
        self.session = change.session;
        kinds
    }

    pub(super) fn connect(&mut self, role: Role) -> Change {
        let request = ConnectRequest {
            user_id: bearer(role),
            role,
            display_name: String::new(),
            instance_id: "here".to_owned(),
        };
        let outcome = self.session.connect_participant(request, NOW).unwrap();
        let change = outcome.change.unwrap();
        self.take(change.clone());
        change
    }

    pub(super) fn leave(&mut self, role: Role) -> Change {
        let actor = Actor::Participant {
            role,
            user_id: bearer(role),
        };
        let left = (self.session).disconnect_participant(&bearer(role), "here", &actor, NOW);
        let change = left.unwrap().unwrap();
        self.take(change.clone());
        change
    }

    pub(super) fn admit(&mut self, role: Role) -> Change {
        let admitted = (self.session).admit_participant(&bearer(role), &Actor::Backend, NOW);
        let change = admitted.unwrap().unwrap();
        self.take(change.clone());
        change
    }

    pub(super) fn remove(&mut self, role: Role, keep_out: bool) -> Change {
        let actor = &Actor::Backend;
        let removed = (self.session).remove_participant(&bearer(role), actor, keep_out, NOW);
        let change = removed.unwrap().unwrap();
        self.take(change.clone());
        change
    }

    pub(super) fn end(&mut self) -> Change {
        let ended = self.session.end(None, &Actor::Backend, NOW);
        let change = ended.unwrap().unwrap();
        self.take(change.clone());
        change
    }

    /// Moves it to another node.
    pub(super) fn move_to(&mut self, name: &str, driver: Driver, actor: &Actor) -> Change {
        let change = (self.session)
            .move_to(node(name), driver, actor, NOW)
            .unwrap();
        self.take(change.clone());
        change
    }

    /// Issues a credential; its sequence.
    pub(super) fn issue(&mut self, role: Role) -> i64 {
        let (who, jti, backend) = (bearer(role), "jti".to_owned(), &Actor::Backend);
        let link = ShortLink::example(who, role, self.session.version + 1);
        let change = (self.session).record_token(jti, NOW, link, backend, NOW);
        self.take(change);
        self.session.version
    }
}

/// The causes of the changes of medium among events.
pub(super) fn medium_causes(change: &Change) -> Vec<MoveCause> {
    let kinds = change.events.iter().map(|event| &event.kind);
    kinds
        .filter_map(|kind| match kind {
            EventKind::MediumChanged { cause, .. } => Some(*cause),
            _ => None,
        })
        .collect()
}
