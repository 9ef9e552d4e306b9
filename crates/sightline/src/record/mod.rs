//! Recordings on disk.
//!
//! Belongs here: files of fragmented MP4 that survive a kill and a power cut ([`segment`]), what disks are to them ([`storage`]), who writes them
//! ([`recorder`]), which frames of a camera ([`camera`]) and which cameras ([`service`]), finding and playing them ([`library`], [`play`]), small pictures of them to look through ([`strip`], [`filmstrip`]), exports ([`export`]), sending them to S3 ([`archive`]), holding
//! them against their index ([`check`]). Does not belong
//! here: the bytes of head and seals ([`media::recording`]), fragments ([`media::fmp4`]), what `sightline receive` saves, which encodes again.
//!
//! The plan for all of it, and why it is as it is: `docs/design/recorder.md`.

pub mod archive;
pub mod camera;
pub mod check;
pub mod clock;
mod disk;
pub mod export;
pub mod filmstrip;
mod growing;
pub mod index;
pub mod library;
pub(crate) mod lock;
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
pub mod strip;
pub mod trigger;

/// The folder of recordings, in the state folder, where none is set.
pub const FOLDER: &str = "recordings";
/// The index of them, in the state folder.
pub const INDEX: &str = "recordings.sqlite";
