//! What every driver of SFU nodes promises. Each case reports the first promise that a driver breaks, so that the cases
//! themselves can be tried on drivers that are broken on purpose.

mod bounded;
mod broken;
mod livekit;
mod livekit_answers;
mod model;
mod openvidu;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use video_session::domain::id::{UserId, random_id};
use video_session::domain::role::Role;
use video_session::sfu::builtin::Builtin;
use video_session::sfu::{
    Admit, NodeLoad, NodeTicket, ParticipantOnNode, SfuDriver, SfuError, SignallingAnswer,
    SignallingRequest,
};

/// Far longer than a node takes; only a failing test waits for it.
const LIMIT: Duration = Duration::from_secs(20);

/// A promise that a driver broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// A call failed that should not.
    Failed(SfuError),
    /// A room that was made is not there once.
    RoomNotMade,
    /// A ticket does not admit its user.
    NotAdmitted,
    /// The node forgets which credential admitted a participant.
    SequenceLost,
    /// An observer publishes, or a patient cannot.
    WrongPermissions,
    /// A removed participant is still there.
    NotRemoved,
    /// Other participants or rooms were changed.
    OthersChanged,
    /// A muted participant is still heard.
    NotMuted,
    /// An ended room is still there.
    NotEnded,
    /// What is not there was listed.
    StrangeAnswer,
    /// The node's load is not that of its rooms.
    WrongLoad,
    /// Without a restart, the node's incarnation changed.
    WrongIncarnation,
    /// A wrong secret was no obstacle, or another error than that.
    NotRefused,
    /// A webhook without proof was taken as the node's.
    ForgeryTaken,
    /// Signalling opens for a room that is not there.
    DoorToNowhere,
}

type Outcome = Result<(), Broken>;

impl From<SfuError> for Broken {
    fn from(error: SfuError) -> Self {
        Self::Failed(error)
    }
}

/// What a driver cannot do in a test: what happens on the node's side.
#[async_trait]
trait Stage: Send + Sync {
    /// A user joins with a ticket, and publishes what they may; they stay until the value is dropped.
    async fn join(&self, room: &str, ticket: &NodeTicket) -> Box<dyn Joined>;

    /// Somebody joins a room with a credential that the service did not issue; they stay until the value is dropped.
    async fn join_as_stranger(&self, room: &str) -> Box<dyn Any + Send>;

    /// The same node, spoken to with a wrong secret.
    fn with_wrong_secret(&self) -> Arc<dyn SfuDriver>;
}

/// A user who joined, as the node treats them.
trait Joined: Send + Sync {
    /// Whether they publish audio that is not muted.
    fn is_heard(&self) -> bool;

    /// Whether they publish video.
    fn is_seen(&self) -> bool;
}

/// A driver under test.
#[derive(Clone)]
struct Tried {
    driver: Arc<dyn SfuDriver>,
    /// `None` if the node carries no media, so that nobody joins it.
    stage: Option<Arc<dyn Stage>>,
    /// How long to wait for what should come.
    limit: Duration,
}

fn user(name: &str) -> UserId {
    UserId::from_stored(name.to_owned())
}

fn new_room() -> String {
    format!("room_sess_{}_2", random_id())
}

fn admit(name: &str, role: Role) -> Admit {
    Admit {
        user_id: user(name),
        role,
        sequence: 7,
        ttl: Duration::from_secs(60),
    }
}

impl Tried {
    /// The stage, for cases that mean nothing where no media is carried.
    fn stage(&self) -> Option<&Arc<dyn Stage>> {
        let carries_media = self.driver.capabilities().carries_media;
        assert_eq!(carries_media, self.stage.is_some());
        self.stage.as_ref()
    }

    /// Joins a room in a role.
    async fn join(
        &self,
        stage: &Arc<dyn Stage>,
        room: &str,
        name: &str,
        role: Role,
    ) -> Result<Box<dyn Joined>, Broken> {
        let ticket = self.driver.issue_ticket(room, &admit(name, role)).await?;
        let ticket = ticket.ok_or(Broken::NotAdmitted)?;
        let joined = stage.join(room, &ticket).await;
        self.until(room, Broken::NotAdmitted, |all| is_in(all, name))
            .await?;
        Ok(joined)
    }

