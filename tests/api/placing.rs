//! Which node a session has and why, what it asks of its node, and nodes that change while the service runs.

use std::time::Duration;

use prost_types::Timestamp;
use video_session::domain::error::Reason;
use video_session::proto::v1;
use video_session::proto::v1::PlacementVerdict::{
    Chosen, Draining, LacksMedia, NotItsTurn, OtherRegion,
};

use crate::harness::{
    Client, Service, Setup, create, created, get, join, metadata, patiently, refused,
};

const FILE: &str = "nodes.toml";

/// A nodes' file with builtin nodes, each with its region.
fn builtin(nodes: &[(&str, &str)]) -> String {
    let node = |(id, region): &(&str, &str)| {
        let region = match *region {
            "" => String::new(),
            region => format!("region = \"{region}\"\n"),
        };
        format!("[[node]]\nid = \"{id}\"\n{region}")
    };
    nodes.iter().map(node).collect()
}

fn on(nodes: &str) -> Setup {
    let setup = Setup::new().file(FILE, nodes);
    let file = setup.path(FILE);
    setup.set("SFU_NODES_FILE", file.display())
}

fn in_region(appointment: &str, region: &str) -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        region: region.to_owned(),
        ..create(appointment)
    }
}

fn with_media(appointment: &str, media: v1::Media) -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        media: media.into(),
        ..create(appointment)
    }
}

async fn explain(service: &Service, session_id: &str) -> v1::ExplainPlacementResponse {
    let request = v1::ExplainPlacementRequest {
        session_id: session_id.to_owned(),
    };
    let answer = service.nodes().explain_placement(request).await;
    answer.unwrap().into_inner()
}

fn verdicts(explained: &v1::ExplainPlacementResponse) -> Vec<(&str, v1::PlacementVerdict)> {
    let nodes = explained.nodes.iter();
    nodes
        .map(|node| (node.node_id.as_str(), node.verdict()))
        .collect()
}

#[tokio::test]
async fn a_session_has_a_node_of_its_region_or_none() {
    let service = on(&builtin(&[("a", "eu"), ("b", "us"), ("c", "")]))
        .start()
        .await;
    let mut client = service.client();
    for n in 1..4 {
        let request = in_region(&format!("appointment-{n}"), "us");
        let session = created(&mut client, request).await;
        assert_eq!((&*session.sfu_node_id, &*session.region), ("b", "us"));
    }
    let nowhere = client
        .create_session(in_region("appointment-9", "asia"))
        .await;
    refused(nowhere, Reason::NoNodeAvailable);
    // Nothing was left behind: without the wish, it is created.
    created(&mut client, create("appointment-9")).await;
}

#[tokio::test]
async fn a_session_that_needs_a_media_server_has_none_among_builtin_nodes() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let request = with_media("appointment-1", v1::Media::Sfu);
    refused(
        client.create_session(request).await,
        Reason::NoNodeAvailable,
    );
    for media in [
        v1::Media::Unspecified,
        v1::Media::Auto,
        v1::Media::PeerToPeer,
    ] {
        let appointment = format!("appointment-{media:?}");
        let session = created(&mut client, with_media(&appointment, media)).await;
        let stored = if media == v1::Media::PeerToPeer {
            media
        } else {
            v1::Media::Auto
        };
        assert_eq!(session.media(), stored);
        assert_eq!(session.medium(), v1::Medium::PeerToPeer);
    }
}

#[tokio::test]
async fn a_repeated_create_with_another_medium_or_region_conflicts() {
    let service = on(&builtin(&[("a", "eu"), ("b", "us")])).start().await;
    let mut client = service.client();
    let first = v1::CreateSessionRequest {
        region: "eu".to_owned(),
        ..with_media("appointment-1", v1::Media::PeerToPeer)
    };
    let session = created(&mut client, first.clone()).await;
    let other = v1::CreateSessionRequest {
        region: "us".to_owned(),
        ..with_media("appointment-1", v1::Media::Auto)
    };
    let details = refused(
        client.create_session(other).await,
        Reason::AppointmentConflict,
    );
    assert_eq!(metadata(&details, "field"), "media,region");
    // The same again, and without a wish, are the same session.
    for same in [first, create("appointment-1")] {
        let again = client.create_session(same).await.unwrap().into_inner();
        assert!(!again.created);
        assert_eq!(again.session.unwrap(), session);
    }
    // What was created without a wish conflicts with one.
    created(&mut client, create("appointment-2")).await;
    let wish = client
        .create_session(in_region("appointment-2", "eu"))
        .await;
    let details = refused(wish, Reason::AppointmentConflict);
    assert_eq!(metadata(&details, "field"), "region");
    let encrypted = v1::CreateSessionRequest {
        end_to_end_encrypted: true,
        ..create("appointment-2")
    };
    let details = refused(
        client.create_session(encrypted).await,
        Reason::AppointmentConflict,
    );
    assert_eq!(metadata(&details, "field"), "end_to_end_encrypted");
}

