//! Detects dead instances without comparing clocks: an instance is alive while its heartbeat in the store changes, timed by the
//! observer's monotonic clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain::time::Timestamp;

/// The times that decide whether an instance is dead.
#[derive(Debug, Clone, Copy)]
pub(super) struct LivenessTimes {
    /// How often an instance changes its heartbeat.
    pub heartbeat_interval: Duration,
    /// How long a heartbeat may stay unchanged. Also how long the observer may lack access to the store before it discards its
    /// observations.
    pub lease: Duration,
    /// How long the participants of an instance have to reconnect.
    pub grace: Duration,
}

/// One instance's observations of the other instances' heartbeats.
pub(super) struct Liveness {
    times: LivenessTimes,
    own_heartbeat: i64,
    last_look_at: Option<Instant>,
    /// By instance. Has only the instances of the last look.
    seen: HashMap<String, Seen>,
}

struct Seen {
    heartbeat: i64,
    /// How long the heartbeat has been unchanged, as far as observed.
    unchanged_for: Duration,
}

impl Liveness {
    /// No observations yet.
    pub(super) fn new(times: LivenessTimes) -> Self {
        Self {
            times,
            own_heartbeat: i64::MIN,
            last_look_at: None,
            seen: HashMap::new(),
        }
    }

    /// The next heartbeat of this instance, greater than all before. A former version reads a heartbeat as the end of a lease by its
    /// clock, so this is one if the clock permits.
    pub(super) fn next_heartbeat(&mut self, now: Timestamp) -> i64 {
        let lease_end = now.plus_secs(self.times.lease.as_secs()).as_millis();
        self.own_heartbeat = lease_end.max(self.own_heartbeat.saturating_add(1));
        self.own_heartbeat
    }

