//! No player stays behind for having been given the pictures since the last keyframe at once.
//!
//! Belongs here: how that is found out. Which players it is found out for stands in their own files.

use std::io::Read;
use std::time::Duration;

use super::support::{Ages, Machine, Process, Server, publish_stamped};

/// Pictures from keyframe to keyframe, at 30 a second: 11 seconds, which is no more than a burst may be long, and a player that takes its
/// time to start still joins in the middle.
const GOP: u32 = 330;
/// How old the stream is when the player is started.
const AGE: Duration = Duration::from_secs(3);
/// When delays are compared, after the first picture.
const WINDOW: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(6_500));
/// What of a difference is noise.
const NOISE_MS: f64 = 150.0;
/// Size of the publisher's pictures.
pub(crate) const SIZE: (u32, u32) = (640, 480);

/// A player that runs until it is dropped.
pub(crate) trait Plays {
    /// Its pictures, as luma.
    fn pictures(&mut self) -> impl Read;
}

impl Plays for Process {
    fn pictures(&mut self) -> impl Read {
        self.stdout()
    }
}

/// The delay of a player must not depend on whether it was given a burst to begin with. Plays the same stream from a server that gives
/// bursts and from one that does not, joining in the middle of a GOP, and compares the age of pictures five seconds after the first. A
/// burst that is played at its own pace leaves a delay of all its pictures, here more than three seconds.
///
/// Less than without a burst is no fault: players that look at a second of the stream before they show it have seen it sooner.
pub(crate) fn no_standing_delay<P: Plays>(play: impl Fn(&str) -> P) {
    no_standing_delay_beyond(NOISE_MS, play);
}

/// The same for a player with more noise of its own.
pub(crate) fn no_standing_delay_beyond<P: Plays>(noise_ms: f64, play: impl Fn(&str) -> P) {
    let machine = Machine::watch();
    let (burst, with) = delay(&[], &play);
    // The test is none if it joins right behind a keyframe.
    assert!(burst >= 60, "the player was given a burst of {burst} frames only");
    let (burst, without) = delay(&[("SIGHTLINE_LIMITS_BURST_TIME", "0s")], &play);
    assert_eq!(burst, 0, "the server that should give no burst gave one");
    let found = format!("five seconds after joining: {with:.0} ms behind with a burst, {without:.0} ms without");
    println!("{found}");
    // A player that was kept waiting when it joined stays behind by that, burst or not; so does one to which the server came late.
    let noise_ms = noise_ms + 2.0 * machine.longest().as_secs_f64() * 1_000.0;
    assert!(
        with - without < noise_ms,
        "{found}, of which {noise_ms:.0} ms may be noise"
    );
}

/// Frames of the burst that a player was given, and the age of its pictures later.
fn delay<P: Plays>(variables: &[(&str, &str)], play: impl Fn(&str) -> P) -> (u64, f64) {
    let mut server = Server::start_with(&[], variables);
    let earlier = publish_stamped(&mut server, "earlier", GOP);
    // OpenCV took nine seconds to start on a machine that had forgotten its files. From here on they are at hand.
    Ages::read(play(&server.url("earlier")).pictures(), SIZE, Duration::ZERO);
    drop(earlier);
    let _publisher = publish_stamped(&mut server, "cam", GOP);
    std::thread::sleep(AGE);
    let mut player = play(&server.url("cam"));
    let ages = Ages::read(player.pictures(), SIZE, WINDOW.1);
    let joined = server.wait_for_events("viewer joined", "cam", 1);
    let age = ages.standing(WINDOW.0, WINDOW.1);
    (joined["burst_frames"].as_u64().unwrap(), age)
}

/// Else two equal servers might be compared.
#[test]
#[should_panic(expected = "a variable of the test is no setting")]
fn a_variable_that_sets_nothing_fails_the_test() {
    Server::start_with(&[], &[("SIGHTLINE_LIMITS_BURST", "0s")]);
}
