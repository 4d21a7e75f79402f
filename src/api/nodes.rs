//! SfuNodeService without its transport.

use std::time::Duration;

use super::answers::timestamp;
use super::faults::Faults;
use super::service::{Api, BACKEND, record_session_id};
use crate::app::{NodeStatus, Reconciled, SessionKey};
use crate::domain::error::Error;
use crate::domain::health::{HealthCause, ProbeFailure};
use crate::domain::id::{NodeId, SessionId};
use crate::domain::node::{NodeHealth, NodeUse, SfuNode};
use crate::domain::node_record::{NodeEvent, NodeRecord, NodeState};
use crate::domain::placement::{PlacementNote, Verdict};
use crate::domain::session::Session;
use crate::proto::v1;

/// The longest deadline of a drain.
const DEADLINE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The reason for the health of a node that this instance's configuration does not have.
const NOT_CONFIGURED: &str = "not-configured";

#[expect(
    missing_docs,
    clippy::missing_errors_doc,
    reason = "the methods are documented in the proto"
)]
impl Api {
    pub async fn list_nodes(
        &self,
        request: v1::ListNodesRequest,
    ) -> Result<v1::ListNodesResponse, Error> {
        let v1::ListNodesRequest {} = request;
        let nodes = self.app.node_operations.list(&BACKEND).await?;
        Ok(v1::ListNodesResponse {
            nodes: nodes.into_iter().map(node_status).collect(),
        })
    }

    pub async fn drain_node(
        &self,
        request: v1::DrainNodeRequest,
    ) -> Result<v1::DrainNodeResponse, Error> {
        let v1::DrainNodeRequest {
            node_id,
            reason,
            deadline,
        } = request;
        let mut faults = Faults::default();
        let node_id = faults.required("node_id", node_id, NodeId::parse);
        let reason = faults.text("reason", reason);
        let deadline = faults.duration("deadline", deadline, DEADLINE_MAX);
        let node_id = faults.finish(node_id)?;
        let operations = &self.app.node_operations;
        let drained = operations.drain(&BACKEND, &node_id, &reason, deadline);
        Ok(v1::DrainNodeResponse {
            node: Some(node_status(drained.await?)),
        })
    }

    pub async fn activate_node(
        &self,
        request: v1::ActivateNodeRequest,
    ) -> Result<v1::ActivateNodeResponse, Error> {
        let v1::ActivateNodeRequest { node_id } = request;
        let mut faults = Faults::default();
        let node_id = faults.required("node_id", node_id, NodeId::parse);
        let node_id = faults.finish(node_id)?;
        let activated = self.app.node_operations.activate(&BACKEND, &node_id);
        Ok(v1::ActivateNodeResponse {
            node: Some(node_status(activated.await?)),
        })
    }

    pub async fn move_session(
        &self,
        request: v1::MoveSessionRequest,
    ) -> Result<v1::MoveSessionResponse, Error> {
        let v1::MoveSessionRequest {
            session_id,
            target_node_id,
        } = request;
        let mut faults = Faults::default();
        let session_id = faults.required("session_id", session_id, SessionId::parse);
        let target = faults.optional("target_node_id", target_node_id, NodeId::parse);
        let session_id = faults.finish(session_id)?;
        record_session_id(&session_id);
        let mover = &self.app.mover;
        let moved = mover.move_session(&BACKEND, &session_id, target.as_ref());
        Ok(v1::MoveSessionResponse {
            session: self.session(moved.await?),
        })
    }

    //

    pub async fn explain_placement(
        &self,
        request: v1::ExplainPlacementRequest,
    ) -> Result<v1::ExplainPlacementResponse, Error> {
        let v1::ExplainPlacementRequest { session_id } = request;
        let mut faults = Faults::default();
        let session_id = faults.required("session_id", session_id, SessionId::parse);
        let key = SessionKey::Session(faults.finish(session_id)?);
        let session = self.app.sessions.get(&BACKEND, &key).await?;
        Ok(explained(session))
    }

    pub async fn reconcile_session(
        &self,
        request: v1::ReconcileSessionRequest,
    ) -> Result<v1::ReconcileSessionResponse, Error> {
        let v1::ReconcileSessionRequest { session_id } = request;
        let mut faults = Faults::default();
        let session_id = faults.required("session_id", session_id, SessionId::parse);
        let session_id = faults.finish(session_id)?;
        let reconciling = self.app.reconciler.reconcile(&BACKEND, &session_id);
        let Reconciled {
            node_id,
            removed,
            room_ended,
        } = reconciling.await?;
        Ok(v1::ReconcileSessionResponse {
            sfu_node_id: node_id.to_string(),
            removed_user_ids: removed.iter().map(ToString::to_string).collect(),
            rooms_ended: room_ended,
        })
    }
}

