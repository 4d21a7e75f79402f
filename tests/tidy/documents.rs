//! Documents' links lead somewhere, and the page has all its texts in every language.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{assert_same, documents, files_under, read, root};

/// Headings as a forge makes anchors of them.
fn anchors(document: &str) -> BTreeSet<String> {
    prose(document)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            kept.map(|letter| if letter == ' ' { '-' } else { letter })
                .collect()
        })
        .collect()
}

/// A document without its fenced blocks.
fn prose(document: &str) -> String {
    let mut fenced = false;
    let text = read(document);
    let kept = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    });
    kept.map(|line| format!("{line}\n")).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for document in documents() {
        let text = prose(&document);
        for (place, opening) in text.match_indices("](") {
            let target = &text[place + opening.len()..];
            let target = target.split(')').next().unwrap_or_default();
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                document.clone()
            } else {
                let beside = Path::new(&document).parent().expect("a file").join(file);
                normal(&beside)
            };
            let good = root().join(&file).exists()
                && (anchor.is_empty() || anchors(&file).contains(anchor));
            if !good {
                dead.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(dead.is_empty(), "dead links: {dead:#?}");
}

/// A path without `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().expect("utf-8").split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn the_changelog_knows_this_version() {
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(
        read("CHANGELOG.md").contains(&heading),
        "CHANGELOG.md has no {heading}"
    );
}

/// The catalogues are data, and as long as there are texts.
#[test]
fn no_file_of_the_page_is_long() {
    const LINES_MAX: usize = 350;
    let files: Vec<_> = ["js", "css", "html", "ts"]
        .iter()
        .flat_map(|extension| files_under("web", extension))
        .collect();
    assert!(files.len() > 50, "{files:?}");
    for file in files {
        let lines = read(&file).lines().count();
        assert!(lines <= LINES_MAX, "{file} has {lines} lines");
    }
}

/// The texts of a language.
fn catalogue(file: &str) -> BTreeMap<String, String> {
    serde_json::from_str(&read(file)).expect("JSON")
}

/// What is put into a text.
fn placeholders(text: &str) -> BTreeSet<&str> {
    let parts = text.split('{').skip(1);
    parts
        .filter_map(|part| Some(part.split_once('}')?.0))
        .collect()
}

#[test]
fn every_language_says_all_that_english_says() {
    let english = catalogue("web/i18n/en.json");
    for file in files_under("web/i18n", "json") {
        let words = catalogue(&file);
        assert_same(words.keys(), english.keys());
        for (key, text) in &words {
            assert!(!text.trim().is_empty(), "{file}: {key} is empty");
            assert_eq!(
                placeholders(text),
                placeholders(&english[key]),
                "{file}: {key}"
            );
        }
    }
}