    /// Records the heartbeats of other instances at `now` and returns the dead instances: their heartbeats have been unchanged for the
    /// lease or the grace, whichever is longer. A heartbeat's first observation counts as a change.
    ///
    /// The time between two observations counts for at most two heartbeat intervals. If it was longer, this instance could not reach
    /// the store, and perhaps no instance could; if it was longer than the lease, all observations are discarded.
    pub(super) fn observe_heartbeats(
        &mut self,
        heartbeats: impl IntoIterator<Item = (String, i64)>,
        now: Instant,
    ) -> Vec<String> {
        let away = self
            .last_look_at
            .replace(now)
            .map_or(Duration::ZERO, |looked| now.duration_since(looked));
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

impl Liveness {
    /// Whether an instance of the last look changed its heartbeat within about three intervals. Sooner than it counts as dead, what it
    /// said last is out of date: it cannot reach the store.
    pub(super) fn is_fresh(&self, instance_id: &str) -> bool {
        let limit = 3 * self.times.heartbeat_interval;
        self.seen
            .get(instance_id)
            .is_some_and(|seen| seen.unchanged_for < limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(3);
    const NONE: [&str; 0] = [];

    fn watcher() -> Liveness {
        Liveness::new(LivenessTimes {
            heartbeat_interval: BEAT,
            lease: Duration::from_secs(12),
            grace: Duration::from_secs(15),
        })
    }

    fn heartbeat(instance: &str, heartbeat: i64) -> (String, i64) {
        (instance.to_owned(), heartbeat)
    }

    #[test]
    fn an_instance_is_dead_once_its_heartbeat_is_unchanged_for_long_enough() {
        let (mut watcher, start) = (watcher(), Instant::now());
        for look in 0..5 {
            let heartbeats = [heartbeat("still", 7), heartbeat("moving", i64::from(look))];
            assert_eq!(
                watcher.observe_heartbeats(heartbeats, start + look * BEAT),
                NONE
            );
        }
        let heartbeats = || [heartbeat("still", 7), heartbeat("moving", 9)];
        assert_eq!(
            watcher.observe_heartbeats(heartbeats(), start + 5 * BEAT),
            ["still"]
        );
        assert_eq!(
            watcher.observe_heartbeats(heartbeats(), start + 6 * BEAT),
            ["still"]
        );
        // The instance only could not reach the store for a while.
        let heartbeats = [heartbeat("still", 8), heartbeat("moving", 10)];
        assert_eq!(
            watcher.observe_heartbeats(heartbeats, start + 7 * BEAT),
            NONE
        );
    }

    #[test]
    fn what_an_instance_says_is_out_of_date_before_it_is_dead() {
        let (mut watcher, start) = (watcher(), Instant::now());
        for look in 0..3 {
            watcher.observe_heartbeats([heartbeat("still", 7)], start + look * BEAT);
            assert!(watcher.is_fresh("still"));
        }
        let dead = watcher.observe_heartbeats([heartbeat("still", 7)], start + 3 * BEAT);
        assert_eq!(dead, NONE);
        assert!(!watcher.is_fresh("still") && !watcher.is_fresh("nobody"));
        watcher.observe_heartbeats([heartbeat("still", 8)], start + 4 * BEAT);
        assert!(watcher.is_fresh("still"));
    }

    #[test]
    fn heartbeats_are_not_compared_with_a_clock_nor_with_each_other() {
        let (mut watcher, start) = (watcher(), Instant::now());
        for look in 0..100 {
            // In the far past, in the far future, and going backwards.
            let step = i64::from(look);
            let heartbeats = [
                heartbeat("past", step - 1_000_000),
                heartbeat("future", i64::MAX - 1000 + step),
                heartbeat("backwards", -step),
            ];
            assert_eq!(
                watcher.observe_heartbeats(heartbeats, start + look * BEAT),
                NONE
            );
        }
    }

    #[test]
    fn a_grace_shorter_than_the_lease_does_not_shorten_the_lease() {
        let mut watcher = Liveness::new(LivenessTimes {
            heartbeat_interval: BEAT,
            lease: Duration::from_secs(12),
            grace: Duration::ZERO,
        });
        let start = Instant::now();
        for look in 0..4 {
            let found = watcher.observe_heartbeats([heartbeat("still", 7)], start + look * BEAT);
            assert_eq!(found, NONE);
        }
        let found = watcher.observe_heartbeats([heartbeat("still", 7)], start + 4 * BEAT);
        assert_eq!(found, ["still"]);
    }

    #[test]
    fn an_outage_longer_than_the_lease_discards_all_observations() {
        let (mut watcher, start) = (watcher(), Instant::now());
        for look in 0..5 {
            watcher.observe_heartbeats([heartbeat("other", 7)], start + look * BEAT);
        }
        let back = start + Duration::from_secs(12 + 13);
        for look in 0..5 {
            let found = watcher.observe_heartbeats([heartbeat("other", 7)], back + look * BEAT);
            assert_eq!(found, NONE);
        }
        let found = watcher.observe_heartbeats([heartbeat("other", 7)], back + 5 * BEAT);
        assert_eq!(found, ["other"]);
    }

    #[test]
    fn a_shorter_outage_counts_for_two_intervals_only() {
        let (mut watcher, start) = (watcher(), Instant::now());
        watcher.observe_heartbeats([heartbeat("other", 7)], start);
        watcher.observe_heartbeats([heartbeat("other", 7)], start + BEAT);
        // Nearly the lease: the other instance could not change its heartbeat either.
        let back = start + BEAT + Duration::from_secs(12);
        assert_eq!(
            watcher.observe_heartbeats([heartbeat("other", 7)], back),
            NONE
        );
        assert_eq!(
            watcher.observe_heartbeats([heartbeat("other", 7)], back + BEAT),
            NONE
        );
        let found = watcher.observe_heartbeats([heartbeat("other", 7)], back + 2 * BEAT);
        assert_eq!(found, ["other"]);
    }

    #[test]
    fn missing_instances_are_forgotten() {
        let (mut watcher, start) = (watcher(), Instant::now());
        for look in 0..50 {
            let instance = format!("instance-{look}");
            watcher.observe_heartbeats([heartbeat(&instance, 1)], start + look * BEAT);
            assert_eq!(watcher.seen.len(), 1);
        }
    }

    #[test]
    fn the_next_heartbeat_is_greater_and_the_end_of_a_lease_if_the_clock_permits() {
        let mut own = watcher();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let first = own.next_heartbeat(now);
        assert_eq!(first, now.as_millis() + 12_000);
        assert_eq!(own.next_heartbeat(now), first + 1);
        // The clock jumps back, then forward.
        assert_eq!(own.next_heartbeat(now.minus_secs(3600)), first + 2);
        let later = now.plus_secs(3600);
        assert_eq!(own.next_heartbeat(later), later.as_millis() + 12_000);
    }
}
