//! What the compiler does not check: that modules name only those below them, that settings, errors, metrics and RPCs are
//! documented as they are, and that links lead somewhere. The rules on modules stand in ARCHITECTURE.md and are read from
//! there, so that what is written and what is enforced cannot differ.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use prost::Message as _;
use video_session::config;
use video_session::config::env::Env;
use video_session::domain::access::Role;
use video_session::domain::error::{Error, Reason};
use video_session::domain::id::SessionId;
use video_session::domain::time::Timestamp;
use video_session::telemetry::metrics::Metrics;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}

/// Every file under a directory of the repository, as paths relative to the repository.
fn files_under(directory: &str, extension: &str) -> Vec<String> {
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
fn documents() -> Vec<String> {
    let mut all: Vec<String> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"]
        .map(ToOwned::to_owned)
        .into();
    all.extend(files_under("docs", "md"));
    all
}

/// The rows of a document's tables whose first cell is `code`: their cells, with backticks taken off.
fn rows(document: &str) -> Vec<Vec<String>> {
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
fn assert_same<T: Ord + std::fmt::Debug>(
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
fn block(document: &str, name: &str) -> Vec<String> {
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

// === settings ===

type Lookup = dyn Fn(&str) -> Option<String>;

/// Every setting that production asks for, with its default; empty where it has none.
fn settings() -> BTreeMap<String, String> {
    let nothing = |_: &str| None;
    let everything = |name: &str| match name {
        "MONGO_URI" => Some("mongodb://127.0.0.1".to_owned()),
        "HEALTH_ADDR" => Some("127.0.0.1:0".to_owned()),
        _ => None,
    };
    let lookups: [&Lookup; 2] = [&nothing, &everything];
    let mut all = BTreeMap::new();
    for lookup in lookups {
        let mut env = Env::new(lookup);
        // What is missing does not matter here, only what was asked for.
        let _ = config::read(&mut env, false);
        for (name, default) in env.defaults() {
            let before = all.insert((*name).to_owned(), default.clone());
            assert!(
                before.is_none_or(|before| before == *default),
                "{name} has two defaults"
            );
        }
    }
    all
}

#[test]
fn env_example_lists_every_setting_with_its_default() {
    let text = read(".env.example");
    let mut listed = BTreeMap::new();
    let mut explained = false;
    for line in text.lines() {
        let commented = line.strip_prefix("# ");
        let pair = commented.unwrap_or(line).split_once('=');
        let setting = pair.filter(|(name, _)| is_setting_name(name) && !name.is_empty());
        match setting {
            Some((name, default)) => {
                assert!(explained, "{name} is not explained above its line");
                assert!(
                    commented.is_some() != default.is_empty(),
                    "{name}: `# NAME=default` if it has a default, `NAME=` if it has none"
                );
                let before = listed.insert(name.to_owned(), default.to_owned());
                assert!(before.is_none(), "{name} is listed twice");
                explained = false;
            }
            None => explained = commented.is_some(),
        }
    }
    assert_same(listed, settings());
}

#[test]
fn the_settings_table_lists_every_setting_with_its_default() {
    let listed: BTreeMap<_, _> = rows("docs/settings.md")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    assert_same(listed, settings());
}

#[test]
fn deployments_set_only_settings_that_exist() {
    let settings = settings();
    let mut named = BTreeSet::new();
    for file in files_under("deploy", "yaml")
        .iter()
        .map(String::as_str)
        .chain(["compose.yaml", "Dockerfile"])
    {
        for line in read(file).lines() {
            let line = line.trim_start_matches(['#', ' ']);
            let line = line.strip_prefix("- name: ").unwrap_or(line);
            let line = line.strip_prefix("ENV ").unwrap_or(line);
            let end = line.find([':', '=', ' ']).unwrap_or(line.len());
            let (name, rest) = line.split_at(end);
            let in_yaml = file.ends_with("yaml") && (rest.starts_with(':') || rest.is_empty());
            let in_image = file == "Dockerfile" && rest.starts_with('=');
            if is_setting_name(name) && name.contains('_') && (in_yaml || in_image) {
                named.insert(name.to_owned());
            }
        }
    }
    assert!(named.contains("CLIENT_BASE_URL") && named.contains("DATA_DIR"));
    let unknown: Vec<_> = named
        .iter()
        .filter(|name| !settings.contains_key(*name))
        .collect();
    assert!(unknown.is_empty(), "no such settings: {unknown:?}");
}

fn is_setting_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

// === errors, RPCs, metrics ===

/// An error of every reason. Exhaustive, so that a new reason must be given one.
fn example(reason: Reason) -> Error {
    let session_id = SessionId::from_stored("sess_1".into());
    let retry_after = std::time::Duration::from_secs(1);
    match reason {
        Reason::Validation => Error::field("field", "is wrong"),
        Reason::MessageMalformed => Error::MessageMalformed,
        Reason::MessageTooLarge => Error::MessageTooLarge,
        Reason::EncodingUnsupported => Error::EncodingUnsupported,
        Reason::MethodUnknown => Error::MethodUnknown,
        Reason::RequestIncomplete => Error::RequestIncomplete,
        Reason::DeadlineExceeded => Error::DeadlineExceeded,
        Reason::SecretMissing => Error::SecretMissing,
        Reason::SecretInvalid => Error::SecretInvalid,
        Reason::SessionNotFound => Error::SessionNotFound,
        Reason::SessionEnded => Error::SessionEnded { session_id },
        Reason::JoinTooEarly => Error::JoinTooEarly {
            opens: Timestamp::MIN,
        },
        Reason::JoinTooLate => Error::JoinTooLate {
            closed: Timestamp::MIN,
        },
        Reason::NotAParticipant => Error::NotAParticipant { role: Role::Doctor },
        Reason::ParticipantRemoved => Error::ParticipantRemoved,
        Reason::ParticipantNotFound => Error::ParticipantNotFound,
        Reason::NotAllowed => Error::NotAllowed,
        Reason::NameGiven => Error::NameGiven,
        Reason::SessionFull => Error::SessionFull,
        Reason::AppointmentConflict => Error::AppointmentConflict {
            session_id,
            fields: vec!["doctor_id"],
        },
        Reason::VersionMismatch => Error::VersionMismatch {
            expected: 1,
            stored: 2,
        },
        Reason::Contention => Error::Contention { retry_after },
        Reason::StoreUnavailable => Error::StoreUnavailable { retry_after },
        Reason::Overloaded => Error::Overloaded { retry_after },
        Reason::ShuttingDown => Error::ShuttingDown { retry_after },
        Reason::Internal => Error::Internal,
    }
}

/// `InvalidArgument` as the protocol spells it: `INVALID_ARGUMENT`.
fn code_name(reason: Reason) -> String {
    let name = format!("{:?}", video_session::rpc::code_of(reason));
    let mut text = String::new();
    for (place, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && place > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

/// Reason, code, retry or not, metadata keys.
type ErrorRow = (String, String, bool, BTreeSet<String>);

#[test]
fn the_error_table_is_complete_and_true() {
    let expected: BTreeSet<ErrorRow> = Reason::ALL
        .iter()
        .map(|reason| {
            let error = example(*reason);
            assert_eq!(error.reason(), *reason);
            let keys = error.metadata().into_iter().map(|(key, _)| key.to_owned());
            let retry = error.retry_after().is_some();
            (
                reason.as_str().to_owned(),
                code_name(*reason),
                retry,
                keys.collect(),
            )
        })
        .collect();
    let listed: BTreeSet<ErrorRow> = rows("docs/errors.md")
        .into_iter()
        .map(|row| {
            let [reason, code, retry, _when, metadata, _what_to_do] =
                row.try_into().expect("six columns");
            let keys = metadata
                .split(", ")
                .map(|key| key.trim_matches('`').to_owned())
                .filter(|key| !key.is_empty());
            (reason, code, retry == "yes", keys.collect())
        })
        .collect();
    assert_same(listed, expected);
}

#[test]
fn every_rpc_is_shown_with_grpcurl() {
    let shown: String = ["README.md", "docs/operating.md"].map(read).concat();
    let descriptors = prost_types::FileDescriptorSet::decode(video_session::proto::DESCRIPTORS)
        .expect("the build wrote them");
    let mut missing = Vec::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                let full = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let call = shown
                    .lines()
                    .any(|line| line.starts_with("grpcurl ") && line.contains(&full));
                // Long calls go over two lines; the method stands on the second then.
                let second = shown
                    .lines()
                    .any(|line| line.starts_with("  ") && line.trim_end().ends_with(&full));
                if !call && !second {
                    missing.push(full);
                }
            }
        }
    }
    assert!(missing.is_empty(), "no grpcurl command shows {missing:?}");
}

#[test]
fn the_metrics_table_lists_every_metric() {
    let metrics = Metrics::default();
    let took = std::time::Duration::ZERO;
    // A family without members is not shown.
    metrics.rpc("m", "OK", took);
    metrics.store_operation("get", "ok", took);
    metrics.sessions("created", 1);
    metrics.assignment("sfu-1");
    metrics.token_issued("doctor");
    metrics.signalling_ended(None);
    let existing: BTreeSet<String> = metrics
        .encode()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| match line.split_once(' ') {
            Some((name, "counter")) => format!("{name}_total"),
            Some((name, "info")) => format!("{name}_info"),
            Some((name, _)) => name.to_owned(),
            None => line.to_owned(),
        })
        .collect();
    let listed: BTreeSet<String> = rows("docs/operating.md")
        .into_iter()
        .map(|row| row[0].clone())
        .filter(|name| name.starts_with("video_session_"))
        .collect();
    assert_same(listed, existing);
}

// === the page ===

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

// === modules ===

/// A source file without comments, text and tests: what is left can be searched for names.
fn code_of_file(path: &str) -> String {
    if path.contains("/tests/") {
        return String::new();
    }
    without_tests(&without_text(&read(path)))
}

fn part_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn without_text(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let at = |place: usize| chars.get(place).copied().unwrap_or('\0');
    let mut code = String::new();
    let mut place = 0;
    while place < chars.len() {
        match (at(place), at(place + 1)) {
            ('/', '/') => {
                while place < chars.len() && at(place) != '\n' {
                    place += 1;
                }
            }
            ('/', '*') => {
                place += 2;
                while place < chars.len() && (at(place), at(place + 1)) != ('*', '/') {
                    place += 1;
                }
                place += 2;
            }
            ('r', '"' | '#') if !code.ends_with(part_of_word) => {
                // Raw text ends with as many # as it began with; `r#name` is a name.
                let hashes = chars[place + 1..]
                    .iter()
                    .take_while(|letter| **letter == '#')
                    .count();
                place += 1 + hashes;
                if at(place) == '"' {
                    let end = format!("\"{}", "#".repeat(hashes));
                    let rest: String = chars[place + 1..].iter().collect();
                    let length = rest
                        .find(&end)
                        .map_or(rest.len(), |found| found + end.len());
                    place += 1 + rest[..length].chars().count();
                    code.push_str("\"\"");
                }
            }
            ('"', _) => {
                place += 1;
                while place < chars.len() && at(place) != '"' {
                    place += if at(place) == '\\' { 2 } else { 1 };
                }
                place += 1;
                code.push_str("\"\"");
            }
            // A character, and not a lifetime, closes two or three places on.
            ('\'', '\\') => {
                place += 3;
                while place < chars.len() && at(place) != '\'' {
                    place += 1;
                }
                place += 1;
            }
            ('\'', _) if at(place + 2) == '\'' => place += 3,
            (letter, _) => {
                code.push(letter);
                place += 1;
            }
        }
    }
    code
}

fn without_tests(code: &str) -> String {
    let mut rest = code;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        rest = after_item(after);
    }
    kept + rest
}

/// What follows the item that a text begins with.
fn after_item(text: &str) -> &str {
    let mut depth = 0_u32;
    for (place, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(letter, '}' | ';') {
            return &text[place + 1..];
        }
    }
    ""
}

/// Every path below `crate::` that code names, `use` trees taken apart.
fn crate_paths(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (place, prefix) in code.match_indices("crate::") {
        expand("", &code[place + prefix.len()..], &mut paths);
    }
    paths
}

/// Adds the paths of the tree that `text` begins with, and returns how long that tree is.
fn expand(above: &str, text: &str, paths: &mut BTreeSet<String>) -> usize {
    let name: String = text
        .chars()
        .take_while(|letter| part_of_word(*letter) || *letter == '*')
        .collect();
    let path = if above.is_empty() || name.is_empty() {
        format!("{above}{name}")
    } else {
        format!("{above}::{name}")
    };
    let mut end = name.len();
    if let Some(below) = text[end..].strip_prefix("::")
        && below.starts_with(|letter: char| letter.is_alphabetic() || "{*_".contains(letter))
    {
        return end + 2 + expand(&path, below, paths);
    }
    if name.is_empty() && text.starts_with('{') {
        end = 1;
        loop {
            end += text[end..]
                .find(|letter: char| !letter.is_whitespace() && letter != ',')
                .unwrap_or(0);
            if text[end..].starts_with('}') {
                return end + 1;
            }
            let taken = expand(above, &text[end..], paths);
            assert!(taken > 0, "a use tree that cannot be read: {text:.80}");
            end += taken;
        }
    }
    if !path.is_empty() {
        paths.insert(path);
    }
    end
}

#[test]
fn use_trees_are_taken_apart() {
    let code = "use crate::a::{self, b::C, d::{E, F}}; use crate::{g, h}; let x = crate::i::J::<u8>::new();";
    let expected = [
        "a::self", "a::b::C", "a::d::E", "a::d::F", "g", "h", "i::J", //
    ];
    assert_eq!(crate_paths(code), expected.map(ToOwned::to_owned).into());
    let source = "fn f<'a>() { let c = '\"'; let r = r#\"crate::r\"#; let t = \"r\"; } // crate::x\n#[cfg(test)]\nmod tests { use crate::y; }\nuse crate::z;";
    let code = without_tests(&without_text(source));
    assert_eq!(crate_paths(&code), ["z".to_owned()].into());
}

/// The folder or file of src that a file belongs to: `store` for src/store/mongo/tail.rs, `boot` for src/boot.rs.
fn module_of(path: &str) -> &str {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let first = inner.split('/').next().unwrap_or(inner);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// What each module may name, from ARCHITECTURE.md: paths, or `*`.
fn arrow() -> BTreeMap<String, Vec<String>> {
    let lines = block("ARCHITECTURE.md", "arrow");
    let rules = lines.iter().map(|line| {
        let (from, to) = line.split_once("->").expect("`module -> modules`");
        let to = to.split_whitespace().map(ToOwned::to_owned);
        (from.trim().to_owned(), to.collect())
    });
    rules.collect()
}

#[test]
fn modules_name_only_those_that_the_arrow_lets_them() {
    let arrow = arrow();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files_under("src", "rs") {
        let module = module_of(&path);
        // The library's list of modules, and the binary's.
        if matches!(module, "lib" | "main") {
            continue;
        }
        // A rule for a file is added to the one for its folder.
        let rules = [module, path.strip_prefix("src/").unwrap_or(&path)];
        let allowed: Vec<(&str, &String)> = rules
            .into_iter()
            .flat_map(|rule| {
                let to = arrow.get(rule);
                to.into_iter().flatten().map(move |to| (rule, to))
            })
            .collect();
        assert!(
            arrow.contains_key(module),
            "{module} is missing in ARCHITECTURE.md's arrow"
        );
        let code = code_of_file(&path);
        assert!(
            !code.contains("super::super"),
            "{path}: name modules from `crate::` on, where this test sees them"
        );
        for named in crate_paths(&code) {
            if named == module || named.starts_with(&format!("{module}::")) {
                continue;
            }
            let rule = allowed.iter().find(|(_, to)| {
                *to == "*" || named == **to || named.starts_with(&format!("{to}::"))
            });
            match rule {
                Some((from, to)) => {
                    used.insert(format!("{from} -> {to}"));
                }
                None => wrong.push(format!("{path} names {named}")),
            }
        }
    }
    assert!(wrong.is_empty(), "against ARCHITECTURE.md: {wrong:#?}");
    let permissions = arrow
        .iter()
        .flat_map(|(from, to)| to.iter().map(move |to| format!("{from} -> {to}")));
    let unused: Vec<_> = permissions.filter(|rule| !used.contains(rule)).collect();
    assert!(
        unused.is_empty(),
        "ARCHITECTURE.md allows what nobody needs any more; take it back: {unused:?}"
    );
}

#[test]
fn libraries_are_named_only_where_they_belong() {
    let fences: Vec<(String, Vec<String>)> = block("ARCHITECTURE.md", "fences")
        .iter()
        .map(|line| {
            let (library, places) = line.split_once("->").expect("`library -> places`");
            let places = places
                .split_whitespace()
                .map(|place| format!("src/{place}"));
            (library.trim().to_owned(), places.collect())
        })
        .collect();
    let mut wrong = Vec::new();
    for path in files_under("src", "rs") {
        let code = code_of_file(&path);
        for (library, places) in &fences {
            if names(&code, library) && !places.iter().any(|place| path.starts_with(place)) {
                wrong.push(format!("{path} names {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "against ARCHITECTURE.md: {wrong:#?}");
}

/// Whether code names a path, as whole words.
fn names(code: &str, path: &str) -> bool {
    // `use tonic::{Code, Status}` names tonic::Code too.
    let (library, item) = path.split_once("::").unwrap_or((path, ""));
    code.match_indices(&format!("{library}::"))
        .any(|(place, found)| {
            if code[..place].ends_with(|before| part_of_word(before) || before == ':') {
                return false;
            }
            if item.is_empty() {
                return true;
            }
            let mut paths = BTreeSet::new();
            expand("", &code[place + found.len()..], &mut paths);
            paths
                .iter()
                .any(|path| path.split("::").next() == Some(item))
        })
}

#[test]
fn nothing_outside_of_tests_may_panic() {
    const BANNED: [&str; 6] = [
        ".unwrap()",
        ".expect(",
        "panic!(",
        "todo!(",
        "unimplemented!(",
        "dbg!(",
    ];
    for path in files_under("src", "rs") {
        let code = code_of_file(&path);
        for banned in BANNED {
            assert!(!code.contains(banned), "{path} has {banned}");
        }
    }
}

#[test]
fn every_source_file_is_part_of_the_program() {
    let mut reached = BTreeSet::new();
    let mut pending = vec!["src/main.rs".to_owned(), "src/lib.rs".to_owned()];
    while let Some(path) = pending.pop() {
        let code = without_text(&read(&path));
        let directory = match Path::new(&path).file_stem().and_then(|stem| stem.to_str()) {
            Some("main" | "lib" | "mod") => {
                let parent = Path::new(&path).parent().and_then(Path::to_str);
                parent.expect("in src").to_owned()
            }
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        for line in code.lines() {
            let Some(name) = line
                .split_once("mod ")
                .filter(|(before, _)| before.is_empty() || before.trim().starts_with("pub"))
                .and_then(|(_, name)| name.strip_suffix(';'))
            else {
                continue;
            };
            let file = format!("{directory}/{name}.rs");
            let folder = format!("{directory}/{name}/mod.rs");
            pending.push(if root().join(&file).exists() {
                file
            } else {
                folder
            });
        }
        reached.insert(path);
    }
    let existing: BTreeSet<_> = files_under("src", "rs").into_iter().collect();
    // What is reached has a file, or the compiler would have complained; so only files can be left over.
    assert_same(reached, existing);
}

// === documents ===

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
