//! From the lens to a coded picture, and back for those who look.
//!
//! Belongs here: sources (cameras, files, children), picture formats, the overlay, encoders, decoders, and the thread that
//! ties them together. The only crate with `unsafe`: each block says why it is sound.
//!
//! Does not belong here: an async runtime, networking, protocols, settings files. Raw pictures leave only through
//! [`decode`].

pub mod camera;
pub mod decode;
pub mod encode;
pub mod jpeg;
pub mod last_words;
pub mod motion;
pub mod overlay;
pub mod picture;
pub mod program;
pub mod source;
