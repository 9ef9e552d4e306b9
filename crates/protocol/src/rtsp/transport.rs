//! The `Transport` header (RFC 2326 §12.39).
//!
//! Belongs here: reading it from any peer, writing ours. Does not belong here: which transport is chosen.
//!
//! An own parser: peers differ in case, quotes, blanks, single ports and unknown parameters, and none of that may cost them
//! the session.

use std::fmt;
use std::net::IpAddr;

use super::wire::strip_prefix_ignoring_case;

/// One way of transport, as offered or answered. `destination=` is not kept: packets go to the peer of the RTSP connection and
/// nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Profile and lower transport.
    pub lower: Lower,
    /// `multicast` instead of `unicast`.
    pub multicast: bool,
    /// Channels of RTP and RTCP. Where the second is not given, it is the one after the first.
    pub interleaved: Option<(u8, u8)>,
    /// The client's ports for RTP and RTCP.
    pub client_port: Option<(u16, u16)>,
    /// The server's ports for RTP and RTCP.
    pub server_port: Option<(u16, u16)>,
    /// Where the server's packets come from; `None` also when that is a name, or the address that means none.
    pub source: Option<IpAddr>,
    /// Synchronisation source of the sender.
    pub ssrc: Option<u32>,
    /// `mode=record`: the client sends.
    pub record: bool,
}

/// Profile and lower transport of a [`Transport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lower {
    /// `RTP/AVP/TCP`: interleaved in the RTSP connection.
    Tcp,
    /// `RTP/AVP` or `RTP/AVP/UDP`, as it was written.
    Udp {
        /// Written with `/UDP`.
        explicit: bool,
    },
    /// Anything else, cut to 32 characters.
    Other(String),
}

impl Transport {
    /// A transport with nothing but its kind.
    pub fn new(lower: Lower) -> Self {
        Self {
            lower,
            multicast: false,
            interleaved: None,
            client_port: None,
            server_port: None,
            source: None,
            ssrc: None,
            record: false,
        }
    }

    /// Reads a header's alternatives in order of preference, at most [`MAX_ALTERNATIVES`].
    pub fn parse_list(header: &str) -> Vec<Self> {
        split_outside_quotes(header, ',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .take(MAX_ALTERNATIVES)
            .map(Self::parse)
            .collect()
    }

    fn parse(text: &str) -> Self {
        let mut parts = split_outside_quotes(text, ';').map(str::trim).take(MAX_PARAMETERS);
        let mut transport = Self::new(Lower::parse(parts.next().unwrap_or_default()));
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"').trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "multicast" => transport.multicast = true,
                "interleaved" => transport.interleaved = pair(value, |channel: u8| channel.checked_add(1)),
                "client_port" => transport.client_port = ports(value),
                "server_port" => transport.server_port = ports(value),
                "source" => transport.source = value.parse().ok().filter(|source: &IpAddr| !source.is_unspecified()),
                "ssrc" => transport.ssrc = ssrc(value),
                // Some publishers write RECEIVE for what the server does.
                "mode" => {
                    let modes = ["record", "receive"];
                    transport.record = modes.iter().any(|mode| value.eq_ignore_ascii_case(mode));
                }
                _ => {}
            }
        }
        transport
    }
}

impl Lower {
    fn parse(text: &str) -> Self {
        let text = text.trim();
        match text.to_ascii_uppercase().as_str() {
            "RTP/AVP/TCP" => Self::Tcp,
            "RTP/AVP" => Self::Udp { explicit: false },
            "RTP/AVP/UDP" => Self::Udp { explicit: true },
            _ => Self::Other(text.chars().take(32).collect()),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.lower {
            Lower::Tcp => "RTP/AVP/TCP",
            Lower::Udp { explicit: true } => "RTP/AVP/UDP",
            Lower::Udp { explicit: false } => "RTP/AVP",
            Lower::Other(other) => other,
        })?;
        f.write_str(if self.multicast { ";multicast" } else { ";unicast" })?;
        if let Some((rtp, rtcp)) = self.interleaved {
            write!(f, ";interleaved={rtp}-{rtcp}")?;
        }
        if let Some((rtp, rtcp)) = self.client_port {
            write!(f, ";client_port={rtp}-{rtcp}")?;
        }
        if let Some((rtp, rtcp)) = self.server_port {
            write!(f, ";server_port={rtp}-{rtcp}")?;
        }
        if let Some(source) = self.source {
            write!(f, ";source={source}")?;
        }
        if let Some(ssrc) = self.ssrc {
            write!(f, ";ssrc={ssrc:08X}")?;
        }
        if self.record {
            f.write_str(";mode=record")?;
        }
        Ok(())
    }
}

fn ports(value: &str) -> Option<(u16, u16)> {
    pair(value, |port: u16| port.checked_add(1)).filter(|&(rtp, rtcp)| rtp != 0 && rtcp != 0 && rtp != rtcp)
}

fn pair<T: std::str::FromStr + Copy>(value: &str, next: impl Fn(T) -> Option<T>) -> Option<(T, T)> {
    let (first, second) = match value.split_once('-') {
        Some((first, second)) => (first.trim(), Some(second.trim())),
        None => (value, None),
    };
    let first = first.parse().ok()?;
    match second {
        Some(second) => Some((first, second.parse().ok()?)),
        None => Some((first, next(first)?)),
    }
}

