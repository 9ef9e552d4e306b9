//! How long files and functions may be.
//!
//! Counted are all lines of a file, comments included, but for what is compiled for tests alone. Exceptions are listed
//! in `docs/design/budget-exceptions.txt` with their reason; one that is no longer needed is a complaint as well.

use proc_macro2::{Delimiter, TokenTree};

use crate::source::{each_level, group, test_lines, tokens, word};
use crate::{File, assert_clean, files, root};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 80;
const INLINE_TEST_LINES: usize = 200;
const EXCEPTIONS: &str = "docs/design/budget-exceptions.txt";
const CODE: &[&str] = &["rs", "c", "h", "go", "py", "ts", "svelte", "css", "sh"];

/// `PATH or PATH::FUNCTION | lines | reason`
struct Exception {
    what: String,
    lines: usize,
}

fn exceptions(text: &str) -> Result<Vec<Exception>, String> {
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            match fields.as_slice() {
                [what, lines, reason] if !reason.is_empty() => {
                    let lines = lines
                        .parse()
                        .map_err(|_| format!("{EXCEPTIONS}: not a number of lines: {line}"))?;
                    Ok(Exception {
                        what: (*what).to_owned(),
                        lines,
                    })
                }
                _ => Err(format!("{EXCEPTIONS}: not `what | lines | reason`: {line}")),
            }
        })
        .collect()
}

/// Something longer than its budget.
#[derive(Debug, PartialEq)]
struct Excess {
    what: String,
    lines: usize,
    budget: usize,
}

/// Whether the whole file is for tests: integration tests, benchmarks, the testkit, fuzz targets, `tests.rs` files.
fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/")
        || path.starts_with("fuzz/")
        || path.starts_with("crates/testkit/")
        || path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.contains("/benches/")
}

fn excesses(file: &File) -> Vec<Excess> {
    let mut found = Vec::new();
    let mut over = |what: String, lines: usize, budget: usize| {
        if lines > budget {
            found.push(Excess { what, lines, budget });
        }
    };
    let all_lines = file.text.lines().count();
    if is_test_file(&file.path) {
        return found;
    }
    if !file.path.ends_with(".rs") {
        over(file.path.clone(), all_lines, FILE_LINES);
        return found;
    }
    let tests = test_lines(file);
    let is_test = |line: usize| tests.iter().any(|(first, last)| (*first..=*last).contains(&line));
    over(
        file.path.clone(),
        (1..=all_lines).filter(|line| !is_test(*line)).count(),
        FILE_LINES,
    );
    for (first, last) in &tests {
        over(format!("{}::tests", file.path), last - first + 1, INLINE_TEST_LINES);
    }
    for (name, first, last) in functions(file) {
        if !is_test(first) {
            over(format!("{}::{name}", file.path), last - first + 1, FUNCTION_LINES);
        }
    }
    found
}

/// Every function with a body: its name, the line of `fn`, the line of its closing brace.
fn functions(file: &File) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    each_level(tokens(file), &mut |level| {
        for (index, tree) in level.iter().enumerate() {
            let (Some("fn"), Some(name)) = (word(Some(tree)).as_deref(), word(level.get(index + 1))) else {
                continue;
            };
            for later in &level[index + 2..] {
                if let Some(body) = group(Some(later), Delimiter::Brace) {
                    found.push((name, tree.span().start().line, body.span().end().line));
                    break;
                }
                if matches!(later, TokenTree::Punct(punct) if punct.as_char() == ';') {
                    break;
                }
            }
        }
    });
    found
}

fn complaints(files: &[File], exceptions: &[Exception]) -> Vec<String> {
    let excesses: Vec<Excess> = files.iter().flat_map(excesses).collect();
    let mut found = Vec::new();
    for Excess { what, lines, budget } in &excesses {
        match exceptions.iter().find(|exception| exception.what == *what) {
            Some(exception) if *lines <= exception.lines => {}
            Some(exception) => found.push(format!(
                "{what}: {lines} lines, its exception is for {}",
                exception.lines
            )),
            None => found.push(format!("{what}: {lines} lines, the budget is {budget}")),
        }
    }
    for exception in exceptions {
        if !excesses.iter().any(|excess| excess.what == exception.what) {
            found.push(format!("{EXCEPTIONS}: {} no longer needs an exception", exception.what));
        }
    }
    found
}

#[test]
fn files_and_functions_keep_to_their_budgets() {
    let code: Vec<File> = files()
        .into_iter()
        .filter(|file| {
            file.path
                .rsplit_once('.')
                .is_some_and(|(_, extension)| CODE.contains(&extension))
        })
        .collect();
    let text = std::fs::read_to_string(root().join(EXCEPTIONS)).expect("the list of exceptions is there");
    match exceptions(&text) {
        Ok(exceptions) => assert_clean(&complaints(&code, &exceptions)),
        Err(error) => panic!("{error}"),
    }
}

fn sample(text: String) -> Vec<File> {
    vec![File {
        path: "crates/media/src/sample.rs".into(),
        text,
    }]
}

#[test]
fn a_long_file_is_noticed_and_its_tests_do_not_count() {
    let long = format!("//! x\n{}", "const _: () = ();\n".repeat(FILE_LINES));
    assert_eq!(
        complaints(&sample(long), &[]),
        ["crates/media/src/sample.rs: 601 lines, the budget is 600"]
    );
    let tests = "    fn x() {}\n".repeat(190);
    let tested = format!(
        "{}#[cfg(test)]\nmod tests {{\n{tests}}}\n",
        "const _: () = ();\n".repeat(FILE_LINES)
    );
    assert_clean(&complaints(&sample(tested), &[]));
}

#[test]
fn long_inline_tests_are_noticed() {
    let text = format!(
        "#[cfg(test)]\nmod tests {{\n{}}}\n",
        "    fn x() {}\n".repeat(INLINE_TEST_LINES)
    );
    assert_eq!(
        complaints(&sample(text), &[]),
        ["crates/media/src/sample.rs::tests: 203 lines, the budget is 200"]
    );
}

#[test]
fn a_long_function_is_noticed_wherever_it_stands() {
    let body = "        let _ = \"fn a() {\"; // }\n".repeat(FUNCTION_LINES);
    let text =
        format!("impl X {{\n    fn long(&self) -> u8\n    where\n        Self: Sized,\n    {{\n{body}    }}\n}}\n");
    assert_eq!(
        complaints(&sample(text), &[]),
        ["crates/media/src/sample.rs::long: 85 lines, the budget is 80"]
    );
}

#[test]
fn an_exception_allows_so_much_and_no_more_and_is_removed_when_idle() {
    let long = || sample("const _: () = ();\n".repeat(620));
    let parse = |text: &str| exceptions(text).expect("well formed");
    assert_clean(&complaints(
        &long(),
        &parse("crates/media/src/sample.rs | 620 | a table of the standard"),
    ));
    assert_eq!(
        complaints(
            &long(),
            &parse("crates/media/src/sample.rs | 610 | a table of the standard")
        )
        .len(),
        1
    );
    assert_eq!(
        complaints(
            &sample(String::new()),
            &parse("crates/media/src/sample.rs | 620 | a table")
        )
        .len(),
        1
    );
    assert!(
        exceptions("crates/media/src/sample.rs | 620 |").is_err(),
        "a reason is needed"
    );
}
