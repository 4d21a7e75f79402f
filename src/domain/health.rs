//! Whether a node answers, judged from probes with hysteresis, so that a single lost probe moves nobody and a flapping node does not
//! come back each time.

use std::time::{Duration, Instant};

use strum::{EnumString, IntoStaticStr, VariantArray};

use super::named::named;

/// The times that decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthTimes {
    /// How long a node may go without a successful probe.
    pub down_after: Duration,
    /// How long a node's machine may refuse connections to it: its process has ended, so there is no use in waiting longer.
    pub refused_after: Duration,
    /// How long a node must answer without a failure before it is used again.
    pub up_after: Duration,
    /// A loss within this time of the last one doubles `up_after`.
    pub flap_window: Duration,
    /// The most that doubling leads to.
    pub up_after_max: Duration,
}

/// Why a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ProbeFailure {
    /// No connection, or it broke.
    Unreachable,
    /// Its machine refused the connection: no process listens there.
    ConnectionRefused,
    /// No answer in time.
    TimedOut,
    /// The node refused the service's key.
    Denied,
    /// The node's answer makes no sense, or is an error of its own.
    Faulty,
    /// The node is set up in a way that the service refuses.
    Misconfigured,
}

/// Why a node is judged as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum HealthCause {
    /// No probe has ended yet.
    NotProbed,
    /// Probes succeed.
    Answers,
    /// Probes fail; [`Health::failure`] says how.
    ProbesFail,
    /// Probes succeed again, but not for long enough.
    Recovering,
}

named!(ProbeFailure, HealthCause);

/// The judgement of one node. Times are those of the observer's monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    state: State,
    /// When the node last came up or went down.
    since: Instant,
    last_failure: Option<ProbeFailure>,
    /// Whether a probe ever found it up.
    was_up: bool,
    last_loss: Option<Instant>,
    /// How long the node must answer before it is used again.
    up_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    NotProbed,
    Up {
        last_success: Instant,
        /// The first of the uninterrupted refusals.
        refused_since: Option<Instant>,
    },
    Down {
        /// The first of the uninterrupted successes.
        steady_since: Option<Instant>,
    },
}

impl State {
    fn up(last_success: Instant) -> Self {
        Self::Up {
            last_success,
            refused_since: None,
        }
    }
}

/// What a probe changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthChange {
    /// The node went down.
    Down,
    /// The node came up.
    Up,
}

impl Health {
    /// A node that was not probed yet. The first probe decides at once, without `down_after`.
    pub fn new(now: Instant, times: &HealthTimes) -> Self {
        Self {
            state: State::NotProbed,
            since: now,
            last_failure: None,
            was_up: false,
            last_loss: None,
            up_after: times.up_after,
        }
    }

    /// Whether the node is down.
    pub fn is_down(&self) -> bool {
        matches!(self.state, State::Down { .. })
    }

    /// Whether it has been down for long enough to take away what is on it. The first probe alone keeps new sessions from a node,
    /// but a single failure after the start of this process says nothing about the calls on it.
    pub fn is_surely_down(&self, now: Instant, times: &HealthTimes) -> bool {
        let since = now.saturating_duration_since(self.since);
        self.is_down() && (self.was_up || since >= times.down_after)
    }

    /// Whether a probe has ended.
    pub fn is_probed(&self) -> bool {
        self.state != State::NotProbed
    }

    /// Since when it is up or down.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Why it is up or down.
    pub fn cause(&self) -> HealthCause {
        match self.state {
            State::NotProbed => HealthCause::NotProbed,
            State::Up { .. } if self.last_failure.is_none() => HealthCause::Answers,
            State::Down {
                steady_since: Some(_),
            } => HealthCause::Recovering,
            State::Up { .. } | State::Down { steady_since: None } => HealthCause::ProbesFail,
        }
    }

    /// How the last probe failed; `None` if it succeeded.
    pub fn failure(&self) -> Option<ProbeFailure> {
        self.last_failure
    }

    /// How long the node must answer without a failure before it is used again.
    pub fn up_after(&self) -> Duration {
        self.up_after
    }

