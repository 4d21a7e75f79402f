//! The instances that were heard.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many instances are remembered: as many as upkeep observes.
const INSTANCES_MAX: usize = 1000;

/// When each other instance was last heard.
pub(super) struct Others {
    heard_at: Mutex<HashMap<String, Instant>>,
    /// How long an instance may be silent.
    silence_max: Duration,
}

impl Others {
    /// Instances that say something every `ping_interval`, by a Redis that answers within `timeout`.
    pub(super) fn new(ping_interval: Duration, timeout: Duration) -> Self {
        Self {
            heard_at: Mutex::default(),
            silence_max: 2 * ping_interval + timeout,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        // No code panics while it holds the lock, and the map is consistent at every step.
        self.heard_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, instance_id: String) {
        let now = Instant::now();
        let mut heard_at = self.lock();
        if heard_at.len() >= INSTANCES_MAX && !heard_at.contains_key(&instance_id) {
            heard_at.retain(|_, heard_at| now.duration_since(*heard_at) <= self.silence_max);
        }
        if heard_at.len() < INSTANCES_MAX || heard_at.contains_key(&instance_id) {
            heard_at.insert(instance_id, now);
        }
    }

    pub(super) fn hears(&self, instance_id: &str) -> bool {
        let heard_at = self.lock().get(instance_id).copied();
        heard_at.is_some_and(|heard_at| heard_at.elapsed() <= self.silence_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_heard_until_it_is_silent() {
        let others = Others::new(Duration::from_secs(1), Duration::from_secs(1));
        assert!(!others.hears("a"));
        others.note("a".into());
        assert!(others.hears("a") && !others.hears("b"));
        let silent_since = Instant::now().checked_sub(Duration::from_secs(4));
        others.lock().insert("a".into(), silent_since.unwrap());
        assert!(!others.hears("a"));
    }

    #[test]
    fn silent_instances_make_room_for_others() {
        let others = Others::new(Duration::from_secs(1), Duration::from_secs(1));
        for n in 0..=INSTANCES_MAX {
            others.note(n.to_string());
        }
        assert_eq!(others.lock().len(), INSTANCES_MAX);
        assert!(!others.hears(&INSTANCES_MAX.to_string()));
        for heard_at in others.lock().values_mut() {
            *heard_at = heard_at.checked_sub(Duration::from_secs(4)).unwrap();
        }
        others.note("a".into());
        assert!(others.hears("a"));
        assert_eq!(others.lock().len(), 1);
    }
}
