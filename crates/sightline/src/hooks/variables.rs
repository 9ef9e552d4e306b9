//! What a command is told of an event: in its environment, and in place of `$NAME` inside of an argument.
//!
//! The names are MediaMTX's, so that scripts made for it go on working. Their values are names of streams, numbers and words of ours, in which nothing
//! means anything to a shell, should an argument be for one. [`JSON`] holds what peers say of themselves: it stands in the environment alone.

use media::StreamName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regex::Captures;

use super::sources::{Source, Sources};
use crate::events::{Connection, Event, Peer, Sight, What};
use crate::http;

/// Names and values.
#[derive(Clone, Default)]
pub(super) struct Variables(Vec<(String, String)>);

/// An argument that would mean something else than was meant.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" would be an option to the program")]
pub(super) struct Changed(String);

impl Variables {
    /// `sources`: what is known of the publishers of streams, also of those that are gone.
    pub(super) fn new(event: &Event, captures: Option<&Captures<'_>>, sources: &Sources, port: u16) -> Self {
        let mut all = Self::default();
        all.add("EVENT_KIND", event.what.kind());
        all.add(
            JSON,
            serde_json::to_string(&event.form(Sight::Whole)).unwrap_or_default(),
        );
        all.add("RTSP_PORT", port);
        if let Some(stream) = event.what.stream() {
            all.add("MTX_PATH", stream);
            let source = sources.of(stream);
            all.add(
                "MTX_QUERY",
                escaped(query(&event.what, source.as_ref()).unwrap_or_default()),
            );
            if let Some(Source { kind, id, .. }) = source {
                all.add("MTX_SOURCE_TYPE", kind);
                all.add("MTX_SOURCE_ID", id);
            }
        }
        let peer = match &event.what {
            What::Joined(peer) => Some(peer),
            What::Left(parting) => Some(&parting.peer),
            _ => None,
        };
        if let Some(Peer { protocol, session, .. }) = peer {
            all.add("MTX_READER_TYPE", http::reader_type(protocol, true));
            all.add("MTX_READER_ID", http::uuid(*session));
        }
        let connection = match &event.what {
            What::Opened(connection) => Some(connection),
            What::Closed(closed) => Some(&closed.connection),
            _ => None,
        };
        if let Some(Connection { id, protocol, .. }) = connection {
            all.add(
                "MTX_CONN_TYPE",
                if *protocol == "RTSPS" { "rtspsConn" } else { "rtspConn" },
            );
            all.add("MTX_CONN_ID", http::uuid(*id));
        }
        for (number, group) in captures
            .into_iter()
            .flat_map(|captures| captures.iter().enumerate().skip(1))
        {
            all.add(&format!("G{number}"), group.map_or("", |group| group.as_str()));
        }
        all
    }

    /// Of no event: for what runs as long as there is a table.
    pub(super) fn of_table(stream: &StreamName, port: u16) -> Self {
        let mut all = Self::default();
        all.add("RTSP_PORT", port);
        all.add("MTX_PATH", stream);
        all
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// An argument with `$NAME` and `${NAME}` replaced; what else the environment has counts too, and a name that nothing has is nothing, as in a shell.
    /// It stays one argument, whatever stands in a value.
    pub(super) fn expanded(&self, argument: &str) -> Result<String, Changed> {
        let mut text = String::with_capacity(argument.len());
        let mut rest = argument;
        while let Some((before, behind)) = rest.split_once('$') {
            text.push_str(before);
            let (name, after) = match behind.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some(braced) => braced,
                None => {
                    let end = behind.find(|c: char| !is_of_name(c)).unwrap_or(behind.len());
                    behind.split_at(end)
                }
            };
            let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
            if name.starts_with(begins) && name.chars().all(is_of_name) && name != JSON {
                text.push_str(&self.value(name));
                rest = after;
            } else {
                text.push('$');
                rest = behind;
            }
        }
        text.push_str(rest);
        match text.starts_with('-') && !argument.starts_with('-') {
            true => Err(Changed(text)),
            false => Ok(text),
        }
    }

    fn value(&self, name: &str) -> String {
        let ours = self.0.iter().find(|(known, _)| known == name);
        let of_process = || match name.starts_with(OURS) {
            true => String::new(),
            false => std::env::var(name).unwrap_or_default(),
        };
        ours.map_or_else(of_process, |(_, value)| value.clone())
    }

    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        // A NUL would end the value where the operating system reads it.
        self.0.push((name.to_owned(), value.to_string().replace('\0', "")));
    }
}

/// Of whose URL an event tells the query: of who views, of who is the first to want what is fetched on demand, else of who publishes.
fn query<'a>(what: &'a What, source: Option<&'a Source>) -> Option<&'a str> {
    match what {
        What::Joined(peer) => peer.query.as_deref(),
        What::Left(parting) => parting.peer.query.as_deref(),
        What::Source(source) => source.query.as_deref(),
        _ => source?.query.as_deref(),
    }
}

/// A query as one value, as MediaMTX writes it: `a=1&b=2` is `a%3D1%26b%3D2`, in which nothing means anything to a shell or in another URL.
pub(crate) fn escaped(query: &str) -> String {
    const AS_THEY_ARE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(query, AS_THEY_ARE).to_string()
}

/// All that an event tells.
const JSON: &str = "EVENT_JSON";
/// How our settings begin, tokens among them: no command is given these.
pub(super) const OURS: &str = "SIGHTLINE_";

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variables(query: &str) -> Variables {
        let mut all = Variables::default();
        all.add("MTX_QUERY", query);
        all.add("MTX_PATH", "door");
        all
    }

    #[test]
    fn names_are_replaced_inside_of_an_argument() {
        let expanded = |argument| variables("a=1&b=2; rm x").expanded(argument).unwrap();
        assert_eq!(
            expanded("http://h/?p=$MTX_PATH&q=${MTX_QUERY}"),
            "http://h/?p=door&q=a=1&b=2; rm x"
        );
        assert_eq!(expanded("$MTX_PATHS|$NOBODY_HAS_THIS|$|$$|$5|${|x$"), "||$|$$|$5|${|x$");
        assert_eq!(expanded("--name=$MTX_PATH"), "--name=door");
    }

    #[test]
    fn no_value_becomes_an_option_and_no_setting_of_ours_is_told() {
        assert!(variables("-o/etc/x").expanded("$MTX_QUERY").is_err());
        assert_eq!(variables("-o").expanded("q=$MTX_QUERY").unwrap(), "q=-o");
        assert_eq!(variables("").expanded("$SIGHTLINE_TOKEN").unwrap(), "");
    }

    /// A viewer calls itself what it likes, and an argument may be a shell's program.
    #[test]
    fn what_peers_say_is_in_the_environment_alone() {
        let mut all = variables("");
        all.add(JSON, "{\"agent\":\"'; rm -rf /\"}");
        for argument in ["echo \"$EVENT_JSON\"", "echo ${EVENT_JSON}"] {
            assert_eq!(all.expanded(argument).unwrap(), argument);
        }
        assert!(all.iter().any(|(name, value)| name == JSON && value.contains("rm -rf")));
    }

    proptest! {
        /// A value is never read again: what it holds stays as it is.
        #[test]
        fn values_are_taken_as_they_are(value in "[^-\0].{0,40}") {
            prop_assume!(!value.contains('\0'));
            prop_assert_eq!(variables(&value).expanded("$MTX_QUERY").unwrap(), value);
        }

        #[test]
        fn no_argument_panics(argument in ".{0,60}") {
            let _ = variables("x").expanded(&argument);
        }
    }
}
