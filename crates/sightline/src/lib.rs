//! Sightline: any camera as a live picture on any device, with its latency measured.
//!
//! Belongs here: everything that touches the outside: sockets, files, clocks, settings, credentials, logs, the commands.
//! It is a library only so that tests and fuzz targets reach it; `main.rs` is the program.
//!
//! Does not belong here: bitstreams and the hub (`media`), wire formats and sessions (`protocol`), raw pictures and codecs
//! (`device`).

// They panic when nobody reads. `writeln!` says so, and `tracing` does not mind.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod auth;
pub mod bench;
pub mod camera;
pub mod cli;
pub mod clock;
pub mod config;
pub mod database;
pub mod doctor;
pub mod events;
pub mod feed;
pub mod fetch;
pub mod files;
pub mod forward;
pub mod frames;
pub mod history;
pub mod hls;
pub mod hooks;
pub mod http;
mod keys;
pub mod log;
pub mod machine;
pub mod motion;
pub mod net;
pub mod onvif;
pub mod process;
pub mod publish;
pub mod random;
pub mod receive;
pub mod record;
pub mod relay;
pub mod rtsp;
pub mod s3;
pub mod secret;
pub mod serve;
pub mod shutdown;
pub mod source;
pub mod state;
pub mod status;
pub mod stills;
pub mod tls;
pub mod top;
pub mod trust;
pub mod upload;
pub mod webhooks;
pub mod webrtc;
mod websocket;
pub mod window;
