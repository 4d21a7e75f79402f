//! Modules name only those that ARCHITECTURE.md lets them.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, sources};
use crate::{assert_same, block, files_under};

/// The two kinds of lines in ARCHITECTURE.md's arrow.
struct Arrow {
    /// Between rooms: `app -> store domain::error`, and `store/observed.rs -> telemetry`, which adds to its room's line.
    between: BTreeMap<String, Vec<String>>,
    /// Within a room: `domain/session -> domain/access domain/event`. A room that has such lines has one for each of its
    /// parts, `mod` aside, which may name them all.
    within: BTreeMap<String, Vec<String>>,
}

fn arrow() -> Arrow {
    let (mut between, mut within) = (BTreeMap::new(), BTreeMap::new());
    let lines = block("ARCHITECTURE.md", "arrow");
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let (from, to) = line.split_once("->").expect("`module -> modules`");
        let from = from.trim().to_owned();
        let to: Vec<_> = to.split_whitespace().map(ToOwned::to_owned).collect();
        let is_within = from.contains('/') && !from.ends_with(".rs");
        let lines = if is_within { &mut within } else { &mut between };
        assert!(lines.insert(from.clone(), to).is_none(), "two lines {from}");
    }
    Arrow { between, within }
}

impl Arrow {
    /// The line that permits a file to name a path of another room.
    fn permission(&self, source: &Source, named: &str) -> Option<String> {
        let room = source.room().expect("no root");
        let file = source.path.strip_prefix("src/").expect("in src");
        [room, file].into_iter().find_map(|from| {
            let to =
                self.between.get(from)?.iter().find(|to| {
                    *to == "*" || named == *to || named.starts_with(&format!("{to}::"))
                })?;
            Some(format!("{from} -> {to}"))
        })
    }

    fn orders(&self, room: &str) -> bool {
        let prefix = format!("{room}/");
        self.within.keys().any(|from| from.starts_with(&prefix))
    }
}

/// Whether what is left of a line, or of a file, is a part of a room, and not an item of its `mod.rs`.
fn part_named(room: &str, name: Option<&String>) -> String {
    let is_part = |name: &&String| {
        let source = crate::root().join("src").join(room).join(name);
        source.is_dir() || source.with_extension("rs").is_file()
    };
    name.filter(is_part)
        .map_or_else(|| "mod".to_owned(), ToOwned::to_owned)
}

#[test]
fn rooms_name_only_those_that_the_arrow_lets_them() {
    let arrow = arrow();
    let (mut used, mut wrong) = (BTreeSet::new(), Vec::new());
    for source in sources().0 {
        let Some(room) = source.room() else { continue };
        assert!(
            arrow.between.contains_key(room),
            "{room} is missing in ARCHITECTURE.md's arrow"
        );
        for path in source.paths() {
            let Some(("crate", named)) = path.split_first().map(|(first, rest)| (&**first, rest))
            else {
                continue;
            };
            if named.first().is_none_or(|named| named == room) {
                continue;
            }
            let named = named.join("::");
            match arrow.permission(&source, &named) {
                Some(line) => drop(used.insert(line)),
                None => wrong.push(format!("{} names {named}", source.path)),
            }
        }
    }
    assert!(wrong.is_empty(), "against ARCHITECTURE.md: {wrong:#?}");
    assert_all_used(&arrow.between, &used);
}

#[test]
fn parts_of_a_room_name_only_those_that_the_arrow_lets_them() {
    let arrow = arrow();
    let (mut used, mut wrong) = (BTreeSet::new(), Vec::new());
    let mut parts = BTreeSet::new();
    for source in sources().0 {
        let Some(room) = source.room().filter(|room| arrow.orders(room)) else {
            continue;
        };
        let part = source.part();
        if part == "mod" {
            continue;
        }
        let from = format!("{room}/{part}");
        let allowed = arrow.within.get(&from);
        for path in source.paths() {
            if path.len() < 2 || path[0] != "crate" || path[1] != room {
                continue;
            }
            let named = part_named(room, path.get(2));
            if named == part {
                continue;
            }
            let to = format!("{room}/{named}");
            if allowed.is_some_and(|allowed| allowed.contains(&to)) {
                used.insert(format!("{from} -> {to}"));
            } else {
                wrong.push(format!("{} names {to}", source.path));
            }
        }
        parts.insert(from);
    }
    assert!(wrong.is_empty(), "against ARCHITECTURE.md: {wrong:#?}");
    assert_all_used(&arrow.within, &used);
    assert_same(arrow.within.into_keys(), parts);
}

fn assert_all_used(lines: &BTreeMap<String, Vec<String>>, used: &BTreeSet<String>) {
    let permissions = lines
        .iter()
        .flat_map(|(from, to)| to.iter().map(move |to| format!("{from} -> {to}")));
    let unused: Vec<_> = permissions.filter(|line| !used.contains(line)).collect();
    assert!(
        unused.is_empty(),
        "ARCHITECTURE.md allows what is not needed any more; take it back: {unused:?}"
    );
}

/// What every module names, directly or through others, does not name it.
#[test]
fn the_arrow_has_no_circles() {
    let Arrow { between, within } = arrow();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in between {
        let room = from.split('/').next().expect("a room").to_owned();
        let to = to.iter().filter_map(|to| to.split("::").next());
        let to = to.filter(|to| *to != "*").map(ToOwned::to_owned);
        edges.entry(room).or_default().extend(to);
    }
    for (from, to) in within {
        // A room's `mod.rs` holds what its parts share, and names them.
        let to = to.into_iter().filter(|to| !to.ends_with("/mod"));
        edges.entry(from).or_default().extend(to);
    }
    while let Some(leaf) = edges
        .iter()
        .find(|(_, to)| !to.iter().any(|to| edges.contains_key(to)))
        .map(|(from, _)| from.clone())
    {
        edges.remove(&leaf);
    }
    assert!(edges.is_empty(), "these name one another: {edges:#?}");
}

#[test]
fn libraries_are_named_only_where_they_belong() {
    let fences: Vec<(Vec<String>, Vec<String>)> = block("ARCHITECTURE.md", "fences")
        .iter()
        .map(|line| {
            let (library, places) = line.split_once("->").expect("`library -> places`");
            let places = places
                .split_whitespace()
                .map(|place| format!("src/{place}"));
            let library = library.trim().split("::").map(ToOwned::to_owned);
            (library.collect(), places.collect())
        })
        .collect();
    let mut wrong = Vec::new();
    for source in sources().0 {
        let paths = source.paths();
        for (library, places) in &fences {
            let is_named = paths.iter().any(|path| path.starts_with(library));
            if is_named && !places.iter().any(|place| source.path.starts_with(place)) {
                wrong.push(format!("{} names {}", source.path, library.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "against ARCHITECTURE.md: {wrong:#?}");
}

#[test]
fn nothing_outside_of_tests_may_panic() {
    for source in sources().0 {
        let panics = source.panics();
        assert!(panics.is_empty(), "{} has {panics:?}", source.path);
    }
}

#[test]
fn every_source_file_is_part_of_the_program() {
    let (sources, tests) = sources();
    let reached = sources.into_iter().map(|source| source.path).chain(tests);
    assert_same(reached, files_under("src", "rs"));
}
