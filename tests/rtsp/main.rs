//! End to end: the real program against other people's clients, over RTSP.
//!
//! One file per client, real processes, real bytes. [`support`] starts them and ends them. Does not belong here: what a session may
//! say (`protocol::rtsp`), speed (`bench/`).

mod always_available;
mod changes;
mod delay;
mod ended;
mod exec;
mod faults;
mod ffmpeg;
mod ffplay;
mod first_picture;
mod gortsplib;
mod gstreamer;
mod keepalive;
mod killing;
mod mediamtx;
#[allow(dead_code, reason = "tests of faults pull the wire out")]
mod neighbour;
mod oddities;
mod onvif;
mod opencv;
mod probing;
mod receive;
mod rtsps;
mod sources;
mod support;
mod takeover;
mod window;
