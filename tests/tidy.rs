//! Guards the structure of the source: who may use whom, file headers, banned names and leftovers.
//!
//! The arrows here are the ones that ARCHITECTURE.md draws; change both together.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Module, and the modules it may import from.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &["model"]),
    ("telemetry", &["model"]),
    ("glob", &[]),
    ("state_file", &[]),
    ("backoff", &[]),
    ("logging", &["model", "clock"]),
    ("yaml", &["model"]),
    ("codec", &["model"]),
    ("store", &["model", "codec", "clock", "telemetry", "backoff"]),
    ("promql", &["model", "store"]),
    ("exposition", &["model"]),
    ("client", &["model", "clock"]),
    ("discovery", &["model", "yaml", "glob", "client", "clock", "telemetry", "backoff"]),
    ("collect", &["model", "glob", "client", "exposition", "clock", "telemetry", "backoff"]),
    ("scrape", &["model", "store", "exposition", "client", "discovery", "collect", "clock", "telemetry", "backoff"]),
    ("rules", &["model", "store", "promql", "yaml", "glob", "clock", "telemetry"]),
    ("notify", &["model", "rules", "client", "discovery", "clock", "telemetry", "backoff", "state_file"]),
    ("federation", &["model", "store", "promql", "exposition", "clock", "telemetry", "state_file"]),
    (
        "http",
        &["model", "store", "promql", "exposition", "scrape", "rules", "notify", "federation", "clock", "telemetry"],
    ),
    (
        "config",
        &[
            "yaml",
            "glob",
            "model",
            "store",
            "promql",
            "client",
            "discovery",
            "collect",
            "scrape",
            "rules",
            "notify",
            "federation",
            "http",
        ],
    ),
];

/// Who may use everything below: nobody imports them but the crate's root and each other as listed.
const TOP: &[&str] = &["app", "cli", "commands", "main", "lib"];

/// Module names that say nothing.
const BANNED_FILES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// Leftovers that must not be committed.
const BANNED_WORDS: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX"];

#[test]
fn imports_go_one_way() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if TOP.contains(&module.as_str()) {
            continue;
        }
        let Some(allowed) = arrows.get(module.as_str()) else {
            wrong.push(format!("{}: module {module} has no arrows in tests/tidy.rs", path.display()));
            continue;
        };
        if text.contains("crate::{") {
            wrong
                .push(format!("{}: one `use crate::module::…` per module, so that arrows can be read", path.display()));
        }
        for used in crate_imports(&text) {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {module} must not use {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let bare: Vec<PathBuf> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(bare.is_empty(), "no //! header in {bare:?}");
}

#[test]
fn nothing_is_named_after_nothing() {
    let vague: Vec<PathBuf> = sources()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.iter().any(|part| BANNED_FILES.contains(&part.to_string_lossy().trim_end_matches(".rs"))))
        .collect();
    assert!(vague.is_empty(), "{vague:?}");
}

#[test]
fn no_leftovers() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if BANNED_WORDS.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn rusqlite_is_named_in_the_blocks_alone() {
    let elsewhere: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|(path, text)| text.contains("rusqlite") && !path.starts_with("src/store/blocks"))
        .map(|(path, _)| path)
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

/// All files under src, with paths relative to the crate.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending = vec![root.join("src")];
    let mut found = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// `src/store/blocks/mod.rs` belongs to `store`.
fn module_of(path: &Path) -> String {
    let part = path.iter().nth(1).unwrap().to_string_lossy();
    part.trim_end_matches(".rs").to_owned()
}

/// The top-level modules that `crate::…` paths in the text name, comments left out.
fn crate_imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1).map(first_word).collect::<Vec<_>>())
        .filter(|word| !word.is_empty())
        .collect()
}

fn first_word(rest: &str) -> String {
    rest.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}
