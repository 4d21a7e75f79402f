//! Times in milliseconds, the precision of every store.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time, in milliseconds since 1970-01-01T00:00:00Z. Displays as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z, the earliest that google.protobuf.Timestamp holds.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// 9999-12-31T23:59:59.999Z, the latest that google.protobuf.Timestamp holds.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The time `millis` after the epoch, clamped to [`Self::MIN`] and [`Self::MAX`].
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// The time of a google.protobuf.Timestamp, truncated to milliseconds; `None` if it is out of range.
    pub fn from_unix(seconds: i64, nanos: i32) -> Option<Self> {
        let subsec_millis = i64::from(nanos) / 1_000_000;
        let millis = seconds.checked_mul(1000)?.checked_add(subsec_millis)?;
        let in_range =
            (0..1_000_000_000).contains(&nanos) && (Self::MIN.0..=Self::MAX.0).contains(&millis);
        in_range.then_some(Self(millis))
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time, rounded down to a whole second.
    pub fn floor_to_secs(self) -> Self {
        Self::from_millis(self.as_secs() * 1000)
    }

    /// The part below a second, in nanoseconds.
    pub fn subsec_nanos(self) -> i32 {
        i32::try_from(self.0.rem_euclid(1000) * 1_000_000).unwrap_or(0)
    }

    /// `secs` later, at most [`Self::MAX`].
    pub fn plus_secs(self, secs: u64) -> Self {
        let millis = i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1000);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// `secs` earlier, at least [`Self::MIN`].
    pub fn minus_secs(self, secs: u64) -> Self {
        let millis = i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1000);
        Self::from_millis(self.0.saturating_sub(millis))
    }

    /// The time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<i64> for Timestamp {
    fn from(millis: i64) -> Self {
        Self::from_millis(millis)
    }
}

impl From<Timestamp> for i64 {
    fn from(time: Timestamp) -> Self {
        time.as_millis()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|moment| {
                moment
                    .format(&time::format_description::well_known::Rfc3339)
                    .ok()
            });
        f.write_str(text.as_deref().unwrap_or("an unknown time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn survives_the_wire(millis in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let moment = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::from_unix(moment.as_secs(), moment.subsec_nanos()), Some(moment));
        }

        #[test]
        fn any_wire_value_is_accepted_or_refused_without_panic(seconds: i64, nanos: i32) {
            let _ = Timestamp::from_unix(seconds, nanos).map(|moment| moment.to_string());
        }

        #[test]
        fn arithmetic_stays_in_range(millis: i64, secs: u64) {
            let moment = Timestamp::from_millis(millis);
            prop_assert!(moment.plus_secs(secs) >= moment && moment.plus_secs(secs) <= Timestamp::MAX);
            prop_assert!(moment.minus_secs(secs) <= moment && moment.minus_secs(secs) >= Timestamp::MIN);
        }
    }

    #[test]
    fn displays_as_rfc_3339() {
        assert_eq!(
            Timestamp::from_millis(1_795_219_200_500).to_string(),
            "2026-11-21T00:00:00.5Z"
        );
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
    }
}
