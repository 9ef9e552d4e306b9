//! The protocols Sightline speaks, as sessions without I/O.
//!
//! Belongs here: bytes and rules. Each folder owns its messages, its sessions for both sides, its limits and its tests.
//! Folders do not import one another; what they share is in [`rtp`] and [`sdp`].
//!
//! Does not belong here: sockets, threads, an async runtime, files, reading a clock, randomness. Bytes come in, bytes and
//! events go out, `now` is an argument; the drivers are in the `sightline` crate.

pub mod hls;
pub mod onvif;
pub mod rtp;
pub mod rtsp;
pub mod sdp;
pub mod status;
pub mod webrtc;
