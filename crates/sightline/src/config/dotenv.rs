//! The `.env` file in the working directory.
//!
//! Own parser, because what `.env` files of cameras hold decides it: passwords with any character, comments behind values. Nothing is
//! expanded, so a `$` in a password stays.

/// A variable of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, without quotes and comment.
    pub value: String,
    /// The line it stands in, from 1.
    pub line: usize,
}

/// Reads the text of a `.env` file: variables, and the numbers of lines that are none.
///
/// - `NAME=value`, with or without `export` in front
/// - a `#` at the start of a line or behind a blank begins a comment; in `pass#word` it does not
/// - `'…'` keeps everything as it is; in `"…"` a backslash goes before `"`, `\`, `n`, `t`; a quote that is never closed is a character
///   like any other
pub fn parse(text: &str) -> (Vec<Variable>, Vec<usize>) {
    let mut variables = Vec::new();
    let mut odd_lines = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line_number = number.saturating_add(1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        match line.split_once('=') {
            Some((name, value)) if is_name(name.trim()) => variables.push(Variable {
                name: name.trim().to_owned(),
                value: value_of(value.trim()),
                line: line_number,
            }),
            _ => odd_lines.push(line_number),
        }
    }
    (variables, odd_lines)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn value_of(text: &str) -> String {
    let quoted = match text.chars().next() {
        Some('\'') => single_quoted(text),
        Some('"') => double_quoted(text),
        _ => None,
    };
    quoted.unwrap_or_else(|| without_comment(text).to_owned())
}

fn single_quoted(text: &str) -> Option<String> {
    let (value, rest) = text.strip_prefix('\'')?.split_once('\'')?;
    is_comment(rest).then(|| value.to_owned())
}

fn double_quoted(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut characters = text.strip_prefix('"')?.chars();
    loop {
        match characters.next()? {
            '"' => return is_comment(characters.as_str()).then_some(value),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
}

/// Whether nothing stands behind the closing quote. Else the quotes belong to the value.
fn is_comment(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(char::is_whitespace) && without_comment(rest).is_empty()
}

fn without_comment(text: &str) -> &str {
    let comment = text.char_indices().zip(std::iter::once(' ').chain(text.chars()));
    let comment = comment
        .filter(|((_, c), before)| *c == '#' && before.is_whitespace())
        .map(|((at, _), _)| at)
        .next();
    let (value, _) = text.split_at(comment.unwrap_or(text.len()));
    value.trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("A=b", "b")]
    #[case("  export A = b  ", "b")]
    #[case("A=", "")]
    #[case("A=# nothing", "")]
    #[case("A=10.9.0.1 # the PC", "10.9.0.1")]
    #[case("A=pass#word", "pass#word")]
    #[case("A=p$a{s}s w=o'r\"d", "p$a{s}s w=o'r\"d")]
    #[case("A='p # w' # comment", "p # w")]
    #[case(r#"A="p # \"w\" \\ \n \x" # comment"#, "p # \"w\" \\ \n \\x")]
    #[case(r#"A="quoted" and more"#, r#""quoted" and more"#)]
    #[case("A=\"never closed", "\"never closed")]
    #[case("A='", "'")]
    #[case("\u{feff}A=b\r", "b")]
    fn values(#[case] text: &str, #[case] value: &str) {
        let (variables, odd_lines) = parse(text);
        assert_eq!(odd_lines, Vec::<usize>::new());
        assert_eq!((variables[0].name.as_str(), variables[0].value.as_str()), ("A", value));
    }

    #[test]
    fn lines_are_counted_and_odd_ones_reported() {
        let (variables, odd_lines) = parse("# comment\n\nA=1\nwhat is this\nB=2\n=x\n");
        let found: Vec<_> = variables
            .iter()
            .map(|variable| (variable.name.as_str(), variable.line))
            .collect();
        assert_eq!(found, [("A", 3), ("B", 5)]);
        assert_eq!(odd_lines, [4, 6]);
    }

    proptest! {
        #[test]
        fn any_password_survives_in_quotes(password in "[^'\r\n]{0,40}", other in "[^\"\\\\\r\n]{0,40}") {
            let (variables, _) = parse(&format!("A='{password}'\nB=\"{other}\" # comment\n"));
            prop_assert_eq!(&variables[0].value, &password);
            prop_assert_eq!(&variables[1].value, &other);
        }

        #[test]
        fn no_file_panics(text in "(.|\n){0,200}") {
            let _ = parse(&text);
        }
    }
}
