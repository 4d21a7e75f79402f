//! Who comes, waits, is let in, goes: the part of a session's rules that is about the people in it.

use super::access::{Action, Role, permit_by};
use super::error::Error;
use super::event::EventKind;
use super::id::UserId;
use super::participant::{
    Admission, Arrival, GivenName, INVITES_MAX, Invite, LeaveCause, Participant, ParticipantStatus,
    REMOVALS_MAX, Removal,
};
use super::session::{Change, Session, SessionState};
use super::time::Timestamp;

/// What became of an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The session with them in it; `None` when they were there already, on the same instance.
    pub change: Option<Change>,
    /// Where they are.
    pub status: ParticipantStatus,
    /// Whether they were there before.
    pub resumed: bool,
    /// Who was let in by their coming.
    pub let_in: Vec<UserId>,
}

impl Session {
    /// Who is connected under that id.
    pub fn participant(&self, user_id: &UserId) -> Option<&Participant> {
        self.participants
            .iter()
            .find(|participant| participant.user_id == *user_id)
    }

    /// Those who are in the call.
    pub fn admitted(&self) -> impl Iterator<Item = &Participant> {
        self.participants
            .iter()
            .filter(|participant| participant.status == ParticipantStatus::Admitted)
    }

    /// Whether somebody is in the call who lets others in.
    pub fn host_is_present(&self) -> bool {
        self.admitted()
            .any(|participant| participant.role.may(Action::Admit))
    }

    fn status_on_arrival(&self, arrival: &Arrival) -> ParticipantStatus {
        let passes = arrival.role.may(Action::SkipWaiting)
            || match self.admission {
                Admission::Open => true,
                Admission::WhenHostPresent => self.host_is_present(),
                Admission::Manual => self.let_in.contains(&arrival.user_id),
            };
        if passes {
            ParticipantStatus::Admitted
        } else {
            ParticipantStatus::Waiting
        }
    }

    /// Somebody connected. The first one makes the session active; a host lets in those who waited for one.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::SessionFull`]
    pub fn arrived(&self, arrival: Arrival, now: Timestamp) -> Result<Arrived, Error> {
        self.require_live()?;
        // A guest who stands in for the doctor comes anew, as the host.
        let changed_role = match self.participant(&arrival.user_id) {
            Some(present) if present.role == arrival.role => {
                return Ok(self.resumed(present.clone(), arrival, now));
            }
            present => present,
        };
        let full = self.participants.len() >= usize::from(self.max_participants);
        if full && !arrival.role.may(Action::SkipLimit) {
            return Err(Error::SessionFull);
        }
        let status = self.status_on_arrival(&arrival);
        let Arrival {
            user_id,
            role,
            display_name,
            instance_id,
        } = arrival;
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
        let let_in: Vec<_> = self
            .participants
            .iter()
            .filter(waits_for_host)
            .map(|waiting| (waiting.user_id.clone(), waiting.role))
            .collect();
        let mut kinds: Vec<_> = changed_role
            .map(|before| left(before, LeaveCause::Replaced))
            .into_iter()
            .collect();
        kinds.push(match status {
            ParticipantStatus::Waiting => EventKind::ParticipantWaiting {
                user_id: user_id.clone(),
                role,
            },
            ParticipantStatus::Admitted => joined(&user_id, role, false),
        });
        for (waiting, waiting_role) in &let_in {
            kinds.extend(admitted(waiting, *waiting_role, None));
        }
        let let_in: Vec<_> = let_in.into_iter().map(|(user_id, _)| user_id).collect();
        let change = self.changed(now, kinds, |session| {
            session.state = SessionState::Active;
            session.empty_since = None;
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
            for user_id in &let_in {
                session.set_admitted(user_id);
            }
        });
        Ok(Arrived {
            change: Some(change),
            status,
            resumed: false,
            let_in,
        })
    }

    /// A participant who is there connects once more: nothing changes, unless another instance holds them now.
    fn resumed(&self, present: Participant, arrival: Arrival, now: Timestamp) -> Arrived {
        let moved = present.instance_id != arrival.instance_id;
        let change = moved.then(|| {
            let kind = match present.status {
                ParticipantStatus::Waiting => EventKind::ParticipantWaiting {
                    user_id: present.user_id.clone(),
                    role: present.role,
                },
                ParticipantStatus::Admitted => joined(&present.user_id, present.role, true),
            };
            self.changed(now, vec![kind], |session| {
                session.with_participant(&present.user_id, |participant| {
                    participant.instance_id = arrival.instance_id;
                });
            })
        });
        Arrived {
            change,
            status: present.status,
            resumed: true,
            let_in: Vec::new(),
        }
    }

