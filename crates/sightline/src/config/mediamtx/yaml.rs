//! YAML as a tree in which each value knows where it stands.
//!
//! Belongs here: the tree, its limits, and what a plain word means in YAML 1.1, in which MediaMTX's files are written. Does not belong here: which keys
//! there are.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// How deep values may lie in one another; MediaMTX's go to five.
const MAX_DEPTH: usize = 16;
/// Values of a file, those that aliases repeat included.
const MAX_NODES: usize = 100_000;

/// Where something stands, both from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A word; `plain` when without quotes, which alone may mean nothing, yes or no.
    Word {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(Node, Node)>),
}

/// What is wrong with a file, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) message: String,
}

impl Node {
    /// What a map has under this key; of several the last.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(pairs) = &self.value else { return None };
        let found = pairs.iter().rev().find(|(name, _)| name.word() == Some(key));
        found.map(|(_, value)| value)
    }

    /// The text of a word.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.value {
            Value::Word { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Nothing was written, or that there is nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Word { text, plain: true } if ["", "~", "null", "Null", "NULL"].contains(&text.as_str()))
    }

    /// Yes or no, in any of the spellings of YAML 1.1.
    pub(super) fn truth(&self) -> Option<bool> {
        let Value::Word { text, plain: true } = &self.value else {
            return None;
        };
        match text.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "y" => Some(true),
            "no" | "false" | "off" | "n" => Some(false),
            _ => None,
        }
    }

    /// How people see it: a word, or the words of a list.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Value::Word { text, .. } => text.clone(),
            Value::List(nodes) => {
                let words: Vec<_> = nodes.iter().map(Self::shown).collect();
                format!("[{}]", words.join(", "))
            }
            Value::Map(_) => "a table".to_owned(),
        }
    }
}

/// The first document of a text; `None` when there is nothing in it.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Fault> {
    Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
    }
    .document()
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Place)>, Fault> {
        let Some(event) = self.parser.next() else {
            return Ok(None);
        };
        let (event, span): (Event<'a>, Span) = event.map_err(|error| Fault {
            place: place(error.marker()),
            message: error.info().to_owned(),
        })?;
        Ok(Some((event, place(&span.start))))
    }

    fn document(mut self) -> Result<Option<Node>, Fault> {
        while let Some((event, place)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(None),
                event => return self.node(event, place, 0).map(|(node, _)| Some(node)),
            }
        }
        Ok(None)
    }

    /// The value that begins with `event`, and how many it is with those in it.
    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<(Node, usize), Fault> {
        let fault = |message: &str| Fault {
            place,
            message: message.to_owned(),
        };
        self.nodes += 1;
        if depth > MAX_DEPTH {
            return Err(fault("values lie too deep in one another"));
        }
        if self.nodes > MAX_NODES {
            return Err(fault("there are too many values"));
        }
        let (value, anchor, count) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let text = text.into_owned();
                (Value::Word { text, plain }, anchor, 1)
            }
            Event::SequenceStart(anchor, _) => {
                let (nodes, count) = self.list(depth)?;
                (Value::List(nodes), anchor, count)
            }
            Event::MappingStart(anchor, _) => {
                let (pairs, count) = self.map(depth)?;
                (Value::Map(pairs), anchor, count)
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).cloned();
                let (node, count) = known.ok_or_else(|| fault("an alias of what is not there yet"))?;
                // A few lines of aliases of aliases would else be gigabytes.
                self.nodes = self.nodes.saturating_add(count);
                if self.nodes > MAX_NODES {
                    return Err(fault("there are too many values"));
                }
                return Ok((Node { place, ..node }, count));
            }
            _ => return Err(fault("a value is missing")),
        };
        let node = Node { place, value };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), count));
        }
        Ok((node, count))
    }

    fn list(&mut self, depth: usize) -> Result<(Vec<Node>, usize), Fault> {
        let (mut nodes, mut count) = (Vec::new(), 1);
        while let Some((event, place)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            let (node, more) = self.node(event, place, depth + 1)?;
            count += more;
            nodes.push(node);
        }
        Ok((nodes, count))
    }

    fn map(&mut self, depth: usize) -> Result<(Vec<(Node, Node)>, usize), Fault> {
        let (mut pairs, mut count) = (Vec::new(), 1);
        while let Some((event, place)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let (key, keys) = self.node(event, place, depth + 1)?;
            let Some((event, place)) = self.next()? else { break };
            let (value, values) = self.node(event, place, depth + 1)?;
            count += keys + values;
            if key.word() == Some("<<")
                && let Value::Map(merged) = value.value
            {
                // What stands in the map itself wins, before or behind.
                pairs.splice(0..0, merged);
                continue;
            }
            pairs.push((key, value));
        }
        Ok((pairs, count))
    }
}

fn place(marker: &saphyr_parser::Marker) -> Place {
    Place {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize) -> Place {
        Place { line, column }
    }

    #[test]
    fn values_know_where_they_stand() {
        let root = parse("# first\nrtsp: no\npaths:\n  cam:\n    source: 'yes'\n")
            .unwrap()
            .unwrap();
        let Value::Map(pairs) = &root.value else {
            panic!("{root:?}")
        };
        assert_eq!((pairs[0].1.place, pairs[0].1.truth()), (at(2, 7), Some(false)));
        let Value::Map(paths) = &pairs[1].1.value else {
            panic!("{root:?}")
        };
        let Value::Map(cam) = &paths[0].1.value else {
            panic!("{root:?}")
        };
        assert_eq!((cam[0].0.place, cam[0].1.place), (at(5, 5), at(5, 13)));
        assert_eq!(cam[0].1.truth(), None, "in quotes it is a word");
    }

    #[test]
    fn anchors_and_merges_repeat_what_stands_elsewhere() {
        let root = parse("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n")
            .unwrap()
            .unwrap();
        let Value::Map(pairs) = &root.value else {
            panic!("{root:?}")
        };
        let words = |node: &Node| match &node.value {
            Value::Map(pairs) => pairs
                .iter()
                .map(|(key, value)| format!("{}={}", key.shown(), value.shown()))
                .collect(),
            _ => vec![],
        };
        assert_eq!(words(&pairs[1].1), ["x=1", "y=2", "y=3"]);
        assert_eq!(words(&pairs[2].1), ["x=1", "y=2"]);
    }

    #[test]
    fn aliases_of_aliases_have_a_limit() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let before = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
        }
        assert_eq!(parse(&text).unwrap_err().message, "there are too many values");
    }

    #[test]
    fn depth_has_a_limit() {
        let fault = parse(&"[".repeat(MAX_DEPTH + 3)).unwrap_err();
        assert_eq!(fault.message, "values lie too deep in one another");
    }

    #[test]
    fn a_broken_file_is_told_with_its_place() {
        let fault = parse("rtsp: yes\npaths: [a, b\nhls: no\n").unwrap_err();
        assert!(fault.place.line >= 2, "{fault:?}");
        assert!(parse("# nothing\n").unwrap().is_none());
    }
}
