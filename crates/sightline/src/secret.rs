//! Credentials in memory, kept out of every log line.
//!
//! Belongs here: the type that every token and password travels in, and the rule how a URL is shown. Does not belong here:
//! who may do what ([`crate::auth`]), where tokens are kept ([`crate::state`]).

use std::fmt;

use subtle::ConstantTimeEq;

/// A token or password. `Debug` and `Display` show `[redacted]`; [`Secret::expose`] is the only way to the text, so that every place
/// that hands it out can be found by name.
#[derive(Clone, Default)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a credential.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The credential itself: for comparing, for a header to a peer, for a URL that a person is to copy. Never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is the same, in time that depends on the lengths alone.
    pub fn matches(&self, candidate: &str) -> bool {
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Secret {}

/// A URL as it may be shown: user and password are left out, and so is the value of whatever its query names a credential, as
/// cameras have it; some of these have it in the path, of which the rest is left out then.
///
/// Works on text that is no valid URL too, since that is when error messages quote it: whatever stands between `//` and the last
/// `@` before the path counts as a credential. A raw password may hold a slash, so an `@` further on counts as well.
pub fn redacted_url(url: &str) -> String {
    let (scheme, rest) = match url.find("//").map(|at| url.split_at(at + 2)) {
        Some((scheme, rest)) if !scheme.contains('@') => (scheme, rest),
        _ => ("", url),
    };
    if let Some(shown) = without_rest(scheme) {
        return shown;
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) if !query.contains('@') => (rest, Some(query)),
        _ => (rest, None),
    };
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => rest.to_owned(),
    };
    let rest = without_rest(&rest).unwrap_or(rest);
    let Some(query) = query else {
        return format!("{scheme}{rest}");
    };
    let is_plain = |name: &&str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let parameters: Vec<String> = parameters(query)
        .map(|(parameter, holds)| match (parameter.split_once('='), holds) {
            (_, false) => parameter.to_owned(),
            // What is no plain word may hold the value.
            (Some((name, _)), true) if is_plain(&name) => format!("{}=***", name.to_ascii_lowercase()),
            _ => "***=***".to_owned(),
        })
        .collect();
    format!("{scheme}{rest}?{}", parameters.join("&"))
}

/// A path up to the first credential in it. `None`: it holds none.
fn without_rest(path: &str) -> Option<String> {
    let mut begin = 0;
    for segment in path.split('/') {
        if holds_credential(segment) {
            let mut from = 0;
            let named = segment.match_indices('=').map(|(at, _)| {
                let name = from..at;
                from = at + 1;
                name
            });
            let is_raw = !segment.contains('%');
            let shown = named.filter(|_| is_raw).find(|name| {
                let name = segment.get(name.clone()).unwrap_or_default();
                tells(&name.to_lowercase())
            });
            let shown = shown.and_then(|name| segment.get(..name.end)).unwrap_or("***");
            return Some(format!("{}{shown}=***", path.get(..begin).unwrap_or_default()));
        }
        begin += segment.len() + 1;
    }
    None
}

/// A query as programs may be told it: without what names a credential in it, and without what a player of HLS adds. `None`: nothing is left, or it has
/// more than 1,024 bytes.
pub fn public_query(query: &str) -> Option<Box<str>> {
    if query.len() > MAX_QUERY_BYTES {
        return None;
    }
    let of_player = |parameter: &str| {
        let names = decoded(parameter);
        names.is_none_or(|text| parts(&text).any(|part| part.starts_with("_hls_")))
    };
    let public: Vec<&str> = parameters(query)
        .filter(|(parameter, holds)| !parameter.is_empty() && !holds && !of_player(parameter))
        .map(|(parameter, _)| parameter)
        .collect();
    (!public.is_empty()).then(|| public.join("&").into())
}

/// The parameters of a query, each with whether there is a credential in it.
fn parameters(query: &str) -> impl Iterator<Item = (&str, bool)> {
    let all = || query.split('&').enumerate();
    // A password may hold an ampersand: then it is that of all parameters from `//` to `@`.
    let holds = |parameter: &str, what: &str| decoded(parameter).is_some_and(|text| text.contains(what));
    let first = all().find(|(_, parameter)| holds(parameter, "//"));
    let last = all().filter(|(_, parameter)| holds(parameter, "@")).last();
    let login = first.zip(last).map(|((first, _), (last, _))| first..=last);
    all().map(move |(at, parameter)| {
        let is_login = login.as_ref().is_some_and(|login| login.contains(&at));
        (parameter, is_login || holds_credential(parameter))
    })
}

/// Whether a parameter of a query or a part of a path holds a credential, or might: in a URL that is its value, behind what some read as the end of a
/// parameter, or encoded more often than anybody does it.
fn holds_credential(text: &str) -> bool {
    let Some(text) = decoded(text) else {
        return true;
    };
    let holds_login = || {
        let before = text.rsplit_once('@').map_or("", |(before, _)| before);
        before.contains(':') || before.contains("//")
    };
    // `user=admin_password=…`: all are names but what stands behind the last sign.
    let names_it = |part: &str| {
        part.rsplit_once('=')
            .is_some_and(|(names, _)| names.split('=').any(tells))
    };
    parts(&text).any(names_it) || holds_login()
}

/// What may have a name and a value of its own.
fn parts(decoded: &str) -> impl Iterator<Item = &str> {
    decoded.split(['&', ';', '?', '#'])
}

/// A text in lower case, of which nothing is percent-encoded any more. `None`: it still is after three times.
fn decoded(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..=MOST_ENCODED {
        let decoded = percent_encoding::percent_decode_str(&text)
            .decode_utf8_lossy()
            .into_owned();
        if decoded == text {
            return Some(text.to_lowercase());
        }
        text = decoded;
    }
    None
}

/// Whether a name in lower case is that of a credential.
pub(crate) fn tells(name: &str) -> bool {
    let is_key = |word: &str| WORDS.contains(&word) || ENDINGS.iter().any(|ending| word.ends_with(ending));
    TELLTALES.iter().any(|word| name.contains(word)) || name.split(|c: char| !c.is_alphanumeric()).any(is_key)
}

/// What is in the name of a parameter whose value is a credential, wherever.
const TELLTALES: [&str; 8] = [
    "token",
    "pass",
    "pwd",
    "secret",
    "auth",
    "jwt",
    "signature",
    "credential",
];
/// Words of such a name.
const WORDS: [&str; 2] = ["sig", "pin"];
/// Ends of words of such a name: `streamkey`, `userpw`, `loginpas`. Numbered ones, `key1`, are often no credentials.
const ENDINGS: [&str; 3] = ["key", "pw", "pas"];
/// How often what is read may be percent-encoded: a URL in a URL in a URL.
const MOST_ENCODED: usize = 3;

/// Of queries that are told.
const MAX_QUERY_BYTES: usize = 1_024;

/// What is shown in place of a credential.
pub(crate) const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests;