    /// Somebody is gone. `None` when they were not there, or another instance holds them by now.
    pub fn departed(
        &self,
        user_id: &UserId,
        instance_id: &str,
        cause: LeaveCause,
        now: Timestamp,
    ) -> Option<Change> {
        self.require_live().ok()?;
        let participant = self
            .participant(user_id)
            .filter(|participant| participant.instance_id == instance_id)?;
        let kind = left(participant, cause);
        Some(self.changed(now, vec![kind], |session| {
            session.drop_participants(now, |participant| participant.user_id == *user_id);
        }))
    }

    /// One who waits is let in. `None` when they are in already.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::NotAllowed`]; [`Error::ParticipantNotFound`]
    pub fn admitted_by(
        &self,
        user_id: &UserId,
        by: Option<&UserId>,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        self.require_live()?;
        permit_by(self, by, Action::Admit)?;
        let participant = self
            .participant(user_id)
            .ok_or(Error::ParticipantNotFound)?;
        if participant.status == ParticipantStatus::Admitted {
            return Ok(None);
        }
        let kinds = admitted(user_id, participant.role, by);
        Ok(Some(self.changed(now, kinds, |session| {
            session.set_admitted(user_id);
            if !session.let_in.contains(user_id) {
                let mut let_in = std::mem::take(&mut session.let_in);
                let_in.retain(|admitted| session.is_entitled(admitted));
                let_in.push(user_id.clone());
                session.let_in = let_in;
            }
        })))
    }

    /// Somebody is removed, and every credential they hold is dead. `None` when they are kept out already: nothing was
    /// issued to them since. A removal never gives back what an earlier one took.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::ParticipantNotFound`] when the session has nobody of that id to remove.
    pub fn removed(
        &self,
        user_id: &UserId,
        by: Option<&UserId>,
        keep_out: bool,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        self.require_live()?;
        permit_by(self, by, Action::Remove)?;
        if self.keeps_out(user_id) {
            return Ok(None);
        }
        if !self.knows(user_id) {
            return Err(Error::ParticipantNotFound);
        }
        let mut kinds = vec![EventKind::ParticipantRemoved {
            user_id: user_id.clone(),
            by: by.cloned(),
            keep_out,
        }];
        let participant = self.participant(user_id);
        kinds.extend(participant.map(|participant| left(participant, LeaveCause::Removed)));
        Ok(Some(self.changed(now, kinds, |session| {
            session.expel(user_id, self.version + 1, keep_out, now);
        })))
    }

    /// An invitation is taken back, and who came by it is removed. `None` when that is so already.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::ParticipantNotFound`] when there is no such invitation.
    pub fn invite_revoked(
        &self,
        user_id: &UserId,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        if !self.invites.iter().any(|invite| invite.user_id == *user_id) {
            return Err(Error::ParticipantNotFound);
        }
        self.removed(user_id, None, true, now)
    }

    /// Takes somebody out, and everything from them that was issued until that event.
    pub(super) fn expel(
        &mut self,
        user_id: &UserId,
        sequence: i64,
        keep_out: bool,
        now: Timestamp,
    ) {
        self.drop_participants(now, |participant| participant.user_id == *user_id);
        self.let_in.retain(|admitted| admitted != user_id);
        self.removals.retain(|removal| removal.user_id != *user_id);
        self.removals.push(Removal {
            user_id: user_id.clone(),
            sequence,
            keep_out,
        });
        if self.removals.len() > REMOVALS_MAX {
            // There is one: fewer people may join than there are removals.
            let spent =
                (self.removals.iter()).position(|removal| !self.is_entitled(&removal.user_id));
            if let Some(spent) = spent {
                self.removals.remove(spent);
            }
        }
    }

    /// Whether the session stores a user for some role, removed or not.
    fn is_entitled(&self, user_id: &UserId) -> bool {
        *user_id == self.doctor_id
            || *user_id == self.patient_id
            || self.invites.iter().any(|invite| invite.user_id == *user_id)
    }

    /// The name that a participant gave themselves; empty when they gave none.
    pub fn given_name(&self, user_id: &UserId) -> &str {
        (self.given_names.iter())
            .find(|given| given.user_id == *user_id)
            .map_or("", |given| given.name.as_str())
    }

