//! Detects dead instances, without comparing clocks: an instance is alive while its heartbeat in the store changes. How long
//! a heartbeat stays unchanged is measured by the watcher's own monotonic clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain::time::Timestamp;

/// The times by which an instance judges others.
#[derive(Debug, Clone, Copy)]
pub struct LivenessTimes {
    /// How often an instance changes its heartbeat.
    pub heartbeat_interval: Duration,
    /// How long a heartbeat may stays unchanged. Also how long the watcher may itself have been away from the store before
    /// everything that it saw is forgotten.
    pub lease: Duration,
    /// How long the participants of a dead instance may reconnect.
    pub grace: Duration,
}

/// One instance's observations of the others' heartbeats.
pub struct Liveness {
    times: LivenessTimes,
    own_heartbeat: i64,
    observed_at: Option<Instant>,
    /// By instance. Holds those of the last look and no others.
    seen: HashMap<String, Seen>,
}

struct Seen {
    heartbeat: i64,
    /// How long the heartbeat has stayed unchanged, as far as it was watched.
    unchanged_for: Duration,
}

impl Liveness {
    /// Has seen nothing yet.
    pub fn new(times: LivenessTimes) -> Self {
        Self {
            times,
            own_heartbeat: i64::MIN,
            observed_at: None,
            seen: HashMap::new(),
        }
    }

    /// The next heartbeat of this instance, which is greater than any before. A former version compares heartbeats with its clock
    /// and takes them for the end of a lease, so this is one where the clock allows it.
    pub fn next_heartbeat(&mut self, now: Timestamp) -> i64 {
        let lease_end = now.plus_secs(self.times.lease.as_secs()).as_millis();
        self.own_heartbeat = lease_end.max(self.own_heartbeat.saturating_add(1));
        self.own_heartbeat
    }

