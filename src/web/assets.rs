//! The page, its files and its texts in every language, embedded in the binary; and livekit-client, which is not.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use include_dir::{Dir, DirEntry, include_dir};

use super::encoding::{Encoding, gzip};
use super::livekit_client::{FILES, LivekitClient};
use super::page_error::PageError;
use super::{Config, Edge};

static WEB: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/web");
/// The same files, all but the templates, compressed by build.rs.
static COMPRESSED: Dir<'_> = include_dir!("$OUT_DIR/web");
/// The language for browsers that accept none of the available ones.
const LANGUAGE_DEFAULT: &str = "en";
/// The files' addresses change with their contents, so browsers may cache them indefinitely.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// When a browser should retry after an overload, in seconds.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("5");

type Catalogue = HashMap<String, String>;

/// The page's files.
pub(super) struct Assets {
    /// Changes with the files' contents.
    version: String,
    catalogues: BTreeMap<String, Catalogue>,
    livekit_client: LivekitClient,
}

impl Assets {
    pub(super) fn new(livekit_client_dir: PathBuf) -> Self {
        let mut hash = Context::new(&SHA256);
        for file in FILES {
            hash.update(file.digest.as_bytes());
        }
        let mut catalogues = BTreeMap::new();
        for file in files(&WEB) {
            hash.update(file.contents());
            let language = file
                .path()
                .to_str()
                .and_then(|path| path.strip_prefix("i18n/")?.strip_suffix(".json"));
            if let Some(language) = language {
                let catalogue = serde_json::from_slice(file.contents()).unwrap_or_default();
                catalogues.insert(language.to_owned(), catalogue);
            }
        }
        let hash = hash.finish();
        let version = hash
            .as_ref()
            .iter()
            .take(6)
            .map(|b| format!("{b:02x}"))
            .collect();
        Self {
            version,
            catalogues,
            livekit_client: LivekitClient::new(livekit_client_dir),
        }
    }

    /// A file's content, and how it is compressed.
    async fn content(&self, path: &str, headers: &HeaderMap) -> Option<(Bytes, Option<Encoding>)> {
        let compressed = Encoding::accepted(headers).and_then(|encoding| {
            let file = COMPRESSED.get_file(format!("{path}.{}", encoding.suffix()))?;
            Some((Bytes::from_static(file.contents()), Some(encoding)))
        });
        if compressed.is_some() {
            return compressed;
        }
        let plain = match WEB.get_file(path) {
            Some(file) => Some(Bytes::from_static(file.contents())),
            None => self.livekit_client.content(path).await,
        };
        plain.map(|content| (content, None))
    }

    /// The join page.
    pub(super) fn page(
        &self,
        headers: &HeaderMap,
        config: &Config,
        values: &[(&str, &str)],
    ) -> Response {
        let language = self.language(headers);
        html(
            StatusCode::OK,
            headers,
            self.fill_template("page.html", language, config, values),
        )
    }

    /// The page of a doctor's day.
    pub(super) fn doctor_page(
        &self,
        headers: &HeaderMap,
        config: &Config,
        values: &[(&str, &str)],
    ) -> Response {
        let language = self.language(headers);
        html(
            StatusCode::OK,
            headers,
            self.fill_template("doctor.html", language, config, values),
        )
    }

    /// The page that shows an error.
    pub(super) fn error_page(
        &self,
        error: &PageError,
        headers: &HeaderMap,
        config: &Config,
    ) -> Response {
        self.error_page_for("", error, headers, config)
    }

    /// The page that shows a doctor an error, in words of its own if there are any.
    pub(super) fn doctor_error_page(
        &self,
        error: &PageError,
        headers: &HeaderMap,
        config: &Config,
    ) -> Response {
        self.error_page_for("doctor.", error, headers, config)
    }

