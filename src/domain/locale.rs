//! Languages that backends ask for: BCP 47 tags.

use std::fmt;

/// What a locale must be.
pub const LOCALE_RULE: &str = "must be a BCP 47 language tag, as in es or pt-BR";
/// The longest tag: what RFC 5646, section 4.4.1, advises to have room for.
const CHARS_MAX: usize = 35;

/// A well-formed BCP 47 language tag (RFC 5646, section 2.1), without the irregular ones of old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locale(String);

impl Locale {
    /// `None` if the text is not well-formed.
    pub fn parse(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let is_valid = text.len() <= CHARS_MAX && is_well_formed(&text);
        is_valid.then_some(Self(text))
    }

    /// The tag as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_well_formed(tag: &str) -> bool {
    let mut parts = tag.split('-').peekable();
    let is_language = |part: &str| is_alphabetic(part, 2..=8);
    if !parts.next().is_some_and(is_language) {
        return false;
    }
    for _ in 0..3 {
        parts.next_if(|part| is_alphabetic(part, 3..=3));
    }
    parts.next_if(|part| is_alphabetic(part, 4..=4));
    parts.next_if(|part| {
        is_alphabetic(part, 2..=2) || (part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit()))
    });
    while parts.next_if(|part| is_variant(part)).is_some() {}
    // Extensions and private use: a single letter or digit, and what it is for.
    while let Some(singleton) = parts.next() {
        let shortest = match singleton {
            "x" | "X" => 1,
            _ => 2,
        };
        let is_singleton = is_alphanumeric(singleton, 1..=1);
        let mut count = 0;
        while parts
            .next_if(|part| is_alphanumeric(part, shortest..=8))
            .is_some()
        {
            count += 1;
        }
        if !is_singleton || count == 0 {
            return false;
        }
    }
    true
}

fn is_variant(part: &str) -> bool {
    let begins_with_digit = part.bytes().next().is_some_and(|b| b.is_ascii_digit());
    is_alphanumeric(part, 5..=8) || (begins_with_digit && is_alphanumeric(part, 4..=4))
}

fn is_alphabetic(part: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphabetic())
}

fn is_alphanumeric(part: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_tags_are_taken_and_others_are_not() {
        for good in [
            "es",
            "pt-BR",
            "zh-Hant-TW",
            "es-419",
            "sr-Latn",
            "de-CH-1996",
            "sl-rozaj-biske",
            "zh-cmn-Hans-CN",
            "ar-u-nu-latn",
            "en-a-bbb-x-a-ccc",
            "FIL",
        ] {
            assert!(Locale::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "e",
            "-",
            "es-",
            "es_MX",
            "es MX",
            "español",
            "es-MX-",
            "en--GB",
            "123",
            "en-u",
            "en-GB-GB",
            "x-klingon",
            "../en",
            "en-abcdefghi",
            "en-x-abcdefg-abcdefg-abcdefg-abcdefg",
        ] {
            assert!(Locale::parse(bad).is_none(), "{bad}");
        }
    }
}
