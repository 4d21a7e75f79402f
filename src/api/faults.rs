//! Collects the faults of a request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use crate::domain::error::{Error, Violation};
use crate::domain::id::{ID_RULE, InvalidId};
use crate::domain::label::{Labels, labels_fault, text_fault};
use crate::domain::locale::{LOCALE_RULE, Locale};
use crate::domain::page::page_size;
use crate::domain::role::Role;
use crate::domain::time::Timestamp;
use crate::proto::v1;

/// The faults of a request, in the order in which its fields are parsed.
#[derive(Default)]
pub(super) struct Faults(Vec<Violation>);

impl Faults {
    pub(super) fn add(&mut self, field: &'static str, description: impl Into<String>) {
        self.0.push(Violation {
            field: Cow::Borrowed(field),
            description: description.into(),
        });
    }

    /// Parses a field that must be set.
    pub(super) fn required<T>(
        &mut self,
        field: &'static str,
        text: String,
        parse: impl FnOnce(String) -> Result<T, InvalidId>,
    ) -> Option<T> {
        if text.is_empty() {
            self.add(field, "is required");
            return None;
        }
        self.optional(field, text, parse)
    }

    /// Parses a field that may be empty.
    pub(super) fn optional<T>(
        &mut self,
        field: &'static str,
        text: String,
        parse: impl FnOnce(String) -> Result<T, InvalidId>,
    ) -> Option<T> {
        if text.is_empty() {
            return None;
        }
        let parsed = parse(text).ok();
        if parsed.is_none() {
            self.add(field, ID_RULE);
        }
        parsed
    }

    pub(super) fn time(
        &mut self,
        field: &'static str,
        time: Option<prost_types::Timestamp>,
    ) -> Option<Timestamp> {
        let prost_types::Timestamp { seconds, nanos } = time?;
        let parsed = Timestamp::from_unix(seconds, nanos);
        if parsed.is_none() {
            self.add(field, "must be a valid time from year 1 to year 9999");
        }
        parsed
    }

    /// Parses a time span that may be missing.
    pub(super) fn duration(
        &mut self,
        field: &'static str,
        span: Option<prost_types::Duration>,
        max: Duration,
    ) -> Option<Duration> {
        let parsed = Duration::try_from(span?).ok().filter(|span| *span <= max);
        if parsed.is_none() {
            self.add(field, format!("must be 0 to {} s", max.as_secs()));
        }
        parsed
    }

    /// Parses a time span of whole seconds that may be missing.
    pub(super) fn whole_secs(
        &mut self,
        field: &'static str,
        span: Option<prost_types::Duration>,
        max_secs: u64,
    ) -> Option<u64> {
        let prost_types::Duration { seconds, nanos } = span?;
        let secs = u64::try_from(seconds).ok();
        let parsed = secs.filter(|secs| nanos == 0 && *secs <= max_secs);
        if parsed.is_none() {
            self.add(
                field,
                format!("must be 0 to {max_secs} s, in whole seconds"),
            );
        }
        parsed
    }

    pub(super) fn text(&mut self, field: &'static str, text: String) -> String {
        if let Some(fault) = text_fault(&text) {
            self.add(field, fault);
        }
        text
    }

    /// Parses a locale that may be empty.
    pub(super) fn locale(&mut self, text: String) -> Option<Locale> {
        if text.is_empty() {
            return None;
        }
        let parsed = Locale::parse(text);
        if parsed.is_none() {
            self.add("locale", LOCALE_RULE);
        }
        parsed
    }

    pub(super) fn labels(&mut self, labels: HashMap<String, String>) -> Labels {
        let labels = labels.into_iter().collect();
        if let Some(fault) = labels_fault(&labels) {
            self.add("labels", fault);
        }
        labels
    }

    pub(super) fn role(&mut self, role: i32, allowed: &[Role]) -> Option<Role> {
        let parsed = match v1::Role::try_from(role) {
            Ok(v1::Role::Unspecified) => {
                self.add("role", "is required");
                return None;
            }
            Ok(v1::Role::Doctor) => Some(Role::Doctor),
            Ok(v1::Role::Patient) => Some(Role::Patient),
            Ok(v1::Role::Guest) => Some(Role::Guest),
            Ok(v1::Role::Interpreter) => Some(Role::Interpreter),
            Ok(v1::Role::Observer) => Some(Role::Observer),
            Err(_) => None,
        };
        let allowed_role = parsed.filter(|role| allowed.contains(role));
        if allowed_role.is_none() {
            let names: Vec<_> = allowed
                .iter()
                .map(|role| format!("ROLE_{}", role.name().to_uppercase()))
                .collect();
            self.add("role", format!("must be one of {}", names.join(", ")));
        }
        allowed_role
    }

    pub(super) fn not_negative(&mut self, field: &'static str, number: i64) -> i64 {
        if number < 0 {
            self.add(field, "must not be negative");
        }
        number
    }

    pub(super) fn page_size(&mut self, requested: i32) -> usize {
        self.not_negative("page_size", requested.into());
        page_size(u32::try_from(requested).unwrap_or(0))
    }

    /// Returns the request if it has no fault. If `request` is `None`, a fault must have been added.
    pub(super) fn finish<T>(self, request: Option<T>) -> Result<T, Error> {
        match request {
            Some(request) if self.0.is_empty() => Ok(request),
            _ => Err(Error::Validation(self.0)),
        }
    }
}
