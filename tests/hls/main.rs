//! End to end: the real program's LL-HLS, played by other people's programs and held against the rules of the draft.
//!
//! Does not belong here: every rule of lists and requests (`protocol::hls`, `sightline::http`, beside the code).

#[path = "../rtsp/support.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod support;

mod behind_a_cache;
mod cache;
mod client;
mod ffmpeg;
mod origin;
mod pull;
mod rules;
mod vlc;
