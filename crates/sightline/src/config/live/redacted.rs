//! The text of the settings file without its secrets, and putting them back into what was made of that.
//!
//! Belongs here: which part of a text is a secret, what stands in its place, and when it may return. Functions of their arguments. Does not belong here: how a single
//! value is shown ([`super::super::load`]), what else may not be changed by HTTP ([`super::refuse`]).
//!
//! A secret is put back by its path, and to the same scheme, host and port alone: whoever has an admin's token could else collect passwords by pointing a
//! source, or the table of one, to a server of their own.

use std::collections::BTreeSet;
use std::ops::Range;

use toml_edit::{Document, Item, TableLike, Value};

use super::super::keys::Key;
use super::super::load::{key_of, masked};
use super::super::webhook::HIDDEN;
use crate::secret::{REDACTED, redacted_url, tells};

/// A secret that cannot be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// Of the text, from 1.
    pub(super) line: usize,
    /// Which setting; empty of a comment.
    pub(super) key: String,
    /// What and what to do.
    pub(super) message: &'static str,
}

/// The text without secrets; `None` where it is no TOML, so that nobody knows where they are.
pub(super) fn redacted(text: &str) -> Option<String> {
    let parts = Parts::of(text)?;
    let values = parts.values.iter().map(|leaf| (leaf.span.clone(), leaf.shown()));
    let comments = parts.comments.iter().map(|span| {
        let comment = text.get(span.clone()).unwrap_or_default();
        (span.clone(), Some(redacted_comment(comment)))
    });
    let edits = values.chain(comments);
    Some(replaced(
        text,
        edits.filter_map(|(span, text)| Some((span, text?))).collect(),
    ))
}

/// The changed text with the secrets of the one that it was made of. What is no TOML stays as it is: that is said elsewhere, with its line.
pub(super) fn put_back(changed: &str, old: &str) -> Result<String, Vec<Lost>> {
    let (Some(new), Some(before)) = (Parts::of(changed), Parts::of(old)) else {
        return Ok(changed.to_owned());
    };
    let (mut edits, mut lost) = (Vec::new(), Vec::new());
    let line = |span: &Range<usize>| {
        let before = changed.get(..span.start).unwrap_or_default();
        before.matches('\n').count().saturating_add(1)
    };
    for (index, leaf) in new.values.iter().enumerate() {
        match new.original(index, &before) {
            Ok(None) => {}
            Ok(Some(value)) => edits.push((leaf.span.clone(), value)),
            Err(message) => lost.push(Lost {
                line: line(&leaf.span),
                key: leaf.path.join("."),
                message,
            }),
        }
    }
    let mut left: Vec<&str> = before
        .comments
        .iter()
        .filter_map(|span| old.get(span.clone()))
        .collect();
    for span in &new.comments {
        let comment = changed.get(span.clone()).unwrap_or_default();
        let found = left
            .iter()
            .position(|original| *original != comment && redacted_comment(original) == comment);
        match found {
            Some(at) => edits.push((span.clone(), left.remove(at).to_owned())),
            None if holds_mask(comment) && !left.contains(&comment) => lost.push(Lost {
                line: line(span),
                key: String::new(),
                message: "a comment was changed that has a secret in it; write it whole, or leave it as it is",
            }),
            None => {}
        }
    }
    match lost.is_empty() {
        true => Ok(replaced(changed, edits)),
        false => Err(lost),
    }
}

/// What may hold secrets.
struct Parts<'a> {
    values: Vec<Leaf<'a>>,
    /// From their sign on, to the end of their line.
    comments: Vec<Range<usize>>,
}

