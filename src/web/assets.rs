//! The page and what belongs to it, embedded in the binary, and its texts in every language.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::digest::{Context, SHA256};
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{Html, IntoResponse, Response};
use include_dir::{Dir, DirEntry, include_dir};

use super::refusal::Refusal;
use super::{Config, Edge};

static WEB: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/web");
/// The language of those who ask for none that there is.
const LANGUAGE_DEFAULT: &str = "en";
/// The files' addresses change with their contents, so they never need to be asked for again.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// What a browser that was refused for load is told to wait, in seconds.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("5");

type Catalogue = HashMap<String, String>;

/// The embedded files, ready to be served.
pub(super) struct Assets {
    /// Changes with the files' contents.
    version: String,
    catalogues: BTreeMap<String, Catalogue>,
}

impl Assets {
    pub(super) fn new() -> Self {
        let mut hash = Context::new(&SHA256);
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
        }
    }

    /// The join page.
    pub(super) fn page(
        &self,
        headers: &HeaderMap,
        config: &Config,
        values: &[(&str, &str)],
    ) -> Response {
        let language = self.language(headers);
        Html(self.fill("page.html", language, config, values)).into_response()
    }

    /// The page that tells of a refusal.
    pub(super) fn refuse(
        &self,
        refusal: &Refusal,
        headers: &HeaderMap,
        config: &Config,
    ) -> Response {
        let language = self.language(headers);
        let code = refusal.code();
        let opens_at = match refusal {
            Refusal::TooEarly { opens } => opens.to_string(),
            _ => String::new(),
        };
        let [title, text, todo] = ["title", "text", "todo"]
            .map(|part| self.text(language, &format!("error.{code}.{part}")));
        let values = [
            ("code", code),
            ("opens_at", &opens_at),
            ("title", title),
            ("text", text),
            ("todo", todo),
        ];
        let page = Html(self.fill("error.html", language, config, &values));
        let mut response = (refusal.status(), page).into_response();
        if matches!(refusal, Refusal::RateLimited | Refusal::StoreAway) {
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

    /// The first language that the browser accepts and that there is.
    fn language(&self, headers: &HeaderMap) -> &str {
        let accepted = headers
            .get(ACCEPT_LANGUAGE)
            .and_then(|header| header.to_str().ok())
            .unwrap_or("");
        let mut wanted: Vec<_> = accepted.split(',').map(parse_language).collect();
        // Stable: of those with one weight, the first is wanted most.
        wanted.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        wanted
            .into_iter()
            .filter(|(_, weight)| *weight > 0.0)
            .find_map(|(language, _)| self.catalogues.get_key_value(&language))
            .map_or(LANGUAGE_DEFAULT, |(language, _)| language.as_str())
    }

    fn fill(
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

/// A language without its region, and its weight (RFC 9110, section 12.5.4).
fn parse_language(entry: &str) -> (String, f32) {
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
        // A value must not be taken for a placeholder.
        .replace('{', "&#123;")
}

/// One of the files that the page asks for.
pub(super) async fn file(
    State(edge): State<Edge>,
    Path((version, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some((file, kind)) = WEB.get_file(&path).zip(content_type(&path)) else {
        return edge
            .assets
            .refuse(&Refusal::NotFound, &headers, &edge.config);
    };
    // A page of another version asks during an upgrade: what it gets must not be kept under that version's address.
    let cache = if version == edge.assets.version {
        IMMUTABLE
    } else {
        "no-store"
    };
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, cache)];
    (headers, file.contents()).into_response()
}

/// Pages are templates and have addresses of their own; they have no type here.
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
