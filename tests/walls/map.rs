//! Whether the map is true: ARCHITECTURE.md and the lists that must agree with each other.

use std::collections::BTreeSet;

use crate::{File, assert_clean, files};

fn text<'a>(files: &'a [File], path: &str) -> &'a str {
    &files
        .iter()
        .find(|file| file.path == path)
        .unwrap_or_else(|| panic!("{path} is missing"))
        .text
}

/// Top-level folders, and `crate::module` for the modules at the root of each crate.
fn places(files: &[File]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for File { path, .. } in files {
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            ["crates", name, "src", module, ..]
                if path.ends_with(".rs") && !matches!(*module, "lib.rs" | "main.rs" | "tests.rs") =>
            {
                found.insert(format!("`{name}::{}`", module.trim_end_matches(".rs")));
            }
            ["crates", ..] | [_] => {}
            [folder, ..] => {
                found.insert(format!("`{folder}/`"));
            }
            [] => {}
        }
    }
    found
}

fn missing_on_map(files: &[File]) -> Vec<String> {
    let map = text(files, "ARCHITECTURE.md");
    places(files)
        .into_iter()
        .filter(|place| !map.contains(place.as_str()))
        .map(|place| format!("ARCHITECTURE.md does not name {place}"))
        .collect()
}

/// Modules that the map names and that are gone: `crate::module` of one of our crates.
fn gone_from_map(files: &[File]) -> Vec<String> {
    let places = places(files);
    let map = text(files, "ARCHITECTURE.md");
    let crates: BTreeSet<&str> = places
        .iter()
        .filter_map(|place| Some(place.strip_prefix('`')?.split_once("::")?.0))
        .collect();
    map.split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.split_once("::").is_some_and(|(name, _)| crates.contains(name)))
        .filter(|code| {
            !places.contains(&format!(
                "`{}`",
                code.split("::").take(2).collect::<Vec<_>>().join("::")
            ))
        })
        .map(|code| format!("ARCHITECTURE.md names `{code}`, which is gone"))
        .collect()
}

/// Clippy reads the file nearest to a crate and no other: each must repeat what the root bans.
fn missing_bans(files: &[File]) -> Vec<String> {
    let bans = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.split_once("path = \"")?.1.split_once('"'))
            .map(|(path, _)| path.to_owned())
            .collect()
    };
    let everywhere = bans(text(files, "clippy.toml"));
    let mut found = Vec::new();
    for File { path, .. } in files.iter().filter(|file| file.path.starts_with("crates/")) {
        let Some(folder) = path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        let own = format!("{folder}/clippy.toml");
        match files.iter().find(|file| file.path == own) {
            None => found.push(format!("{own} is missing: the root's bans do not hold there")),
            Some(file) => {
                let own_bans = bans(&file.text);
                let missing = everywhere.iter().filter(|ban| !own_bans.contains(ban));
                found.extend(missing.map(|ban| format!("{own} does not ban {ban}")));
            }
        }
    }
    found
}

/// Every crate takes the workspace's lints, or `unsafe` and the bans would be allowed in it.
fn missing_lints(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.path.starts_with("crates/") && file.path.ends_with("/Cargo.toml"))
        .filter(|file| !file.text.contains("[lints]\nworkspace = true"))
        .map(|file| format!("{}: does not take the workspace's lints", file.path))
        .collect()
}

/// Links of documents to files that are not there. `exists` is asked with a path from the root.
fn dead_links(files: &[File], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for File { path, text } in files.iter().filter(|file| file.path.ends_with(".md")) {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            let mut parts: Vec<&str> = path.split('/').collect();
            parts.pop();
            for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
                if part == ".." {
                    parts.pop();
                } else {
                    parts.push(part);
                }
            }
            if !exists(&parts.join("/")) {
                found.push(format!("{path}: links to {link}, which is not there"));
            }
        }
    }
    found
}

#[test]
fn documents_link_to_what_is_there() {
    let root = crate::root();
    assert_clean(&dead_links(&files(), |path| root.join(path).exists()));
}

#[test]
fn a_dead_link_is_noticed() {
    let files = sample(&[(
        "docs/guide/x.md",
        "[a](../a.md#part), [b](b.md), [c](https://example.org/c.md), [d](#here) and [e](../../README.md)",
    )]);
    let there = ["docs/a.md", "README.md"];
    assert_eq!(
        dead_links(&files, |path| there.contains(&path)),
        ["docs/guide/x.md: links to b.md, which is not there"]
    );
}

