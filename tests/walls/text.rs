//! What a file may say.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::source::{each_level, group, is_path_separator, tokens, word};
use crate::{File, assert_clean, files, rust_files};

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &[
    "core", "common", "util", "utils", "manager", "helper", "helpers", "misc",
];

/// Folders of `protocol` that the others may import.
const SHARED_FOLDERS: &[&str] = &["rtp", "sdp"];

fn opening(file: &File) -> Option<String> {
    let opens = file.text.lines().next().is_some_and(|line| line.starts_with("//!"));
    (!opens).then(|| {
        format!(
            "{}: does not open with `//!`: what belongs here, what does not",
            file.path
        )
    })
}

fn empty_name(file: &File) -> Option<String> {
    let found = file
        .path
        .split('/')
        .find(|part| EMPTY_NAMES.contains(&part.trim_end_matches(".rs")));
    found.map(|part| format!("{}: `{part}` says nothing of what is inside", file.path))
}

fn unsafe_outside_device(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    if !file.path.starts_with("crates/device/") {
        each_level(tokens(file), &mut |level| {
            for tree in level {
                if word(Some(tree)).as_deref() == Some("unsafe") {
                    found.push(format!(
                        "{}:{}: `unsafe` outside of device",
                        file.path,
                        tree.span().start().line
                    ));
                }
            }
        });
    }
    found
}

fn ignored_tests(file: &File) -> Vec<String> {
    fn says_ignore(stream: TokenStream) -> bool {
        stream.into_iter().any(|tree| match tree {
            TokenTree::Ident(ident) => ident == "ignore",
            TokenTree::Group(group) => says_ignore(group.stream()),
            _ => false,
        })
    }
    let mut found = Vec::new();
    each_level(tokens(file), &mut |level| {
        for pair in level.windows(2) {
            let attribute = group(pair.get(1), Delimiter::Bracket).map(proc_macro2::Group::stream);
            if matches!(&pair[0], TokenTree::Punct(hash) if hash.as_char() == '#')
                && attribute.is_some_and(|stream| {
                    let first = word(stream.clone().into_iter().next().as_ref());
                    matches!(first.as_deref(), Some("ignore" | "cfg_attr")) && says_ignore(stream)
                })
            {
                found.push(format!(
                    "{}:{}: an ignored test",
                    file.path,
                    pair[0].span().start().line
                ));
            }
        }
    });
    found
}

/// Words that promise work for later, and paths of somebody's machine.
fn forbidden_words(file: &File) -> Vec<String> {
    let later = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let homes = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
    ];
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let mut complain = |what: &str| found.push(format!("{}:{}: says `{what}`", file.path, index + 1));
        let words = || line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if let Some(word) = later.iter().find(|word| words().any(|said| said == **word)) {
            complain(word);
        }
        for home in homes {
            // A path that starts there, not one that merely contains it.
            let starts = line.match_indices(home).any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '~'))
            });
            if starts {
                complain(home);
            }
        }
    }
    found
}

/// Folders of `protocol` that this file of `protocol` imports, though it may not.
fn foreign_folders(file: &File, folders: &[String]) -> Vec<String> {
    let Some(inside) = file.path.strip_prefix("crates/protocol/src/") else {
        return Vec::new();
    };
    let Some((own, rest)) = inside.split_once('/') else {
        return Vec::new();
    };
    let depth = 1 + rest.matches('/').count() + usize::from(!rest.ends_with("mod.rs"));
    let mut found = Vec::new();
    imports(tokens(file), depth, &mut |name, line| {
        if name != own && !SHARED_FOLDERS.contains(&name) && folders.iter().any(|folder| folder == name) {
            found.push(format!("{}:{line}: `{own}` imports `{name}`", file.path));
        }
    });
    found
}

/// Calls `visit` with each name that a path takes from the root of the crate, `crate::NAME` or enough `super::`.
/// `depth` is how many modules deep the tokens stand.
fn imports(stream: TokenStream, depth: usize, visit: &mut dyn FnMut(&str, usize)) {
    let level: Vec<TokenTree> = stream.into_iter().collect();
    for (index, tree) in level.iter().enumerate() {
        let starts = index < 2 || !is_path_separator(&level, index - 2);
        let mut at = index;
        let mut left = match word(Some(tree)).as_deref() {
            Some("crate") => 0,
            Some("super") if starts => depth.saturating_sub(1),
            _ => usize::MAX,
        };
        while left != usize::MAX && is_path_separator(&level, at + 1) {
            at += 3;
            let next = level.get(at);
            match word(next).as_deref() {
                Some("super") => left = left.saturating_sub(1),
                Some(name) if left == 0 => visit(name, tree.span().start().line),
                _ => {}
            }
            if let (0, Some(list)) = (left, group(next, Delimiter::Brace)) {
                first_words(list.stream(), visit);
            }
            if word(next).as_deref() != Some("super") {
                break;
            }
        }
        if let TokenTree::Group(inner) = tree {
            let is_module = index >= 2 && word(level.get(index - 2)).as_deref() == Some("mod");
            imports(inner.stream(), depth + usize::from(is_module), visit);
        }
    }
}

