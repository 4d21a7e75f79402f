//! The page, its files and its texts in every language, embedded in the binary; and livekit-client, which is not.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_LANGUAGE, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use include_dir::{Dir, DirEntry, include_dir};

use super::clinic::{PageOf, STYLESHEET};
use super::encoding::{Encoding, gzip};
use super::escape::escape;
use super::livekit_client::{FILES, LivekitClient};
use super::page_error::PageError;
use super::{Config, Edge};
use crate::auth::token::PageHints;
use crate::domain::locale::Locale;
use crate::domain::role::Role;

static WEB: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/web");
/// The same files, all but the templates, compressed by build.rs.
static COMPRESSED: Dir<'_> = include_dir!("$OUT_DIR/web");
/// The language of texts that are missing in the page's.
const LANGUAGE_DEFAULT: &str = "en";
/// The files' addresses change with their contents, so browsers may cache them indefinitely.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// When a browser should retry after an overload, in seconds.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("5");

/// What an SVG may do that is opened by itself: nothing but style itself.
const LOGO_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

type Catalogue = HashMap<String, String>;

/// The page's files.
pub(super) struct Assets {
    /// Changes with the files' contents.
    version: String,
    catalogues: BTreeMap<String, Catalogue>,
    livekit_client: LivekitClient,
    /// The clinic's stylesheet and logo, by their names.
    clinic: Vec<(&'static str, Bytes)>,
}

impl Assets {
    pub(super) fn new(config: &Config) -> Self {
        let mut hash = Context::new(&SHA256);
        for file in FILES {
            hash.update(file.digest.as_bytes());
        }
        let mut catalogues = BTreeMap::new();
        for file in files(&WEB) {
            hash.update(file.contents());
            if let Some(language) = language_of(file) {
                let catalogue = serde_json::from_slice(file.contents()).unwrap_or_default();
                catalogues.insert(language.to_owned(), catalogue);
            }
        }
        let clinic = clinic_files(config);
        for (_, content) in &clinic {
            hash.update(content);
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
            livekit_client: LivekitClient::new(config.livekit_client_dir.clone()),
            clinic,
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
        if let Some((_, content)) = self.clinic.iter().find(|(name, _)| *name == path) {
            return Some((content.clone(), None));
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
        hints: &PageHints,
        values: &[(&str, &str)],
    ) -> Response {
        html(
            StatusCode::OK,
            headers,
            self.fill_template("page.html", headers, config, hints, values),
        )
    }

    /// The page of a doctor's day.
    pub(super) fn doctor_page(
        &self,
        headers: &HeaderMap,
        config: &Config,
        values: &[(&str, &str)],
    ) -> Response {
        let hints = PageHints::default();
        html(
            StatusCode::OK,
            headers,
            self.fill_template("doctor.html", headers, config, &hints, values),
        )
    }

    /// The page that shows an error to a browser of which nothing else is known.
    pub(super) fn error_page(
        &self,
        error: &PageError,
        headers: &HeaderMap,
        config: &Config,
    ) -> Response {
        self.error_page_for(&PageHints::default(), error, headers, config)
    }

    /// The page that shows a doctor an error of their list, in words of its own if there are any.
    pub(super) fn doctor_error_page(
        &self,
        error: &PageError,
        headers: &HeaderMap,
        config: &Config,
    ) -> Response {
        self.fill_error_page("doctor.", &PageHints::default(), error, headers, config)
    }

    /// The page that shows an error to a credential's bearer.
    pub(super) fn error_page_for(
        &self,
        hints: &PageHints,
        error: &PageError,
        headers: &HeaderMap,
        config: &Config,
    ) -> Response {
        self.fill_error_page("", hints, error, headers, config)
    }

    fn fill_error_page(
        &self,
        prefix: &str,
        hints: &PageHints,
        error: &PageError,
        headers: &HeaderMap,
        config: &Config,
    ) -> Response {
        let language = self.language(headers, config, hints);
        let code = error.code();
        let (opens_at, starts_at, with, calendar) = match error {
            PageError::TooEarly {
                opens,
                starts,
                doctor_name,
                calendar,
            } => (
                opens.to_string(),
                starts.map_or(String::new(), |starts| starts.to_string()),
                self.with(language, doctor_name.as_deref().unwrap_or_default()),
                calendar.clone().unwrap_or_default(),
            ),
            _ => Default::default(),
        };
        let [title, text, todo] = ["title", "text", "todo"].map(|part| {
            let own = self.text(language, &format!("{prefix}error.{code}.{part}"));
            if own.is_empty() {
                self.text(language, &format!("error.{code}.{part}"))
            } else {
                own
            }
        });
        // The doctor is not told to call the practice.
        let todo = match self.text(language, &format!("error.{code}.todo.doctor")) {
            doctors if is_doctors(hints) && !doctors.is_empty() => doctors,
            _ => todo,
        };
        let values = [
            ("code", code),
            ("opens_at", &opens_at),
            ("starts_at", &starts_at),
            ("starts_label", self.text(language, "error.starts")),
            ("with", &with),
            ("calendar", &calendar),
            ("calendar_label", self.text(language, "error.calendar")),
            ("title", title),
            ("text", text),
            ("todo", todo),
        ];
        let page = self.fill_template("error.html", headers, config, hints, &values);
        let mut response = html(error.status(), headers, page);
        if matches!(error, PageError::RateLimited | PageError::StoreUnavailable) {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECS);
        }
        response
    }

    /// The page for the browser of another app, which leads to the phone's own. `address` is the link for those who stay.
    pub(super) fn in_app_page(
        &self,
        headers: &HeaderMap,
        config: &Config,
        hints: &PageHints,
        app: &str,
        address: &str,
    ) -> Response {
        let language = self.language(headers, config, hints);
        let text = |key: &str| self.text(language, &format!("inapp.{key}"));
        let said = text("text").replace("{app}", app);
        let values = [
            ("title", text("title")),
            ("text", &said),
            ("todo", text("todo")),
            ("outside", text("outside")),
            ("label", text("label")),
            ("copy", text("copy")),
            ("stay", address),
            ("stay_text", text("stay")),
        ];
        let page = self.fill_template("in-app.html", headers, config, hints, &values);
        html(StatusCode::OK, headers, page)
    }

    /// With whom the appointment is; empty if that is not known.
    fn with(&self, language: &str, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        self.text(language, "ready.with").replace("{name}", name)
    }

    /// What the page calls a consultation, in the page's language.
    pub(super) fn title<'a>(
        &'a self,
        headers: &HeaderMap,
        config: &'a Config,
        hints: &PageHints,
    ) -> &'a str {
        self.text(self.language(headers, config, hints), "page.title")
    }