#[test]
fn the_map_names_every_place() {
    assert_clean(&missing_on_map(&files()));
}

#[test]
fn the_map_names_no_place_that_is_gone() {
    assert_clean(&gone_from_map(&files()));
}

#[test]
fn every_crate_bans_what_the_root_bans() {
    assert_clean(&missing_bans(&files()));
}

#[test]
fn every_crate_takes_the_lints() {
    assert_clean(&missing_lints(&files()));
}

fn sample(files: &[(&str, &str)]) -> Vec<File> {
    files
        .iter()
        .map(|(path, text)| File {
            path: (*path).into(),
            text: (*text).into(),
        })
        .collect()
}

#[test]
fn a_place_off_the_map_is_noticed() {
    let files = sample(&[
        ("ARCHITECTURE.md", "`docs/` and `media::hub`"),
        ("docs/glossary.md", ""),
        ("web/index.html", ""),
        ("crates/media/src/hub/mod.rs", ""),
        ("crates/media/src/name.rs", ""),
    ]);
    assert_eq!(
        missing_on_map(&files),
        [
            "ARCHITECTURE.md does not name `media::name`",
            "ARCHITECTURE.md does not name `web/`"
        ]
    );
}

#[test]
fn a_place_that_is_gone_is_noticed() {
    let files = sample(&[
        (
            "ARCHITECTURE.md",
            "`media::hub`, `media::hub::Ring`, `media::wheel`, `std::time`",
        ),
        ("crates/media/src/hub/mod.rs", ""),
    ]);
    assert_eq!(
        gone_from_map(&files),
        ["ARCHITECTURE.md names `media::wheel`, which is gone"]
    );
}

#[test]
fn a_forgotten_ban_is_noticed() {
    let root = "disallowed-methods = [\n  { path = \"std::process::exit\", reason = \"…\" },\n]\n";
    let files = sample(&[
        ("clippy.toml", root),
        ("crates/a/Cargo.toml", ""),
        ("crates/a/clippy.toml", root),
        ("crates/b/Cargo.toml", ""),
        ("crates/b/clippy.toml", "disallowed-methods = []\n"),
        ("crates/c/Cargo.toml", ""),
    ]);
    assert_eq!(
        missing_bans(&files),
        [
            "crates/b/clippy.toml does not ban std::process::exit",
            "crates/c/clippy.toml is missing: the root's bans do not hold there"
        ]
    );
}

#[test]
fn a_crate_without_lints_is_noticed() {
    let files = sample(&[
        ("crates/a/Cargo.toml", "[lints]\nworkspace = true\n"),
        ("crates/b/Cargo.toml", ""),
    ]);
    assert_eq!(
        missing_lints(&files),
        ["crates/b/Cargo.toml: does not take the workspace's lints"]
    );
}

/// Files and tests that docs/reliability.md names and that are not there: a promise that nothing holds.
fn promised_and_not_held(files: &[File]) -> Vec<String> {
    let page = text(files, "docs/reliability.md");
    let is_there = |code: &str| {
        let path = code.trim_end_matches('/');
        let file = |file: &File| file.path.ends_with(&format!("/{path}")) || file.path.starts_with(&format!("{path}/"));
        if code.contains('/') || code.ends_with(".rs") {
            return files.iter().any(|known| known.path == path || file(known));
        }
        let name = code
            .chars()
            .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
        // Words with many underscores are names of tests; others are modules, settings and programs.
        let test = format!("fn {code}(");
        !name || code.matches('_').count() < 3 || files.iter().any(|file| file.text.contains(&test))
    };
    let codes = page.split('`').skip(1).step_by(2);
    codes
        .filter(|code| !code.contains(' ') && !is_there(code))
        .map(|code| format!("docs/reliability.md names {code}, which is not there"))
        .collect()
}

#[test]
fn what_is_promised_is_held_by_what_is_there() {
    assert_clean(&promised_and_not_held(&files()));
    let file = |path: &str, text: &str| File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let page = "`tests/a.rs`: `a_test_that_is_there`, `b.rs`, `make test`, `limits.hold`; `tests/gone.rs`: `a_test_that_is_gone`";
    let sample = [
        file("docs/reliability.md", page),
        file("tests/a.rs", "fn a_test_that_is_there() {}"),
        file("crates/x/src/b.rs", ""),
    ];
    assert_eq!(promised_and_not_held(&sample).len(), 2);
}
