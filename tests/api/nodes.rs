//! SfuNodeService: what operators see of nodes and do with them.

use prost_types::Duration;
use tonic::Request;
use video_session::domain::error::Reason;
use video_session::proto::v1;

use crate::harness::{Setup, create, refused};

async fn created_on(client: &mut crate::harness::Client, appointment: &str) -> String {
    let created = client.create_session(create(appointment)).await.unwrap();
    created.into_inner().session.unwrap().sfu_node_id
}

fn drain(node_id: &str) -> v1::DrainNodeRequest {
    v1::DrainNodeRequest {
        node_id: node_id.to_owned(),
        reason: "new kernel".to_owned(),
        deadline: None,
    }
}

fn activate(node_id: &str) -> v1::ActivateNodeRequest {
    v1::ActivateNodeRequest {
        node_id: node_id.to_owned(),
    }
}

#[tokio::test]
async fn a_draining_node_gets_no_new_sessions_until_it_is_activated() {
    let setup = Setup::new().set("SFU_NODES", "a=wss://a.example,b,c");
    let service = setup.start().await;
    let (mut client, mut nodes) = (service.client(), service.nodes());
    assert_eq!(created_on(&mut client, "appointment-1").await, "a");
    let drained = nodes.drain_node(drain("b")).await.unwrap().into_inner();
    let drained = drained.node.unwrap();
    assert_eq!(drained.state(), v1::SfuNodeState::Draining);
    assert_eq!(drained.reason, "new kernel");
    assert!(drained.empty_time.is_some(), "nothing is on it");
    // Its turn is passed over.
    let mut placed = Vec::new();
    for n in 2..6 {
        placed.push(created_on(&mut client, &format!("appointment-{n}")).await);
    }
    assert_eq!(placed, ["c", "a", "c", "a"]);

    let listed = nodes.list_nodes(v1::ListNodesRequest {}).await.unwrap();
    let listed = listed.into_inner().nodes;
    let seen: Vec<_> = (listed.iter())
        .map(|node| (node.node_id.as_str(), node.sessions_scheduled, node.state()))
        .collect();
    let (active, draining) = (v1::SfuNodeState::Active, v1::SfuNodeState::Draining);
    assert_eq!(
        seen,
        [("a", 3, active), ("b", 0, draining), ("c", 2, active)]
    );
    assert_eq!(
        (&*listed[0].url, &*listed[0].driver),
        ("wss://a.example", "builtin")
    );
    assert!(listed[0].configured && listed[0].accepts_sessions);
    let events: Vec<_> = (listed[1].events.iter())
        .map(|event| (event.sequence, &*event.r#type, &*event.actor))
        .collect();
    assert_eq!(events, [(1, "node.drained", "backend")]);

    // The state survives a restart.
    service.process.kill().await;
    let service = setup.start().await;
    let (mut client, mut nodes) = (service.client(), service.nodes());
    let listed = nodes.list_nodes(v1::ListNodesRequest {}).await.unwrap();
    assert_eq!(listed.into_inner().nodes[1].state(), draining);
    assert_ne!(created_on(&mut client, "appointment-6").await, "b");
    let activated = nodes
        .activate_node(activate("b"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(activated.node.unwrap().state(), active);
    let mut placed = Vec::new();
    for n in 7..10 {
        placed.push(created_on(&mut client, &format!("appointment-{n}")).await);
    }
    placed.sort();
    assert_eq!(placed, ["a", "b", "c"]);
}

#[tokio::test]
async fn without_a_usable_node_no_session_is_created_but_live_ones_are_found() {
    let service = Setup::new().set("SFU_NODES", "only").start().await;
    let (mut client, mut nodes) = (service.client(), service.nodes());
    created_on(&mut client, "appointment-1").await;
    nodes.drain_node(drain("only")).await.unwrap();
    let again = client
        .create_session(create("appointment-1"))
        .await
        .unwrap();
    assert!(!again.into_inner().created);
    let outcome = client.create_session(create("appointment-2")).await;
    refused(outcome, Reason::NoNodeAvailable);
    // What is on it cannot be empty at a known time: the session has no scheduled end.
    let kept = nodes.drain_node(drain("only")).await.unwrap().into_inner();
    let kept = kept.node.unwrap();
    assert_eq!((kept.sessions_scheduled, kept.empty_time), (1, None));
    assert_eq!(kept.events.len(), 1, "a repeated call adds no event");
    let with_deadline = v1::DrainNodeRequest {
        deadline: Some(Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..drain("only")
    };
    let bounded = nodes.drain_node(with_deadline).await.unwrap().into_inner();
    let bounded = bounded.node.unwrap();
    assert!(bounded.deadline.is_some());
    assert_eq!(bounded.empty_time, bounded.deadline);
}

#[tokio::test]
async fn unknown_nodes_and_broken_requests_are_refused() {
    let service = Setup::new().start().await;
    let mut nodes = service.nodes();
    let unknown = nodes.drain_node(drain("nobody")).await;
    refused(unknown, Reason::NodeNotFound);
    let unknown = nodes.activate_node(activate("nobody")).await;
    refused(unknown, Reason::NodeNotFound);
    for seconds in [-1, 31 * 24 * 3600] {
        let broken = v1::DrainNodeRequest {
            deadline: Some(Duration { seconds, nanos: 0 }),
            ..drain("sfu-1")
        };
        refused(
            nodes.drain_node(Request::new(broken)).await,
            Reason::Validation,
        );
    }
    let long = v1::DrainNodeRequest {
        reason: "x".repeat(257),
        ..drain("sfu-1")
    };
    refused(nodes.drain_node(long).await, Reason::Validation);
}