/// The first word of each part of `{a::b, c}`.
fn first_words(list: TokenStream, visit: &mut dyn FnMut(&str, usize)) {
    let mut first = true;
    for tree in list {
        match &tree {
            TokenTree::Punct(punct) if punct.as_char() == ',' => first = true,
            TokenTree::Ident(ident) if first => {
                visit(&ident.to_string(), ident.span().start().line);
                first = false;
            }
            _ => first = false,
        }
    }
}

#[test]
fn files_open_by_saying_what_belongs_in_them() {
    let src: Vec<File> = rust_files()
        .into_iter()
        .filter(|file| file.path.contains("/src/"))
        .collect();
    let complaints: Vec<String> = src
        .iter()
        .filter(|file| !file.path.ends_with("/tests.rs"))
        .filter_map(opening)
        .collect();
    assert_clean(&complaints);
}

#[test]
fn names_say_what_is_inside() {
    assert_clean(&rust_files().iter().filter_map(empty_name).collect::<Vec<_>>());
}

#[test]
fn unsafe_stays_in_device() {
    assert_clean(&rust_files().iter().flat_map(unsafe_outside_device).collect::<Vec<_>>());
}

#[test]
fn no_test_is_ignored() {
    assert_clean(&rust_files().iter().flat_map(ignored_tests).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later_and_no_machine_is_named() {
    assert_clean(&files().iter().flat_map(forbidden_words).collect::<Vec<_>>());
}

#[test]
fn protocol_folders_do_not_import_one_another() {
    let files = rust_files();
    let mut folders: Vec<String> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix("crates/protocol/src/")?.split_once('/'))
        .map(|(folder, _)| folder.to_owned())
        .collect();
    folders.dedup();
    assert!(folders.len() >= 3, "found only {folders:?}");
    assert_clean(
        &files
            .iter()
            .flat_map(|file| foreign_folders(file, &folders))
            .collect::<Vec<_>>(),
    );
}

fn sample(path: &str, text: &str) -> File {
    File {
        path: path.into(),
        text: text.into(),
    }
}

#[test]
fn a_file_without_opening_is_noticed() {
    assert!(opening(&sample("crates/media/src/x.rs", "fn main() {}\n")).is_some());
    assert!(opening(&sample("crates/media/src/x.rs", "//! What belongs here.\n")).is_none());
}

#[test]
fn an_empty_name_is_noticed() {
    assert!(empty_name(&sample("crates/media/src/utils.rs", "")).is_some());
    assert!(empty_name(&sample("crates/media/src/common/mod.rs", "")).is_some());
    assert!(empty_name(&sample("crates/media/src/score.rs", "")).is_none());
}

#[test]
fn unsafe_code_is_noticed_and_the_word_is_not() {
    let block = "fn a() { unsafe { b() } }";
    assert_eq!(unsafe_outside_device(&sample("crates/media/src/x.rs", block)).len(), 1);
    assert_clean(&unsafe_outside_device(&sample("crates/device/src/x.rs", block)));
    assert_clean(&unsafe_outside_device(&sample(
        "crates/media/src/x.rs",
        "/// unsafe\nconst A: &str = \"unsafe\";",
    )));
}

#[test]
fn an_ignored_test_is_noticed() {
    let path = "crates/media/src/x.rs";
    assert_eq!(
        ignored_tests(&sample(path, "mod t { #[test]\n#[ignore = \"slow\"]\nfn a() {} }")).len(),
        1
    );
    assert_eq!(
        ignored_tests(&sample(path, "#[cfg_attr(unix, ignore)]\nfn a() {}")).len(),
        1
    );
    assert_clean(&ignored_tests(&sample(
        path,
        "/// ignore this\n#[test]\nfn ignore() {}",
    )));
}

#[test]
fn promises_and_home_folders_are_noticed() {
    let says = |line: &str| forbidden_words(&sample("a.rs", line)).len();
    assert_eq!(says(concat!("// TO", "DO: later")), 1);
    assert_eq!(says(concat!("let x = 1; // FIX", "ME")), 1);
    assert_eq!(says(concat!("path = \"/ho", "me/me/x\"")), 1);
    assert_eq!(says("MASTODON, target/machine/root/bin, https://example.org/work/"), 0);
}

#[test]
fn an_import_across_protocol_folders_is_noticed() {
    let folders = ["hls", "rtp", "rtsp", "sdp"].map(String::from);
    let count = |path: &str, text: &str| foreign_folders(&sample(path, text), &folders).len();
    let rtsp = "crates/protocol/src/rtsp/server/mod.rs";
    assert_eq!(count(rtsp, "use crate::hls::Playlist;"), 1);
    assert_eq!(count(rtsp, "use crate::{rtp, hls::Playlist};"), 1);
    assert_eq!(count(rtsp, "fn a() { let x = crate::hls::part(); }"), 1);
    assert_eq!(count(rtsp, "use super::super::hls;"), 1);
    assert_eq!(
        count(
            "crates/protocol/src/rtsp/mod.rs",
            "mod tests { use super::super::hls; }"
        ),
        1
    );
    assert_eq!(
        count(
            rtsp,
            "use crate::{rtp::Packet, sdp}; use crate::rtsp::auth; use super::hls;"
        ),
        0
    );
}
