//! Reads settings. Records every fault, so that all are reported at once, and every setting read, so that a test can compare
//! them with `.env.example` and the README. Faults never contain values, which may be secrets.

use std::collections::BTreeMap;
use std::fmt;

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its name.
    pub setting: &'static str,
    /// What it must be.
    pub rule: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.rule)
    }
}

/// The source of settings: the process's environment, or a test's.
pub struct Env<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<Fault>,
    defaults: BTreeMap<&'static str, String>,
}

impl<'a> Env<'a> {
    /// Reads through `lookup`, whose values have U+FFFD in place of invalid UTF-8. An empty setting counts as not set.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            faults: Vec::new(),
            defaults: BTreeMap::new(),
        }
    }

    /// Reads a setting without a default.
    pub fn optional(&mut self, setting: &'static str) -> Option<String> {
        self.defaults.entry(setting).or_default();
        let value = (self.lookup)(setting)?;
        if value.contains(char::REPLACEMENT_CHARACTER) {
            self.report_fault(setting, "must be UTF-8");
        }
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Reads a variable that another setting names. It is no setting itself, and may hold a secret.
    pub fn lookup(&self, variable: &str) -> Option<String> {
        (self.lookup)(variable)
    }

    /// Reads a setting with `parse`; reports `rule` if that fails. `default` is parsed like a value.
    pub fn parse<T>(
        &mut self,
        setting: &'static str,
        default: &str,
        rule: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.optional(setting);
        self.defaults.insert(setting, default.to_owned());
        let parsed = parse(value.as_deref().unwrap_or(default));
        if parsed.is_none() {
            self.report_fault(setting, rule);
        }
        parsed
    }

    /// Reads a whole number within bounds.
    pub fn number<T>(&mut self, setting: &'static str, default: T, min: T, max: T) -> T
    where
        T: Copy + PartialOrd + fmt::Display + std::str::FromStr,
    {
        let rule = format!("must be a whole number from {min} to {max}");
        self.parse(setting, &default.to_string(), &rule, |text| {
            text.parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
        })
        .unwrap_or(default)
    }

    /// Reports that a setting breaks a rule.
    pub fn report_fault(&mut self, setting: &'static str, rule: impl Into<String>) {
        self.faults.push(Fault {
            setting,
            rule: rule.into(),
        });
    }

    /// Every setting read, with its default; empty if it has none.
    pub fn defaults(&self) -> &BTreeMap<&'static str, String> {
        &self.defaults
    }

    /// Returns `config` if there are no faults.
    ///
    /// # Errors
    /// All faults.
    pub fn finish<T>(self, config: Option<T>) -> Result<T, Vec<Fault>> {
        match config {
            Some(config) if self.faults.is_empty() => Ok(config),
            _ => Err(self.faults),
        }
    }
}