#[tokio::test]
async fn a_builtin_node_gives_no_ticket() {
    let service = Setup::new().start().await;
    let mut client = service.client();
    let session_id = created(&mut client, create("appointment-1"))
        .await
        .session_id;
    for with_sfu_ticket in [false, true] {
        let request = v1::JoinSessionRequest {
            with_sfu_ticket,
            ..join(&session_id, v1::Role::Doctor)
        };
        let answer = client.join_session(request).await.unwrap().into_inner();
        assert!(!answer.token.is_empty());
        let sfu = answer.sfu.unwrap();
        assert_eq!(
            (&*sfu.node_id, sfu.driver()),
            ("sfu-1", v1::SfuDriver::Builtin)
        );
        assert_eq!((&*sfu.ticket, sfu.ticket_expire_time), ("", None));
    }
}

#[tokio::test]
async fn a_placement_is_explained_with_and_without_a_choice() {
    let service = Setup::new().set("SFU_NODES", "only").start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let alone = explain(&service, &session.session_id).await;
    assert_eq!(verdicts(&alone), [("only", Chosen)]);
    assert_eq!(alone.sfu_node_id, "only");
    assert_eq!(alone.place_time, session.create_time);
    let request = v1::ExplainPlacementRequest {
        session_id: "sess_1".to_owned(),
    };
    let unknown = service.nodes().explain_placement(request).await;
    refused(unknown, Reason::SessionNotFound);

    let service = on(&builtin(&[
        ("a", "eu"),
        ("b", "eu"),
        ("c", "us"),
        ("d", "eu"),
    ]))
    .start()
    .await;
    let mut client = service.client();
    let drain = v1::DrainNodeRequest {
        node_id: "d".to_owned(),
        reason: "new kernel".to_owned(),
        deadline: None,
    };
    service.nodes().drain_node(drain).await.unwrap();
    for (turn, other) in [("a", "b"), ("b", "a")].into_iter() {
        let request = in_region(&format!("appointment-{turn}"), "eu");
        let session = created(&mut client, request).await;
        assert_eq!(session.sfu_node_id, turn);
        let explained = explain(&service, &session.session_id).await;
        let mut expected = [
            (turn, Chosen),
            (other, NotItsTurn),
            ("c", OtherRegion),
            ("d", Draining),
        ];
        expected.sort_by_key(|(node_id, _)| *node_id);
        assert_eq!(verdicts(&explained), expected);
        assert_eq!(explained.rotation, "eu");
        assert!(explained.place_time.is_some());
    }
    // What was decided then stays the explanation, also when the nodes are others now.
    let session = get_by_appointment(&mut client, "appointment-a").await;
    let activate = v1::ActivateNodeRequest {
        node_id: "d".to_owned(),
    };
    service.nodes().activate_node(activate).await.unwrap();
    let explained = explain(&service, &session.session_id).await;
    assert!(verdicts(&explained).contains(&("d", Draining)));
    assert!(!verdicts(&explained).contains(&("d", LacksMedia)));
}

#[tokio::test]
async fn a_move_to_a_node_that_cannot_have_the_session_says_why() {
    let nodes = builtin(&[("a", "eu"), ("b", "us"), ("c", "eu")]);
    let service = on(&nodes).start().await;
    let session = created(&mut service.client(), in_region("appointment-1", "eu")).await;
    assert_eq!(session.sfu_node_id, "a");
    let drain = v1::DrainNodeRequest {
        node_id: "c".to_owned(),
        ..Default::default()
    };
    service.nodes().drain_node(drain).await.unwrap();
    for (target, verdict, said) in [
        (
            "b",
            "other-region",
            "the SFU node b cannot have the session: it is not in the session's region",
        ),
        (
            "c",
            "draining",
            "the SFU node c cannot have the session: it is being drained",
        ),
        (
            "",
            "",
            "no SFU node can have the session; ListNodes says why",
        ),
    ] {
        let request = v1::MoveSessionRequest {
            session_id: session.session_id.clone(),
            target_node_id: target.to_owned(),
        };
        let outcome = service.nodes().move_session(request).await;
        assert_eq!(outcome.as_ref().unwrap_err().message(), said);
        let details = refused(outcome, Reason::NoNodeAvailable);
        let told = ["region", "node_id", "verdict"].map(|key| metadata(&details, key));
        assert_eq!(told, ["eu", target, verdict]);
    }
}

