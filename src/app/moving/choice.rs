//! Chooses where a session moves to.

use crate::app::nodes::NodeBook;
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::id::NodeId;
use crate::domain::medium::{MediaMode, Medium};
use crate::domain::place::Driver;
use crate::domain::placement::{PlacementNote, Wanted};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;

/// Where a session goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    Node(NodeId, Driver),
    /// From browser to browser; the place stays.
    Peers,
}

impl Goal {
    pub(super) fn of(session: &Session) -> Self {
        Self::Node(session.place.node_id.clone(), session.place.driver)
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Node(..) => "node",
            Self::Peers => "peers",
        }
    }

    pub(super) fn change(
        &self,
        book: &NodeBook,
        session: &Session,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        match self {
            Self::Node(node_id, driver) => {
                let goal = (node_id.clone(), *driver);
                moved(book, session, goal, actor, now).map(Some)
            }
            Self::Peers => session.fall_back_to_peers(actor, now),
        }
    }
}

/// What a session needs of the node that it moves to.
pub(super) fn wanted_by(session: &Session) -> Wanted {
    let region = session.region.clone();
    Wanted::new(region, session.media, session.end_to_end_encrypted)
}

/// The session on a node, with the reasons why it is that one.
pub(super) fn moved(
    book: &NodeBook,
    session: &Session,
    (node_id, driver): (NodeId, Driver),
    actor: &Actor,
    now: Timestamp,
) -> Result<Change, Error> {
    let considered = book.rotation(&wanted_by(session)).verdicts(&node_id);
    let note = PlacementNote {
        time: now,
        // A move takes no turn.
        rotation: String::new(),
        turn: 0,
        considered,
    };
    let change = session.move_to(node_id, driver, actor, now)?;
    Ok(change.with_placement(note))
}

/// A node for a session, other than `except`. If pages can use the current node, prefers one that pages can use, and takes no other
/// while participants signal in a call that has to go through a node: their pages could not follow.
pub(super) fn choose(
    book: &NodeBook,
    session: &Session,
    except: &NodeId,
) -> Option<(NodeId, Driver)> {
    let rotation = book.rotation(&wanted_by(session));
    let generation = session.place.generation.saturating_add(1);
    let find = |fits: fn(Driver) -> bool| {
        rotation.node_for_move(&session.session_id, generation, |node_id, driver| {
            node_id != except && fits(driver)
        })
    };
    let serves_pages = session.place.driver.serves_pages();
    let needs_pages =
        serves_pages && session.media == MediaMode::Sfu && !session.participants.is_empty();
    let alike = serves_pages.then(|| find(Driver::serves_pages)).flatten();
    let any = || (!needs_pages).then(|| find(|_| true)).flatten();
    let (node_id, driver) = alike.or_else(any)?;
    Some((node_id.clone(), driver))
}