    /// A participant whose link came without a name gives one. `None` when they gave the same one before.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::NameGiven`] when they gave another one before.
    pub fn named(
        &self,
        user_id: &UserId,
        role: Role,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        self.require_live()?;
        match self.given_name(user_id) {
            "" => {}
            given if given == name => return Ok(None),
            _ => return Err(Error::NameGiven),
        }
        let kind = EventKind::ParticipantNamed {
            user_id: user_id.clone(),
            role,
        };
        Ok(Some(self.changed(now, vec![kind], |session| {
            let mut given_names = std::mem::take(&mut session.given_names);
            given_names.retain(|given| session.is_entitled(&given.user_id));
            given_names.push(GivenName {
                user_id: user_id.clone(),
                name: name.to_owned(),
            });
            session.given_names = given_names;
            session.with_participant(user_id, |participant| {
                if participant.display_name.is_empty() {
                    name.clone_into(&mut participant.display_name);
                }
            });
        })))
    }

    /// Somebody is asked to mute.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::ParticipantNotFound`]
    pub fn asked_to_mute(
        &self,
        user_id: &UserId,
        by: Option<&UserId>,
        now: Timestamp,
    ) -> Result<Change, Error> {
        self.require_live()?;
        permit_by(self, by, Action::Mute)?;
        self.participant(user_id)
            .filter(|participant| participant.status == ParticipantStatus::Admitted)
            .ok_or(Error::ParticipantNotFound)?;
        let kind = EventKind::ParticipantMuted {
            user_id: user_id.clone(),
            by: by.cloned(),
        };
        Ok(self.changed(now, vec![kind], |_| ()))
    }

    /// Somebody further may join. `None` when the same invitation stands already.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::Validation`] when the user has another role, or there are too many invitations.
    pub fn invited(&self, invite: Invite, now: Timestamp) -> Result<Option<Change>, Error> {
        self.require_live()?;
        if !invite.is_open(now) {
            return Err(Error::field("expire_time", "must lie in the future"));
        }
        if invite.user_id == self.doctor_id || invite.user_id == self.patient_id {
            return Err(Error::field(
                "user_id",
                "is the doctor or the patient of this session",
            ));
        }
        let standing = self
            .invites
            .iter()
            .find(|standing| standing.user_id == invite.user_id);
        let kept_out = self.keeps_out(&invite.user_id);
        let full = standing.is_none() && self.invites.len() >= INVITES_MAX;
        let spent = full.then(|| self.spent_invite(now)).flatten();
        let standing_since = standing.map(|standing| standing.since);
        let invite = Invite {
            since: match standing {
                Some(standing) if !kept_out => standing.since,
                _ => self.version + 1,
            },
            ..invite
        };
        match standing {
            Some(standing) if *standing == invite && !kept_out => return Ok(None),
            Some(standing) if standing.role != invite.role && !kept_out => {
                return Err(Error::field(
                    "role",
                    "is another than the user was invited in",
                ));
            }
            None if full && spent.is_none() => {
                return Err(Error::field(
                    "session_id",
                    format!("the session has {INVITES_MAX} invitations, which is the most"),
                ));
            }
            _ => {}
        }
        let kind = EventKind::ParticipantInvited {
            user_id: invite.user_id.clone(),
            role: invite.role,
        };
        Ok(Some(self.changed(now, vec![kind], |session| {
            // Whoever was kept out and is invited again may come; what they were given before stays dead.
            for removal in &mut session.removals {
                removal.keep_out &= removal.user_id != invite.user_id;
            }
            session.invites.retain(|standing| {
                standing.user_id != invite.user_id && Some(&standing.user_id) != spent.as_ref()
            });
            if standing_since != Some(invite.since) {
                // An earlier invitation's admission does not hold for this one.
                session
                    .let_in
                    .retain(|admitted| *admitted != invite.user_id);
            }
            session.invites.push(invite);
        })))
    }

    /// The invitations that were not taken back.
    pub fn standing_invites(&self) -> impl Iterator<Item = &Invite> {
        self.invites
            .iter()
            .filter(|invite| !self.keeps_out(&invite.user_id))
    }

    fn keeps_out(&self, user_id: &UserId) -> bool {
        self.removals
            .iter()
            .any(|removal| removal.user_id == *user_id && removal.keep_out)
    }

    /// Whose invitation makes room for another: it was taken back or has expired, so that nothing issued for it is good,
    /// and they are gone.
    fn spent_invite(&self, now: Timestamp) -> Option<UserId> {
        self.invites
            .iter()
            .find(|invite| {
                let spent = self.keeps_out(&invite.user_id) || !invite.is_open(now);
                spent && self.participant(&invite.user_id).is_none()
            })
            .map(|invite| invite.user_id.clone())
    }

