//! Drivers that are broken on purpose: the suite must tell each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use video_session::domain::id::UserId;
use video_session::domain::role::Role;
use video_session::sfu::{
    Admit, Capabilities, InvalidWebhook, NodeLoad, NodeStatus, NodeTicket, Outage,
    ParticipantOnNode, SfuDriver, SfuError, SignallingAnswer, SignallingRequest, WebhookEvent,
    WebhookKind,
};

use super::model;
use super::{Broken, Tried, first_broken};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    ForgetsRooms,
    MakesRoomsAgain,
    FailsOnAbsent,
    ListsStrangers,
    TicketWithoutRoom,
    LosesSequence,
    GrantsAll,
    GrantsNothing,
    KeepsRemoved,
    KeepsStrangers,
    RemovesFromAllRooms,
    DoesNotMute,
    MutesAll,
    KeepsEndedRooms,
    EndsAllRooms,
    ChangesIncarnation,
    CountsItself,
    TakesAnyWebhook,
    DoorToNowhere,
    GivesUp,
}

struct Faulty {
    driver: Arc<dyn SfuDriver>,
    fault: Fault,
    calls: AtomicU32,
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    async fn rooms(&self) -> Vec<String> {
        self.driver.list_rooms().await.unwrap()
    }
}

#[async_trait]
impl SfuDriver for Faulty {
    fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }

    async fn ensure_room(&self, room: &str) -> Result<(), SfuError> {
        match self.fault {
            Fault::ForgetsRooms => Ok(()),
            Fault::MakesRoomsAgain => {
                self.driver.end_room(room).await?;
                let n = self.calls.fetch_add(1, Ordering::Relaxed);
                self.driver.ensure_room(&format!("{room}_{n}")).await
            }
            Fault::GivesUp => Err(SfuError::Unavailable(Outage::TimedOut)),
            _ => self.driver.ensure_room(room).await,
        }
    }

    async fn issue_ticket(
        &self,
        room: &str,
        admit: &Admit,
    ) -> Result<Option<NodeTicket>, SfuError> {
        let mut admit = admit.clone();
        match self.fault {
            Fault::LosesSequence => admit.sequence = 0,
            Fault::GrantsAll => admit.role = Role::Doctor,
            Fault::GrantsNothing => admit.role = Role::Observer,
            _ => {}
        }
        let ticket = self.driver.issue_ticket(room, &admit).await;
        if self.has(Fault::TicketWithoutRoom)
            && self.driver.list_participants(room).await?.is_empty()
        {
            self.driver.end_room(room).await?;
        }
        ticket
    }

    async fn list_rooms(&self) -> Result<Vec<String>, SfuError> {
        self.driver.list_rooms().await
    }

    async fn list_participants(&self, room: &str) -> Result<Vec<ParticipantOnNode>, SfuError> {
        let mut all = self.driver.list_participants(room).await?;
        if self.has(Fault::ListsStrangers) {
            all.push(ParticipantOnNode {
                user_id: UserId::from_stored("stranger".into()),
                sequence: None,
            });
        }
        Ok(all)
    }

    async fn remove_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError> {
        match self.fault {
            Fault::KeepsRemoved => return Ok(()),
            Fault::KeepsStrangers => {
                let all = self.driver.list_participants(room).await?;
                let is_stranger = |one: &ParticipantOnNode| one.sequence.is_none();
                if all
                    .iter()
                    .any(|one| one.user_id == *user_id && is_stranger(one))
                {
                    return Ok(());
                }
            }
            Fault::RemovesFromAllRooms => {
                for room in self.rooms().await {
                    self.driver.remove_participant(&room, user_id).await?;
                }
            }
            Fault::FailsOnAbsent if self.driver.list_participants(room).await?.is_empty() => {
                return Err(SfuError::RoomNotFound);
            }
            _ => {}
        }
        self.driver.remove_participant(room, user_id).await
    }

    async fn mute_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError> {
        match self.fault {
            Fault::DoesNotMute => Ok(()),
            Fault::MutesAll => {
                for one in self.driver.list_participants(room).await? {
                    self.driver.mute_participant(room, &one.user_id).await?;
                }
                Ok(())
            }
            _ => self.driver.mute_participant(room, user_id).await,
        }
    }

    async fn end_room(&self, room: &str) -> Result<(), SfuError> {
        match self.fault {
            Fault::KeepsEndedRooms => Ok(()),
            Fault::EndsAllRooms => {
                for room in self.rooms().await {
                    self.driver.end_room(&room).await?;
                }
                Ok(())
            }
            _ => self.driver.end_room(room).await,
        }
    }

    async fn check_health(&self) -> Result<NodeStatus, SfuError> {
        match self.fault {
            Fault::ChangesIncarnation => {
                let n = self.calls.fetch_add(1, Ordering::Relaxed);
                Ok(NodeStatus {
                    incarnation: Some(n.to_string()),
                })
            }
            _ => self.driver.check_health().await,
        }
    }

    async fn read_load(&self) -> Result<NodeLoad, SfuError> {
        let mut load = self.driver.read_load().await?;
        if self.has(Fault::CountsItself) {
            load.participants += 3 * self.calls.fetch_add(1, Ordering::Relaxed);
        }
        Ok(load)
    }

    async fn open_signalling(
        &self,
        room: &str,
        admit: &Admit,
        request: &SignallingRequest,
    ) -> Result<SignallingAnswer, SfuError> {
        if self.has(Fault::DoorToNowhere) {
            return Ok(SignallingAnswer::Closed(reqwest::StatusCode::OK));
        }
        self.driver.open_signalling(room, admit, request).await
    }

    fn verify_webhook(
        &self,
        raw_body: &[u8],
        authorization: &[u8],
    ) -> Result<WebhookEvent, InvalidWebhook> {
        if self.has(Fault::TakesAnyWebhook) {
            return Ok(WebhookEvent {
                room: String::new(),
                kind: WebhookKind::Other,
            });
        }
        self.driver.verify_webhook(raw_body, authorization)
    }
}

