//! Parses URLs in settings. Browsers compare origins letter by letter, so origins are normalized to the form that they send.

use http::HeaderValue;
use url::{Host, Url};

/// The entries of a list, separated by commas or, as in a CSP source list, by spaces.
pub(super) fn list_entries(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|entry| !entry.is_empty())
}

/// Parses an absolute URL with one of the schemes and a valid port, without user info and without dot segments in its path,
/// plain or encoded.
pub(super) fn parse_url(text: &str, schemes: &[&str]) -> Option<Url> {
    // The URL standard accepts these characters; other programs do not.
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '\\';
    let (_, rest) = text.split_once("://")?;
    let end_of_authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(end_of_authority);
    let path = path_and_query.split(['?', '#']).next().unwrap_or("");
    let is_valid_text = text.chars().all(is_plain)
        && !authority.is_empty()
        && !authority.contains('@')
        && !path.split('/').any(is_dot_segment);
    let url = Url::parse(text).ok().filter(|_| is_valid_text)?;
    let is_valid = schemes.contains(&url.scheme()) && url.has_host() && url.port() != Some(0);
    is_valid.then_some(url)
}

/// The same without a query or a fragment, in which a secret could stand.
pub(super) fn parse_bare_url(text: &str, schemes: &[&str]) -> Option<Url> {
    parse_url(text, schemes).filter(|url| url.query().is_none() && url.fragment().is_none())
}

fn is_dot_segment(segment: &str) -> bool {
    let segment = segment.to_ascii_lowercase().replace("%2e", ".");
    segment == "." || segment == ".."
}

/// Parses an origin into the form of browsers: scheme, host and any non-default port, in lower case.
pub(super) fn parse_origin(text: &str) -> Option<String> {
    let url = parse_url(text, &["http", "https"])?;
    let has_nothing_more = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let has_no_slash = !text.ends_with('/');
    (has_nothing_more && has_no_slash).then(|| url.origin().ascii_serialization())
}

/// What [`exact_origins`] reads.
pub(super) const ORIGINS_RULE: &str =
    "must be origins, as in https://portal.example.com, separated by commas; no wildcards";

/// Origins that a browser's Origin header is compared with as a whole.
pub(super) fn exact_origins(text: &str) -> Option<Vec<String>> {
    let exact = |origin: &str| parse_origin(origin).filter(|_| !origin.contains('*'));
    list_entries(text).map(exact).collect()
}

/// Origins as [`exact_origins`] reads them, each as the value of an `Origin` header.
pub(super) fn origin_headers(text: &str) -> Option<Vec<HeaderValue>> {
    let origins = exact_origins(text)?.into_iter();
    let values = origins.map(|origin| HeaderValue::from_str(&origin).ok());
    values.collect()
}

/// Parses an origin and a path; returns the origin in the form of browsers, and no slash at the end.
pub(super) fn parse_base_url(text: &str) -> Option<String> {
    let url = parse_url(text, &["http", "https"])?;
    let path = url.path();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._~-".contains(&byte);
    let is_valid = !text.contains(['?', '#']) && !path.contains("//") && path.bytes().all(is_plain);
    let origin = url.origin().ascii_serialization();
    is_valid.then(|| format!("{origin}{}", path.trim_end_matches('/')))
}

