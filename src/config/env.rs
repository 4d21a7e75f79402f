//! Reads settings and keeps account: of every fault, so that all are reported at once, and of every setting that was asked
//! for, so that a test can hold `.env.example` and the README to it. Values are never repeated: they may be secrets.

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

/// Where settings come from: the process's environment, or a test's.
pub struct Env<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<Fault>,
    defaults: BTreeMap<&'static str, String>,
}

impl<'a> Env<'a> {
    /// Reads through `lookup`, in whose values U+FFFD stands for what is not UTF-8. A setting that is empty counts as not
    /// set.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            faults: Vec::new(),
            defaults: BTreeMap::new(),
        }
    }

    /// A setting without a default.
    pub fn optional(&mut self, setting: &'static str) -> Option<String> {
        self.defaults.entry(setting).or_default();
        let value = (self.lookup)(setting)?;
        if value.contains(char::REPLACEMENT_CHARACTER) {
            self.fault(setting, "must be UTF-8");
        }
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// A setting that `parse` understands, or else breaks `rule`; `default` is parsed like a value that was set.
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
            self.fault(setting, rule);
        }
        parsed
    }

    /// A whole number within bounds.
    pub fn number<T>(&mut self, setting: &'static str, default: T, least: T, most: T) -> T
    where
        T: Copy + PartialOrd + fmt::Display + std::str::FromStr,
    {
        let rule = format!("must be a whole number from {least} to {most}");
        self.parse(setting, &default.to_string(), &rule, |text| {
            text.parse()
                .ok()
                .filter(|number| (least..=most).contains(number))
        })
        .unwrap_or(default)
    }

    /// Reports that a setting breaks a rule.
    pub fn fault(&mut self, setting: &'static str, rule: impl Into<String>) {
        self.faults.push(Fault {
            setting,
            rule: rule.into(),
        });
    }

    /// Every setting that was asked for, with its default; empty where it has none.
    pub fn defaults(&self) -> &BTreeMap<&'static str, String> {
        &self.defaults
    }

    /// `config`, if nothing is at fault.
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