    /// Waits until a room's participants are as they should be.
    async fn until(
        &self,
        room: &str,
        broken: Broken,
        is_so: impl Fn(&[ParticipantOnNode]) -> bool,
    ) -> Outcome {
        let deadline = Instant::now() + self.limit;
        while !is_so(&self.driver.list_participants(room).await?) {
            if Instant::now() >= deadline {
                return Err(broken);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits until what happened shows at the participants.
    async fn until_shown(&self, broken: Broken, is_so: impl Fn() -> bool) -> Outcome {
        let deadline = Instant::now() + self.limit;
        while !is_so() {
            if Instant::now() >= deadline {
                return Err(broken);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// How often a room is listed.
    async fn listed(&self, room: &str) -> Result<usize, Broken> {
        let rooms = self.driver.list_rooms().await?;
        Ok(rooms.iter().filter(|listed| *listed == room).count())
    }

    async fn until_not_listed(&self, room: &str) -> Outcome {
        let deadline = Instant::now() + self.limit;
        while self.listed(room).await? != 0 {
            if Instant::now() >= deadline {
                return Err(Broken::NotEnded);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

fn is_in(all: &[ParticipantOnNode], name: &str) -> bool {
    let count = all.iter().filter(|one| one.user_id.as_str() == name);
    count.count() == 1
}

fn ensure(so: bool, broken: Broken) -> Outcome {
    if so { Ok(()) } else { Err(broken) }
}

async fn a_room_is_made_once(tried: &Tried) -> Outcome {
    let room = new_room();
    for _ in 0..3 {
        tried.driver.ensure_room(&room).await?;
    }
    let expected = usize::from(tried.stage().is_some());
    ensure(tried.listed(&room).await? == expected, Broken::RoomNotMade)?;
    let all = tried.driver.list_participants(&room).await?;
    ensure(all.is_empty(), Broken::StrangeAnswer)
}

async fn what_is_absent_is_no_error(tried: &Tried) -> Outcome {
    let (room, driver) = (new_room(), &tried.driver);
    let all = driver.list_participants(&room).await?;
    ensure(all.is_empty(), Broken::StrangeAnswer)?;
    driver.remove_participant(&room, &user("nobody")).await?;
    driver.mute_participant(&room, &user("nobody")).await?;
    driver.end_room(&room).await?;
    ensure(tried.listed(&room).await? == 0, Broken::StrangeAnswer)?;
    driver.ensure_room(&room).await?;
    driver.remove_participant(&room, &user("nobody")).await?;
    driver.mute_participant(&room, &user("nobody")).await?;
    Ok(())
}

async fn a_ticket_admits_its_user(tried: &Tried) -> Outcome {
    let room = new_room();
    let Some(stage) = tried.stage() else {
        let ticket = tried
            .driver
            .issue_ticket(&room, &admit("patient", Role::Patient))
            .await?;
        return ensure(ticket.is_none(), Broken::StrangeAnswer);
    };
    // The room is made on the way.
    let _patient = tried.join(stage, &room, "patient", Role::Patient).await?;
    let all = tried.driver.list_participants(&room).await?;
    let [one] = all.as_slice() else {
        return Err(Broken::StrangeAnswer);
    };
    ensure(one.sequence == Some(7), Broken::SequenceLost)?;
    let _doctor = tried.join(stage, &room, "doctor", Role::Doctor).await?;
    let all = tried.driver.list_participants(&room).await?;
    ensure(all.len() == 2, Broken::StrangeAnswer)
}

/// A ticket that has been issued only is nobody in the room.
async fn a_ticket_alone_is_not_a_participant(tried: &Tried) -> Outcome {
    let room = new_room();
    let admit = admit("patient", Role::Patient);
    tried.driver.issue_ticket(&room, &admit).await?;
    let all = tried.driver.list_participants(&room).await?;
    ensure(all.is_empty(), Broken::StrangeAnswer)
}

async fn publishing_follows_the_role(tried: &Tried) -> Outcome {
    let (room, Some(stage)) = (new_room(), tried.stage()) else {
        return Ok(());
    };
    let observer = tried.join(stage, &room, "observer", Role::Observer).await?;
    let guest = tried.join(stage, &room, "guest", Role::Guest).await?;
    let is_guest_published = || guest.is_heard() && guest.is_seen();
    tried
        .until_shown(Broken::WrongPermissions, is_guest_published)
        .await?;
    // The observer came first, and would have published by now.
    ensure(
        !observer.is_heard() && !observer.is_seen(),
        Broken::WrongPermissions,
    )
}

async fn a_removed_participant_is_gone(tried: &Tried) -> Outcome {
    let (room, other, Some(stage)) = (new_room(), new_room(), tried.stage()) else {
        return Ok(());
    };
    let _doctor = tried.join(stage, &room, "doctor", Role::Doctor).await?;
    let _patient = tried.join(stage, &room, "patient", Role::Patient).await?;
    let _elsewhere = tried.join(stage, &other, "patient", Role::Patient).await?;
    for _ in 0..2 {
        let patient = user("patient");
        tried.driver.remove_participant(&room, &patient).await?;
        tried
            .until(&room, Broken::NotRemoved, |all| !is_in(all, "patient"))
            .await?;
    }
    let here = tried.driver.list_participants(&room).await?;
    let there = tried.driver.list_participants(&other).await?;
    ensure(
        is_in(&here, "doctor") && is_in(&there, "patient"),
        Broken::OthersChanged,
    )
}

async fn a_listed_stranger_can_be_removed(tried: &Tried) -> Outcome {
    let (room, Some(stage)) = (new_room(), tried.stage()) else {
        return Ok(());
    };
    let _patient = tried.join(stage, &room, "patient", Role::Patient).await?;
    let _stranger = stage.join_as_stranger(&room).await;
    let is_stranger = |one: &&ParticipantOnNode| one.sequence.is_none();
    tried
        .until(&room, Broken::StrangeAnswer, |all| {
            all.iter().any(|one| is_stranger(&one))
        })
        .await?;
    let all = tried.driver.list_participants(&room).await?;
    for stranger in all.iter().filter(is_stranger) {
        let removing = tried.driver.remove_participant(&room, &stranger.user_id);
        removing.await?;
    }
    tried
        .until(&room, Broken::NotRemoved, |all| {
            !all.iter().any(|one| is_stranger(&one))
        })
        .await?;
    let all = tried.driver.list_participants(&room).await?;
    ensure(is_in(&all, "patient"), Broken::OthersChanged)
}

async fn a_muted_participant_is_silent(tried: &Tried) -> Outcome {
    let (room, Some(stage)) = (new_room(), tried.stage()) else {
        return Ok(());
    };
    let doctor = tried.join(stage, &room, "doctor", Role::Doctor).await?;
    let patient = tried.join(stage, &room, "patient", Role::Patient).await?;
    for one in [&doctor, &patient] {
        tried
            .until_shown(Broken::WrongPermissions, || one.is_heard() && one.is_seen())
            .await?;
    }
    let mute = || async { tried.driver.mute_participant(&room, &user("patient")).await };
    mute().await?;
    // A node may learn of a track some time after its participant published it.
    let deadline = Instant::now() + tried.limit;
    while tried.driver.capabilities().moderates && patient.is_heard() {
        ensure(Instant::now() < deadline, Broken::NotMuted)?;
        sleep(Duration::from_millis(10)).await;
        mute().await?;
    }
    mute().await?;
    ensure(
        doctor.is_heard() && doctor.is_seen() && patient.is_seen(),
        Broken::OthersChanged,
    )
}

async fn an_ended_room_is_gone(tried: &Tried) -> Outcome {
    let (room, other, Some(stage)) = (new_room(), new_room(), tried.stage()) else {
        return Ok(());
    };
    let _patient = tried.join(stage, &room, "patient", Role::Patient).await?;
    let _elsewhere = tried.join(stage, &other, "patient", Role::Patient).await?;
    for _ in 0..2 {
        tried.driver.end_room(&room).await?;
        tried.until_not_listed(&room).await?;
    }
    let all = tried.driver.list_participants(&room).await?;
    ensure(all.is_empty(), Broken::NotEnded)?;
    let there = tried.driver.list_participants(&other).await?;
    ensure(is_in(&there, "patient"), Broken::OthersChanged)?;
    // Its name can be used again, were that ever wanted.
    tried.driver.ensure_room(&room).await?;
    ensure(tried.listed(&room).await? == 1, Broken::RoomNotMade)
}

async fn health_is_told_and_shows_no_restart(tried: &Tried) -> Outcome {
    let before = tried.driver.list_rooms().await?;
    let first = tried.driver.check_health().await?;
    tried.driver.ensure_room(&new_room()).await?;
    let second = tried.driver.check_health().await?;
    ensure(first == second, Broken::WrongIncarnation)?;
    let after = tried.driver.list_rooms().await?;
    let expected = before.len() + usize::from(tried.stage().is_some());
    ensure(after.len() == expected, Broken::StrangeAnswer)
}

async fn load_is_that_of_the_rooms(tried: &Tried) -> Outcome {
    let Some(stage) = tried.stage() else {
        let load = tried.driver.read_load().await?;
        return ensure((load.rooms, load.participants) == (0, 0), Broken::WrongLoad);
    };
    tried.driver.check_health().await?;
    let (room, before) = (new_room(), tried.driver.read_load().await?);
    tried.driver.ensure_room(&new_room()).await?;
    let _doctor = tried.join(stage, &room, "doctor", Role::Doctor).await?;
    let _patient = tried.join(stage, &room, "patient", Role::Patient).await?;
    let expected = NodeLoad {
        rooms: before.rooms + 2,
        participants: before.participants + 2,
    };
    let deadline = Instant::now() + tried.limit;
    while tried.driver.read_load().await? != expected {
        ensure(Instant::now() < deadline, Broken::WrongLoad)?;
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn a_wrong_secret_is_refused(tried: &Tried) -> Outcome {
    let Some(stage) = tried.stage() else {
        return Ok(());
    };
    let (driver, room) = (stage.with_wrong_secret(), new_room());
    let patient = user("patient");
    let outcomes = [
        driver.ensure_room(&room).await,
        driver.list_rooms().await.map(|_| ()),
        driver.list_participants(&room).await.map(|_| ()),
        driver.remove_participant(&room, &patient).await,
        driver.end_room(&room).await,
        driver.check_health().await.map(|_| ()),
        driver.read_load().await.map(|_| ()),
        driver
            .issue_ticket(&room, &admit("patient", Role::Patient))
            .await
            .map(|_| ()),
    ];
    let are_refused = outcomes
        .iter()
        .all(|outcome| *outcome == Err(SfuError::Refused));
    ensure(are_refused, Broken::NotRefused)?;
    ensure(tried.listed(&room).await? == 0, Broken::NotRefused)
}

async fn a_webhook_needs_proof(tried: &Tried) -> Outcome {
    let bodies: [&[u8]; 2] = [
        br#"{"event":"participant_joined","room":{"name":"r"},"participant":{"identity":"a"}}"#,
        br#"{"event":"participantJoined","sessionId":"r","connectionId":"a"}"#,
    ];
    let proofs: [&[u8]; 5] = [b"", b"Bearer ", b"..", b"Bearer e30.e30.", b"\xff"];
    let taken = bodies
        .iter()
        .flat_map(|body| proofs.map(|proof| tried.driver.verify_webhook(body, proof)))
        .any(|outcome| outcome.is_ok());
    ensure(!taken, Broken::ForgeryTaken)
}

async fn there_is_no_signalling_for_a_room_that_nobody_made(tried: &Tried) -> Outcome {
    let request = SignallingRequest {
        path: "rtc/validate".to_owned(),
        query: Vec::new(),
        headers: reqwest::header::HeaderMap::new(),
    };
    let (room, patient) = (new_room(), admit("patient", Role::Patient));
    let opening = tried.driver.open_signalling(&room, &patient, &request);
    let is_open = match opening.await {
        Ok(SignallingAnswer::Open { .. }) => true,
        Ok(SignallingAnswer::Closed(status)) => status.is_success(),
        Err(_) => false,
    };
    ensure(!is_open, Broken::DoorToNowhere)
}

/// Every case on every driver. A new case needs its line here, or the compiler calls it dead.
macro_rules! promises {
    ($($case:ident,)+) => {
        mod builtin_driver {
            $(#[tokio::test]
            async fn $case() {
                assert_eq!(super::$case(&super::builtin()).await, Ok(()));
            })+
        }

        mod model_driver {
            $(#[tokio::test]
            async fn $case() {
                assert_eq!(super::$case(&super::model::tried()).await, Ok(()));
            })+
        }

        mod bounded_driver {
            $(#[tokio::test]
            async fn $case() {
                assert_eq!(super::$case(&super::bounded::tried()).await, Ok(()));
            })+
        }

        mod openvidu_driver {
            $(#[tokio::test]
            async fn $case() {
                assert_eq!(super::$case(&super::openvidu::tried().await).await, Ok(()));
            })+
        }

        mod livekit_driver {
            $(#[tokio::test]
            #[ignore = "needs livekit-server; .ci/run installs it"]
            async fn $case() {
                assert_eq!(super::$case(&super::livekit::tried().await).await, Ok(()));
            })+
        }

        /// The first promise that a driver breaks.
        async fn first_broken(tried: &Tried) -> Option<(&'static str, Broken)> {
            $(if let Err(broken) = $case(tried).await {
                return Some((stringify!($case), broken));
            })+
            None
        }
    };
}

promises! {
    a_room_is_made_once,
    what_is_absent_is_no_error,
    a_ticket_admits_its_user,
    a_ticket_alone_is_not_a_participant,
    publishing_follows_the_role,
    a_removed_participant_is_gone,
    a_listed_stranger_can_be_removed,
    a_muted_participant_is_silent,
    an_ended_room_is_gone,
    health_is_told_and_shows_no_restart,
    load_is_that_of_the_rooms,
    a_wrong_secret_is_refused,
    a_webhook_needs_proof,
    there_is_no_signalling_for_a_room_that_nobody_made,
}

fn builtin() -> Tried {
    Tried {
        driver: Arc::new(Builtin),
        stage: None,
        limit: LIMIT,
    }
}
