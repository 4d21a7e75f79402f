//! The service's sources as the compiler reads them: without comments, text and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;

use crate::{read, root};

/// One file that is part of the library or the binary.
pub(crate) struct Source {
    /// As in `src/store/mongo/tail.rs`.
    pub(crate) path: String,
    /// As in `["store", "mongo", "tail"]`.
    module: Vec<String>,
    /// The modules that have a file below it.
    children: BTreeSet<String>,
    code: Vec<TokenTree>,
}

/// Everything that is reached from the two roots, tests aside; and beside it the files that are tests only.
pub(crate) fn sources() -> (Vec<Source>, BTreeSet<String>) {
    let (mut sources, mut tests) = (Vec::new(), BTreeSet::new());
    let roots = ["src/main.rs", "src/lib.rs"];
    let mut pending: Vec<_> = roots
        .map(|path| (path.to_owned(), Vec::new(), false))
        .into();
    while let Some((path, module, is_test)) = pending.pop() {
        let mut file = syn::parse_file(&read(&path)).expect("Rust");
        let modules = module_declarations(&file.items);
        for (name, declared_in_test) in &modules {
            let mut below = module.clone();
            below.push(name.clone());
            let child = file_of(&path, name);
            pending.push((child, below, is_test || *declared_in_test));
        }
        if is_test {
            tests.insert(path);
            continue;
        }
        remove_tests(&mut file.items);
        sources.push(Source {
            path,
            module,
            children: modules.into_keys().collect(),
            code: file.into_token_stream().into_iter().collect(),
        });
    }
    (sources, tests)
}

/// The modules that have a file of their own, and whether they are tests.
fn module_declarations(items: &[syn::Item]) -> BTreeMap<String, bool> {
    let modules = items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() => {
            Some((module.ident.to_string(), is_for_tests(&module.attrs)))
        }
        _ => None,
    });
    modules.collect()
}

fn file_of(parent: &str, name: &str) -> String {
    let stem = Path::new(parent).file_stem().and_then(|stem| stem.to_str());
    let directory = match stem {
        Some("main" | "lib" | "mod") => parent.rsplit_once('/').expect("in src").0,
        _ => parent.trim_end_matches(".rs"),
    };
    let file = format!("{directory}/{name}.rs");
    if root().join(&file).exists() {
        file
    } else {
        format!("{directory}/{name}/mod.rs")
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_test = |list: &syn::MetaList| list.tokens.to_string() == "test";
        attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(is_test)
    })
}

fn remove_tests(items: &mut Vec<syn::Item>) {
    items.retain_mut(|item| match item {
        syn::Item::Mod(module) => {
            if let Some((_, items)) = &mut module.content {
                remove_tests(items);
            }
            !is_for_tests(&module.attrs)
        }
        syn::Item::Impl(implementation) => {
            implementation.items.retain(|item| match item {
                syn::ImplItem::Fn(function) => !is_for_tests(&function.attrs),
                _ => true,
            });
            !is_for_tests(&implementation.attrs)
        }
        syn::Item::Fn(function) => !is_for_tests(&function.attrs),
        syn::Item::Use(import) => !is_for_tests(&import.attrs),
        syn::Item::Const(constant) => !is_for_tests(&constant.attrs),
        syn::Item::Struct(structure) => !is_for_tests(&structure.attrs),
        _ => true,
    });
}

impl Source {
    /// The folder or file of src that it belongs to: `store` for src/store/mongo/tail.rs, `boot` for src/boot.rs. `None` for
    /// the roots.
    pub(crate) fn room(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    /// The folder or file of its room that it belongs to: `mongo` for src/store/mongo/tail.rs, `mod` for src/store/mod.rs.
    pub(crate) fn part(&self) -> &str {
        self.module.get(1).map_or("mod", String::as_str)
    }

    /// Every path of two names and more. Those within the crate begin with `crate`, however the file writes them.
    pub(crate) fn paths(&self) -> BTreeSet<Vec<String>> {
        let mut found = BTreeSet::new();
        collect_paths(&self.code, &mut found);
        found.into_iter().map(|path| self.resolve(path)).collect()
    }

    fn resolve(&self, path: Vec<String>) -> Vec<String> {
        let mut module = self.module.clone();
        let mut rest = path.as_slice();
        match path.first().map(String::as_str) {
            Some("super") => {
                while let Some((_, below)) = rest.split_first().filter(|(name, _)| *name == "super")
                {
                    module.pop();
                    rest = below;
                }
            }
            Some("self") => rest = &rest[1..],
            Some(name) if self.children.contains(name) => {}
            _ => return path,
        }
        let whole = ["crate".to_owned()].into_iter().chain(module);
        whole.chain(rest.iter().cloned()).collect()
    }

    /// What it calls that may panic.
    pub(crate) fn panics(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        collect_panics(&self.code, &mut found);
        found
    }
}

fn is_punct(token: Option<&TokenTree>, letter: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == letter)
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    is_punct(tokens.first(), ':') && is_punct(tokens.get(1), ':')
}

