//! Counts the open pages, of all doctors and of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::DoctorsConfig;
use crate::domain::id::UserId;
use crate::telemetry::metrics::Metrics;

/// The places of pages that are open.
pub(crate) struct Streams {
    open: Mutex<HashMap<UserId, usize>>,
    config: DoctorsConfig,
    metrics: Arc<Metrics>,
}

/// An open page's place; free again when dropped.
pub(super) struct Place {
    streams: Arc<Streams>,
    user_id: UserId,
}

impl Streams {
    pub(crate) fn new(config: DoctorsConfig, metrics: Arc<Metrics>) -> Self {
        Self {
            open: Mutex::default(),
            config,
            metrics,
        }
    }

    /// A place for one more page of a doctor; `None` if they, or all doctors together, have too many.
    pub(super) fn take(self: &Arc<Self>, user_id: &UserId) -> Option<Place> {
        let mut open = self.lock();
        if open.values().sum::<usize>() >= self.config.streams_max {
            return None;
        }
        let own = open.get(user_id).copied().unwrap_or(0);
        if own >= self.config.streams_per_doctor_max {
            return None;
        }
        open.insert(user_id.clone(), own + 1);
        self.metrics.doctor_streams.inc();
        Some(Place {
            streams: Arc::clone(self),
            user_id: user_id.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        // No code panics while holding the lock, and the map is valid at every step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(own) = open.get_mut(&self.user_id) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.user_id);
            }
        }
        self.streams.metrics.doctor_streams.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn places_are_limited_for_each_doctor_and_for_all() {
        let config = DoctorsConfig {
            sessions_max: 1,
            list_interval: Duration::from_secs(1),
            streams_max: 3,
            streams_per_doctor_max: 2,
        };
        let streams = Arc::new(Streams::new(config, Arc::default()));
        let [one, other, third] = ["1", "2", "3"].map(|id| UserId::from_stored(id.into()));
        let first = streams.take(&one);
        let second = streams.take(&one);
        assert!(first.is_some() && second.is_some());
        assert!(streams.take(&one).is_none(), "two are theirs");
        let of_other = streams.take(&other);
        assert!(of_other.is_some());
        assert!(streams.take(&third).is_none(), "three are all");
        drop(first);
        assert!(streams.take(&third).is_some());
        drop((second, of_other));
        assert!(streams.lock().is_empty());
        assert_eq!(streams.metrics.doctor_streams.get(), 0);
    }
}
