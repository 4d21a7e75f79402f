//! What participants' pages last reported of their connection, until they leave: then it goes into the event.
//!
//! Kept in memory only. A page reports again and again, the whole since the call began, so a report that is lost costs nothing but
//! the seconds after the one before it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::change::Change;
use crate::domain::event::EventKind;
use crate::domain::id::{SessionId, UserId};
use crate::domain::quality::{CallQuality, GOOD};
use crate::domain::session::Session;
use crate::telemetry::metrics::Metrics;

/// How many reports are kept. Those of further participants are dropped.
const REPORTS_MAX: usize = 50_000;
/// How long a report is kept that the page does not renew: longer than the pause between two reports and the longest grace period.
/// Participants who left by a change of another instance are forgotten by this.
const KEPT: Duration = Duration::from_secs(900);
/// How often old reports are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The reports of the participants of all sessions.
pub(super) struct Qualities {
    state: Mutex<State>,
}

struct State {
    reports: HashMap<SessionId, HashMap<UserId, Report>>,
    count: usize,
    swept: Instant,
}

struct Report {
    quality: CallQuality,
    at: Instant,
}

impl Default for Qualities {
    fn default() -> Self {
        let state = State {
            reports: HashMap::new(),
            count: 0,
            swept: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

impl Qualities {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and the table is consistent at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a participant's newest report instead of the one before it.
    pub(super) fn note(&self, session_id: &SessionId, user_id: &UserId, quality: CallQuality) {
        self.note_at(Instant::now(), session_id, user_id, quality);
    }

    fn note_at(&self, at: Instant, session_id: &SessionId, user_id: &UserId, quality: CallQuality) {
        let mut state = self.lock();
        state.sweep(at);
        let is_known =
            (state.reports.get(session_id)).is_some_and(|reports| reports.contains_key(user_id));
        if !is_known {
            if state.count >= REPORTS_MAX {
                return;
            }
            state.count += 1;
        }
        let reports = state.reports.entry(session_id.clone()).or_default();
        reports.insert(user_id.clone(), Report { quality, at });
    }

    /// Puts into a change's events what is known of the participants who leave by it. `before` is the session before the change.
    pub(super) fn complete(&self, before: &Session, change: &mut Change) {
        let state = self.lock();
        let Some(reports) = state.reports.get(&before.session_id) else {
            return;
        };
        for event in &mut change.events {
            let time = event.time;
            let EventKind::ParticipantLeft {
                user_id, quality, ..
            } = &mut event.kind
            else {
                continue;
            };
            let known = reports.get(user_id).zip(before.participant(user_id));
            // A page may report anything.
            *quality = known
                .filter(|(report, present)| {
                    let connected = time.since(present.connect_time);
                    report.quality.fits_into(connected)
                })
                .map(|(report, _)| report.quality.clone());
        }
    }

    /// The change is stored: counts what its events say, and forgets the participants who left.
    pub(super) fn settle(&self, change: &Change, metrics: &Metrics) {
        let mut state = self.lock();
        for event in &change.events {
            if let EventKind::ParticipantLeft {
                user_id, quality, ..
            } = &event.kind
            {
                state.forget(&event.session_id, user_id);
                if let Some(quality) = quality {
                    count(quality, metrics);
                }
            }
        }
    }
}

fn count(quality: &CallQuality, metrics: &Metrics) {
    metrics.count_call_quality(GOOD, "", quality.good_secs);
    for trouble in &quality.troubles {
        metrics.count_call_quality(trouble.level.name(), trouble.reason.name(), trouble.secs);
    }
}

impl State {
    fn forget(&mut self, session_id: &SessionId, user_id: &UserId) {
        let Some(reports) = self.reports.get_mut(session_id) else {
            return;
        };
        if reports.remove(user_id).is_some() {
            self.count -= 1;
        }
        if reports.is_empty() {
            self.reports.remove(session_id);
        }
    }

    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        self.reports.retain(|_, reports| {
            reports.retain(|_, report| now.duration_since(report.at) < KEPT);
            !reports.is_empty()
        });
        self.count = self.reports.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionId {
        SessionId::from_stored("sess_1".into())
    }

    fn user(number: usize) -> UserId {
        UserId::from_stored(format!("user-{number}"))
    }

    fn kept(qualities: &Qualities) -> usize {
        qualities.lock().count
    }

    #[test]
    fn a_participant_has_one_report_and_there_are_not_too_many() {
        let qualities = Qualities::default();
        for _ in 0..3 {
            qualities.note(&session(), &user(0), CallQuality::example());
        }
        assert_eq!(kept(&qualities), 1);
        for number in 0..REPORTS_MAX + 3 {
            qualities.note(&session(), &user(number), CallQuality::default());
        }
        assert_eq!(kept(&qualities), REPORTS_MAX);
        qualities.lock().forget(&session(), &user(0));
        qualities.lock().forget(&session(), &user(0));
        assert_eq!(kept(&qualities), REPORTS_MAX - 1);
    }

    #[test]
    fn a_report_that_is_not_renewed_is_forgotten() {
        let qualities = Qualities::default();
        let began = Instant::now();
        let note = |after, number| {
            let quality = CallQuality::default();
            qualities.note_at(began + after, &session(), &user(number), quality);
            kept(&qualities)
        };
        assert_eq!(note(SWEEP_EVERY * 2, 1), 1);
        assert_eq!(note(KEPT + SWEEP_EVERY, 2), 2);
        assert_eq!(note(KEPT + SWEEP_EVERY * 2, 3), 2);
    }
}