/// Whether a text is `scheme:host`, optionally with a port and `?transport=udp` or `tcp`: RFC 7064, RFC 7065.
pub(super) fn is_ice_url(text: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let (host_and_port, query) = match rest.split_once('?') {
        Some((host_and_port, query)) => (host_and_port, Some(query)),
        None => (rest, None),
    };
    let is_turn = scheme.starts_with("turn");
    let is_valid_query =
        query.is_none_or(|query| is_turn && matches!(query, "transport=udp" | "transport=tcp"));
    // Colons within brackets belong to an IPv6 address.
    let end_of_host = host_and_port.rfind(']').unwrap_or(0);
    let (host, port) = match host_and_port[end_of_host..].find(':') {
        Some(colon) => {
            let (host, port) = host_and_port.split_at(end_of_host + colon);
            (host, Some(&port[1..]))
        }
        None => (host_and_port, None),
    };
    let is_digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let is_valid_port = port
        .is_none_or(|port| is_digits(port) && port.parse::<u16>().is_ok_and(|number| number != 0));
    schemes.contains(&scheme) && is_valid_query && is_valid_port && Host::parse(host).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_normalized_to_the_form_of_browsers() {
        for (given, sent) in [
            ("https://Portal.Example.COM", "https://portal.example.com"),
            (
                "HTTPS://portal.example.com:443",
                "https://portal.example.com",
            ),
            ("http://portal.example.com:80", "http://portal.example.com"),
            (
                "http://portal.example.com:08080",
                "http://portal.example.com:8080",
            ),
            (
                "https://b\u{fc}cher.example",
                "https://xn--bcher-kva.example",
            ),
            ("http://[2001:DB8::1]:8080", "http://[2001:db8::1]:8080"),
            ("https://*.example.com", "https://*.example.com"),
        ] {
            assert_eq!(parse_origin(given).as_deref(), Some(sent), "{given}");
        }
        for bad in [
            "portal.example.com",
            "https:portal.example.com",
            "https:///portal.example.com",
            "https://",
            "https://portal.example.com/",
            "https://portal.example.com/path",
            "https://portal.example.com?query",
            "https://portal.example.com#fragment",
            "https://portal.example.com:99999",
            "https://portal.example.com:0",
            "https://user@portal.example.com",
            "https://user:pw@portal.example.com",
            "https://:@portal.example.com",
            "https://@portal.example.com",
            "https://portal.example.com\\path",
            "ftp://portal.example.com",
        ] {
            assert_eq!(parse_origin(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_base_url_is_an_origin_and_a_path() {
        for (given, used) in [
            ("HTTPS://Clinic.Example:443/", "https://clinic.example"),
            (
                "https://clinic.example/Care/video/",
                "https://clinic.example/Care/video",
            ),
            ("http://localhost:4000", "http://localhost:4000"),
        ] {
            assert_eq!(parse_base_url(given).as_deref(), Some(used), "{given}");
        }
        for bad in [
            "https://clinic.example/../x",
            "https://clinic.example/a/./b",
            "https://clinic.example/a/..",
            "https://clinic.example/%2e%2E/x",
            "https://clinic.example/.%2e/x",
            "https://clinic.example/a//b",
            "https://clinic.example/a b",
            "https://clinic.example/?",
            "https://clinic.example:99999/",
            "https://user:pw@clinic.example/",
        ] {
            assert_eq!(parse_base_url(bad), None, "{bad}");
        }
    }

    #[test]
    fn ice_urls_have_a_host_and_a_valid_port() {
        let turn = |url| is_ice_url(url, &["turn", "turns"]);
        let stun = |url| is_ice_url(url, &["stun", "stuns"]);
        for good in [
            "turn:turn.example.com",
            "turn:turn.example.com:3478",
            "turns:192.0.2.1:443?transport=tcp",
            "turn:[2001:db8::1]",
            "turn:[2001:db8::1]:3478?transport=udp",
        ] {
            assert!(turn(good), "{good}");
        }
        for bad in [
            "turn:",
            "turn::3478",
            "turn://turn.example.com",
            "turn:turn.example.com:99999",
            "turn:turn.example.com:0",
            "turn:turn.example.com:",
            "turn:turn.example.com:+1",
            "turn:turn.example.com?transport=sctp",
            "turn:user:pw@turn.example.com",
            "turn:2001:db8::1",
            "stun:stun.example.com",
            "turn.example.com",
        ] {
            assert!(!turn(bad), "{bad}");
        }
        assert!(stun("stun:stun.example.com:3478"));
        assert!(!stun("stun:stun.example.com?transport=udp"));
    }
}
