use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

pub(super) fn candidate(n: usize) -> Candidate {
    let node_id = NodeId::from_stored(format!("sfu-{n}"));
    Candidate {
        node: Arc::new(SfuNode::new(node_id, String::new(), Driver::Builtin)),
        capabilities: Capabilities::default(),
        state: NodeState::Active,
        health: NodeHealth::Up,
    }
}

fn with(candidate: Candidate, change: impl FnOnce(&mut SfuNode)) -> Candidate {
    let mut node = candidate.node.as_ref().clone();
    change(&mut node);
    Candidate {
        node: Arc::new(node),
        ..candidate
    }
}

fn region(name: &str) -> Option<Region> {
    Some(Region::parse(name).expect("a good name"))
}

fn wanted_in(name: &str) -> Wanted {
    Wanted {
        region: region(name),
        ..Wanted::default()
    }
}

/// The nodes of consecutive turns, as a store takes them.
fn chosen(candidates: &[Candidate], wanted: &Wanted, count: usize) -> Vec<String> {
    let mut next = 0;
    let rotation = Rotation::new(candidates, wanted);
    (0..count)
        .map(|_| {
            let placement = rotation.place(next);
            next = placement.turn + 1;
            placement.chosen.expect("a node").0.to_string()
        })
        .collect()
}

#[test]
fn equal_nodes_take_strict_turns() {
    let nodes: Vec<_> = (1..=3).map(candidate).collect();
    let expected = ["sfu-1", "sfu-2", "sfu-3", "sfu-1", "sfu-2"];
    assert_eq!(chosen(&nodes, &Wanted::default(), 5), expected);
    assert_eq!(place(7, &nodes, &Wanted::default()).turn, 7);
}

#[test]
fn no_nodes_are_no_choice() {
    let placement = place(3, &[], &Wanted::default());
    assert_eq!((placement.chosen, placement.turn), (None, 3));
    assert!(placement.considered.is_empty());
}

#[test]
fn every_node_has_its_reason() {
    let sfu = |candidate| Candidate {
        capabilities: Capabilities {
            carries_media: true,
            encrypts_end_to_end: true,
        },
        ..candidate
    };
    let eu = |n| with(sfu(candidate(n)), |node| node.region = region("eu"));
    let mut nodes: Vec<_> = (0..9).map(eu).collect();
    nodes[1] = with(nodes[1].clone(), |node| node.region = None);
    nodes[2].capabilities.carries_media = false;
    nodes[3].capabilities.encrypts_end_to_end = false;
    nodes[4] = with(nodes[4].clone(), |node| node.accepts_sessions = false);
    nodes[5].state = NodeState::Draining;
    nodes[6].health = NodeHealth::Unreachable;
    nodes[7].health = NodeHealth::Lost;
    let wanted = Wanted {
        needs_media_server: true,
        needs_end_to_end_encryption: true,
        ..wanted_in("eu")
    };
    let placement = place(0, &nodes, &wanted);
    let verdicts: Vec<_> = (placement.considered.iter())
        .map(|(_, verdict)| verdict.name())
        .collect();
    assert_eq!(
        verdicts,
        [
            "chosen",
            "other-region",
            "lacks-media",
            "lacks-encryption",
            "not-accepting",
            "draining",
            "unreachable",
            "lost",
            "not-its-turn",
        ]
    );
    assert_eq!(verdicts.len(), Verdict::ALL.len());
    // The turns of the nodes that cannot have it are passed over.
    let after = place(1, &nodes, &wanted);
    assert_eq!(after.chosen.expect("a node").0.as_str(), "sfu-8");
    assert_eq!(after.turn, 5, "the sixth node of the rotation");
    // A node that was not probed yet may be set up wrongly.
    nodes[8].health = NodeHealth::Unknown;
    let after = place(1, &nodes, &wanted);
    assert_eq!(after.chosen.expect("a node").0.as_str(), "sfu-0");
    nodes[8].capabilities = Capabilities::default();
    let after = place(1, &nodes, &wanted_in("eu"));
    assert_ne!(after.considered[8].1, Verdict::Unreachable);
}