async fn get_by_appointment(client: &mut Client, appointment: &str) -> v1::Session {
    let key = v1::get_session_request::Key::AppointmentId(appointment.to_owned());
    let request = v1::GetSessionRequest { key: Some(key) };
    let answer = client.get_session(request).await.unwrap();
    answer.into_inner().session.unwrap()
}

/// The configured nodes.
async fn listed(service: &Service) -> Vec<String> {
    let answer = service.nodes().list_nodes(v1::ListNodesRequest {}).await;
    let nodes = answer.unwrap().into_inner().nodes.into_iter();
    nodes
        .filter(|node| node.configured)
        .map(|node| node.node_id)
        .collect()
}

/// Sends SIGHUP and waits until the log has `wanted` once more.
async fn reload(service: &Service, wanted: &str) {
    let count = || service.output().matches(wanted).count();
    let before = count();
    service.signal("HUP");
    patiently(async {
        while count() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn nodes_change_while_the_service_runs() {
    const READ: &str = "the SFU nodes were read again";
    const KEPT: &str = "the SFU nodes stay as they were";
    let setup = on(&builtin(&[("a", "")]));
    let service = setup.start().await;
    let mut client = service.client();
    let first = created(&mut client, create("appointment-1")).await;
    assert_eq!(first.sfu_node_id, "a");

    let setup = setup.file(FILE, &builtin(&[("a", ""), ("b", "eu")]));
    reload(&service, READ).await;
    assert_eq!(listed(&service).await, ["a", "b"]);
    let second = created(&mut client, in_region("appointment-2", "eu")).await;
    assert_eq!(second.sfu_node_id, "b");

    // Whatever is wrong is said without values, and nothing changes.
    for (faulty, said) in [
        ("", "must list 1 to 256 nodes"),
        ("[[node]]\nid = \"a\"\n[[node]]\nid = \"a\"\n", "node a"),
        ("[[node]]\nid = \"z\"\nsecret = \"hunter2\"\n", "secret"),
        ("[[node]]\nid = \"z\"\ndriver = \"livekit\"\n", "node z"),
    ] {
        std::fs::write(setup.path(FILE), faulty).unwrap();
        reload(&service, KEPT).await;
        let log = service.output();
        let line = log.lines().rfind(|line| line.contains(KEPT)).unwrap();
        assert!(line.contains(said), "{line}");
        assert_eq!(listed(&service).await, ["a", "b"]);
    }
    std::fs::remove_file(setup.path(FILE)).unwrap();
    reload(&service, KEPT).await;
    assert_eq!(listed(&service).await, ["a", "b"]);
    assert!(!service.output().contains("hunter2"));

    // A node that is gone gets nothing new, and its sessions live on.
    let _setup = setup.file(FILE, &builtin(&[("b", "eu"), ("c", "")]));
    reload(&service, READ).await;
    assert_eq!(listed(&service).await, ["b", "c"]);
    let mut placed = Vec::new();
    for n in 3..7 {
        let request = create(&format!("appointment-{n}"));
        placed.push(created(&mut client, request).await.sfu_node_id);
    }
    placed.sort();
    assert_eq!(placed, ["b", "b", "c", "c"]);
    let kept = get(&mut client, &first.session_id).await.unwrap();
    assert_eq!(kept.sfu_node_id, "a");
    let all = service.nodes().list_nodes(v1::ListNodesRequest {}).await;
    let gone = all.unwrap().into_inner().nodes.pop().unwrap();
    let expected = v1::SfuNodeStatus {
        node_id: "a".to_owned(),
        state: v1::SfuNodeState::Active.into(),
        health_reason: "not-configured".to_owned(),
        sessions_scheduled: 1,
        ..Default::default()
    };
    assert_eq!(gone, expected);
    let request = join(&first.session_id, v1::Role::Doctor);
    let joined = client.join_session(request).await.unwrap();
    let expires: Option<Timestamp> = joined.into_inner().expire_time;
    assert!(expires.is_some());
}