    fn error_page_for(
        &self,
        prefix: &str,
        error: &PageError,
        headers: &HeaderMap,
        config: &Config,
    ) -> Response {
        let language = self.language(headers);
        let code = error.code();
        let opens_at = match error {
            PageError::TooEarly { opens } => opens.to_string(),
            _ => String::new(),
        };
        let [title, text, todo] = ["title", "text", "todo"].map(|part| {
            let own = self.text(language, &format!("{prefix}error.{code}.{part}"));
            if own.is_empty() {
                self.text(language, &format!("error.{code}.{part}"))
            } else {
                own
            }
        });
        let values = [
            ("code", code),
            ("opens_at", &opens_at),
            ("title", title),
            ("text", text),
            ("todo", todo),
        ];
        let page = self.fill_template("error.html", language, config, &values);
        let mut response = html(error.status(), headers, page);
        if matches!(error, PageError::RateLimited | PageError::StoreUnavailable) {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECS);
        }
        response
    }

    fn text(&self, language: &str, key: &str) -> &str {
        let find = |language| self.catalogues.get(language)?.get(key);
        find(language)
            .or_else(|| find(LANGUAGE_DEFAULT))
            .map_or("", String::as_str)
    }

    /// The available language that the browser prefers.
    fn language(&self, headers: &HeaderMap) -> &str {
        let accepted = headers
            .get(ACCEPT_LANGUAGE)
            .and_then(|header| header.to_str().ok())
            .unwrap_or("");
        let mut wanted: Vec<_> = accepted.split(',').map(parse_language_range).collect();
        // The sort is stable: among equal weights, the first is preferred.
        wanted.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        wanted
            .into_iter()
            .filter(|(_, weight)| *weight > 0.0)
            .find_map(|(language, _)| self.catalogues.get_key_value(&language))
            .map_or(LANGUAGE_DEFAULT, |(language, _)| language.as_str())
    }

    fn fill_template(
        &self,
        template: &str,
        language: &str,
        config: &Config,
        values: &[(&str, &str)],
    ) -> String {
        let template = WEB
            .get_file(template)
            .and_then(|file| file.contents_utf8())
            .unwrap_or("");
        let assets = format!("{}/assets/{}", config.links.path_prefix(), self.version);
        let common = [
            ("lang", language),
            ("base", config.links.path_prefix()),
            ("assets", assets.as_str()),
        ];
        common
            .iter()
            .chain(values)
            .fold(template.to_owned(), |page, (name, value)| {
                page.replace(&format!("{{{{{name}}}}}"), &escape(value))
            })
    }
}

/// A page, compressed if the browser takes that.
fn html(status: StatusCode, headers: &HeaderMap, page: String) -> Response {
    let vary = [(VARY, "Accept-Encoding")];
    let compressed = Encoding::Gzip
        .is_accepted(headers)
        .then(|| gzip(&page))
        .flatten();
    match compressed {
        Some(compressed) => {
            let encoding = [(CONTENT_ENCODING, Encoding::Gzip.name())];
            (status, vary, encoding, Html(compressed)).into_response()
        }
        None => (status, vary, Html(page)).into_response(),
    }
}

/// Parses a language, without its region, and its weight (RFC 9110, section 12.5.4).
fn parse_language_range(entry: &str) -> (String, f32) {
    let (tag, parameters) = entry.split_once(';').unwrap_or((entry, ""));
    let weight = parameters
        .trim()
        .strip_prefix("q=")
        .and_then(|weight| weight.parse().ok());
    let language = tag.split('-').next().unwrap_or(tag);
    (language.trim().to_ascii_lowercase(), weight.unwrap_or(1.0))
}

fn files<'a>(dir: &'a Dir<'a>) -> Vec<&'a include_dir::File<'a>> {
    dir.entries()
        .iter()
        .flat_map(|entry| match entry {
            DirEntry::Dir(dir) => files(dir),
            DirEntry::File(file) => vec![file],
        })
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
        // A value must not become a placeholder.
        .replace('{', "&#123;")
}

/// One of the page's files.
pub(super) async fn serve_file(
    State(edge): State<Edge>,
    Path((version, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let is_current = version == edge.assets.version;
    let tag = format!("\"{version}\"");
    let is_known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let content = edge.assets.content(&path, &headers).await;
    let Some(((content, encoding), kind)) = content.zip(content_type(&path)) else {
        return edge
            .assets
            .error_page(&PageError::NotFound, &headers, &edge.config);
    };
    // During an upgrade, a page of another version may request this file; it must not be cached under that version's address.
    let cache = if is_current { IMMUTABLE } else { "no-store" };
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, cache),
        (VARY, "Accept-Encoding"),
    ];
    let tag = is_current.then_some([(ETAG, tag)]);
    if is_known && is_current {
        return (StatusCode::NOT_MODIFIED, headers, tag, ()).into_response();
    }
    let encoding = encoding.map(|encoding| [(CONTENT_ENCODING, encoding.name())]);
    (headers, tag, encoding, content).into_response()
}

/// `None` for the pages, which are templates with addresses of their own.
fn content_type(path: &str) -> Option<&'static str> {
    let (_, extension) = path.rsplit_once('.')?;
    match extension {
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "json" => Some("application/json"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}