#[test]
fn a_region_is_never_left() {
    let mut nodes: Vec<_> = (0..4).map(candidate).collect();
    nodes[2] = with(nodes[2].clone(), |node| node.region = region("eu"));
    assert_eq!(chosen(&nodes, &wanted_in("eu"), 3), ["sfu-2"; 3]);
    assert_eq!(place(0, &nodes, &wanted_in("us")).chosen, None);
    nodes[2].health = NodeHealth::Lost;
    assert_eq!(place(0, &nodes, &wanted_in("eu")).chosen, None);
    // Without a region asked for, nodes of every region take part.
    nodes[2].health = NodeHealth::Up;
    let all = chosen(&nodes, &Wanted::default(), 4);
    assert_eq!(all, ["sfu-0", "sfu-1", "sfu-2", "sfu-3"]);
}

#[test]
fn rotations_have_names_of_their_own() {
    let mut names = Vec::new();
    for region in [None, region("eu"), region("eu-sfu")] {
        for needs_media_server in [false, true] {
            for needs_end_to_end_encryption in [false, true] {
                let wanted = Wanted {
                    region: region.clone(),
                    needs_media_server,
                    needs_end_to_end_encryption,
                };
                names.push(wanted.rotation_name());
            }
        }
    }
    assert_eq!(names[..5], ["", "+e2ee", "+sfu", "+sfu+e2ee", "eu"]);
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn weights_are_spread_over_the_cycle() {
    let weighted = |weights: &[u32]| -> Vec<_> {
        let nodes = weights.iter().enumerate();
        nodes
            .map(|(n, weight)| with(candidate(n), |node| node.weight = *weight))
            .collect()
    };
    let names = chosen(&weighted(&[3, 1]), &Wanted::default(), 8);
    let text: String = names.iter().map(|name| &name[4..]).collect();
    assert_eq!(text, "00100010");
    // Equal weights are a strict rotation, whatever they are.
    let equal = chosen(&weighted(&[50, 50, 50]), &Wanted::default(), 6);
    assert_eq!(equal, chosen(&weighted(&[1, 1, 1]), &Wanted::default(), 6));
}

proptest! {
    #[test]
    fn consecutive_turns_are_spread_evenly(count in 1usize..20, first in 0u64..u64::MAX / 2, turns in 1u64..200) {
        let nodes: Vec<_> = (0..count).map(candidate).collect();
        let rotation = Rotation::new(&nodes, &Wanted::default());
        let mut counts = vec![0; count];
        for turn in first..first + turns {
            let (node_id, _) = rotation.node_at(turn).expect("a node");
            let node = nodes.iter().position(|other| other.node.node_id == *node_id);
            counts[node.expect("known")] += 1;
        }
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
    }

    /// A whole cycle has each node as often as its weight says, and at no time is one far ahead.
    #[test]
    fn sessions_follow_weights(weights in prop::collection::vec(1u32..=WEIGHT_MAX, 1..12)) {
        let nodes: Vec<_> = weights.iter().enumerate()
            .map(|(n, weight)| with(candidate(n), |node| node.weight = *weight)).collect();
        let rotation = Rotation::new(&nodes, &Wanted::default());
        let total: u32 = weights.iter().sum();
        let mut counts = vec![0_u32; weights.len()];
        for turn in 0..total {
            let (node_id, _) = rotation.node_at(turn.into()).expect("a node");
            let node = nodes.iter().position(|other| other.node.node_id == *node_id);
            counts[node.expect("known")] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let due = f64::from((turn + 1) * weight) / f64::from(total);
                let ahead = (f64::from(*count) - due).abs();
                prop_assert!(ahead <= weights.len() as f64, "{ahead}");
            }
            // Equal nodes never differ by more than one.
            for (count, weight) in counts.iter().zip(&weights) {
                for (other, other_weight) in counts.iter().zip(&weights) {
                    prop_assert!(weight != other_weight || count.abs_diff(*other) <= 1);
                }
            }
        }
        prop_assert_eq!(counts, weights);
    }

    /// Nodes fail, drain and come back at any time; two that stay never differ by more than one.
    #[test]
    fn nodes_that_stay_are_balanced_whatever_others_do(
        weights in prop::collection::vec(1u32..4, 3..12),
        changes in prop::collection::vec((0usize..12, any::<bool>()), 1..200),
    ) {
        let mut nodes: Vec<_> = weights.iter().enumerate()
            .map(|(n, weight)| with(candidate(n), |node| node.weight = *weight)).collect();
        let changed: Vec<usize> = changes.iter().map(|(node, _)| node % weights.len()).collect();
        let mut counts: HashMap<NodeId, usize> = HashMap::new();
        let mut next = 0;
        for (node, (_, usable)) in changed.iter().zip(&changes) {
            nodes[*node].health = if *usable { NodeHealth::Up } else { NodeHealth::Lost };
            let placement = place(next, &nodes, &Wanted::default());
            next = placement.turn.wrapping_add(u64::from(placement.chosen.is_some()));
            if let Some((node_id, _)) = placement.chosen {
                *counts.entry(node_id).or_default() += 1;
            }
        }
        let stayed = |n: &usize| !changed.contains(n);
        let count = |n: usize| counts.get(&nodes[n].node.node_id).copied().unwrap_or(0);
        for a in (0..nodes.len()).filter(stayed) {
            for b in (0..nodes.len()).filter(stayed) {
                prop_assert!(weights[a] != weights[b] || count(a).abs_diff(count(b)) <= 1);
            }
        }
    }

    #[test]
    fn a_turn_that_is_taken_is_the_first_usable_one(
        usable in prop::collection::vec(any::<bool>(), 1..30), turn: u64,
    ) {
        let nodes: Vec<_> = usable.iter().enumerate().map(|(n, usable)| Candidate {
            state: if *usable { NodeState::Active } else { NodeState::Draining },
            ..candidate(n)
        }).collect();
        let rotation = Rotation::new(&nodes, &Wanted::default());
        let taken = rotation.usable_turn(turn);
        prop_assert_eq!(taken.is_some(), usable.contains(&true));
        if let Some(taken) = taken {
            prop_assert!(taken.wrapping_sub(turn) < usable.len() as u64);
            prop_assert_eq!(rotation.usable_turn(taken), Some(taken));
            prop_assert_eq!(rotation.place(turn), rotation.place(taken));
        }
    }
}

