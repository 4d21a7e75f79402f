//! 1,000 sessions over 100 equal nodes, of which 30 fail, drain and come back at random. The seed is fixed.

use std::collections::HashMap;

use super::tests::candidate;
use super::*;

const NODES: usize = 100;
const UNSTEADY: usize = 30;
const SESSIONS: usize = 1000;

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let value = (mixed ^ (mixed >> 31)) % limit as u64;
        usize::try_from(value).expect("below a usize")
    }
}

struct Outcome {
    /// Sessions by node.
    sessions: Vec<usize>,
    /// By pair, the greatest difference while both nodes could have sessions without a break.
    greatest_difference: usize,
    changes: usize,
    /// The most nodes that were out at once.
    out_max: usize,
}

/// One in `calm` sessions is preceded by a change of a node.
fn simulate(seed: u64, calm: usize) -> Outcome {
    let mut random = Random(seed);
    let mut nodes: Vec<_> = (0..NODES).map(candidate).collect();
    let unsteady: Vec<_> = (0..UNSTEADY).map(|n| n * NODES / UNSTEADY).collect();
    let indexes: HashMap<_, _> = (nodes.iter().enumerate())
        .map(|(n, candidate)| (candidate.node.node_id.clone(), n))
        .collect();
    let mut sessions = vec![0_usize; NODES];
    // Since the later of the two nodes came back.
    let mut since = vec![vec![(0_usize, 0_usize); NODES]; NODES];
    let mut outcome = Outcome {
        sessions: Vec::new(),
        greatest_difference: 0,
        changes: 0,
        out_max: 0,
    };
    let mut next = 0;
    for _ in 0..SESSIONS {
        if random.below(calm) == 0 {
            let node = unsteady[random.below(UNSTEADY)];
            let candidate = &mut nodes[node];
            (candidate.state, candidate.health) = match random.below(4) {
                0 => (NodeState::Draining, NodeHealth::Up),
                1 => (NodeState::Active, NodeHealth::Lost),
                2 => (NodeState::Active, NodeHealth::Unreachable),
                _ => (NodeState::Active, NodeHealth::Up),
            };
            outcome.changes += 1;
            for other in 0..NODES {
                since[node][other] = (sessions[node], sessions[other]);
                since[other][node] = (sessions[other], sessions[node]);
            }
        }
        let is_usable = |n: usize| Verdict::of_state(&nodes[n]).is_none();
        let out = (0..NODES).filter(|n| !is_usable(*n)).count();
        outcome.out_max = outcome.out_max.max(out);

        let placement = place(next, &nodes, &Wanted::default());
        next = placement.turn + 1;
        let (node_id, _) = placement.chosen.expect("70 nodes are always there");
        let chosen = indexes[&node_id];
        sessions[chosen] += 1;

        // Every node has a reason, and a true one.
        assert_eq!(placement.considered.len(), NODES);
        for (n, (node_id, verdict)) in placement.considered.iter().enumerate() {
            assert_eq!(indexes[node_id], n);
            let expected = match Verdict::of_state(&nodes[n]) {
                Some(verdict) => verdict,
                None if n == chosen => Verdict::Chosen,
                None => Verdict::NotItsTurn,
            };
            assert_eq!(*verdict, expected);
        }
        for a in (0..NODES).filter(|n| is_usable(*n)) {
            for b in (0..a).filter(|n| is_usable(*n)) {
                let (of_a, of_b) = since[a][b];
                let difference = (sessions[a] - of_a).abs_diff(sessions[b] - of_b);
                outcome.greatest_difference = outcome.greatest_difference.max(difference);
            }
        }
    }
    outcome.sessions = sessions;
    outcome
}

#[test]
fn equal_nodes_differ_by_at_most_one_while_others_fail_drain_and_come_back() {
    for (seed, calm) in [(1, 1), (2, 5), (3, 20), (20_261_122, 3)] {
        let outcome = simulate(seed, calm);
        assert_eq!(outcome.sessions.iter().sum::<usize>(), SESSIONS);
        assert_eq!(outcome.greatest_difference, 1, "seed {seed}");
        let unsteady: Vec<_> = (0..UNSTEADY).map(|n| n * NODES / UNSTEADY).collect();
        let steady = (0..NODES).filter(|n| !unsteady.contains(n));
        let of_steady: Vec<_> = steady.map(|n| outcome.sessions[n]).collect();
        let (least, most) = (of_steady.iter().min(), of_steady.iter().max());
        assert!(most.unwrap() - least.unwrap() <= 1, "over all, too");
        let of_unsteady: Vec<_> = unsteady.iter().map(|n| outcome.sessions[*n]).collect();
        println!(
            "seed {seed}: {} changes, up to {} nodes out; steady nodes {least:?} to {most:?} sessions, unsteady {:?} to {:?}",
            outcome.changes,
            outcome.out_max,
            of_unsteady.iter().min(),
            of_unsteady.iter().max(),
        );
    }
}