    /// Whether a user is, or was invited to be, anybody in this session.
    fn knows(&self, user_id: &UserId) -> bool {
        self.is_entitled(user_id) || self.participant(user_id).is_some()
    }

    fn set_admitted(&mut self, user_id: &UserId) {
        self.with_participant(user_id, |participant| {
            participant.status = ParticipantStatus::Admitted;
        });
    }

    fn with_participant(&mut self, user_id: &UserId, apply: impl FnOnce(&mut Participant)) {
        let found = self
            .participants
            .iter_mut()
            .find(|participant| participant.user_id == *user_id);
        if let Some(participant) = found {
            apply(participant);
        }
    }

    fn drop_participants(&mut self, now: Timestamp, gone: impl Fn(&Participant) -> bool) {
        let before = self.participants.len();
        self.participants.retain(|participant| !gone(participant));
        // A session that nobody has entered yet is not one that everybody left.
        if self.participants.is_empty() && before > 0 {
            self.empty_since = Some(now);
        }
    }
}

fn joined(user_id: &UserId, role: Role, resumed: bool) -> EventKind {
    EventKind::ParticipantJoined {
        user_id: user_id.clone(),
        role,
        resumed,
    }
}

fn admitted(user_id: &UserId, role: Role, by: Option<&UserId>) -> Vec<EventKind> {
    let admitted = EventKind::ParticipantAdmitted {
        user_id: user_id.clone(),
        by: by.cloned(),
    };
    vec![admitted, joined(user_id, role, false)]
}