/// Without a choice there is nothing to explain: the session has the only node.
fn explained(session: Session) -> v1::ExplainPlacementResponse {
    let node_id = session.place.node_id;
    let note = session.placement.unwrap_or_else(|| PlacementNote {
        time: session.create_time,
        rotation: String::new(),
        turn: 0,
        considered: vec![(node_id.clone(), Verdict::Chosen)],
    });
    let nodes = note.considered.into_iter();
    v1::ExplainPlacementResponse {
        sfu_node_id: node_id.to_string(),
        place_time: Some(timestamp(note.time)),
        rotation: note.rotation,
        turn: i64::try_from(note.turn).unwrap_or(i64::MAX),
        nodes: nodes
            .map(|(node_id, judged)| v1::NodeVerdict {
                node_id: node_id.to_string(),
                verdict: verdict(judged),
            })
            .collect(),
    }
}

fn verdict(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Chosen => v1::PlacementVerdict::Chosen,
        Verdict::NotItsTurn => v1::PlacementVerdict::NotItsTurn,
        Verdict::OtherRegion => v1::PlacementVerdict::OtherRegion,
        Verdict::LacksMedia => v1::PlacementVerdict::LacksMedia,
        Verdict::LacksEncryption => v1::PlacementVerdict::LacksEncryption,
        Verdict::NotAccepting => v1::PlacementVerdict::NotAccepting,
        Verdict::Draining => v1::PlacementVerdict::Draining,
        Verdict::Unreachable => v1::PlacementVerdict::Unreachable,
        Verdict::Lost => v1::PlacementVerdict::Lost,
    }
    .into()
}

fn node_status(status: NodeStatus) -> v1::SfuNodeStatus {
    let NodeStatus {
        node_id,
        node,
        record,
        health,
        health_since,
        health_cause,
        failure,
        misconfigured,
        load,
        node_use,
        empty_by,
    } = status;
    let NodeRecord {
        node_id: _,
        state,
        since,
        deadline,
        reason,
        lost_since: _,
        incarnation: _,
        renewed_by: _,
        version: _,
        events,
        unknown_fields: _,
        is_readable: _,
    } = record;
    let NodeUse {
        node_id: _,
        sessions_live,
        sessions_scheduled,
        participants,
        last_scheduled_end: _,
        sessions_without_end: _,
    } = node_use;
    let state = match state {
        NodeState::Active => v1::SfuNodeState::Active,
        NodeState::Draining => v1::SfuNodeState::Draining,
    };
    let health = match health {
        NodeHealth::Unknown => v1::SfuNodeHealth::Unspecified,
        NodeHealth::Up => v1::SfuNodeHealth::Up,
        NodeHealth::Unreachable => v1::SfuNodeHealth::Unreachable,
        NodeHealth::Lost => v1::SfuNodeHealth::Lost,
    };
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let status = v1::SfuNodeStatus {
        node_id: node_id.to_string(),
        state: state.into(),
        state_time: since.map(timestamp),
        reason,
        deadline: deadline.map(timestamp),
        empty_time: empty_by.map(timestamp),
        health: health.into(),
        health_time: health_since.map(timestamp),
        health_reason: match &node {
            Some(_) => health_reason(health_cause, failure, &misconfigured),
            None => NOT_CONFIGURED.to_owned(),
        },
        sessions_live: count(sessions_live),
        sessions_scheduled: count(sessions_scheduled),
        participants: count(participants),
        load: load.map(|load| v1::SfuNodeLoad {
            rooms: load.rooms.into(),
            participants: load.participants.into(),
        }),
        events: events.into_iter().map(node_event).collect(),
        ..v1::SfuNodeStatus::default()
    };
    match node {
        Some(node) => with_configuration(status, node.as_ref().clone()),
        None => status,
    }
}

fn with_configuration(status: v1::SfuNodeStatus, node: SfuNode) -> v1::SfuNodeStatus {
    let SfuNode {
        node_id: _,
        url,
        driver,
        region,
        weight,
        labels,
        accepts_sessions,
    } = node;
    v1::SfuNodeStatus {
        url,
        driver: driver.name().to_owned(),
        region: region.map_or_else(String::new, |region| region.to_string()),
        weight: i32::try_from(weight).unwrap_or(i32::MAX),
        labels: labels.into_iter().collect(),
        configured: true,
        accepts_sessions,
        ..status
    }
}

fn health_reason(
    cause: Option<HealthCause>,
    failure: Option<ProbeFailure>,
    misconfigured: &str,
) -> String {
    match (cause, failure) {
        (Some(HealthCause::ProbesFail), Some(ProbeFailure::Misconfigured)) => {
            format!("{}: {misconfigured}", HealthCause::ProbesFail.name())
        }
        (Some(HealthCause::ProbesFail), Some(failure)) => {
            format!("{}: {}", HealthCause::ProbesFail.name(), failure.name())
        }
        (Some(cause), _) => cause.name().to_owned(),
        (None, _) => HealthCause::NotProbed.name().to_owned(),
    }
}

fn node_event(event: NodeEvent) -> v1::SfuNodeEvent {
    let NodeEvent {
        sequence,
        time,
        kind,
        actor,
        reason,
    } = event;
    v1::SfuNodeEvent {
        sequence,
        r#type: kind.name().to_owned(),
        time: Some(timestamp(time)),
        actor: actor.name().to_owned(),
        reason,
    }
}
