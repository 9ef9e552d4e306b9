//! SDP (RFC 8866): what the tracks of a stream are, as RTSP and WebRTC say it.
//!
//! Belongs here: describing our tracks ([`describe`]) and understanding what others send ([`parse`]). Does not belong
//! here: resolving control URLs (RTSP), offer and answer (WebRTC), packets ([`crate::rtp`]).

mod describe;
mod parse;

pub use describe::{Describe, Track, describe, tracks};
pub use parse::{Description, Error, Ignored, Limits, Media, parse, parse_within_tls};

#[cfg(test)]
mod tests;
