//! The stored form of an event. Its [`EventKind`] is stored unchanged.

use serde::{Deserialize, Serialize};

use crate::domain::actor::Actor;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::SessionId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// A stored event.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct EventRecord {
    pub sequence: i64,
    pub time_ms: i64,
    pub write_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<ActorRecord>,
    #[serde(flatten)]
    kind: KindRecord,
}

/// The event's kind, or the name of a kind that only a newer version knows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum KindRecord {
    Known(EventKind),
    Other {
        #[serde(rename = "type")]
        name: String,
    },
}

/// The actor, or a kind of actor that only a newer version knows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum ActorRecord {
    Known(Actor),
    #[serde(skip_serializing)]
    Other(serde::de::IgnoredAny),
}

impl From<&Event> for EventRecord {
    fn from(event: &Event) -> Self {
        let Event {
            sequence,
            session_id: _,
            time,
            write_id,
            actor,
            kind,
        } = event;
        Self {
            sequence: *sequence,
            time_ms: time.as_millis(),
            write_id: write_id.clone(),
            actor: actor.clone().map(ActorRecord::Known),
            kind: KindRecord::Known(kind.clone()),
        }
    }
}

impl EventRecord {
    pub(in crate::store) fn into_event(self, session_id: &SessionId) -> Result<Event, StoreError> {
        let kind = match self.kind {
            KindRecord::Known(kind) => kind,
            KindRecord::Other { name } if EventKind::is_known(&name) => {
                return Err(StoreError::corrupt(
                    "an event without the fields of its type",
                ));
            }
            KindRecord::Other { name } => EventKind::Unknown { name },
        };
        let actor = match self.actor {
            Some(ActorRecord::Known(actor)) => Some(actor),
            Some(ActorRecord::Other(_)) | None => None,
        };
        Ok(Event {
            sequence: self.sequence,
            session_id: session_id.clone(),
            time: Timestamp::from_millis(self.time_ms),
            write_id: self.write_id,
            actor,
            kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: serde_json::Value) -> Result<Event, StoreError> {
        let record: EventRecord = serde_json::from_value(body).expect("it can be parsed");
        record.into_event(&SessionId::from_stored("sess_1".into()))
    }

    #[test]
    fn every_kind_and_every_actor_can_be_stored_and_read() {
        let kinds = EventKind::examples().into_iter();
        for (kind, actor) in kinds.flat_map(|kind| {
            Actor::examples()
                .into_iter()
                .map(move |actor| (kind.clone(), actor))
        }) {
            let session_id = SessionId::from_stored("sess_1".into());
            let event = Event::new(7, session_id, Timestamp::MIN, actor, kind);
            let body = serde_json::to_value(EventRecord::from(&event)).expect("it can be written");
            assert_eq!(read(body).expect("it can be read"), event);
        }
    }

    /// A former version's form, which must stay readable.
    #[test]
    fn events_are_stored_in_the_form_that_former_versions_read() {
        let user_id = crate::domain::id::UserId::from_stored("patient-1".into());
        let kind = EventKind::ParticipantRemoved {
            user_id,
            by: None,
            keep_out: true,
        };
        let session_id = SessionId::from_stored("sess_1".into());
        let mut event = Event::new(
            3,
            session_id,
            Timestamp::from_millis(5),
            Actor::Backend,
            kind,
        );
        event.write_id = "w".into();
        let former = json!({
            "sequence": 3, "time_ms": 5, "write_id": "w",
            "type": "participant.removed", "user_id": "patient-1", "by": null, "keep_out": true,
        });
        let mut stored =
            serde_json::to_value(EventRecord::from(&event)).expect("it can be written");
        let actor = stored.as_object_mut().and_then(|body| body.remove("actor"));
        assert_eq!(actor, Some(json!("backend")));
        assert_eq!(stored, former);
        event.actor = None;
        assert_eq!(read(former).expect("it can be read"), event);
    }

    #[test]
    fn unknown_kinds_actors_and_fields_are_accepted() {
        let body = json!({
            "sequence": 3, "time_ms": 5, "write_id": "w", "actor": { "service": { "name": "billing" } },
            "type": "recording.started", "recording": { "id": 1 },
        });
        let event = read(body).expect("it can be read");
        assert_eq!(
            event.kind,
            EventKind::Unknown {
                name: "recording.started".into()
            }
        );
        assert_eq!((event.sequence, event.actor), (3, None));
        let body = json!({
            "sequence": 3, "time_ms": 5, "write_id": "w", "added_later": true,
            "type": "participant.muted", "user_id": "patient-1", "by": null, "added_later_too": [1],
        });
        assert_eq!(
            read(body).expect("it can be read").kind.name(),
            "participant.muted"
        );
    }

    #[test]
    fn an_event_of_a_known_type_without_its_fields_is_corrupt() {
        let body =
            json!({ "sequence": 3, "time_ms": 5, "write_id": "w", "type": "participant.muted" });
        assert!(matches!(read(body), Err(StoreError::Corrupt { .. })));
    }
}
