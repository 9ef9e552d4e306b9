//! `Scheme name="value", name=value, Scheme …`: the grammar of challenges and of Digest's answer (RFC 9110 §11).

/// One challenge, or one set of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) scheme: String,
    pub(super) parameters: Vec<(String, String)>,
}

/// The value of a parameter; names compare without case.
pub(super) fn get<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Reads a header that may hold several challenges, at most [`MAX_CHALLENGES`]. Commas may be missing, quotes too.
pub(super) fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c == '=' || c.is_whitespace());
        if rest.is_empty() {
            return challenges;
        }
        let (word, after) = split_where(rest, |c| c == ',' || c == '=' || c.is_whitespace());
        let Some(value) = after.trim_start().strip_prefix('=') else {
            if challenges.len() == MAX_CHALLENGES {
                return challenges;
            }
            challenges.push(Challenge {
                scheme: word.to_owned(),
                parameters: Vec::new(),
            });
            rest = after;
            continue;
        };
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, after) = split_where(value, |c| c == ',' || c.is_whitespace());
                (value.to_owned(), after)
            }
        };
        if let Some(challenge) = challenges.last_mut()
            && challenge.parameters.len() < MAX_PARAMETERS
        {
            challenge.parameters.push((word.to_owned(), value));
        }
        rest = after;
    }
}

fn split_where(text: &str, at: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(at).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Reads up to the closing quote; a backslash takes the next character as it is. Without a closing quote, up to the end.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => value.extend(characters.next()),
            c => value.push(c),
        }
    }
    (value, characters.as_str())
}

/// The value between quotes, escaped.
pub(super) fn quote(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

const MAX_CHALLENGES: usize = 8;
const MAX_PARAMETERS: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        Challenge {
            scheme: scheme.to_owned(),
            parameters: parameters.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect(),
        }
    }

    #[test]
    fn several_challenges_in_one_header() {
        let header = r#"Digest realm="a, \"b\"", nonce=x== ,stale="FALSE" Basic realm = "c",NTLM"#;
        let expected = [
            challenge("Digest", &[("realm", "a, \"b\""), ("nonce", "x=="), ("stale", "FALSE")]),
            challenge("Basic", &[("realm", "c")]),
            challenge("NTLM", &[]),
        ];
        assert_eq!(parse_challenges(header), expected);
    }

    #[test]
    fn limits_hold() {
        assert_eq!(parse_challenges(&"Basic, ".repeat(100)).len(), MAX_CHALLENGES);
        let many = format!("Digest {}", "a=b,".repeat(100));
        assert_eq!(
            parse_challenges(&many).first().unwrap().parameters.len(),
            MAX_PARAMETERS
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,100}", dense in "(Digest|Basic)?[ ,=\"\\\\a]{0,40}") {
            parse_challenges(&text);
            parse_challenges(&dense);
        }

        #[test]
        fn what_is_quoted_reads_back(value in "[^\\p{C}]{0,40}") {
            let read = parse_challenges(&format!("Digest a={}, b=c", quote(&value)));
            prop_assert_eq!(read, [challenge("Digest", &[("a", &value), ("b", "c")])]);
        }
    }
}
