//! The codes of short links.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use crate::domain::id::SessionId;

/// Crockford's base 32: no two of its characters are mistaken for one another, and capitals do not matter, so that a code can be
/// read out and typed in.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// As many characters as 128 bits need.
const CODE_CHARS: usize = 26;
const BITS_PER_CHAR: usize = 5;

/// The code of a short link: 128 bits that nobody can guess. Has no `Debug`: it is a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct ShortCode(String);

/// A text is not a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotACode {
    /// It is the beginning of one, or empty.
    Cut,
    /// Something else.
    Other,
}

impl ShortCode {
    /// Parses a code as people and programs pass it on: with capitals, with punctuation after it, with the letters O, I and L for the
    /// digits that they look like.
    ///
    /// # Errors
    /// [`NotACode`]
    pub fn parse(text: &str) -> Result<Self, NotACode> {
        let text = text.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if text.len() > CODE_CHARS {
            return Err(NotACode::Other);
        }
        let code: Option<String> = text
            .chars()
            .map(|c| match c.to_ascii_lowercase() {
                'o' => Some('0'),
                'i' | 'l' => Some('1'),
                c => (c.is_ascii() && ALPHABET.contains(&(c as u8))).then_some(c),
            })
            .collect();
        let code = code.ok_or(NotACode::Other)?;
        if code.len() < CODE_CHARS {
            return Err(NotACode::Cut);
        }
        Ok(Self(code))
    }

    /// The code, as links contain it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stores keep instead of the code.
    pub fn digest(&self) -> String {
        let hash = digest(&SHA256, self.0.as_bytes());
        hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Makes codes from a signing key: the same one for the same link, and none that other keys make.
pub(super) struct ShortCodes(hmac::Key);

impl ShortCodes {
    pub(super) fn new(signing_key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, signing_key))
    }

    /// The code of the link that was issued with the token `jti`.
    pub(super) fn code(&self, session_id: &SessionId, jti: &str) -> ShortCode {
        // No token's signature is one of this text: none contains a space.
        let mac = hmac::sign(&self.0, format!("short link {session_id} {jti}").as_bytes());
        let bits = mac.as_ref().iter().take(16);
        let bits = bits.fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let chars = (0..CODE_CHARS).rev().map(|place| {
            let index = (bits >> (place * BITS_PER_CHAR)) & 0x1f;
            char::from(ALPHABET[usize::try_from(index).unwrap_or(0)])
        });
        ShortCode(chars.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(jti: &str) -> ShortCode {
        let session_id = SessionId::from_stored("sess_1".into());
        ShortCodes::new(&[7; 32]).code(&session_id, jti)
    }

    #[test]
    fn a_code_is_understood_as_people_pass_it_on() {
        let made = code("jti-1");
        let text = made.as_str().to_owned();
        assert_eq!(text.len(), CODE_CHARS);
        let looks_alike = text
            .to_ascii_uppercase()
            .replace('0', "O")
            .replace('1', "I");
        for passed_on in [
            text.clone(),
            looks_alike,
            format!("{text}."),
            format!("{text})."),
            format!("{text}>"),
            format!("{text}\u{201d}"),
        ] {
            assert!(
                ShortCode::parse(&passed_on) == Ok(made.clone()),
                "{passed_on}"
            );
        }
    }

    #[test]
    fn a_cut_code_is_told_from_something_else() {
        let text = code("jti-1").as_str().to_owned();
        let outcome = |text: &str| ShortCode::parse(text).err();
        assert_eq!(outcome(&text[..25]), Some(NotACode::Cut));
        assert_eq!(outcome(""), Some(NotACode::Cut));
        assert_eq!(outcome(&format!("{text}0")), Some(NotACode::Other));
        assert_eq!(outcome(&format!("{}u", &text[..25])), Some(NotACode::Other));
        assert_eq!(outcome("wp-login.php"), Some(NotACode::Other));
        assert_eq!(outcome("\u{e9}"), Some(NotACode::Cut));
    }

    #[test]
    fn every_link_has_its_own_code() {
        assert!(code("jti-1") == code("jti-1"));
        assert!(code("jti-1") != code("jti-2"));
        assert_ne!(code("jti-1").digest(), code("jti-2").digest());
        let session_id = SessionId::from_stored("sess_1".into());
        assert!(code("jti-1") != ShortCodes::new(&[8; 32]).code(&session_id, "jti-1"));
    }
}
