//! The instances that were heard.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many instances are remembered: as many as upkeep observes.
const INSTANCES_MAX: usize = 1000;
/// An instance is no longer heard when so many of its heartbeats are missing.
const BEATS_MISSED_MAX: u32 = 3;

/// What was heard of each other instance.
pub(super) struct Others {
    heard: Mutex<HashMap<String, Other>>,
    /// How long an instance may be silent.
    silence_max: Duration,
}

/// What was heard of one instance.
struct Other {
    heard_at: Instant,
    /// The epoch of its last heartbeat; `None` before the first one, and of an earlier version.
    epoch: Option<u64>,
    /// Whether its silence was reported.
    is_silent: bool,
}

impl Others {
    /// Instances that say something every `ping_interval`.
    pub(super) fn new(ping_interval: Duration) -> Self {
        Self {
            heard: Mutex::default(),
            silence_max: BEATS_MISSED_MAX * ping_interval,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Other>> {
        // No code panics while it holds the lock, and the map is consistent at every step.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a message of an instance; a heartbeat has an epoch. Returns whether hints of the instance may have been lost: at its
    /// first heartbeat, and at the first one of each epoch.
    pub(super) fn note(&self, instance_id: String, epoch: Option<u64>) -> bool {
        let now = Instant::now();
        let mut heard = self.lock();
        if !heard.contains_key(&instance_id) {
            if heard.len() >= INSTANCES_MAX {
                heard.retain(|_, other| now.duration_since(other.heard_at) <= self.silence_max);
            }
            if heard.len() >= INSTANCES_MAX {
                return false;
            }
        }
        let other = heard.entry(instance_id).or_insert(Other {
            heard_at: now,
            epoch: None,
            is_silent: false,
        });
        other.heard_at = now;
        other.is_silent = false;
        let is_gap = epoch.is_some() && epoch != other.epoch;
        other.epoch = epoch.or(other.epoch);
        is_gap
    }

    /// Whether an instance has fallen silent since the last call: its hints no longer arrive.
    pub(super) fn note_silence(&self) -> bool {
        let mut heard = self.lock();
        let silence_max = self.silence_max;
        let fallen = heard
            .values_mut()
            .filter(|other| !other.is_silent && other.heard_at.elapsed() > silence_max)
            .map(|other| other.is_silent = true);
        fallen.count() > 0
    }

    pub(super) fn hears(&self, instance_id: &str) -> bool {
        let heard = self.lock();
        let other = heard.get(instance_id);
        other.is_some_and(|other| other.heard_at.elapsed() <= self.silence_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_heard_until_it_is_silent() {
        let others = Others::new(Duration::from_secs(1));
        assert!(!others.hears("a"));
        others.note("a".into(), None);
        assert!(others.hears("a") && !others.hears("b"));
        let silent_since = Instant::now().checked_sub(Duration::from_secs(4));
        others.lock().get_mut("a").unwrap().heard_at = silent_since.unwrap();
        assert!(!others.hears("a"));
        assert!(others.note_silence());
        assert!(!others.note_silence(), "once");
        others.note("a".into(), None);
        assert!(!others.note_silence());
    }

    #[test]
    fn hints_may_be_lost_before_the_first_heartbeat_of_an_epoch() {
        let others = Others::new(Duration::from_secs(1));
        assert!(!others.note("a".into(), None), "a hint says nothing");
        assert!(others.note("a".into(), Some(1)), "before it was heard");
        assert!(!others.note("a".into(), Some(1)));
        assert!(others.note("a".into(), Some(2)));
        assert!(!others.note("a".into(), None));
        assert!(!others.note("a".into(), Some(2)));
        assert!(others.note("b".into(), Some(2)), "each has its own epochs");
        // It did not become another epoch while it was silent.
        let silent_since = Instant::now().checked_sub(Duration::from_secs(4));
        others.lock().get_mut("a").unwrap().heard_at = silent_since.unwrap();
        assert!(!others.note("a".into(), Some(2)));
    }

    #[test]
    fn silent_instances_make_room_for_others() {
        let others = Others::new(Duration::from_secs(1));
        for n in 0..=INSTANCES_MAX {
            others.note(n.to_string(), Some(1));
        }
        assert_eq!(others.lock().len(), INSTANCES_MAX);
        let beyond = INSTANCES_MAX.to_string();
        assert!(!others.hears(&beyond));
        assert!(!others.note(beyond, Some(2)), "it counts as not heard");
        for other in others.lock().values_mut() {
            other.heard_at = other.heard_at.checked_sub(Duration::from_secs(4)).unwrap();
        }
        others.note("a".into(), Some(1));
        assert!(others.hears("a"));
        assert_eq!(others.lock().len(), 1);
    }
}
