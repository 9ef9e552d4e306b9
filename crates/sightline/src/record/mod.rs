//! Recordings on disk.
//!
//! Belongs here: files of fragmented MP4 that survive a kill and a power cut ([`segment`]), what disks are to them ([`storage`]), who writes them
//! ([`recorder`]), which frames of a camera ([`camera`]) and which cameras ([`service`]), finding and playing them ([`library`], [`play`]). Does not belong
//! here: the bytes of head and seals ([`media::recording`]), fragments ([`media::fmp4`]), what `sightline receive` saves, which encodes again.
//!
//! The plan for all of it, and why it is as it is: `docs/design/recorder.md`.

pub mod camera;
pub mod clock;
mod disk;
pub mod index;
pub mod library;
mod lock;
pub mod name;
pub mod play;
pub mod queue;
pub mod recorder;
pub mod report;
pub mod retention;
pub mod segment;
pub mod service;
pub mod sink;
pub mod storage;
pub mod trigger;