/// The target of MoveSession; `None` if the session is there already.
pub(super) fn destination(
    book: &NodeBook,
    session: &Session,
    target: Option<&NodeId>,
) -> Result<Option<(NodeId, Driver)>, Error> {
    let wanted = wanted_by(session);
    let unavailable = |named| Error::NoNodeAvailable {
        region: wanted.region.clone(),
        named,
    };
    let Some(target) = target else {
        // Without a named target, never move a call from a node to the browsers.
        let needs_pages = session.medium == Medium::Sfu && session.place.driver.serves_pages();
        let found = choose(book, session, &session.place.node_id)
            .filter(|(_, driver)| !needs_pages || driver.serves_pages());
        return found.map(Some).ok_or_else(|| unavailable(None));
    };
    match book.rotation(&wanted).judge(target) {
        None => Err(Error::NodeNotFound),
        Some(_) if *target == session.place.node_id => Ok(None),
        Some(Ok(driver)) => Ok(Some((target.clone(), driver))),
        Some(Err(verdict)) => Err(unavailable(Some((target.clone(), verdict)))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::app::nodes::Nodes;
    use crate::domain::error::Reason;
    use crate::domain::health::{HealthTimes, ProbeFailure};
    use crate::domain::id::{AppointmentId, Region, UserId};
    use crate::domain::label::Labels;
    use crate::domain::node::SfuNode;
    use crate::domain::node_record::NodeRecord;
    use crate::domain::participant::{Admission, ConnectRequest};
    use crate::domain::placement::Verdict;
    use crate::domain::role::Role;
    use crate::domain::rules::create::UnplacedSession;
    use crate::domain::session::{Requested, Schedule, SessionRequest};

    fn id(name: &str) -> NodeId {
        NodeId::from_stored(name.to_owned())
    }

    fn nodes(all: &[(&str, Driver, &str)]) -> Nodes {
        let second = Duration::from_secs(1);
        let times = HealthTimes {
            down_after: second,
            refused_after: second,
            up_after: second,
            flap_window: second,
            up_after_max: second,
        };
        let node = |(name, driver, region): &(&str, Driver, &str)| SfuNode {
            region: Region::parse(*region).ok(),
            ..SfuNode::new(id(name), String::new(), *driver)
        };
        let nodes = Nodes::new(all.iter().map(node).collect(), times);
        for (name, ..) in all {
            nodes.note_probe(&id(name), Ok(()), Instant::now());
        }
        nodes
    }

    fn fail(nodes: &Nodes, name: &str) {
        // It needs no time to be believed.
        let failure = ProbeFailure::Misconfigured;
        nodes.note_probe(&id(name), Err(failure), Instant::now());
    }

    fn session(media: MediaMode, driver: Driver, region: &str) -> Session {
        let request = SessionRequest {
            appointment_id: AppointmentId::from_stored("appointment-1".into()),
            doctor_id: UserId::from_stored("doctor-1".into()),
            patient_id: UserId::from_stored("patient-1".into()),
            schedule: Schedule::default(),
            labels: Labels::new(),
            admission: Requested::default_of(Admission::default()),
            max_participants: Requested::default_of(10),
            media: Requested::explicit(media),
            region: Region::parse(region).ok(),
            end_to_end_encrypted: false,
            empty_timeout_secs: None,
            open_to_guests: false,
            doctor_name: String::new(),
        };
        let unplaced = UnplacedSession::new(request, None, Actor::Backend, Timestamp::MIN);
        unplaced.place(id("here"), driver).session
    }

    fn with_patient(session: &Session) -> Session {
        let request = ConnectRequest {
            user_id: UserId::from_stored("patient".into()),
            role: Role::Patient,
            display_name: "Patient".into(),
            instance_id: "instance".into(),
        };
        let connected = session.connect_participant(request, Timestamp::MIN);
        connected.expect("room").change.expect("a change").session
    }

    fn chosen(nodes: &Nodes, session: &Session) -> Option<String> {
        let chosen = choose(&nodes.book(), session, &session.place.node_id);
        chosen.map(|(node_id, _)| node_id.to_string())
    }

    #[test]
    fn a_call_stays_with_nodes_that_its_pages_can_use_as_long_as_there_is_one() {
        let nodes = nodes(&[
            ("here", Driver::LiveKit, "eu"),
            ("peers", Driver::Builtin, "eu"),
            ("tickets", Driver::OpenVidu, "eu"),
            ("like", Driver::LiveKit, "eu"),
        ]);
        let auto = session(MediaMode::Auto, Driver::LiveKit, "");
        let insisting = session(MediaMode::Sfu, Driver::LiveKit, "");
        assert_eq!(chosen(&nodes, &auto).as_deref(), Some("like"));
        assert_eq!(chosen(&nodes, &insisting).as_deref(), Some("like"));
        fail(&nodes, "like");
        assert_eq!(chosen(&nodes, &insisting).as_deref(), Some("tickets"));
        let connected = with_patient(&insisting);
        assert_eq!(chosen(&nodes, &connected), None, "pages could not follow");
        let in_tickets = with_patient(&session(MediaMode::Sfu, Driver::OpenVidu, ""));
        assert_eq!(chosen(&nodes, &in_tickets).as_deref(), Some("tickets"));
        let any = chosen(&nodes, &auto);
        assert!(["peers", "tickets"].contains(&any.as_deref().expect("a node")));
        fail(&nodes, "tickets");
        assert_eq!(chosen(&nodes, &insisting), None);
        assert_eq!(chosen(&nodes, &auto).as_deref(), Some("peers"));
        fail(&nodes, "peers");
        assert_eq!(chosen(&nodes, &auto), None);
    }

    #[test]
    fn a_region_holds_for_moves_too() {
        let nodes = nodes(&[
            ("here", Driver::LiveKit, "eu"),
            ("far", Driver::LiveKit, "us"),
            ("near", Driver::LiveKit, "eu"),
        ]);
        let session = session(MediaMode::Auto, Driver::LiveKit, "eu");
        assert_eq!(chosen(&nodes, &session).as_deref(), Some("near"));
        fail(&nodes, "near");
        assert_eq!(chosen(&nodes, &session), None);
        let refused = destination(&nodes.book(), &session, Some(&id("far")));
        let expected = Error::NoNodeAvailable {
            region: session.region.clone(),
            named: Some((id("far"), Verdict::OtherRegion)),
        };
        assert_eq!(refused, Err(expected));
    }

    #[test]
    fn a_named_node_that_cannot_have_the_session_is_named_with_the_reason() {
        let nodes = nodes(&[
            ("here", Driver::LiveKit, ""),
            ("peers", Driver::Builtin, ""),
            ("silent", Driver::LiveKit, ""),
            ("drained", Driver::LiveKit, ""),
        ]);
        fail(&nodes, "silent");
        let drained = NodeRecord::new(id("drained")).drain("", None, Timestamp::MIN);
        nodes.set_records(vec![drained.expect("changed")], nodes.writes());
        let session = session(MediaMode::Sfu, Driver::LiveKit, "");
        for (name, verdict) in [
            ("peers", Verdict::LacksMedia),
            ("silent", Verdict::Unreachable),
            ("drained", Verdict::Draining),
        ] {
            let refused = destination(&nodes.book(), &session, Some(&id(name)));
            let expected = Error::NoNodeAvailable {
                region: None,
                named: Some((id(name), verdict)),
            };
            assert_eq!(refused, Err(expected));
        }
        let nowhere = destination(&nodes.book(), &session, None);
        let expected = Error::NoNodeAvailable {
            region: None,
            named: None,
        };
        assert_eq!(nowhere, Err(expected));
    }

    #[test]
    fn the_backend_names_a_node_or_leaves_the_choice() {
        let nodes = nodes(&[
            ("here", Driver::LiveKit, ""),
            ("peers", Driver::Builtin, ""),
            ("like", Driver::LiveKit, ""),
        ]);
        let session = session(MediaMode::Sfu, Driver::LiveKit, "");
        let mut auto = session.clone();
        auto.media = MediaMode::Auto;
        let to = |session: &Session, target: Option<&str>| {
            let target = target.map(id);
            let found = destination(&nodes.book(), session, target.as_ref());
            let name =
                |goal: Option<(NodeId, Driver)>| goal.map(|(node_id, _)| node_id.to_string());
            found.map(name).map_err(|error| error.reason())
        };
        assert_eq!(to(&session, Some("here")), Ok(None));
        assert_eq!(to(&session, Some("like")), Ok(Some("like".into())));
        assert_eq!(to(&session, Some("nobody")), Err(Reason::NodeNotFound));
        assert_eq!(to(&session, Some("peers")), Err(Reason::NoNodeAvailable));
        assert_eq!(to(&session, None), Ok(Some("like".into())));
        assert_eq!(to(&auto, Some("peers")), Ok(Some("peers".into())));
        fail(&nodes, "like");
        assert_eq!(to(&session, Some("like")), Err(Reason::NoNodeAvailable));
        // A call would leave its node for the browsers, which is for the backend to ask for.
        assert_eq!(to(&auto, None), Err(Reason::NoNodeAvailable));
        auto.medium = Medium::PeerToPeer;
        assert_eq!(to(&auto, None), Ok(Some("peers".into())));
    }
}
