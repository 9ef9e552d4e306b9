//! Headers with a grammar of their own: `Session`, `RTP-Info`, `Public`.
//!
//! Belongs here: reading and writing them. Does not belong here: `Transport` ([`super::transport`]) and what has to do with
//! logins ([`super::auth`]).

use std::time::Duration;

use super::message::Method;
use super::transport::split_outside_quotes;
use super::wire::strip_prefix_ignoring_case;

/// The `Session` header (RFC 2326 §12.37).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionHeader {
    /// Opaque id.
    pub id: String,
    /// Life without a sign of life.
    pub timeout: Option<Duration>,
}

impl SessionHeader {
    /// `None` when there is no id, or one longer than 256 bytes.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split(';').map(str::trim);
        let id = parts.next().filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES)?;
        let seconds = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let seconds = value.trim().parse::<u32>().ok()?;
            (name.trim().eq_ignore_ascii_case("timeout") && seconds > 0).then_some(seconds)
        });
        Some(Self {
            id: id.to_owned(),
            timeout: seconds.map(|seconds| Duration::from_secs(seconds.into())),
        })
    }
}

/// One entry of `RTP-Info` (RFC 2326 §12.33).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpInfo {
    /// The track's control URL, maybe relative.
    pub url: String,
    /// Sequence number of the first packet.
    pub sequence: Option<u16>,
    /// RTP timestamp that belongs to the start of the range.
    pub rtp_time: Option<u32>,
}

impl RtpInfo {
    /// Reads a header; entries without URL are kept with an empty one, at most 16 are read.
    pub fn parse_list(header: &str) -> Vec<Self> {
        // A comma may also stand in a URL: only one before `url=`, or a URL's own missing, begins an entry.
        let mut entries: Vec<Self> = Vec::new();
        for piece in split_outside_quotes(header, ',').take(MAX_PIECES) {
            let mut parts = piece.split(';').map(str::trim);
            let first = parts.next().unwrap_or_default();
            if let Some(url) = strip_prefix_ignoring_case(first, "url=") {
                entries.push(Self {
                    url: url.trim().trim_matches('"').to_owned(),
                    sequence: None,
                    rtp_time: None,
                });
            } else if let Some(entry) = entries.last_mut() {
                entry.set(first);
            }
            if let Some(entry) = entries.last_mut() {
                parts.for_each(|part| entry.set(part));
            }
        }
        entries.truncate(MAX_ENTRIES);
        entries
    }

    fn set(&mut self, part: &str) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "seq" => self.sequence = value.parse().ok(),
            // Some cameras count past 32 bits or below zero: the field is taken modulo 2³².
            "rtptime" => self.rtp_time = value.parse::<i64>().ok().map(|time| time as u32),
            _ => {}
        }
    }
}

impl std::fmt::Display for RtpInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "url={}", self.url)?;
        if let Some(sequence) = self.sequence {
            write!(f, ";seq={sequence}")?;
        }
        if let Some(time) = self.rtp_time {
            write!(f, ";rtptime={time}")?;
        }
        Ok(())
    }
}

/// Whether a `Public` or `Allow` header names the method.
pub fn lists_method(header: &str, method: &Method) -> bool {
    header
        .split([',', ' '])
        .any(|name| name.trim().eq_ignore_ascii_case(method.as_str()))
}

const MAX_ID_BYTES: usize = 256;
const MAX_ENTRIES: usize = 16;
const MAX_PIECES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("12345678", Some(("12345678", None)))]
    #[case("12345678;timeout=60", Some(("12345678", Some(60))))]
    #[case(" 47112344 ; Timeout = 30 ; x", Some(("47112344", Some(30))))]
    #[case("A;timeout=0", Some(("A", None)))]
    #[case("A;timeout=abc", Some(("A", None)))]
    #[case(";timeout=60", None)]
    #[case("", None)]
    fn sessions(#[case] header: &str, #[case] expected: Option<(&str, Option<u64>)>) {
        let expected = expected.map(|(id, seconds)| SessionHeader {
            id: id.to_owned(),
            timeout: seconds.map(Duration::from_secs),
        });
        assert_eq!(SessionHeader::parse(header), expected);
    }

    #[test]
    fn a_session_id_has_a_limit() {
        assert!(SessionHeader::parse(&"a".repeat(MAX_ID_BYTES)).is_some());
        assert!(SessionHeader::parse(&"a".repeat(MAX_ID_BYTES + 1)).is_none());
    }

    fn info(url: &str, sequence: Option<u16>, rtp_time: Option<u32>) -> RtpInfo {
        RtpInfo {
            url: url.to_owned(),
            sequence,
            rtp_time,
        }
    }

    #[rstest]
    #[case("url=rtsp://h/s/trackID=0;seq=1;rtptime=2", vec![info("rtsp://h/s/trackID=0", Some(1), Some(2))])]
    #[case(
        "url=trackID=0;seq=65535;rtptime=4294967295, URL=trackID=1;Seq=70000;rtptime=-1",
        vec![info("trackID=0", Some(65535), Some(u32::MAX)), info("trackID=1", None, Some(u32::MAX))]
    )]
    #[case("url=\"rtsp://h/a,b\";rtptime=7", vec![info("rtsp://h/a,b", None, Some(7))])]
    #[case("url=rtsp://h/s,seq=5,rtptime=6", vec![info("rtsp://h/s", Some(5), Some(6))])]
    #[case("seq=5", vec![])]
    fn rtp_infos(#[case] header: &str, #[case] expected: Vec<RtpInfo>) {
        assert_eq!(RtpInfo::parse_list(header), expected);
    }

    #[test]
    fn rtp_info_has_a_limit() {
        assert_eq!(RtpInfo::parse_list(&"url=a,".repeat(1000)).len(), MAX_ENTRIES);
    }

    #[test]
    fn methods_are_listed_in_any_case() {
        assert!(lists_method("OPTIONS,describe, Get_Parameter", &Method::GetParameter));
        assert!(!lists_method("OPTIONS, SET_PARAMETER", &Method::GetParameter));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,120}", dense in "(url=|seq=|rtptime=|[,;\"])*[-0-9]{0,25}") {
            for text in [&text, &dense] {
                RtpInfo::parse_list(text);
                SessionHeader::parse(text);
                lists_method(text, &Method::Play);
            }
        }
    }
}