    /// Records a probe that ended at `now`. Probes are recorded in the order of their ends.
    pub fn note_probe(
        &mut self,
        outcome: Result<(), ProbeFailure>,
        now: Instant,
        times: &HealthTimes,
    ) -> Option<HealthChange> {
        self.last_failure = outcome.err();
        match (self.state, outcome) {
            (State::NotProbed, Ok(())) => {
                self.come_up(now);
                // Not a change: nothing was taken from the node before its first probe.
                None
            }
            (State::NotProbed, Err(_)) => Some(self.go_down(now, times)),
            (State::Up { .. }, Ok(())) => {
                self.state = State::up(now);
                None
            }
            (
                State::Up {
                    last_success,
                    refused_since,
                },
                Err(failure),
            ) => {
                let refused_since = (failure == ProbeFailure::ConnectionRefused)
                    .then(|| refused_since.unwrap_or(now));
                self.state = State::Up {
                    last_success,
                    refused_since,
                };
                let for_long = |since, limit| now.saturating_duration_since(since) >= limit;
                let is_gone = refused_since.is_some_and(|at| for_long(at, times.refused_after));
                // Waiting does not change how a node is set up.
                let is_unfit = failure == ProbeFailure::Misconfigured;
                (is_unfit || is_gone || for_long(last_success, times.down_after))
                    .then(|| self.go_down(now, times))
            }
            (State::Down { .. }, Err(_)) => {
                self.state = State::Down { steady_since: None };
                None
            }
            (State::Down { steady_since }, Ok(())) => {
                let steady_since = steady_since.unwrap_or(now);
                if now.saturating_duration_since(steady_since) >= self.up_after {
                    self.come_up(now);
                    return Some(HealthChange::Up);
                }
                self.state = State::Down {
                    steady_since: Some(steady_since),
                };
                None
            }
        }
    }

    fn come_up(&mut self, now: Instant) {
        self.state = State::up(now);
        self.since = now;
        self.was_up = true;
    }