/// Eight hexadecimal digits by RFC 2326; some cameras write fewer, or blanks in place of leading zeros, or `0x`.
fn ssrc(value: &str) -> Option<u32> {
    let digits = strip_prefix_ignoring_case(value, "0x").unwrap_or(value);
    u32::from_str_radix(digits, 16)
        .ok()
        .filter(|_| !digits.starts_with('+'))
}

/// Splits at `separator` where it does not stand between double quotes.
pub(crate) fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

const MAX_ALTERNATIVES: usize = 16;
const MAX_PARAMETERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const UDP: Lower = Lower::Udp { explicit: false };

    fn tcp(rtp: u8, rtcp: u8) -> Transport {
        Transport {
            interleaved: Some((rtp, rtcp)),
            ..Transport::new(Lower::Tcp)
        }
    }

    fn udp(rtp: u16, rtcp: u16) -> Transport {
        Transport {
            client_port: Some((rtp, rtcp)),
            ..Transport::new(UDP)
        }
    }

    #[rstest]
    #[case::ffmpeg("RTP/AVP/TCP;unicast;interleaved=0-1", tcp(0, 1))]
    #[case::case_and_blanks("rtp/avp/tcp ; UNICAST ; Interleaved = 2 - 3 ;", tcp(2, 3))]
    #[case::one_channel("RTP/AVP/TCP;interleaved=4", tcp(4, 5))]
    #[case::channel_too_large("RTP/AVP/TCP;interleaved=256-257", Transport::new(Lower::Tcp))]
    #[case::last_channel_alone("RTP/AVP/TCP;interleaved=255", Transport::new(Lower::Tcp))]
    #[case::vlc("RTP/AVP;unicast;client_port=5000-5001", udp(5000, 5001))]
    #[case::one_port("RTP/AVP;unicast;client_port=5000", udp(5000, 5001))]
    #[case::port_zero("RTP/AVP;unicast;client_port=0-1", Transport::new(UDP))]
    #[case::destination("RTP/AVP;unicast;destination=10.0.0.9;client_port=5000-5001", udp(5000, 5001))]
    #[case::quotes(
        "RTP/AVP;unicast;client_port=\"5000-5001\";mode=\"RECORD\"",
        Transport { record: true, ..udp(5000, 5001) }
    )]
    #[case::receive("RTP/AVP/TCP;interleaved=0-1;mode=receive", Transport { record: true, ..tcp(0, 1) })]
    #[case::play("RTP/AVP/TCP;interleaved=0-1;mode=\"PLAY\";ssrc=  1", tcp(0, 1))]
    #[case::ssrc("RTP/AVP/TCP;interleaved=0-1;ssrc=0x1AB", Transport { ssrc: Some(0x1ab), ..tcp(0, 1) })]
    #[case::multicast("RTP/AVP;multicast;ttl=16", Transport { multicast: true, ..Transport::new(UDP) })]
    #[case::source_that_is_no_address("RTP/AVP;source=\"a,b\"", Transport::new(UDP))]
    #[case::secure("RTP/SAVP;unicast;x", Transport::new(Lower::Other("RTP/SAVP".into())))]
    #[case::camera(
        "RTP/AVP/UDP;unicast;client_port=5000-5001;server_port=8216-8217;source=192.168.1.64;ssrc=2ae1e8bb;mode=\"play\"",
        Transport {
            lower: Lower::Udp { explicit: true },
            server_port: Some((8216, 8217)),
            source: Some([192, 168, 1, 64].into()),
            ssrc: Some(0x2ae1_e8bb),
            ..udp(5000, 5001)
        }
    )]
    fn reads(#[case] header: &str, #[case] transport: Transport) {
        let mut expected = transport;
        if header.contains("ssrc=  1") {
            expected.ssrc = Some(1);
        }
        assert_eq!(Transport::parse_list(header), [expected.clone()]);
        assert_eq!(Transport::parse_list(&expected.to_string()), [expected]);
    }

    #[test]
    fn alternatives_keep_their_order_and_are_bounded() {
        let list = Transport::parse_list("RTP/SAVP;x=\"a,b;c\", RTP/AVP/TCP;interleaved=0-1,,RTP/AVP;client_port=6-7");
        assert_eq!(list.len(), 3);
        assert_eq!(list.get(1), Some(&tcp(0, 1)));
        assert_eq!(list.get(2), Some(&udp(6, 7)));
        assert_eq!(Transport::parse_list(&"RTP/AVP,".repeat(1000)).len(), MAX_ALTERNATIVES);
        let late = format!("RTP/AVP/TCP{};interleaved=0-1", ";x".repeat(MAX_PARAMETERS));
        assert_eq!(Transport::parse_list(&late), [Transport::new(Lower::Tcp)]);
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,200}", dense in "[,;=\"-]{0,20}(interleaved|ssrc|client_port)[=0-9a-f\"-]{0,12}") {
            Transport::parse_list(&text);
            Transport::parse_list(&dense);
        }

        #[test]
        fn what_is_written_reads_back(
            rtp in 1_u16..65534, channel in 0_u8..255, ssrc: Option<u32>, is_tcp: bool, explicit: bool, record: bool,
        ) {
            let transport = if is_tcp {
                Transport { ssrc, record, ..tcp(channel, channel + 1) }
            } else {
                let server_port = Some((8000, 8001));
                Transport { ssrc, record, server_port, lower: Lower::Udp { explicit }, ..udp(rtp, rtp + 1) }
            };
            prop_assert_eq!(Transport::parse_list(&transport.to_string()), [transport]);
        }
    }
}
