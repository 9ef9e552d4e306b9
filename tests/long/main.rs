//! What takes minutes: the same promises as `tests/rtsp`, held over hundreds of rounds. Part of `make test-full`.
//!
//! Belongs here: whatever grows, drifts or wears out. Does not belong here: speed (`bench/`), hostile bytes (`fuzz/`).

#[path = "../rtsp/support.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod support;

#[path = "../rtsp/killing.rs"]
mod killing;

mod churn;
mod soak;

/// A number that a variable changes, for who has more time or less.
fn from_variable(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is a whole number"))
    })
}

#[test]
fn a_publisher_killed_by_the_hundred_under_ten_viewers() {
    killing::rounds(from_variable("KILLS", 200) as usize);
}
