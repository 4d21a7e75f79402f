//! Names that participants choose for themselves.

use crate::domain::label::text_fault;

/// The name to show: without invisible characters, and without spaces at its ends.
///
/// # Errors
/// What is wrong with it.
pub fn parse_own_name(text: &str) -> Result<String, String> {
    let name: String = text.chars().filter_map(strip_invisible).collect();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    match text_fault(&name) {
        None if !name.contains(char::is_alphanumeric) => {
            Err("name must contain a letter or digit".to_owned())
        }
        None => Ok(name),
        Some(fault) => Err(format!("name {fault}")),
    }
}

/// Removes invisible characters, because they can hide or reorder text. Joiners stay: some scripts need them.
fn strip_invisible(c: char) -> Option<char> {
    match c {
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fdd0}'..='\u{fdef}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{13430}'..='\u{1345f}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => None,
        // The last two code points of each plane are not characters.
        c if u32::from(c) & 0xfffe == 0xfffe => None,
        '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_control() => Some(' '),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_visible_characters() {
        assert_eq!(
            parse_own_name("  Ann \n Lee\u{202e} "),
            Ok("Ann Lee".to_owned())
        );
        // A joiner within a word of a script that needs it.
        let joined = "\u{928}\u{94d}\u{200d}\u{92f}";
        assert_eq!(parse_own_name(joined), Ok(joined.to_owned()));
        assert!(parse_own_name("\u{200b} - ").is_err());
        assert!(parse_own_name(&"n".repeat(257)).is_err());
    }
}