async fn first_broken_with(fault: Fault) -> Option<(&'static str, Broken)> {
    let good = model::tried();
    let faulty = Faulty {
        driver: Arc::clone(&good.driver),
        fault,
        calls: AtomicU32::new(0),
    };
    first_broken(&Tried {
        driver: Arc::new(faulty),
        ..good
    })
    .await
}

/// Each fault, the case that tells it, and what that says.
const FAULTS: &[(Fault, &str, Broken)] = &[
    (
        Fault::ForgetsRooms,
        "a_room_is_made_once",
        Broken::RoomNotMade,
    ),
    (
        Fault::MakesRoomsAgain,
        "a_room_is_made_once",
        Broken::RoomNotMade,
    ),
    (
        Fault::GivesUp,
        "a_room_is_made_once",
        Broken::Failed(SfuError::Unavailable(Outage::TimedOut)),
    ),
    (
        Fault::ListsStrangers,
        "a_room_is_made_once",
        Broken::StrangeAnswer,
    ),
    (
        Fault::FailsOnAbsent,
        "what_is_absent_is_no_error",
        Broken::Failed(SfuError::RoomNotFound),
    ),
    (
        Fault::TicketWithoutRoom,
        "a_ticket_admits_its_user",
        Broken::NotAdmitted,
    ),
    (
        Fault::LosesSequence,
        "a_ticket_admits_its_user",
        Broken::SequenceLost,
    ),
    (
        Fault::GrantsAll,
        "publishing_follows_the_role",
        Broken::WrongPermissions,
    ),
    (
        Fault::GrantsNothing,
        "publishing_follows_the_role",
        Broken::WrongPermissions,
    ),
    (
        Fault::KeepsRemoved,
        "a_removed_participant_is_gone",
        Broken::NotRemoved,
    ),
    (
        Fault::RemovesFromAllRooms,
        "a_removed_participant_is_gone",
        Broken::OthersChanged,
    ),
    (
        Fault::KeepsStrangers,
        "a_listed_stranger_can_be_removed",
        Broken::NotRemoved,
    ),
    (
        Fault::DoesNotMute,
        "a_muted_participant_is_silent",
        Broken::NotMuted,
    ),
    (
        Fault::MutesAll,
        "a_muted_participant_is_silent",
        Broken::OthersChanged,
    ),
    (
        Fault::KeepsEndedRooms,
        "an_ended_room_is_gone",
        Broken::NotEnded,
    ),
    (
        Fault::EndsAllRooms,
        "an_ended_room_is_gone",
        Broken::OthersChanged,
    ),
    (
        Fault::ChangesIncarnation,
        "health_is_told_and_shows_no_restart",
        Broken::WrongIncarnation,
    ),
    (
        Fault::CountsItself,
        "load_is_that_of_the_rooms",
        Broken::WrongLoad,
    ),
    (
        Fault::TakesAnyWebhook,
        "a_webhook_needs_proof",
        Broken::ForgeryTaken,
    ),
    (
        Fault::DoorToNowhere,
        "there_is_no_signalling_for_a_room_that_nobody_made",
        Broken::DoorToNowhere,
    ),
];

#[tokio::test]
async fn the_suite_tells_each_fault() {
    for (fault, case, broken) in FAULTS.iter().copied() {
        assert_eq!(
            first_broken_with(fault).await,
            Some((case, broken)),
            "{fault:?}"
        );
    }
}

/// A node that takes any secret is told, too.
#[tokio::test]
async fn the_suite_tells_a_secret_that_is_not_checked() {
    struct Careless(Arc<dyn SfuDriver>, Arc<dyn super::Stage>);

    #[async_trait]
    impl super::Stage for Careless {
        async fn join(&self, room: &str, ticket: &NodeTicket) -> Box<dyn super::Joined> {
            self.1.join(room, ticket).await
        }

        async fn join_as_stranger(&self, room: &str) -> Box<dyn std::any::Any + Send> {
            self.1.join_as_stranger(room).await
        }

        fn with_wrong_secret(&self) -> Arc<dyn SfuDriver> {
            Arc::clone(&self.0)
        }
    }

    let good = model::tried();
    let stage = Careless(Arc::clone(&good.driver), good.stage.clone().unwrap());
    let careless = Tried {
        stage: Some(Arc::new(stage)),
        ..good
    };
    let found = first_broken(&careless).await;
    assert_eq!(
        found,
        Some(("a_wrong_secret_is_refused", Broken::NotRefused))
    );
}
