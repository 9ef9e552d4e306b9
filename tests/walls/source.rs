//! Rust files as tokens with their lines: comments, strings and raw strings cannot fool a rule that reads these.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::File;

/// The tokens of a Rust file.
pub(crate) fn tokens(file: &File) -> TokenStream {
    file.text
        .parse()
        .unwrap_or_else(|error| panic!("{}: not Rust: {error}", file.path))
}

/// Calls `visit` with every run of sibling tokens in the file, outer ones first.
pub(crate) fn each_level(stream: TokenStream, visit: &mut dyn FnMut(&[TokenTree])) {
    let level: Vec<TokenTree> = stream.into_iter().collect();
    visit(&level);
    for tree in level {
        if let TokenTree::Group(group) = tree {
            each_level(group.stream(), visit);
        }
    }
}

/// The word, where the token is one.
pub(crate) fn word(tree: Option<&TokenTree>) -> Option<String> {
    match tree {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

/// The group with these brackets, where the token is one.
pub(crate) fn group(tree: Option<&TokenTree>, delimiter: Delimiter) -> Option<&Group> {
    match tree {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

/// Whether the tokens at `at` are `::`.
pub(crate) fn is_path_separator(level: &[TokenTree], at: usize) -> bool {
    [at, at + 1]
        .iter()
        .all(|index| matches!(level.get(*index), Some(TokenTree::Punct(punct)) if punct.as_char() == ':'))
}

/// The lines (first, last; from 1) of what is compiled for tests alone: items behind `#[cfg(test)]` or `#[test]`.
pub(crate) fn test_lines(file: &File) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    each_level(tokens(file), &mut |level| {
        for (index, tree) in level.iter().enumerate() {
            let TokenTree::Punct(hash) = tree else { continue };
            let Some(attribute) = group(level.get(index + 1), Delimiter::Bracket) else {
                continue;
            };
            if hash.as_char() != '#' || !is_for_tests(attribute) {
                continue;
            }
            // The item ends with its body, or with `;` where it has none.
            let end = level[index + 2..].iter().find(|tree| match tree {
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                TokenTree::Punct(punct) => punct.as_char() == ';',
                _ => false,
            });
            if let Some(end) = end {
                found.push((hash.span().start().line, end.span().end().line));
            }
        }
    });
    found
}

fn is_for_tests(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    matches!(text.as_str(), "test" | "cfg(test)") || text.starts_with("cfg(all(test,")
}

#[test]
fn test_code_is_told_from_production_code() {
    let file = File {
        path: "sample.rs".into(),
        text: "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn b() {}\n}\n\n#[cfg(test)]\nuse x;\n".into(),
    };
    assert_eq!(test_lines(&file), [(3, 7), (9, 10), (5, 6)]);
}