/// A value that is no table.
struct Leaf<'a> {
    path: Vec<String>,
    span: Range<usize>,
    /// As it is written.
    written: &'a str,
    /// What it says, of texts.
    says: Option<String>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let document = Document::parse(text).ok()?;
        let mut parts = Self {
            values: Vec::new(),
            comments: Vec::new(),
        };
        let mut quoted = Vec::new();
        parts.table(text, document.as_table(), &[], &mut quoted);
        quoted.extend(parts.values.iter().map(|leaf| leaf.span.clone()));
        parts.comments = comments(text, quoted);
        Some(parts)
    }

    fn table(&mut self, text: &'a str, table: &dyn TableLike, path: &[String], quoted: &mut Vec<Range<usize>>) {
        for (name, item) in table.iter() {
            let path = [path, &[name.to_owned()]].concat();
            quoted.extend(table.key(name).and_then(toml_edit::Key::span));
            match item {
                Item::Table(inner) => {
                    // The names in its header, which may hold any sign.
                    quoted.extend(inner.span());
                    self.table(text, inner, &path, quoted);
                }
                Item::Value(Value::InlineTable(inner)) => self.table(text, inner, &path, quoted),
                Item::Value(value) => self.value(text, value, &path),
                Item::ArrayOfTables(tables) => {
                    for table in tables {
                        quoted.extend(table.span());
                        self.table(text, table, &path, quoted);
                    }
                }
                Item::None => {}
            }
        }
    }

    fn value(&mut self, text: &'a str, value: &Value, path: &[String]) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.value(text, item, path)),
            // Of no setting; all of it is taken for a secret.
            value => {
                let Some(span) = value.span() else { return };
                let Some(written) = text.get(span.clone()) else { return };
                self.values.push(Leaf {
                    path: path.to_vec(),
                    span,
                    written,
                    says: value.as_str().map(str::to_owned),
                });
            }
        }
    }

    /// What a value was before it was shown; nothing where it is no mask. The error says why it cannot be known.
    fn original(&self, index: usize, before: &Self) -> Result<Option<String>, &'static str> {
        let Some(leaf) = self.values.get(index) else {
            return Ok(None);
        };
        // Of a list several may look alike: they keep their order.
        let alike = |other: &&Leaf<'_>| other.path == leaf.path && other.says == leaf.says;
        let nth = self.values.iter().take(index).filter(alike).count();
        let there: Vec<&Leaf<'_>> = before.values.iter().filter(|other| other.path == leaf.path).collect();
        let shown_so = |other: &&&Leaf<'_>| other.shown().is_some_and(|shown| leaf.is(&shown));
        let candidates: Vec<&&Leaf<'_>> = there.iter().filter(shown_so).collect();
        if let Some(original) = candidates.get(nth).or(candidates.last()) {
            let moved =
                leaf.is_secret() && self.places(&leaf.path, str::to_owned) != before.places(&leaf.path, redacted_url);
            return match moved {
                true => Err(MOVED),
                false => Ok(Some(original.written.to_owned())),
            };
        }
        let Some(says) = leaf.says.as_deref().filter(|says| is_mask(leaf.is_secret(), says)) else {
            return Ok(None);
        };
        if leaf.is_secret() {
            return Err(NONE);
        }
        let with_login = there
            .iter()
            .find_map(|other| with_login_of(says, other.says.as_deref()?));
        with_login.map(|text| Some(quoted(&text))).ok_or(ELSEWHERE)
    }

    /// Where the other values of a table lead to: of the file as it was shown, and of what came back as it is.
    fn places(&self, path: &[String], as_shown: fn(&str) -> String) -> BTreeSet<(String, String)> {
        let parent = path.split_last().map_or(path, |(_, parent)| parent);
        let beside = |leaf: &&Leaf<'_>| leaf.path.split_last().is_some_and(|(_, of)| of == parent);
        let urls = self
            .values
            .iter()
            .filter(beside)
            .filter_map(|leaf| leaf.says.as_deref());
        urls.filter_map(|url| {
            let text = as_shown(url);
            let (scheme, login, host, rest) = pieces(&text)?;
            // Readers differ about who is asked there: the same place is the same text alone.
            let is_open = rest.contains('@') || login.contains('\\') || host.contains('\\');
            Some((scheme, if is_open { text } else { host }))
        })
        .collect()
    }
}

impl Leaf<'_> {
    /// Of a key that holds a secret, or of one that is none of ours, of which nobody knows.
    fn is_secret(&self) -> bool {
        key_of(&self.path).is_none_or(Key::is_secret)
    }

    /// What is written in its place; `None`: it stays.
    fn shown(&self) -> Option<String> {
        if self.is_secret() {
            return Some(quoted(REDACTED));
        }
        let value = toml::Value::String(self.says.clone()?);
        let shown = masked(key_of(&self.path), &value);
        shown.as_str().filter(|_| shown != value).map(quoted)
    }

    /// Whether this is what was shown: as it is written, or another way to write the same.
    fn is(&self, shown: &str) -> bool {
        self.written == shown || self.says.as_deref().is_some_and(|says| quoted(says) == shown)
    }
}

/// Whether a text is what is shown in place of another.
pub(super) fn is_mask(secret: bool, text: &str) -> bool {
    (secret && text == REDACTED)
        || text.contains("//") && (text.contains("//***@") || text.contains("=***") || text.ends_with(HIDDEN))
}