    /// Takes in the heartbeats of other instances at `now`, and returns those that are dead: their heartbeats have stayed unchanged for
    /// the lease and the grace, whichever is longer. The first sight of a heartbeat counts as a movement.
    ///
    /// The time between two looks counts for two beats at the most. When it was longer, this instance could not reach the
    /// store, and perhaps nobody could; when it was longer than the lease, all observations start anew.
    pub fn observe_heartbeats(
        &mut self,
        heartbeats: impl IntoIterator<Item = (String, i64)>,
        now: Instant,
    ) -> Vec<String> {
        let away = self
            .observed_at
            .replace(now)
            .map_or(Duration::ZERO, |observed_at| {
                now.duration_since(observed_at)
            });
        let before = std::mem::take(&mut self.seen);
        let watched = away.min(2 * self.times.heartbeat_interval);
        let limit = self.times.lease.max(self.times.grace);
        let mut dead = Vec::new();
        for (instance_id, heartbeat) in heartbeats {
            let unchanged_for = before
                .get(&instance_id)
                .filter(|seen| seen.heartbeat == heartbeat && away <= self.times.lease)
                .map_or(Duration::ZERO, |seen| seen.unchanged_for + watched);
            if unchanged_for >= limit {
                dead.push(instance_id.clone());
            }
            self.seen.insert(
                instance_id,
                Seen {
                    heartbeat,
                    unchanged_for,
                },
            );
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(3);
    const NONE: [&str; 0] = [];

    fn watcher() -> Liveness {
        Liveness::new(LivenessTimes {
            heartbeat_interval: INTERVAL,
            lease: Duration::from_secs(12),
            grace: Duration::from_secs(15),
        })
    }

    fn heartbeat(instance: &str, heartbeat: i64) -> (String, i64) {
        (instance.to_owned(), heartbeat)
    }

    #[test]
    fn an_instance_is_dead_once_its_heartbeat_was_unchanged_for_long_enough() {
        let (mut watcher, start) = (watcher(), Instant::now());
        for look in 0..5 {
            let heartbeats = [heartbeat("still", 7), heartbeat("moving", i64::from(look))];
            assert_eq!(
                watcher.observe_heartbeats(heartbeats, start + look * INTERVAL),
                NONE
            );
        }
        let heartbeats = || [heartbeat("still", 7), heartbeat("moving", 9)];
        assert_eq!(
            watcher.observe_heartbeats(heartbeats(), start + 5 * INTERVAL),
            ["still"]
        );
        assert_eq!(
            watcher.observe_heartbeats(heartbeats(), start + 6 * INTERVAL),
            ["still"]
        );
        // It only could not reach the store for a while.
        let heartbeats = [heartbeat("still", 8), heartbeat("moving", 10)];
        assert_eq!(
            watcher.observe_heartbeats(heartbeats, start + 7 * INTERVAL),
            NONE
        );
    }

    #[test]
    fn heartbeats_are_not_compared_with_a_clock_or_with_each_other() {
        let (mut watcher, start) = (watcher(), Instant::now());
        for look in 0..100 {
            // One that is far in the past, one that is far in the future, one that runs backwards.
            let step = i64::from(look);
            let heartbeats = [
                heartbeat("past", step - 1_000_000),
                heartbeat("future", i64::MAX - 1000 + step),
                heartbeat("backwards", -step),
            ];
            assert_eq!(
                watcher.observe_heartbeats(heartbeats, start + look * INTERVAL),
                NONE
            );
        }
    }

    #[test]
    fn the_lease_holds_when_the_grace_period_is_shorter() {
        let mut watcher = Liveness::new(LivenessTimes {
            heartbeat_interval: INTERVAL,
            lease: Duration::from_secs(12),
            grace: Duration::ZERO,
        });
        let start = Instant::now();
        for look in 0..4 {
            let found =
                watcher.observe_heartbeats([heartbeat("still", 7)], start + look * INTERVAL);
            assert_eq!(found, NONE);
        }
        let found = watcher.observe_heartbeats([heartbeat("still", 7)], start + 4 * INTERVAL);
        assert_eq!(found, ["still"]);
    }

    #[test]
    fn an_outage_longer_than_the_lease_resets_all_observations() {
        let (mut watcher, start) = (watcher(), Instant::now());
        for look in 0..5 {
            watcher.observe_heartbeats([heartbeat("other", 7)], start + look * INTERVAL);
        }
        let back = start + Duration::from_secs(12 + 13);
        for look in 0..5 {
            let found = watcher.observe_heartbeats([heartbeat("other", 7)], back + look * INTERVAL);
            assert_eq!(found, NONE);
        }
        let found = watcher.observe_heartbeats([heartbeat("other", 7)], back + 5 * INTERVAL);
        assert_eq!(found, ["other"]);
    }

    #[test]
    fn a_shorter_outage_counts_for_two_intervals_only() {
        let (mut watcher, start) = (watcher(), Instant::now());
        watcher.observe_heartbeats([heartbeat("other", 7)], start);
        watcher.observe_heartbeats([heartbeat("other", 7)], start + INTERVAL);
        // Nearly the lease: the other could not move its heartbeat either.
        let back = start + INTERVAL + Duration::from_secs(12);
        assert_eq!(
            watcher.observe_heartbeats([heartbeat("other", 7)], back),
            NONE
        );
        assert_eq!(
            watcher.observe_heartbeats([heartbeat("other", 7)], back + INTERVAL),
            NONE
        );
        let found = watcher.observe_heartbeats([heartbeat("other", 7)], back + 2 * INTERVAL);
        assert_eq!(found, ["other"]);
    }

    #[test]
    fn instances_without_a_heartbeat_are_forgotten() {
        let (mut watcher, start) = (watcher(), Instant::now());
        for look in 0..50 {
            let instance = format!("instance-{look}");
            watcher.observe_heartbeats([heartbeat(&instance, 1)], start + look * INTERVAL);
            assert_eq!(watcher.seen.len(), 1);
        }
    }

    #[test]
    fn the_own_heartbeat_always_increases_and_is_the_end_of_a_lease_if_possible() {
        let mut own = watcher();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let first = own.next_heartbeat(now);
        assert_eq!(first, now.as_millis() + 12_000);
        assert_eq!(own.next_heartbeat(now), first + 1);
        // The clock jumps back, then forth.
        assert_eq!(own.next_heartbeat(now.minus_secs(3600)), first + 2);
        let later = now.plus_secs(3600);
        assert_eq!(own.next_heartbeat(later), later.as_millis() + 12_000);
    }
}
