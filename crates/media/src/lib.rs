//! What a picture is on its way through Sightline.
//!
//! Belongs here: media time and wall time as types, [`Frame`] (one access unit with its capture time), [`Track`] and
//! [`Format`], parsing and writing of codec bitstreams, fMP4, the layout of the machine-readable clock ([`stamp`]), the
//! [`hub`] that carries frames from one publisher to many readers, and the counters every session keeps ([`stats`]).
//!
//! Does not belong here: an async runtime, sockets, files, reading a clock, randomness, wire formats of a protocol.
//! `now` is always an argument.

pub mod annexb;
pub mod audio;
pub mod demux;
pub mod fmp4;
pub mod frame;
pub mod h264;
pub mod h265;
pub mod hub;
pub mod movie;
pub mod mpegts;
pub mod name;
pub mod recording;
pub mod sei;
pub mod stamp;
pub mod stats;
pub mod time;
pub mod track;

pub use frame::{Capture, CaptureSource, Frame};
pub use name::StreamName;
pub use time::{Clock, MediaTime, Timescale, WallTime};
pub use track::{Codec, Format, Kind, Track, TrackIndex};
