//! One second in figures.
//!
//! Belongs here: which figures there are, in which order, how they are written. Does not belong here: where they come from ([`super::sampler`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use media::{StreamName, WallTime};

/// Figures of a stream, in their order. The first [`KEPT`] are kept by the history.
pub const OF_STREAM: [&str; 14] = [
    "fps",
    "kbps",
    "dropped",
    "viewers",
    "latency_ms",
    "latency_max_ms",
    "cpu_percent",
    "memory_percent",
    "network_mbps",
    "encode_ms",
    "lost",
    "motion",
    "frames",
    "frames_dropped",
];

/// Figures of the machine, in their order. The first [`KEPT`] are kept by the history.
pub const OF_SYSTEM: [&str; 14] = [
    "cpu_percent",
    "memory_percent",
    "received_mbps",
    "sent_mbps",
    "temperature",
    "throttled",
    "program_cpu",
    "program_mb",
    "streams",
    "viewers",
    "disk_free_gb",
    "written_mbps",
    "memory_used_mb",
    "memory_total_mb",
];

/// How many of them are kept.
pub const KEPT: usize = 12;
/// Where the counts of the program are, which are told to whoever may view all.
const COUNTS: std::ops::RangeInclusive<usize> = 8..=9;

/// Figures in the order of [`OF_STREAM`] or [`OF_SYSTEM`]; NaN where one is not known.
pub type Figures = [f64; 14];

/// None of them known.
pub const UNKNOWN: Figures = [f64::NAN; 14];

/// One second.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its end.
    pub at: WallTime,
    /// Of the machine.
    pub system: Figures,
    /// Of each stream that is there.
    pub cameras: BTreeMap<StreamName, Figures>,
}

impl Sample {
    /// Before anything was looked at.
    pub fn empty(at: WallTime) -> Self {
        Self {
            at,
            system: UNKNOWN,
            cameras: BTreeMap::new(),
        }
    }

    /// As messages of so many bytes at most: the streams that are told, and the machine in the first of them.
    pub(super) fn messages(&self, told: &[bool], counts: bool, most_bytes: usize) -> Vec<Bytes> {
        let at_ms = self.at.unix_micros().div_euclid(1_000);
        let begin = || format!(r#"{{"type":"figures","at":{at_ms},"v":{{"#);
        let mut system = String::from("}");
        system.push_str(r#","system":"#);
        let mut figures = self.system;
        if !counts {
            figures[COUNTS].fill(f64::NAN);
        }
        push(&mut system, &figures);
        let (mut messages, mut text, mut is_first) = (Vec::new(), begin(), true);
        for ((name, figures), _) in self.cameras.iter().zip(told).filter(|(_, told)| **told) {
            let mut row = String::with_capacity(100);
            // A name, which always becomes JSON.
            let _ = write!(row, "{}:", serde_json::to_string(name.as_str()).unwrap_or_default());
            push(&mut row, figures);
            let end = if messages.is_empty() { system.len() } else { 1 };
            if text.len() + row.len() + end + 2 > most_bytes {
                end_message(&mut messages, &mut text, &system);
                (text, is_first) = (begin(), true);
            }
            if !std::mem::replace(&mut is_first, false) {
                text.push(',');
            }
            text.push_str(&row);
        }
        end_message(&mut messages, &mut text, &system);
        messages
    }
}

fn end_message(messages: &mut Vec<Bytes>, text: &mut String, system: &str) {
    text.push_str(if messages.is_empty() { system } else { "}" });
    text.push('}');
    messages.push(Bytes::from(std::mem::take(text)));
}

/// As a list of JSON, two digits behind the point: what is beyond says nothing.
fn push(out: &mut String, figures: &Figures) {
    out.push('[');
    for (at, value) in figures.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if value.is_finite() {
            // Adding zero takes the sign of one.
            let _ = write!(out, "{}", (value * 100.0).round() / 100.0 + 0.0);
        } else {
            out.push_str("null");
        }
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(streams: usize) -> Sample {
        let mut figures = UNKNOWN;
        (figures[0], figures[1]) = (29.97, 2_011.256);
        let name = |number: usize| format!("camera{number:04}").parse().unwrap();
        Sample {
            at: WallTime::from_unix_micros(1_700_000_000_123_456),
            system: [1.0; 14],
            cameras: (0..streams).map(|number| (name(number), figures)).collect(),
        }
    }

    #[test]
    fn figures_are_short_and_null_where_nothing_is_known() {
        let one = sample(1).messages(&[true], false, 64 << 10);
        assert_eq!(
            one,
            [concat!(
                r#"{"type":"figures","at":1700000000123,"v":{"camera0000":[29.97,2011.26,null,null,null,null,null,null,null,null,null,null,null,null]},"#,
                r#""system":[1,1,1,1,1,1,1,1,null,null,1,1,1,1]}"#
            )]
        );
    }

    #[test]
    fn many_streams_come_in_several_messages_and_none_is_lost() {
        let sample = sample(1_000);
        let told: Vec<bool> = (0..1_000).map(|number| number % 10 != 3).collect();
        let messages = sample.messages(&told, true, 8 << 10);
        let mut seen = 0;
        for (at, message) in messages.iter().enumerate() {
            assert!(message.len() <= 8 << 10, "{}", message.len());
            let value: serde_json::Value = serde_json::from_slice(message).unwrap();
            assert_eq!(value.get("system").is_some(), at == 0);
            seen += value["v"].as_object().unwrap().len();
        }
        assert_eq!(seen, 900);
        assert_eq!(sample.messages(&[false; 1_000], true, 8 << 10).len(), 1);
    }
}
