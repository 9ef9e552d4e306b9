//! What the tests of every crate share. In `[dev-dependencies]` only.
//!
//! Belongs here: a simulated clock, a lossy link with a seed, streams with known content, wrappers around other people's
//! players, checkers of what others have specified and several tests hold our output against. Does not belong here: assertions about how one
//! protocol of ours is built (those stand with it).

pub mod clock;
#[cfg(unix)]
pub mod fake_camera;
pub mod hls;
pub mod link;
pub mod ports;
pub mod publishing;
pub mod stream;
#[cfg(unix)]
pub mod usb_camera;
