//! `sightline bench`: loads that measure a server, ours or another's.
//!
//! Belongs here: generating streams with the time inside every frame, many viewers, figures from them. Does not belong here:
//! comparing servers (`bench/`), assertions about speed (nowhere: machines differ).

pub mod encode;
mod figures;
mod process;
pub mod rtsp;
mod source;

pub use figures::{Percentiles, Samples};
pub use source::Load;
