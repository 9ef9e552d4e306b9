//! What FFmpeg says about the bitstreams, boxes and stamps of this crate, and what this crate says about FFmpeg's.

mod bitstreams;
mod demux;
mod fmp4;
mod mpegts;
mod program;
mod recording;
mod stamp;
