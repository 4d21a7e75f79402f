//! The clinic's logo.

use axum::body::Bytes;

/// The largest logo, in bytes: a phone with a poor connection loads it before the call.
pub const LOGO_BYTES_MAX: u64 = 102_400;

const PNG_START: &[u8] = b"\x89PNG\r\n\x1a\n";
const SVG_NAMESPACE: &str = "http://www.w3.org/2000/svg";

/// A picture, whose kind was told by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    kind: LogoKind,
    content: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogoKind {
    Svg,
    Png,
    WebP,
}

/// The file is no logo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogoError {
    /// It is too large.
    #[error("must have at most {LOGO_BYTES_MAX} bytes")]
    TooLarge,
    /// It is of no kind that the page shows.
    #[error("must be an SVG, PNG or WebP picture; an SVG must be UTF-8 and name its namespace")]
    UnknownKind,
}

impl Logo {
    /// Tells the kind of a picture.
    ///
    /// # Errors
    /// [`LogoError`]
    pub fn parse(content: Vec<u8>) -> Result<Self, LogoError> {
        if content.len() as u64 > LOGO_BYTES_MAX {
            return Err(LogoError::TooLarge);
        }
        let kind = LogoKind::of(&content).ok_or(LogoError::UnknownKind)?;
        Ok(Self {
            kind,
            content: content.into(),
        })
    }

    /// Its name among the page's files.
    pub(super) fn file_name(&self) -> &'static str {
        match self.kind {
            LogoKind::Svg => "clinic-logo.svg",
            LogoKind::Png => "clinic-logo.png",
            LogoKind::WebP => "clinic-logo.webp",
        }
    }

    pub(super) fn content(&self) -> Bytes {
        self.content.clone()
    }
}

impl LogoKind {
    fn of(content: &[u8]) -> Option<Self> {
        if content.starts_with(PNG_START) {
            Some(Self::Png)
        } else if content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WEBP") {
            Some(Self::WebP)
        } else {
            let text = std::str::from_utf8(content).ok()?;
            let is_svg = root_element(text)? == "svg" && text.contains(SVG_NAMESPACE);
            is_svg.then_some(Self::Svg)
        }
    }
}

/// The name of an XML text's first element: after the declaration, comments and the document type.
fn root_element(text: &str) -> Option<&str> {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let end = if rest.starts_with("<?") {
            "?>"
        } else if rest.starts_with("<!--") {
            "-->"
        } else if rest.starts_with("<!") {
            ">"
        } else {
            break;
        };
        rest = rest.split_once(end)?.1.trim_start();
    }
    let element = rest.strip_prefix('<')?;
    element.split([' ', '\t', '\r', '\n', '>', '/']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SVG: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>"#;

    fn name(content: impl Into<Vec<u8>>) -> Result<&'static str, LogoError> {
        Logo::parse(content.into()).map(|logo| logo.file_name())
    }

    #[test]
    fn the_content_tells_the_kind() {
        assert_eq!(name(b"\x89PNG\r\n\x1a\n\0".to_vec()), Ok("clinic-logo.png"));
        assert_eq!(
            name(b"RIFF\x01\0\0\0WEBPVP8 ".to_vec()),
            Ok("clinic-logo.webp")
        );
        for svg in [
            SVG.to_owned(),
            format!("\u{feff}<?xml version=\"1.0\"?>\n<!-- <html> -->\n<!DOCTYPE svg>\n{SVG}"),
        ] {
            assert_eq!(name(svg.clone()), Ok("clinic-logo.svg"), "{svg}");
        }
        for other in [
            "",
            "<svg/>",
            "<!-- <svg",
            "<html><svg xmlns=\"http://www.w3.org/2000/svg\"/></html>",
            "<svgs xmlns=\"http://www.w3.org/2000/svg\"/>",
            "GIF89a",
            "alert(1)",
        ] {
            assert_eq!(name(other), Err(LogoError::UnknownKind), "{other}");
        }
        assert_eq!(
            name(b"\xff\xd8\xff\xe0".to_vec()),
            Err(LogoError::UnknownKind)
        );
    }

    #[test]
    fn a_large_picture_is_refused() {
        let padded = |length: u64| {
            let padding = " ".repeat(usize::try_from(length).expect("small") - SVG.len());
            name(format!("{SVG}{padding}"))
        };
        assert_eq!(padded(LOGO_BYTES_MAX), Ok("clinic-logo.svg"));
        assert_eq!(padded(LOGO_BYTES_MAX + 1), Err(LogoError::TooLarge));
    }
}