fn holds_mask(comment: &str) -> bool {
    comment.contains(REDACTED) || comment.contains("//***@") || comment.contains("=***")
}

/// A URL of which the login was hidden and anything behind the host was changed, with the login of one that is at the same place.
fn with_login_of(shown: &str, original: &str) -> Option<String> {
    let (scheme, login, host, rest) = pieces(shown)?;
    // Behind the host nothing may stand that some reader takes for the end of a login: RTSP's ends the authority at a slash or a question mark alone.
    if login != "***" || rest.contains("***") || rest.contains('@') {
        return None;
    }
    let (their_scheme, their_login, their_host, their_rest) = pieces(&redacted_url(original))?;
    let is_same = scheme == their_scheme && host == their_host && their_login == "***" && !their_rest.contains("***");
    let (_, behind) = original.split_once("//").filter(|_| is_same)?;
    // As it is shown from the host on: what is in front of that is the login, whatever it holds.
    let from_host = redacted_url(original);
    let (_, from_host) = from_host.split_once("***")?;
    let login = behind.strip_suffix(from_host)?;
    let (written_scheme, _) = shown.split_once("//")?;
    let (_, from_host) = shown.split_once("***")?;
    Some(format!("{written_scheme}//{login}{from_host}"))
}

/// Scheme, login, host with port, and what is behind it.
fn pieces(url: &str) -> Option<(String, String, String, String)> {
    let (scheme, rest) = url.split_once("//")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    Some((
        scheme.to_lowercase(),
        login.to_owned(),
        host.to_lowercase(),
        rest.to_owned(),
    ))
}

/// A comment without what is a URL's login, or the value of what was a setting once.
fn redacted_comment(comment: &str) -> String {
    if let Some((name, value)) = comment.split_once(['=', ':'])
        && !value.starts_with("//")
    {
        let name = name.trim_matches(|c: char| c == '#' || c.is_whitespace() || c == '"');
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_word = !last.is_empty() && !last.contains(char::is_whitespace);
        let said = value.trim_start_matches([' ', '\t', '"', '\'', '[']);
        // The path of a webhook's URL is its credential, and a command's arguments may hold some.
        let tells_all = last == "url" || ["exec:", "run:"].iter().any(|begin| said.starts_with(begin));
        let tells_all = tells_all || tells(&last.to_lowercase()) || last.starts_with("run_on_");
        if is_word && !value.trim().is_empty() && tells_all {
            let head = comment.len().saturating_sub(value.len());
            return format!("{} {}", comment.get(..head).unwrap_or_default(), quoted(REDACTED));
        }
    }
    let mut words = Vec::new();
    for word in comment.split_inclusive([' ', '\t', '"', '\'', ',']) {
        let end = word.trim_end_matches([' ', '\t', '"', '\'', ',']).len();
        let (url, behind) = word.split_at_checked(end).unwrap_or((word, ""));
        words.push(match url.contains("//") {
            true => format!("{}{behind}", redacted_url(url)),
            false => word.to_owned(),
        });
    }
    words.concat()
}

/// Where comments are: from a sign that is in no key, header or value.
fn comments(text: &str, mut quoted: Vec<Range<usize>>) -> Vec<Range<usize>> {
    quoted.sort_by_key(|span| (span.start, span.end));
    let (mut found, mut at) = (Vec::new(), 0);
    let mut spans = quoted.into_iter().peekable();
    while let Some(sign) = text
        .get(at..)
        .and_then(|rest| rest.find('#'))
        .map(|sign| sign.saturating_add(at))
    {
        while spans.next_if(|span| span.end <= sign).is_some() {}
        if let Some(span) = spans.next_if(|span| span.contains(&sign)) {
            at = span.end;
            continue;
        }
        let rest = text.get(sign..).unwrap_or_default();
        let length = rest.find('\n').unwrap_or(rest.len());
        let length = rest
            .get(..length)
            .map_or(length, |line| line.trim_end_matches('\r').len());
        at = sign.saturating_add(length.max(1));
        found.push(sign..at);
    }
    found
}

/// From the last, so that those in front stay where they are.
fn replaced(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = text.to_owned();
    for (span, with) in edits {
        text.replace_range(span, &with);
    }
    text
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

const MOVED: &str =
    "its secret belongs to another host, port or scheme, and is not sent to this one; write the secret anew";
const NONE: &str =
    "there was no secret here before, so that nothing can be put in place of [redacted]; write the secret itself";
const ELSEWHERE: &str =
    "no user and password are known for this host, port and scheme here; write them into the URL in place of ***";

#[cfg(test)]
mod tests;