/// That a participant is gone.
pub(super) fn left(participant: &Participant, cause: LeaveCause) -> EventKind {
    EventKind::ParticipantLeft {
        user_id: participant.user_id.clone(),
        role: participant.role,
        cause,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::access::{permit_entry, permit_join};
    use crate::domain::id::{AppointmentId, NodeId};
    use crate::domain::label::Labels;
    use crate::domain::session::{
        EndCause, JoinWindow, Schedule, SessionRequest, SessionUpdate, UnplacedSession, Wish,
    };

    const ALWAYS_OPEN: JoinWindow = JoinWindow {
        early_secs: 0,
        late_secs: 0,
    };
    const NOW: Timestamp = Timestamp::MIN;
    /// Two who may be the doctor, the patient, and three who may be invited.
    const USERS: [&str; 6] = [
        "doctor-1", "doctor-2", "patient", "guest-1", "guest-2", "guest-3",
    ];
    const MAX_PARTICIPANTS: u16 = 3;

    fn user(name: &str) -> UserId {
        UserId::from_stored(name.to_owned())
    }

    fn session(admission: Admission) -> Session {
        let request = SessionRequest {
            appointment_id: AppointmentId::from_stored("appointment".into()),
            doctor_id: user("doctor-1"),
            patient_id: user("patient"),
            schedule: Schedule::default(),
            labels: Labels::new(),
            admission: Wish::of(admission),
            max_participants: Wish::of(MAX_PARTICIPANTS),
        };
        UnplacedSession::new(request, None, NOW)
            .place(NodeId::from_stored("sfu-1".into()))
            .session
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A user asks for a credential in a role; `None`: the one that the session stores for them.
        Issue(&'static str, Option<Role>),
        /// The bearer of one of the credentials connects.
        Arrive(prop::sample::Index),
        Depart(&'static str, LeaveCause),
        Admit(&'static str, Option<&'static str>),
        Remove(&'static str, Option<&'static str>, bool),
        Mute(&'static str, Option<&'static str>),
        Invite(&'static str, Role),
        Revoke(&'static str),
        Name(&'static str, &'static str),
        StandIn(&'static str),
        Relabel(u8),
        End,
    }

    fn step() -> impl Strategy<Value = Step> {
        let who = || prop::sample::select(USERS.to_vec());
        // Mostly the backend: few others may do anything.
        let by = || prop::option::weighted(0.3, prop::sample::select(USERS.to_vec()));
        let role = || prop::sample::select(Role::ALL.to_vec());
        let own_or = move || prop::option::weighted(0.2, role());
        let cause = || prop::sample::select(vec![LeaveCause::Left, LeaveCause::Lost]);
        prop_oneof![
            12 => (who(), own_or()).prop_map(|(who, role)| Step::Issue(who, role)),
            12 => any::<prop::sample::Index>().prop_map(Step::Arrive),
            3 => (who(), cause()).prop_map(|(who, cause)| Step::Depart(who, cause)),
            3 => (who(), by()).prop_map(|(who, by)| Step::Admit(who, by)),
            6 => (who(), by(), any::<bool>()).prop_map(|(who, by, keep_out)| Step::Remove(who, by, keep_out)),
            1 => (who(), by()).prop_map(|(who, by)| Step::Mute(who, by)),
            6 => (who(), role()).prop_map(|(who, role)| Step::Invite(who, role)),
            2 => who().prop_map(Step::Revoke),
            1 => (who(), prop::sample::select(vec!["Ana", "Rosa"])).prop_map(|(who, name)| Step::Name(who, name)),
            2 => prop::sample::select(vec!["doctor-1", "doctor-2", "guest-1"]).prop_map(Step::StandIn),
            4 => any::<u8>().prop_map(Step::Relabel),
            1 => Just(Step::End),
        ]
    }

    /// Something that lets its bearer in until it is void.
    #[derive(Debug, Clone)]
    struct Credential {
        user_id: UserId,
        role: Role,
        issued_at: i64,
        void: bool,
    }

    /// A session, and what must be true of it by what has happened.
    struct History {
        session: Session,
        credentials: Vec<Credential>,
        /// Who gets no new ones.
        kept_out: BTreeSet<UserId>,
        /// Who is connected, and whether they are in the call, as the events tell it.
        present: BTreeMap<UserId, ParticipantStatus>,
    }

    impl History {
        #[expect(clippy::too_many_lines, reason = "an arm a step")]
        fn take(&mut self, step: &Step) -> Result<Option<Change>, Error> {
            let session = &self.session;
            match step {
                Step::Issue(who, asked) => {
                    let role = asked.unwrap_or_else(|| stored_role(session, &user(who)));
                    session.may_join(role, &user(who), &ALWAYS_OPEN, NOW)?;
                    assert!(!self.kept_out.contains(&user(who)), "{who} is kept out");
                    let jti = "jti".to_owned();
                    let change = session.token_issued(user(who), role, jti, NOW, NOW);
                    self.credentials.push(Credential {
                        user_id: user(who),
                        role,
                        issued_at: change.session.version,
                        void: false,
                    });
                    Ok(Some(change))
                }
                Step::Arrive(index) => {
                    if self.credentials.is_empty() {
                        return Ok(None);
                    }
                    let Credential {
                        user_id,
                        role,
                        issued_at,
                        void,
                    } = index.get(&self.credentials).clone();
                    permit_entry(session, role, &user_id, issued_at, NOW)?;
                    assert!(!void, "{user_id} came in with what was void");
                    let arrival = Arrival {
                        user_id,
                        role,
                        display_name: String::new(),
                        instance_id: "one".into(),
                    };
                    Ok(session.arrived(arrival, NOW)?.change)
                }
                Step::Depart(who, cause) => Ok(session.departed(&user(who), "one", *cause, NOW)),
                Step::Admit(who, by) => session.admitted_by(&user(who), by.map(user).as_ref(), NOW),
                Step::Remove(who, by, keep_out) => {
                    let by = by.map(user);
                    let change = session.removed(&user(who), by.as_ref(), *keep_out, NOW)?;
                    self.void(|credential| credential.user_id == user(who));
                    if *keep_out {
                        self.kept_out.insert(user(who));
                    }
                    Ok(change)
                }
                Step::Mute(who, by) => session
                    .asked_to_mute(&user(who), by.map(user).as_ref(), NOW)
                    .map(Some),
                Step::Invite(who, role) => {
                    if !role.is_invited() {
                        return Ok(None);
                    }
                    let invite = Invite::new(user(who), *role, String::new(), None);
                    let change = session.invited(invite, NOW)?;
                    self.kept_out.remove(&user(who));
                    Ok(change)
                }
                Step::Revoke(who) => {
                    let change = session.invite_revoked(&user(who), NOW)?;
                    self.void(|credential| credential.user_id == user(who));
                    self.kept_out.insert(user(who));
                    Ok(change)
                }
                Step::Name(who, name) => session.named(&user(who), Role::Patient, name, NOW),
                Step::StandIn(who) => {
                    let update = SessionUpdate {
                        doctor_id: Some(user(who)),
                        ..SessionUpdate::default()
                    };
                    let replaced = session.doctor_id.clone();
                    let change = session.updated(update, None, NOW)?;
                    if change.is_some() {
                        self.void(|credential| credential.user_id == replaced);
                        let new = user(who);
                        self.kept_out.remove(&new);
                        self.kept_out.remove(&replaced);
                        self.void(|credential| {
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
                    session.updated(update, None, NOW)
                }
                Step::End => Ok(session.ended(EndCause::Backend, String::new(), NOW)),
            }
        }

        fn void(&mut self, concerned: impl Fn(&Credential) -> bool) {
            for credential in &mut self.credentials {
                credential.void |= concerned(credential);
            }
        }

        /// Who is there, by nothing but the events.
        fn follow(&mut self, kind: &EventKind) {
            match kind {
                EventKind::ParticipantWaiting { user_id, .. } => {
                    let before = self
                        .present
                        .insert(user_id.clone(), ParticipantStatus::Waiting);
                    assert_eq!(before, None, "{user_id} came twice");
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
                        "{user_id} came twice"
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
                EventKind::Created { .. }
                | EventKind::Updated { .. }
                | EventKind::Joined { .. }
                | EventKind::Ended { .. }
                | EventKind::ParticipantRemoved { .. }
                | EventKind::ParticipantInvited { .. }
                | EventKind::ParticipantNamed { .. } => {}
            }
        }

        fn check(&self) {
            let session = &self.session;
            for credential in self.credentials.iter().filter(|credential| credential.void) {
                let Credential {
                    user_id,
                    role,
                    issued_at,
                    void: _,
                } = credential;
                let entry = permit_entry(session, *role, user_id, *issued_at, NOW);
                assert!(entry.is_err(), "{credential:?} is good again");
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
                assert_eq!(session.admitted().count(), present.len(), "somebody waits");
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

    /// Whether those who acted were entitled to, by the session as it was before.
    fn assert_entitled(before: &Session, step: &Step) {
        let (Step::Admit(_, Some(by)) | Step::Remove(_, Some(by), _) | Step::Mute(_, Some(by))) =
            step
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
        fn whatever_happens_nobody_comes_back_and_the_events_tell_who_is_there(
            steps in prop::collection::vec(step(), 0..80),
            admission in prop::sample::select(Admission::ALL.to_vec()),
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
                // What was just issued is good.
                for credential in &history.credentials[issued..] {
                    let entry = permit_entry(
                        &history.session, credential.role, &credential.user_id, credential.issued_at, NOW,
                    );
                    prop_assert_eq!(entry, Ok(()));
                }
            }
        }
    }

    fn arrival(name: &str, role: Role) -> Arrival {
        Arrival {
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
            let change = session.removed(&user(name), None, true, NOW);
            change.unwrap().unwrap().session
        };
        session = remove(&session, "patient");
        for n in 0..2 * REMOVALS_MAX {
            let name = format!("guest-{n}");
            let invite = Invite::new(user(&name), Role::Guest, String::new(), None);
            session = session.invited(invite, NOW).unwrap().unwrap().session;
            session = remove(&session, &name);
        }
        assert_eq!(session.removals.len(), REMOVALS_MAX);
        let refused = permit_join(&session, Role::Patient, &user("patient"), NOW);
        assert_eq!(refused, Err(Error::ParticipantRemoved));
    }

    #[test]
    fn a_full_session_takes_nobody_but_the_host() {
        let mut session = session(Admission::Open);
        for n in 0..MAX_PARTICIPANTS {
            let arrived = session.arrived(arrival(&format!("guest-{n}"), Role::Guest), NOW);
            session = arrived.unwrap().change.unwrap().session;
        }
        let refused = session.arrived(arrival("patient", Role::Patient), NOW);
        assert_eq!(refused, Err(Error::SessionFull));
        assert!(
            session
                .arrived(arrival("doctor-1", Role::Doctor), NOW)
                .is_ok()
        );
    }

    #[test]
    fn a_name_is_given_once() {
        let session = session(Admission::Open);
        let patient = user("patient");
        let named = session.named(&patient, Role::Patient, "Ana", NOW);
        let named = named.unwrap().unwrap().session;
        assert_eq!(named.given_name(&patient), "Ana");
        assert_eq!(named.named(&patient, Role::Patient, "Ana", NOW), Ok(None));
        let refused = named.named(&patient, Role::Patient, "Rosa", NOW);
        assert_eq!(refused, Err(Error::NameGiven));
        let arrived = named
            .arrived(arrival("patient", Role::Patient), NOW)
            .unwrap();
        let arrived = arrived.change.unwrap().session;
        assert_eq!(arrived.participants[0].display_name, "Ana");
    }
}
