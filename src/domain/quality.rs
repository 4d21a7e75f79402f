//! How good a participant's connection was during the call, in seconds, as their page measured it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::named::named;

/// The most seconds that a report may give in one place: a week.
pub const QUALITY_SECS_MAX: u32 = 604_800;

/// By how much a page may count more than the service: their clocks differ, and the page counts until it learns that it is gone.
const TOLERANCE: Duration = Duration::from_secs(60);

/// The name of the level without trouble.
pub const GOOD: &str = "good";

/// How bad a connection is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    IntoStaticStr,
    EnumString,
    VariantArray,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum QualityLevel {
    /// The participants understand each other, but notice it.
    Weak,
    /// They can hardly see or hear each other.
    Bad,
}

/// Why a connection is weak or bad.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    IntoStaticStr,
    EnumString,
    VariantArray,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum QualityReason {
    /// Packets are lost.
    Loss,
    /// Packets take too long.
    Latency,
    /// There is too little room for the picture.
    Bandwidth,
    /// A picture stands still.
    Frozen,
    /// Nothing arrives.
    Disconnected,
}

/// Seconds of one level, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualityTrouble {
    /// How bad it was.
    pub level: QualityLevel,
    /// Why.
    pub reason: QualityReason,
    /// For how long.
    pub secs: u32,
}

/// How good a participant's connection was, from the start of the call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallQuality {
    /// For how many seconds it was good.
    pub good_secs: u32,
    /// Each level and reason at most once.
    pub troubles: Vec<QualityTrouble>,
}

impl CallQuality {
    /// Whether a participant who was connected for `connected` can have had all these seconds.
    pub fn fits_into(&self, connected: Duration) -> bool {
        let troubles = self.troubles.iter();
        let trouble_secs: u64 = troubles.map(|trouble| u64::from(trouble.secs)).sum();
        Duration::from_secs(u64::from(self.good_secs) + trouble_secs) <= connected + TOLERANCE
    }

    /// One with every level and reason.
    pub fn example() -> Self {
        let levels = QualityLevel::ALL.iter();
        let troubles = levels.flat_map(|level| {
            let reasons = QualityReason::ALL.iter().zip(1..);
            reasons.map(|(reason, secs)| QualityTrouble {
                level: *level,
                reason: *reason,
                secs,
            })
        });
        Self {
            good_secs: 600,
            troubles: troubles.collect(),
        }
    }
}

named!(QualityLevel, QualityReason);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_was_connected_for_longer_than_they_were_there() {
        let quality = CallQuality {
            good_secs: 100,
            troubles: vec![QualityTrouble {
                level: QualityLevel::Bad,
                reason: QualityReason::Loss,
                secs: 20,
            }],
        };
        assert!(quality.fits_into(Duration::from_secs(60)));
        assert!(!quality.fits_into(Duration::from_secs(59)));
        let all = CallQuality {
            good_secs: u32::MAX,
            troubles: vec![
                QualityTrouble {
                    level: QualityLevel::Weak,
                    reason: QualityReason::Loss,
                    secs: u32::MAX,
                };
                8
            ],
        };
        assert!(!all.fits_into(Duration::from_secs(1)));
    }
}
