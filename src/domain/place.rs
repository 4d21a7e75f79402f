//! A session's place: the SFU node, its driver, and the room on it.

use strum::{EnumString, IntoStaticStr, VariantArray};

use super::id::{NodeId, SessionId};
use super::named::named;

/// The software on a node, which decides how rooms are created and joined.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Driver {
    /// Browsers connect to each other, through the service's own signalling.
    #[default]
    Builtin,
    /// LiveKit, also as a part of OpenVidu 3.
    #[strum(serialize = "livekit")]
    LiveKit,
    /// OpenVidu 2.
    #[strum(serialize = "openvidu")]
    OpenVidu,
}

impl Driver {
    /// Whether nodes of this kind carry media.
    pub fn carries_media(self) -> bool {
        match self {
            Self::Builtin => false,
            Self::LiveKit | Self::OpenVidu => true,
        }
    }

    /// Whether media can be encrypted from browser to browser.
    pub fn encrypts_end_to_end(self) -> bool {
        match self {
            Self::Builtin | Self::LiveKit => true,
            Self::OpenVidu => false,
        }
    }

    /// Whether the join page can exchange media through nodes of this kind.
    pub fn serves_pages(self) -> bool {
        match self {
            Self::LiveKit => true,
            Self::Builtin | Self::OpenVidu => false,
        }
    }
}

named!(Driver);

/// A session's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node_id: NodeId,
    /// The node's driver.
    pub driver: Driver,
    /// The room's name on the node; unique over all sessions and places.
    pub room_name: String,
    /// Counts the session's places from 1.
    pub generation: i64,
}

/// What a room's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomOwner {
    /// The session.
    pub session_id: SessionId,
    /// The generation of its place.
    pub generation: i64,
}

impl Place {
    /// The place of a new session.
    pub fn first(session_id: &SessionId, node_id: NodeId, driver: Driver) -> Self {
        const FIRST: i64 = 1;
        Self {
            node_id,
            driver,
            room_name: Self::room_name_of(session_id, FIRST),
            generation: FIRST,
        }
    }

    /// The place that the session moves to.
    #[must_use]
    pub fn next(&self, session_id: &SessionId, node_id: NodeId, driver: Driver) -> Self {
        let generation = self.generation.saturating_add(1);
        Self {
            node_id,
            driver,
            room_name: Self::room_name_of(session_id, generation),
            generation,
        }
    }

    /// The session and the generation that a room's name stands for; `None` if the service did not choose the name.
    pub fn owner_of_room(room_name: &str) -> Option<RoomOwner> {
        let name = room_name.strip_prefix("room_")?;
        let (session_id, generation) = match name.rsplit_once('_') {
            Some((session_id, generation)) if session_id.contains('_') => {
                (session_id, generation.parse().ok()?)
            }
            _ => (name, 1),
        };
        let session_id = SessionId::parse(session_id).ok()?;
        let is_own =
            session_id.is_well_formed() && Self::room_name_of(&session_id, generation) == room_name;
        is_own.then_some(RoomOwner {
            session_id,
            generation,
        })
    }

    /// The room's name for a generation; unique because session ids are.
    pub fn room_name_of(session_id: &SessionId, generation: i64) -> String {
        if generation <= 1 {
            format!("room_{session_id}")
        } else {
            format!("room_{session_id}_{generation}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_stored_names_of_drivers_stay() {
        let names: Vec<_> = Driver::ALL.iter().map(|driver| driver.name()).collect();
        assert_eq!(names, ["builtin", "livekit", "openvidu"]);
        for name in names {
            assert_eq!(Driver::from_name(name).map(Driver::name), Some(name));
        }
    }

    #[test]
    fn a_room_name_is_never_reused() {
        let session_id = SessionId::from_stored("sess_1".into());
        let node = || NodeId::from_stored("sfu-1".into());
        let mut place = Place::first(&session_id, node(), Driver::Builtin);
        assert_eq!(place.room_name, "room_sess_1");
        let mut names = HashSet::new();
        for generation in 1..20 {
            assert_eq!(place.generation, generation);
            assert!(names.insert(place.room_name.clone()));
            place = place.next(&session_id, node(), Driver::Builtin);
        }
        assert!(names.contains("room_sess_1_2"));
    }

    #[test]
    fn a_room_name_leads_back_to_its_session() {
        let session_id = SessionId::generate(crate::domain::time::Timestamp::from_millis(1));
        for generation in [1, 2, 17] {
            let name = Place::room_name_of(&session_id, generation);
            let owner = Place::owner_of_room(&name);
            let expected = RoomOwner {
                session_id: session_id.clone(),
                generation,
            };
            assert_eq!(owner, Some(expected));
        }
        for foreign in [
            "",
            "room_",
            "room_x",
            "demo",
            "room_sess_1_1",
            "_video-session",
        ] {
            assert_eq!(Place::owner_of_room(foreign), None, "{foreign}");
        }
        let name = Place::room_name_of(&session_id, 2);
        for changed in [
            format!("{name}_3"),
            format!("{name}x"),
            name.replace("_2", "_02"),
        ] {
            assert_eq!(Place::owner_of_room(&changed), None, "{changed}");
        }
    }
}
