//! Faults made on purpose: what docs/reliability.md promises, one file for each kind, where it is not held by the tests beside the code or by those of one protocol.
//!
//! Does not belong here: what strangers say on a connection (fuzzing, and the hostile tests of each protocol), what takes minutes (`tests/long`).

#[path = "../rtsp/killing.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod killing;
#[path = "../rtsp/neighbour.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod neighbour;
#[path = "../rtsp/support.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the other tests' support is larger than what is needed here"
)]
mod support;

#[path = "../record/holdings.rs"]
#[allow(dead_code, reason = "kills are looked at more closely")]
mod holdings;
#[path = "../record/publisher.rs"]
#[allow(dead_code, reason = "kills are looked at more closely")]
mod publisher;
#[path = "../record/server.rs"]
#[allow(dead_code, reason = "the other tests ask it for more")]
mod server;
#[path = "../record/viewer.rs"]
mod viewer;

mod beside_a_disk;
mod clock;
mod descriptors;
mod full_disk;
mod guessing;
mod half_open;
mod memory;
mod power_cut;
mod recordings;

use neighbour::system;