#[test]
fn the_sessions_of_a_lost_node_are_spread_over_all_others_by_weight() {
    let mut nodes: Vec<_> = (1..=4).map(candidate).collect();
    nodes[3] = with(nodes[3].clone(), |node| node.weight = 2);
    nodes[0].health = NodeHealth::Lost;
    let rotation = Rotation::new(&nodes, &Wanted::default());
    let mut counts: HashMap<String, u32> = HashMap::new();
    for n in 0..4000 {
        let session_id = SessionId::from_stored(format!("sess_{n:032x}"));
        let (node_id, _) = (rotation.node_for_move(&session_id, 2, |_, _| true)).expect("a node");
        // Every instance chooses the same, and the next generation may go elsewhere.
        let again = Rotation::new(&nodes, &Wanted::default());
        let again = again.node_for_move(&session_id, 2, |_, _| true);
        assert_eq!(again.map(|(node_id, _)| node_id), Some(node_id));
        *counts.entry(node_id.to_string()).or_default() += 1;
    }
    for (name, share) in [("sfu-2", 1000), ("sfu-3", 1000), ("sfu-4", 2000)] {
        let count = counts[name];
        assert!(count.abs_diff(share) < share / 8, "{counts:?}");
    }
    assert_eq!(counts.len(), 3);
    let session_id = SessionId::from_stored("sess_1".into());
    let only_the_lost = |node_id: &NodeId, _| node_id.as_str() == "sfu-1";
    assert_eq!(rotation.node_for_move(&session_id, 2, only_the_lost), None);
    let judged = |name: &str| rotation.judge(&NodeId::from_stored(name.into()));
    assert_eq!(judged("sfu-2"), Some(Ok(Driver::Builtin)));
    assert_eq!(judged("sfu-1"), Some(Err(Verdict::Lost)));
    assert_eq!(judged("nobody"), None);
}