fn collect_paths(tokens: &[TokenTree], found: &mut BTreeSet<Vec<String>>) {
    let mut place = 0;
    while let Some(token) = tokens.get(place) {
        match token {
            TokenTree::Ident(_) => place += collect_tree(&[], &tokens[place..], found),
            TokenTree::Group(group) => {
                collect_paths(&trees(group.stream()), found);
                place += 1;
            }
            _ => place += 1,
        }
    }
}

/// Adds the paths of the tree that `tokens` begin with, and returns how many of them it takes.
fn collect_tree(
    above: &[String],
    tokens: &[TokenTree],
    found: &mut BTreeSet<Vec<String>>,
) -> usize {
    let mut path = above.to_vec();
    let mut place = 0;
    loop {
        match tokens.get(place) {
            Some(TokenTree::Ident(name)) => path.push(name.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let below = trees(group.stream());
                for entry in below.split(|token| is_punct(Some(token), ',')) {
                    if !entry.is_empty() {
                        collect_tree(&path, entry, found);
                    }
                }
                return place + 1;
            }
            Some(token) if is_punct(Some(token), '*') => path.push("*".to_owned()),
            // Type arguments.
            _ => break,
        }
        place += 1;
        if !is_path_separator(&tokens[place..]) {
            break;
        }
        place += 2;
    }
    if path.len() > 1 {
        found.insert(path);
    }
    place.max(1)
}

fn collect_panics(tokens: &[TokenTree], found: &mut BTreeSet<String>) {
    for (place, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) => {
                let name = name.to_string();
                let is_call = matches!(tokens.get(place + 1), Some(TokenTree::Group(_)));
                let is_method = place > 0 && is_punct(tokens.get(place - 1), '.') && is_call;
                let is_macro = is_punct(tokens.get(place + 1), '!');
                let banned = match name.as_str() {
                    "unwrap" | "expect" => is_method,
                    "panic" | "todo" | "unimplemented" | "unreachable" | "dbg" => is_macro,
                    _ => false,
                };
                if banned {
                    found.insert(name);
                }
            }
            TokenTree::Group(group) => collect_panics(&trees(group.stream()), found),
            _ => {}
        }
    }
}

fn trees(stream: TokenStream) -> Vec<TokenTree> {
    stream.into_iter().collect()
}

#[cfg(test)]
fn source_of(module: &[&str], children: &[&str], text: &str) -> Source {
    let mut file = syn::parse_file(text).expect("Rust");
    remove_tests(&mut file.items);
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Source {
        path: "src/a/b.rs".to_owned(),
        module: owned(module),
        children: children.iter().map(|name| (*name).to_owned()).collect(),
        code: file.into_token_stream().into_iter().collect(),
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = r##"
        use crate::a::{self, b::C, d::{E, F}};
        use crate::{g, h};
        use super::i::J;
        use k::L;
        use m::*;
        // crate::comment
        fn f<'a>() {
            let c = '"';
            let r = r#"crate::raw"#;
            let x = crate::n::O::<u8>::new();
            select! { y = crate::p::q() => crate::r::S { field: t::U } }
        }
        #[cfg(test)]
        mod tests { use crate::y; }
        impl V { #[cfg(test)] fn w() { crate::z::z(); } }
    "##;
    let source = source_of(&["room", "part"], &["k"], text);
    let found: BTreeSet<_> = source.paths().iter().map(|path| path.join("::")).collect();
    let expected = [
        "crate::a::self",
        "crate::a::b::C",
        "crate::a::d::E",
        "crate::a::d::F",
        "crate::g",
        "crate::h",
        "crate::room::i::J",
        "crate::room::part::k::L",
        "m::*",
        "crate::n::O",
        "crate::p::q",
        "crate::r::S",
        "t::U",
    ];
    assert_eq!(found, expected.map(ToOwned::to_owned).into());
}

#[test]
fn panics_are_found_within_macros_too() {
    let text = "fn f() { select! { x = y.unwrap() => z }; Option::unwrap_or(a, b); self.expect_more(); todo!() }";
    let found = source_of(&["room"], &[], text).panics();
    assert_eq!(found, ["unwrap", "todo"].map(ToOwned::to_owned).into());
}