    fn text(&self, language: &str, key: &str) -> &str {
        let find = |language| self.catalogues.get(language)?.get(key);
        find(language)
            .or_else(|| find(LANGUAGE_DEFAULT))
            .map_or("", String::as_str)
    }

    /// The page's language: the one that the backend asked for, else the one that the browser prefers, else the clinic's.
    fn language<'a>(
        &'a self,
        headers: &HeaderMap,
        config: &'a Config,
        hints: &PageHints,
    ) -> &'a str {
        let asked = hints.locale();
        let asked = asked.and_then(|locale| self.available(locale.as_str()));
        asked
            .or_else(|| self.preferred_language(headers))
            .unwrap_or(&config.clinic.language)
    }

    /// The language of a tag, if there is a catalogue for it or, without its last parts, a more general one (RFC 4647, section
    /// 3.4).
    fn available(&self, tag: &str) -> Option<&str> {
        let mut tag = tag;
        loop {
            let is_same = |language: &&String| language.eq_ignore_ascii_case(tag);
            if let Some(language) = self.catalogues.keys().find(is_same) {
                return Some(language);
            }
            tag = tag.rsplit_once('-')?.0;
        }
    }

    /// The available language that the browser prefers.
    fn preferred_language(&self, headers: &HeaderMap) -> Option<&str> {
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
            .find_map(|(language, _)| self.available(language))
    }

    fn fill_template(
        &self,
        template: &str,
        headers: &HeaderMap,
        config: &Config,
        hints: &PageHints,
        values: &[(&str, &str)],
    ) -> String {
        let template = WEB
            .get_file(template)
            .and_then(|file| file.contents_utf8())
            .unwrap_or("");
        let language = self.language(headers, config, hints);
        let locale = hints.locale();
        let assets = format!("{}/assets/{}", config.links.path_prefix(), self.version);
        let page = PageOf {
            assets: &assets,
            text: &|key| self.text(language, key),
            is_doctors: is_doctors(hints),
        };
        let template = config.clinic.fill_in(template, &page);
        let common = [
            ("lang", language),
            ("dir", direction(language)),
            ("locale", locale.as_ref().map_or("", Locale::as_str)),
            ("clinic", &config.clinic.name),
            ("base", config.links.path_prefix()),
            ("assets", assets.as_str()),
            ("embedders", config.frame_ancestors.as_str()),
        ];
        common
            .iter()
            .chain(values)
            .fold(template, |page, (name, value)| {
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

/// The doctor, or somebody whose credential says so: it decides about texts only.
fn is_doctors(hints: &PageHints) -> bool {
    hints.role() == Some(Role::Doctor)
}

/// The languages that the page has texts in.
pub fn languages() -> Vec<String> {
    let files = files(&WEB);
    let mut languages: Vec<_> = (files.iter().copied())
        .filter_map(language_of)
        .map(ToOwned::to_owned)
        .collect();
    languages.sort();
    languages
}

/// The language of a catalogue.
fn language_of<'a>(file: &'a include_dir::File<'a>) -> Option<&'a str> {
    let path = file.path().to_str()?;
    path.strip_prefix("i18n/")?.strip_suffix(".json")
}

/// The direction in which a language is written.
fn direction(language: &str) -> &'static str {
    match language {
        "ar" | "fa" | "he" | "ur" => "rtl",
        _ => "ltr",
    }
}

fn clinic_files(config: &Config) -> Vec<(&'static str, Bytes)> {
    let rules = WEB.get_file("css/clinic.css");
    let rules = rules.and_then(|file| file.contents_utf8()).unwrap_or("");
    let style = config.clinic.stylesheet(rules);
    let logo = config.clinic.logo.as_ref();
    let logo = logo.map(|logo| (logo.file_name(), logo.content()));
    logo.into_iter()
        .chain([(STYLESHEET, style.into())])
        .collect()
}

/// Parses a language and its weight (RFC 9110, section 12.5.4).
fn parse_language_range(entry: &str) -> (&str, f32) {
    let (tag, parameters) = entry.split_once(';').unwrap_or((entry, ""));
    let weight = parameters
        .trim()
        .strip_prefix("q=")
        .and_then(|weight| weight.parse().ok());
    (tag.trim(), weight.unwrap_or(1.0))
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

/// One of the page's files.
pub(super) async fn serve_file(
    State(edge): State<Edge>,
    address: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    // Bytes that are no text name no file.
    let (version, path) = address.map(|Path(parts)| parts).unwrap_or_default();
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
    let is_clinics = edge.assets.clinic.iter().any(|(name, _)| *name == path);
    let policy = is_clinics.then_some([(CONTENT_SECURITY_POLICY, LOGO_POLICY)]);
    (headers, tag, encoding, policy, content).into_response()
}

/// The client for portals that show the page in a frame, and its types. Portals of other origins import it.
pub(super) async fn serve_embedding_client(State(edge): State<Edge>, uri: Uri) -> Response {
    const CACHE: &str = "public, max-age=3600";
    let path = uri.path().rsplit('/').next().unwrap_or_default();
    let file = WEB.get_file(path).map(include_dir::File::contents);
    let Some((content, kind)) = file.zip(content_type(path)) else {
        return edge
            .assets
            .error_page(&PageError::NotFound, &HeaderMap::new(), &edge.config);
    };
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, CACHE),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, content).into_response()
}

/// `None` for the pages, which are templates with addresses of their own.
fn content_type(path: &str) -> Option<&'static str> {
    let (_, extension) = path.rsplit_once('.')?;
    match extension {
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "json" => Some("application/json"),
        "ts" => Some("text/plain; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "png" => Some("image/png"),
        "webp" => Some("image/webp"),
        _ => None,
    }
}
