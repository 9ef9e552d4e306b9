//! What takes minutes: the same promises as `tests/rtsp`, held over hundreds of rounds. Part of `make test-full`.
//!
//! Belongs here: whatever grows, drifts or wears out. Does not belong here: speed (`bench/`), hostile bytes (`fuzz/`).

#[path = "../rtsp/support.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod support;

#[path = "../rtsp/killing.rs"]
mod killing;

#[path = "../hls/origin.rs"]
#[allow(dead_code, reason = "it is asked for more by the other tests")]
mod origin;

#[path = "../hls/cache.rs"]
mod cache;

#[path = "../browser/scenario.rs"]
mod scenario;

#[path = "../record/holdings.rs"]
mod holdings;
#[path = "../record/publisher.rs"]
mod publisher;
#[path = "../record/killing.rs"]
mod recorded_kills;
#[path = "../record/server.rs"]
#[allow(dead_code, reason = "the other tests ask it for more")]
mod server;

mod churn;
mod day;
mod index;
mod motion;
mod passers_by;
mod seek;
mod soak;

use std::time::Duration;

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

#[test]
fn eight_cameras_lose_a_fragment_each_by_each_of_hundreds_of_kills() {
    recorded_kills::rounds(from_variable("KILLS", 200) as usize);
}

/// Distance to the live edge, and no moment without a picture.
#[test]
fn hls_js_plays_near_the_edge_for_minutes() {
    let seconds = from_variable("HLS_SECONDS", 120).to_string();
    let variables = [("HLS_SECONDS", seconds.as_str())];
    scenario::play("hls", "plays_near_the_edge_without_standing_still", &variables);
}

#[test]
fn hls_viewers_by_the_hundred_behind_a_cache() {
    cache::many_viewers(from_variable("VIEWERS", 200), Duration::from_secs(30));
}
