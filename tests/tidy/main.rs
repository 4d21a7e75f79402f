//! What the compiler does not check: that modules name only those below them, that settings, errors, metrics and RPCs are
//! documented as they are, and that links lead somewhere. The rules on modules stand in ARCHITECTURE.md and are read from
//! there, so that what is written and what is enforced cannot differ.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

mod arrow;
mod documents;
mod settings;
mod source;
mod tables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}

/// Every file under a directory of the repository, as paths relative to the repository.
pub(crate) fn files_under(directory: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(directory)];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(&next).expect("a readable directory") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let path = path.strip_prefix(root()).expect("below the root");
                found.push(path.to_str().expect("utf-8").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The documents for people, as paths relative to the repository.
pub(crate) fn documents() -> Vec<String> {
    let mut all: Vec<String> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"]
        .map(ToOwned::to_owned)
        .into();
    all.extend(files_under("docs", "md"));
    all
}

/// The rows of a document's tables whose first cell is `code`: their cells, with backticks taken off.
pub(crate) fn rows(document: &str) -> Vec<Vec<String>> {
    read(document)
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let line = line.trim().trim_start_matches('|');
            let cells = line.strip_suffix('|').unwrap_or(line).split('|');
            cells
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        })
        .collect()
}

/// Fails with what is only in one of the two: what is written down, and what is so.
pub(crate) fn assert_same<T: Ord + std::fmt::Debug>(
    written: impl IntoIterator<Item = T>,
    true_of_code: impl IntoIterator<Item = T>,
) {
    let written: BTreeSet<T> = written.into_iter().collect();
    let true_of_code: BTreeSet<T> = true_of_code.into_iter().collect();
    let wrong: Vec<_> = written.difference(&true_of_code).collect();
    let missing: Vec<_> = true_of_code.difference(&written).collect();
    assert!(
        wrong.is_empty() && missing.is_empty(),
        "written down but not so: {wrong:#?}; so but not written down: {missing:#?}"
    );
}

/// The lines of the fenced block that begins with a fence of that name.
pub(crate) fn block(document: &str, name: &str) -> Vec<String> {
    let text = read(document);
    let fence = format!("```{name}");
    let lines: Vec<_> = text
        .lines()
        .skip_while(|line| *line != fence)
        .skip(1)
        .take_while(|line| *line != "```")
        .map(ToOwned::to_owned)
        .collect();
    assert!(!lines.is_empty(), "{document} has no block {fence}");
    lines
}
