use std::time::{Duration, Instant};

use super::*;
use crate::domain::id::Region;
use crate::domain::place::Driver;
use crate::domain::placement::Verdict;

const TIMES: HealthTimes = HealthTimes {
    down_after: Duration::from_secs(5),
    refused_after: Duration::from_secs(5),
    up_after: Duration::from_secs(10),
    flap_window: Duration::from_secs(300),
    up_after_max: Duration::from_secs(60),
};
const FAILED: Result<(), ProbeFailure> = Err(ProbeFailure::TimedOut);

fn id(name: &str) -> NodeId {
    NodeId::from_stored(name.to_owned())
}

fn node(name: &str) -> SfuNode {
    SfuNode::new(id(name), String::new(), Driver::Builtin)
}

fn verdicts(nodes: &Nodes) -> Vec<Verdict> {
    let rotation = nodes.book().rotation(&Wanted::default());
    let considered = rotation.place(0).considered;
    considered.into_iter().map(|(_, verdict)| verdict).collect()
}

#[test]
fn probes_drains_and_losses_decide_who_may_have_sessions() {
    let nodes = Nodes::new(vec![node("a"), node("b"), node("c")], TIMES);
    let start = Instant::now();
    let usual = [Verdict::Chosen, Verdict::NotItsTurn, Verdict::NotItsTurn];
    assert_eq!(verdicts(&nodes), usual);
    let changed = nodes.note_probe(&id("a"), FAILED, start);
    assert_eq!(changed, Some(HealthChange::Down));
    assert_eq!(nodes.unreachable(), [id("a")]);
    assert_eq!(
        verdicts(&nodes),
        [Verdict::Unreachable, Verdict::Chosen, Verdict::NotItsTurn]
    );

    let drained = NodeRecord::new(id("b")).drain("", None, crate::domain::time::Timestamp::MIN);
    let drained = drained.expect("changed");
    nodes.set_records(vec![drained.clone()], nodes.writes());
    assert_eq!(
        verdicts(&nodes),
        [Verdict::Unreachable, Verdict::Draining, Verdict::Chosen]
    );

    // Another instance reaches it.
    nodes.set_lost_of_all(&[vec![id("a")], vec![]]);
    assert_eq!(verdicts(&nodes)[0], Verdict::Unreachable);
    nodes.set_lost_of_all(&[vec![id("a")], vec![id("c"), id("a")]]);
    assert_eq!(
        verdicts(&nodes),
        [Verdict::Lost, Verdict::Draining, Verdict::Chosen]
    );
    for second in 0..=10 {
        nodes.note_probe(&id("a"), Ok(()), start + Duration::from_secs(second));
    }
    assert_eq!(verdicts(&nodes)[0], Verdict::Chosen);
    assert!(nodes.unreachable().is_empty());

    // What was read before a write does not undo it.
    let before = nodes.writes();
    let activated = drained.activate(crate::domain::time::Timestamp::MIN);
    nodes.set_written_record(activated.expect("changed"));
    nodes.set_written_record(drained.clone());
    nodes.set_records(vec![drained], before);
    assert_eq!(verdicts(&nodes), usual);
}

#[test]
fn a_new_list_of_nodes_applies_at_once_and_keeps_health() {
    let nodes = Nodes::new(vec![node("a"), node("b")], TIMES);
    let mut watch = nodes.watch();
    nodes.note_probe(&id("a"), FAILED, Instant::now());
    nodes.note_probe(&id("b"), FAILED, Instant::now());
    nodes.replace(vec![node("c"), node("a")]);
    assert!(watch.has_changed().expect("nodes live"));
    let ids: Vec<_> = (watch.borrow_and_update().views().iter())
        .map(|view| (view.node.node_id.to_string(), view.health))
        .collect();
    let expected = [("c", NodeHealth::Unknown), ("a", NodeHealth::Unreachable)];
    assert_eq!(
        ids,
        expected.map(|(name, health)| (name.to_owned(), health))
    );
    // Forgotten with its node.
    nodes.replace(vec![node("b")]);
    assert_eq!(verdicts(&nodes), [Verdict::Chosen]);
    assert_eq!(nodes.note_probe(&id("a"), FAILED, Instant::now()), None);
}

#[test]
fn calls_are_taken_from_a_node_only_if_no_instance_has_reached_it_for_a_while() {
    let nodes = Nodes::new(vec![node("a"), node("b")], TIMES);
    let loses_calls = |name: &str| {
        let book = nodes.book();
        nodes.is_surely_lost(book.view(&id(name)).expect("it is configured"))
    };
    let now = Instant::now();
    let earlier = now.checked_sub(TIMES.down_after).expect("uptime");
    nodes.note_probe(&id("a"), FAILED, earlier);
    nodes.note_probe(&id("b"), FAILED, now);
    assert!(!loses_calls("a"), "others were not asked yet");
    nodes.set_lost_of_all(&[vec![id("a"), id("b")]]);
    assert!(loses_calls("a"));
    assert!(!loses_calls("b"), "the first probe of this instance");
    // Another instance reaches it.
    nodes.set_lost_of_all(&[vec![]]);
    assert!(!loses_calls("a"));
}

#[test]
fn regions_that_do_not_exist_are_not_remembered() {
    let nodes = Nodes::new(vec![node("a")], TIMES);
    let book = nodes.book();
    for n in 0..100 {
        let region = Some(Region::from_stored(format!("region-{n}")));
        let wanted = Wanted {
            region,
            ..Wanted::default()
        };
        assert_eq!(book.rotation(&wanted).node_at(0), None);
    }
    assert_eq!(book.kept_rotations(), 0);
    assert!(book.rotation(&Wanted::default()).node_at(0).is_some());
    assert_eq!(book.kept_rotations(), 1);
}

#[test]
fn only_sessions_that_need_a_media_server_need_one_that_answers() {
    let media = |name: &str| SfuNode::new(id(name), String::new(), Driver::LiveKit);
    let nodes = Nodes::new(vec![media("a"), media("b")], TIMES);
    for name in ["a", "b"] {
        nodes.note_probe(&id(name), FAILED, Instant::now());
    }
    let book = nodes.book();
    let needs = Wanted {
        needs_media_server: true,
        ..Wanted::default()
    };
    let any = Wanted::default();
    assert_eq!(book.rotation(&any).node_at(0), None);
    assert_eq!(book.rotation(&needs).node_at(0), None);
    let ignoring = book.rotation_ignoring_health(&any);
    assert_eq!(
        ignoring.node_at(1).map(|(node_id, _)| node_id),
        Some(&id("b"))
    );
    // A drain still counts.
    let drained = NodeRecord::new(id("a")).drain("", None, crate::domain::time::Timestamp::MIN);
    nodes.set_records(vec![drained.expect("changed")], nodes.writes());
    let ignoring = nodes.book().rotation_ignoring_health(&any);
    assert_eq!(
        ignoring.node_at(0).map(|(node_id, _)| node_id),
        Some(&id("b"))
    );
}
