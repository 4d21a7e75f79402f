//! One type per identifier, so that a doctor's id cannot be used as a session's.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use uuid::ContextV7;

use super::time::Timestamp;

/// The longest identifier, in bytes (all permitted characters are one byte long).
pub const ID_LENGTH_MAX: usize = 128;

/// The rule for identifiers, as callers read it in errors.
pub const ID_RULE: &str = "must be 1 to 128 characters: letters, digits and . _ : @ -";

/// The string is not an identifier; see [`ID_RULE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidId;

fn is_id(text: &str) -> bool {
    (1..=ID_LENGTH_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte))
}

macro_rules! id_types {
    ($($(#[$doc:meta])+ $name:ident;)+) => {$(
        $(#[$doc])+
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Parses an identifier that follows [`ID_RULE`].
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                if is_id(&text) { Ok(Self(text)) } else { Err(InvalidId) }
            }

            /// An identifier read from a store; not checked.
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

id_types! {
    /// A session: `sess_` and a UUIDv7, so that ids sort by time of creation.
    SessionId;
    /// An appointment, as the backend names it.
    AppointmentId;
    /// A doctor or a patient, as the backend names them.
    UserId;
    /// An SFU node, as the operator names it.
    NodeId;
    /// A region of SFU nodes, as the operator names it.
    Region;
}

/// How many milliseconds keep their order: threads may have read the clock that far apart.
const ORDERED_MILLIS_MAX: usize = 16;

/// Orders the ids of one millisecond, for the most recent milliseconds, newest first; shared by all threads. Each millisecond has
/// its own context, because a context never goes back in time: after a jump of the clock to the future and back, its ids would
/// stay in the future.
static SESSION_ID_ORDER: Mutex<VecDeque<(u64, ContextV7)>> = Mutex::new(VecDeque::new());

impl SessionId {
    /// A new id whose order follows `now`, and the order of calls within one millisecond of one process.
    pub fn generate(now: Timestamp) -> Self {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        // Nothing panics while it holds this lock.
        let mut order = SESSION_ID_ORDER
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = order.iter().position(|(known, _)| *known == millis);
        let known = known.and_then(|place| order.remove(place));
        let (_, context) = known.unwrap_or_else(|| (millis, ContextV7::new()));
        let timestamp = uuid::Timestamp::from_unix(
            &context,
            millis / 1000,
            u32::try_from(millis % 1000 * 1_000_000).unwrap_or(0),
        );
        order.push_front((millis, context));
        order.truncate(ORDERED_MILLIS_MAX);
        drop(order);
        Self(format!("sess_{}", uuid::Uuid::new_v7(timestamp).simple()))
    }

    /// Whether the service may have generated this id: `sess_` and 32 lower-case hex digits. Any other text came from a caller and
    /// may contain anything.
    pub fn is_well_formed(&self) -> bool {
        let digits = self.0.strip_prefix("sess_").unwrap_or("");
        digits.len() == 32
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// A text that sorts before every id generated in the millisecond `time`, and after those of earlier ones.
    pub fn lower_bound_of(time: Timestamp) -> String {
        // A UUIDv7 begins with 48 bits of milliseconds (RFC 9562, section 5.7).
        format!("sess_{:012x}", time.as_millis().max(0))
    }

    /// A text that sorts after every id generated in the millisecond `time`, and before those of later ones.
    pub fn upper_bound_of(time: Timestamp) -> String {
        Self::lower_bound_of(Timestamp::from_millis(time.as_millis().saturating_add(1)))
    }
}

impl UserId {
    /// An id for an invited user for whom the backend has none.
    pub fn generate() -> Self {
        Self(format!("invited_{}", random_id()))
    }
}

/// A random id where no order is needed: a token's `jti`, a write's id.
pub fn random_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn accepts_exactly_the_documented_alphabet(text in ".{0,140}") {
            let allowed = (1..=128).contains(&text.chars().count())
                && text.chars().all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | ':' | '@' | '-'));
            prop_assert_eq!(UserId::parse(text).is_ok(), allowed);
        }

        #[test]
        fn accepts_every_text_of_the_alphabet(text in "[a-zA-Z0-9._:@-]{1,128}") {
            prop_assert!(UserId::parse(text).is_ok());
        }
    }

    #[test]
    fn the_bounds_of_a_millisecond_enclose_its_ids() {
        let now = Timestamp::from_millis(1_900_000_000_000);
        let id = SessionId::generate(now);
        assert!(SessionId::lower_bound_of(now).as_str() < id.as_str());
        assert!(id.as_str() < SessionId::upper_bound_of(now).as_str());
    }

    #[test]
    fn only_ids_that_the_service_generates_are_well_formed() {
        let is_well_formed = |text: &str| SessionId::from_stored(text.into()).is_well_formed();
        assert!(is_well_formed(&format!(
            "sess_{}",
            "0123456789abcdef".repeat(2)
        )));
        for other in [
            "sess_1",
            "user-1",
            "sess_",
            &format!("sess_{}", "A".repeat(32)),
        ] {
            assert!(!is_well_formed(other), "{other}");
        }
        // Later than every other test's: the ids of one process never run backwards.
        let now = Timestamp::from_millis(1_900_000_000_000);
        assert!(SessionId::generate(now).is_well_formed());
    }

    #[test]
    fn ids_of_one_millisecond_keep_their_order() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let ids: Vec<_> = (0..1000).map(|_| SessionId::generate(now)).collect();
        assert!(ids.is_sorted());
        assert!(SessionId::generate(now.plus_secs(1)) > ids[999]);
    }

    #[test]
    fn after_a_jump_of_the_clock_and_back_ids_follow_the_clock() {
        let now = Timestamp::from_millis(1_850_000_000_000);
        let before = SessionId::generate(now);
        let far = now.plus_secs(3600);
        assert!(SessionId::generate(far).as_str() > SessionId::lower_bound_of(far).as_str());
        // Back by the hour, and a millisecond on.
        let back = Timestamp::from_millis(now.as_millis() + 1);
        let after = SessionId::generate(back);
        assert!(after > before);
        assert!(after.as_str() > SessionId::lower_bound_of(back).as_str());
        assert!(after.as_str() < SessionId::upper_bound_of(back).as_str());
        // Also within the very millisecond from which the clock jumped.
        let again = SessionId::generate(now);
        assert!(again > before && again < after);
    }

    #[test]
    fn threads_that_read_the_clock_in_turns_keep_the_order_of_each_millisecond() {
        let now = Timestamp::from_millis(1_860_000_000_000);
        let next = Timestamp::from_millis(now.as_millis() + 1);
        let mut earlier = Vec::new();
        let mut later = Vec::new();
        for _ in 0..1000 {
            later.push(SessionId::generate(next));
            earlier.push(SessionId::generate(now));
        }
        assert!(earlier.is_sorted() && later.is_sorted());
        assert!(earlier.last() < later.first());
    }
}
