//! The schedule and the join window.

use crate::domain::time::Timestamp;

/// When the consultation takes place. Start and end are optional.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Its start.
    pub start: Option<Timestamp>,
    /// Its end.
    pub end: Option<Timestamp>,
}

impl Schedule {
    /// Whether it ends before or when it starts.
    pub fn is_reversed(&self) -> bool {
        matches!((self.start, self.end), (Some(start), Some(end)) if end <= start)
    }
}

/// How long before and after its schedule a session may be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinWindow {
    /// Seconds before the scheduled start.
    pub early_secs: u64,
    /// Seconds after the scheduled end.
    pub late_secs: u64,
}

impl JoinWindow {
    /// When the join window opens; `None` without a scheduled start.
    pub fn opens_at(&self, schedule: &Schedule) -> Option<Timestamp> {
        schedule
            .start
            .map(|start| start.minus_secs(self.early_secs))
    }

    /// When the join window closes; `None` without a scheduled end.
    pub fn closes_at(&self, schedule: &Schedule) -> Option<Timestamp> {
        schedule.end.map(|end| end.plus_secs(self.late_secs))
    }
}
