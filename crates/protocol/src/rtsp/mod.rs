//! RTSP 1.0 (RFC 2326), both sides, without I/O.
//!
//! Belongs here: how requests, responses and `$` frames are told apart in a byte stream ([`wire`]), what they say
//! ([`message`], [`header`], [`transport`], [`url`]), who may ask ([`auth`]), and the two sessions that hold the rules:
//! [`server::Session`] and [`client::Session`], one per connection.
//!
//! Does not belong here: sockets and clocks (the drivers in the `sightline` crate), what an SDP says ([`crate::sdp`]; here it
//! is text that passes through), RTP and RTCP ([`crate::rtp`]; here it is the payload of a `$` frame).

pub mod auth;
pub mod client;
pub mod header;
pub mod message;
pub mod server;
pub mod transport;
pub mod url;
pub mod wire;

#[cfg(test)]
mod tests;
