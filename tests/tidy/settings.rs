//! Settings are documented as the code reads them.

use std::collections::{BTreeMap, BTreeSet};

use video_session::config;
use video_session::config::env::Env;

use crate::{assert_same, files_under, read, rows};

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
