//! In which way browsers take answers compressed.

use std::io::Write as _;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    /// Its name in `Content-Encoding`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// What files compressed in this way end with, as build.rs names them.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gz",
        }
    }

    /// The best one that a browser takes; `None` if it takes none.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        [Self::Brotli, Self::Gzip]
            .into_iter()
            .find(|encoding| encoding.is_accepted(headers))
    }

    /// Whether a browser takes this one.
    pub(super) fn is_accepted(self, headers: &HeaderMap) -> bool {
        let headers = headers.get_all(ACCEPT_ENCODING).iter();
        let mut entries = headers.flat_map(|header| header.to_str().unwrap_or("").split(','));
        entries.any(|entry| {
            let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = parameters.trim().strip_prefix("q=");
            let is_refused = weight.is_some_and(|weight| weight.parse() == Ok(0.0));
            name.trim().eq_ignore_ascii_case(self.name()) && !is_refused
        })
    }
}

/// A text, compressed by gzip; `None` if that fails, which it does not in memory.
pub(super) fn gzip(text: &str) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_best_encoding_is_chosen_that_is_not_refused() {
        let accepted = |header: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(header));
            Encoding::accepted(&headers)
        };
        assert_eq!(accepted("gzip, deflate, br, zstd"), Some(Encoding::Brotli));
        assert_eq!(accepted("GZIP;q=0.5"), Some(Encoding::Gzip));
        assert_eq!(accepted("br;q=0, gzip;q=1.0"), Some(Encoding::Gzip));
        assert_eq!(accepted("br; q=0.000, identity"), None);
        assert_eq!(accepted("deflate"), None);
        assert_eq!(accepted(""), None);
        assert_eq!(Encoding::accepted(&HeaderMap::new()), None);
    }
}
