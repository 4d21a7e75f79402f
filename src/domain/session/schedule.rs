//! When a session takes place, and when it may be joined.

use crate::domain::time::Timestamp;

/// When the consultation is to take place. Either end may be open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Its start.
    pub start: Option<Timestamp>,
    /// Its end.
    pub end: Option<Timestamp>,
}

impl Schedule {
    /// True when it ends before it has begun.
    pub fn is_reversed(&self) -> bool {
        matches!((self.start, self.end), (Some(start), Some(end)) if end <= start)
    }
}

/// How much earlier and later than scheduled a session may be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinWindow {
    /// Seconds before the scheduled start.
    pub early_secs: u64,
    /// Seconds after the scheduled end.
    pub late_secs: u64,
}

impl JoinWindow {
    /// When the door opens.
    pub fn opens_at(&self, schedule: &Schedule) -> Option<Timestamp> {
        schedule
            .start
            .map(|start| start.minus_secs(self.early_secs))
    }

    /// When the door closes.
    pub fn closes_at(&self, schedule: &Schedule) -> Option<Timestamp> {
        schedule.end.map(|end| end.plus_secs(self.late_secs))
    }
}
