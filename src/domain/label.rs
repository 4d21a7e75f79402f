//! Free text that callers attach: labels, names and reasons, and its limits.

use std::collections::BTreeMap;

/// How many labels a session may have.
pub const LABELS_MAX: usize = 32;
/// The longest label key, in characters.
pub const LABEL_KEY_CHARS_MAX: usize = 128;
/// The longest display name, label value or reason, in characters.
pub const TEXT_CHARS_MAX: usize = 256;

/// The backend's notes on a session.
pub type Labels = BTreeMap<String, String>;

/// The fault of a display name, a label value or a reason; `None` if it is valid.
pub fn text_fault(text: &str) -> Option<String> {
    if text.chars().count() > TEXT_CHARS_MAX {
        Some(format!("must have at most {TEXT_CHARS_MAX} characters"))
    } else if text.chars().any(char::is_control) {
        Some("must not contain control characters".to_owned())
    } else {
        None
    }
}

/// The fault of labels; `None` if they are valid. The text does not repeat keys, which may name a person.
pub fn labels_fault(labels: &Labels) -> Option<String> {
    if labels.len() > LABELS_MAX {
        return Some(format!("must have at most {LABELS_MAX} pairs"));
    }
    labels.iter().find_map(|(key, value)| {
        if key.is_empty() || key.chars().count() > LABEL_KEY_CHARS_MAX {
            Some(format!(
                "keys must have 1 to {LABEL_KEY_CHARS_MAX} characters"
            ))
        } else if key.chars().any(char::is_control) {
            Some("keys must not contain control characters".to_owned())
        } else {
            text_fault(value).map(|fault| format!("values {fault}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_inclusive() {
        assert_eq!(text_fault(&"ü".repeat(TEXT_CHARS_MAX)), None);
        assert!(text_fault(&"ü".repeat(TEXT_CHARS_MAX + 1)).is_some());
        assert!(text_fault("a\nb").is_some());

        let labels = |count: usize| -> Labels {
            (0..count)
                .map(|n| (format!("key-{n}"), String::new()))
                .collect()
        };
        assert_eq!(labels_fault(&labels(LABELS_MAX)), None);
        assert!(labels_fault(&labels(LABELS_MAX + 1)).is_some());
        assert!(labels_fault(&Labels::from([(String::new(), "x".to_owned())])).is_some());
    }
}