    fn go_down(&mut self, now: Instant, times: &HealthTimes) -> HealthChange {
        let flaps = self
            .last_loss
            .is_some_and(|last| now.saturating_duration_since(last) <= times.flap_window);
        self.up_after = if flaps {
            (self.up_after * 2).min(times.up_after_max.max(times.up_after))
        } else {
            times.up_after
        };
        self.last_loss = Some(now);
        self.state = State::Down { steady_since: None };
        self.since = now;
        HealthChange::Down
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMES: HealthTimes = HealthTimes {
        down_after: Duration::from_secs(5),
        refused_after: Duration::from_secs(2),
        up_after: Duration::from_secs(10),
        flap_window: Duration::from_secs(300),
        up_after_max: Duration::from_secs(60),
    };
    const FAILED: Result<(), ProbeFailure> = Err(ProbeFailure::TimedOut);

    /// Probes every second, from `from` on; the seconds of changes.
    fn probe(
        health: &mut Health,
        start: Instant,
        from: u64,
        outcomes: &[Result<(), ProbeFailure>],
    ) -> Vec<(u64, HealthChange)> {
        let mut changes = Vec::new();
        for (second, outcome) in (from..).zip(outcomes) {
            let now = start + Duration::from_secs(second);
            let change = health.note_probe(*outcome, now, &TIMES);
            changes.extend(change.map(|change| (second, change)));
        }
        changes
    }

    #[test]
    fn a_node_is_down_after_five_seconds_and_up_after_ten_steady_ones() {
        let start = Instant::now();
        let mut health = Health::new(start, &TIMES);
        assert_eq!(health.cause(), HealthCause::NotProbed);
        assert!(!health.is_down() && !health.is_probed());
        assert_eq!(probe(&mut health, start, 0, &[Ok(())]), []);
        assert_eq!(health.cause(), HealthCause::Answers);
        assert_eq!(probe(&mut health, start, 1, &[FAILED; 4]), []);
        assert_eq!(health.cause(), HealthCause::ProbesFail);
        assert!(!health.is_down());
        assert_eq!(
            probe(&mut health, start, 5, &[FAILED; 3]),
            [(5, HealthChange::Down)]
        );
        assert_eq!(health.since(), start + Duration::from_secs(5));
        assert_eq!(health.failure(), Some(ProbeFailure::TimedOut));
        assert_eq!(probe(&mut health, start, 8, &[Ok(()); 10]), []);
        assert_eq!(health.cause(), HealthCause::Recovering);
        // One failure, and the ten seconds begin again.
        assert_eq!(probe(&mut health, start, 18, &[FAILED]), []);
        assert_eq!(
            probe(&mut health, start, 19, &[Ok(()); 12]),
            [(29, HealthChange::Up)]
        );
        assert_eq!(
            (health.cause(), health.failure()),
            (HealthCause::Answers, None)
        );
    }

    #[test]
    fn a_node_whose_process_has_ended_is_down_sooner() {
        const REFUSED: Result<(), ProbeFailure> = Err(ProbeFailure::ConnectionRefused);
        let start = Instant::now();
        let mut health = Health::new(start, &TIMES);
        let outcomes = [Ok(()), REFUSED, REFUSED, REFUSED];
        assert_eq!(
            probe(&mut health, start, 0, &outcomes),
            [(3, HealthChange::Down)]
        );
        // A process that was started again, or a failure of another kind, begins the time anew.
        for between in [Ok(()), FAILED] {
            let mut health = Health::new(start, &TIMES);
            let outcomes = [Ok(()), REFUSED, REFUSED, between, REFUSED];
            assert_eq!(probe(&mut health, start, 0, &outcomes), [], "{between:?}");
        }
    }

    #[test]
    fn a_node_that_is_set_up_wrongly_is_down_at_once() {
        let start = Instant::now();
        let mut health = Health::new(start, &TIMES);
        let outcomes = [Ok(()), Err(ProbeFailure::Misconfigured)];
        assert_eq!(
            probe(&mut health, start, 0, &outcomes),
            [(1, HealthChange::Down)]
        );
    }

    #[test]
    fn the_first_probe_decides_alone() {
        let start = Instant::now();
        let mut health = Health::new(start, &TIMES);
        assert_eq!(
            probe(&mut health, start, 0, &[FAILED]),
            [(0, HealthChange::Down)]
        );
        assert!(health.is_down());
        // For new sessions, not for those that are there.
        let after = |secs| health.is_surely_down(start + Duration::from_secs(secs), &TIMES);
        assert!(!after(0) && !after(4) && after(5));
        probe(&mut health, start, 1, &[Ok(()); 12]);
        assert!(!health.is_down());
        probe(&mut health, start, 13, &[FAILED; 6]);
        assert!(health.is_surely_down(start + Duration::from_secs(18), &TIMES));
    }

    #[test]
    fn a_flapping_node_waits_longer_each_time_up_to_a_limit() {
        let start = Instant::now();
        let mut health = Health::new(start, &TIMES);
        let mut second = 0;
        let mut waits = Vec::new();
        for _ in 0..5 {
            let mut down_at = None;
            let mut outcome = Ok(());
            loop {
                match probe(&mut health, start, second, &[outcome])[..] {
                    [(at, HealthChange::Down)] => {
                        down_at = Some(at);
                        outcome = Ok(());
                    }
                    [(at, HealthChange::Up)] => {
                        // The first success came a second after the loss.
                        waits.push(at - down_at.expect("it was down") - 1);
                        break;
                    }
                    _ if down_at.is_none() && second > 0 => outcome = FAILED,
                    _ => {}
                }
                second += 1;
            }
            second += 1;
        }
        assert_eq!(waits, [10, 20, 40, 60, 60]);
        // After a long steady time, a loss counts as the first.
        let later = start + Duration::from_secs(second + 1000);
        health.note_probe(Ok(()), later, &TIMES);
        let lost = later + TIMES.down_after;
        assert_eq!(
            health.note_probe(FAILED, lost, &TIMES),
            Some(HealthChange::Down)
        );
        assert_eq!(health.up_after(), TIMES.up_after);
    }

    proptest! {
        /// Whatever the probes say: no change without its time, and changes alternate.
        #[test]
        fn changes_have_their_reasons(outcomes in prop::collection::vec((any::<bool>(), 0u64..4000), 1..200)) {
            let start = Instant::now();
            let mut now = start;
            let mut health = Health::new(start, &TIMES);
            let mut last_success = None;
            let mut steady_since = None;
            for (n, (succeeds, pause)) in outcomes.into_iter().enumerate() {
                now += Duration::from_millis(pause);
                let was_down = health.is_down();
                let required = health.up_after();
                let outcome = if succeeds { Ok(()) } else { FAILED };
                steady_since = if succeeds { steady_since.or(Some(now)) } else { None };
                match health.note_probe(outcome, now, &TIMES) {
                    Some(HealthChange::Down) => {
                        prop_assert!(!was_down && !succeeds);
                        let silent = last_success.is_none_or(|last| now.duration_since(last) >= TIMES.down_after);
                        prop_assert!(silent && health.since() == now);
                        prop_assert!(n == 0 || last_success.is_some());
                    }
                    Some(HealthChange::Up) => {
                        prop_assert!(was_down && succeeds);
                        let steady = steady_since.map(|since| now.duration_since(since));
                        prop_assert!(steady >= Some(required));
                    }
                    None => prop_assert!(n == 0 || was_down == health.is_down()),
                }
                prop_assert!(health.up_after() >= TIMES.up_after && health.up_after() <= TIMES.up_after_max);
                if succeeds {
                    last_success = Some(now);
                }
            }
        }
    }
}
