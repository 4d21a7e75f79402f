//! The pauses between readings of a node's sessions while none of them can be moved: without a node for them, each reading costs as
//! much as the node has sessions and changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Why;
use crate::domain::id::NodeId;

/// The longest pause, unless `NODE_MOVE_RETRY_MS` is longer.
const PAUSE_MAX: Duration = Duration::from_secs(30);

pub(super) struct Pauses {
    /// The first pause.
    shortest: Duration,
    by_node: HashMap<NodeId, Pause>,
    /// When all pauses were ended.
    ended_at: Option<Instant>,
}

struct Pause {
    why: Why,
    length: Duration,
    until: Instant,
}

impl Pauses {
    pub(super) fn new(shortest: Duration) -> Self {
        Self {
            shortest,
            by_node: HashMap::new(),
            ended_at: None,
        }
    }

    /// Begins a pause after a reading that moved nothing: the first one, or twice the last one. False if all pauses were ended since the
    /// reading began: it says nothing about what can be moved now.
    pub(super) fn note_idle(
        &mut self,
        node_id: NodeId,
        why: Why,
        began: Instant,
        now: Instant,
    ) -> bool {
        if self.ended_at.is_some_and(|ended_at| ended_at >= began) {
            return false;
        }
        let last = self.by_node.get(&node_id).filter(|last| last.why == why);
        let length = last.map_or(self.shortest, |last| {
            (last.length * 2).min(PAUSE_MAX.max(self.shortest))
        });
        let until = now + length;
        self.by_node.insert(node_id, Pause { why, length, until });
        true
    }

    /// Ends all pauses, because sessions can perhaps be moved now.
    pub(super) fn end_all(&mut self, now: Instant) {
        self.by_node.clear();
        self.ended_at = Some(now);
    }

    /// Forgets nodes whose sessions need not move any more, or move for another reason.
    pub(super) fn retain(&mut self, due: &[(NodeId, Why)]) {
        self.by_node.retain(|node_id, pause| {
            due.iter()
                .any(|(due, why)| due == node_id && *why == pause.why)
        });
    }

    pub(super) fn is_paused(&self, node_id: &NodeId, now: Instant) -> bool {
        let pause = self.by_node.get(node_id);
        pause.is_some_and(|pause| now < pause.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(name: &str) -> NodeId {
        NodeId::from_stored(name.to_owned())
    }

    /// The lengths of the pauses that follow each other.
    fn lengths(pauses: &mut Pauses, why: Why, count: usize) -> Vec<u64> {
        let mut now = Instant::now() + SECOND;
        let mut lengths = Vec::new();
        for _ in 0..count {
            assert!(pauses.note_idle(id("a"), why, now, now));
            let mut length = Duration::ZERO;
            while pauses.is_paused(&id("a"), now + length) {
                length += SECOND;
            }
            lengths.push(length.as_secs());
            now += length;
        }
        lengths
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        let mut pauses = Pauses::new(SECOND);
        let expected = [1, 2, 4, 8, 16, 30, 30];
        assert_eq!(lengths(&mut pauses, Why::Lost, 7), expected);
        assert!(!pauses.is_paused(&id("b"), Instant::now()));
        // For another reason, they begin anew.
        assert_eq!(lengths(&mut pauses, Why::Drained, 2), [1, 2]);
        let mut long = Pauses::new(60 * SECOND);
        assert_eq!(lengths(&mut long, Why::Lost, 2), [60, 60]);
    }

    #[test]
    fn pauses_end_when_sessions_can_perhaps_be_moved() {
        let mut pauses = Pauses::new(SECOND);
        let began = Instant::now();
        assert!(pauses.note_idle(id("a"), Why::Lost, began, began));
        assert!(pauses.is_paused(&id("a"), began));
        pauses.end_all(began + SECOND);
        assert!(!pauses.is_paused(&id("a"), began));
        // It was read before.
        assert!(!pauses.note_idle(id("a"), Why::Lost, began, began + SECOND));
        assert!(!pauses.is_paused(&id("a"), began + SECOND));
        let later = began + 2 * SECOND;
        assert!(pauses.note_idle(id("a"), Why::Lost, later, later));
        pauses.retain(&[(id("a"), Why::Lost), (id("b"), Why::Lost)]);
        assert!(pauses.is_paused(&id("a"), later));
        pauses.retain(&[(id("a"), Why::Drained)]);
        assert!(!pauses.is_paused(&id("a"), later));
    }
}
