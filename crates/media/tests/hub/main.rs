//! The hub as its drivers use it, over simulated time.
//!
//! Belongs here: every rule of publishing and reading, seen from outside. Does not belong here: what is private to one module of
//! the hub (tests beside the code), interleavings of threads (tests/loom.rs).

mod forms;
mod keyframes;
mod limits;
mod model;
mod news;
mod publishing;
mod reading;
mod sessions;
mod takeover;
mod time;
mod world;
