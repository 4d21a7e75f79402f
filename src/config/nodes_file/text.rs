//! The file as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// The file, as written. Secrets are elsewhere, so that the file can be shown to others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileText {
    #[serde(default)]
    pub(super) node: Vec<NodeText>,
}

/// The entry of one node.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeText {
    pub(super) id: String,
    #[serde(default)]
    pub(super) driver: Option<String>,
    #[serde(default)]
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) region: Option<String>,
    #[serde(default)]
    pub(super) weight: Option<u32>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) state: Option<String>,
    #[serde(default)]
    pub(super) api_url: Option<String>,
    #[serde(default)]
    pub(super) api_key: Option<String>,
    #[serde(default)]
    pub(super) api_secret_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) api_secret_env: Option<String>,
    #[serde(default)]
    pub(super) webhook_secret_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) webhook_secret_env: Option<String>,
}

impl FileText {
    /// Reads the text.
    ///
    /// # Errors
    /// Where it is wrong, without its values.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| describe_syntax(text, &error))
    }
}

/// Says where the text is wrong. The parser's own words can repeat a value, which may be a secret in the wrong place.
fn describe_syntax(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().map_or(String::new(), |span| {
        let before = text.get(..span.start).unwrap_or(text);
        format!("line {}: ", before.matches('\n').count() + 1)
    });
    let what = error.message().lines().next().unwrap_or_default();
    let is_safe = ["unknown field", "missing field", "duplicate"]
        .iter()
        .any(|start| what.starts_with(start));
    if is_safe {
        format!("{place}{what}")
    } else {
        format!("{place}is not TOML in the form that docs/sfu.md describes")
    }
}
