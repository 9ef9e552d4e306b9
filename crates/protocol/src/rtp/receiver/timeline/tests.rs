use super::*;
use crate::rtp::test_streams::TestClock;

const VIDEO: TrackIndex = TrackIndex(0);
const AUDIO: TrackIndex = TrackIndex(1);
const AUDIO_CLOCK: Timescale = Timescale::OPUS;

/// The sender's clock is this far from ours.
const SENDER_OFFSET_MICROS: i64 = 3_600_000_000;

fn report(ms: i64, rtp_timestamp: u32) -> SenderTime {
    SenderTime {
        wall: TestClock::WALL_START.offset_micros(SENDER_OFFSET_MICROS + ms * 1_000),
        rtp_timestamp,
    }
}

fn ms(time: MediaTime) -> i64 {
    time.as_micros().div_euclid(1_000)
}

#[test]
fn the_first_packet_of_a_session_is_at_zero_and_later_tracks_at_their_arrival() {
    let clock = TestClock::new();
    let timeline = Timeline::default();
    let mut video = TrackTime::new(timeline.clone(), VIDEO, Timescale::VIDEO);
    let mut audio = TrackTime::new(timeline, AUDIO, AUDIO_CLOCK);
    assert_eq!(ms(video.media_time(u32::MAX - 100, clock.at_ms(0).at).0), 0);
    assert_eq!(ms(audio.media_time(77, clock.at_ms(250).at).0), 250);
    // The wrap of the timestamp is invisible.
    let (time, jumped) = video.media_time(u32::MAX.wrapping_add(9_000 - 100), clock.at_ms(100).at);
    assert_eq!((ms(time), jumped), (100, false));
}

#[test]
fn reports_before_the_first_packets_place_tracks_exactly() {
    let clock = TestClock::new();
    let timeline = Timeline::default();
    let mut video = TrackTime::new(timeline.clone(), VIDEO, Timescale::VIDEO);
    let mut audio = TrackTime::new(timeline, AUDIO, AUDIO_CLOCK);
    video.sender_report(report(0, 1_000));
    audio.sender_report(report(0, 5_000));
    // Video captured at 0 arrives at 40 ms; audio captured at 20 arrives at 300 ms.
    assert_eq!(ms(video.media_time(1_000, clock.at_ms(40).at).0), 0);
    assert_eq!(ms(audio.media_time(5_000 + 20 * 48, clock.at_ms(300).at).0), 20);
}

#[test]
fn small_errors_are_corrected_slowly() {
    let clock = TestClock::new();
    let timeline = Timeline::default();
    let mut video = TrackTime::new(timeline.clone(), VIDEO, Timescale::VIDEO);
    let mut audio = TrackTime::new(timeline, AUDIO, AUDIO_CLOCK);
    video.media_time(0, clock.at_ms(0).at);
    // Captured at 0 as well, but 100 ms late.
    audio.media_time(0, clock.at_ms(100).at);
    video.sender_report(report(0, 0));
    audio.sender_report(report(0, 0));
    let mut last = 100_000;
    for step in 1..=600_u32 {
        let (time, jumped) = audio.media_time(step * 960, clock.at_ms(100 + u64::from(step) * 20).at);
        let moved = time.as_micros() - last;
        assert!(!jumped && (19_500..=20_000).contains(&moved), "step {step}: {moved}");
        last = time.as_micros();
    }
    assert!((last - 12_000_000).abs() <= 2_000, "{last}");
    // The leader is left alone.
    assert_eq!(ms(video.media_time(90_000, clock.at_ms(1_000).at).0), 1_000);
}

#[test]
fn a_track_far_behind_steps_forwards() {
    let clock = TestClock::new();
    let timeline = Timeline::default();
    let mut video = TrackTime::new(timeline.clone(), VIDEO, Timescale::VIDEO);
    let mut audio = TrackTime::new(timeline, AUDIO, AUDIO_CLOCK);
    // A cached picture two seconds old beside live sound.
    video.media_time(0, clock.at_ms(0).at);
    audio.media_time(0, clock.at_ms(0).at);
    video.sender_report(report(0, 0));
    audio.sender_report(report(2_000, 0));
    let (time, jumped) = audio.media_time(960, clock.at_ms(20).at);
    assert_eq!((ms(time), jumped), (2_020, true));
    let (time, jumped) = audio.media_time(1_920, clock.at_ms(40).at);
    assert_eq!((ms(time), jumped), (2_040, false));
}

#[test]
fn a_leader_far_behind_steps_forwards_instead_of_the_follower_backwards() {
    let clock = TestClock::new();
    let timeline = Timeline::default();
    let mut video = TrackTime::new(timeline.clone(), VIDEO, Timescale::VIDEO);
    let mut audio = TrackTime::new(timeline, AUDIO, AUDIO_CLOCK);
    video.media_time(0, clock.at_ms(0).at);
    audio.media_time(0, clock.at_ms(0).at);
    audio.sender_report(report(2_000, 0));
    video.sender_report(report(0, 0));
    let (time, jumped) = video.media_time(3_000, clock.at_ms(33).at);
    assert_eq!((ms(time), jumped), (33, false));
    let (time, jumped) = audio.media_time(960, clock.at_ms(20).at);
    assert_eq!((ms(time), jumped), (2_020, true));
    // Both agree from then on.
    video.sender_report(report(0, 0));
    audio.sender_report(report(2_000, 0));
    assert_eq!(ms(video.media_time(6_000, clock.at_ms(66).at).0), 66);
    assert_eq!(ms(audio.media_time(1_920, clock.at_ms(40).at).0), 2_040);
}

#[test]
fn unrelated_clocks_are_not_followed() {
    let clock = TestClock::new();
    let timeline = Timeline::default();
    let mut video = TrackTime::new(timeline.clone(), VIDEO, Timescale::VIDEO);
    let mut audio = TrackTime::new(timeline, AUDIO, AUDIO_CLOCK);
    video.media_time(0, clock.at_ms(0).at);
    video.sender_report(report(0, 0));
    audio.sender_report(report(60_000, 0));
    assert_eq!(ms(audio.media_time(0, clock.at_ms(10).at).0), 10);
    audio.sender_report(report(60_000, 0));
    let (time, jumped) = audio.media_time(960, clock.at_ms(30).at);
    assert_eq!((ms(time), jumped), (30, false));
}

#[test]
fn timestamps_that_begin_anew_do_not_move_media_time() {
    let clock = TestClock::new();
    let mut video = TrackTime::new(Timeline::default(), VIDEO, Timescale::VIDEO);
    video.media_time(0, clock.at_ms(0).at);
    video.sender_report(report(0, 0));
    let (time, jumped) = video.media_time(2_000_000_000, clock.at_ms(40).at);
    assert_eq!((ms(time), jumped), (40, true));
    assert!(video.sender().is_none(), "its report was about the old timestamps");
    let (time, jumped) = video.media_time(2_000_003_600, clock.at_ms(80).at);
    assert_eq!((ms(time), jumped), (80, false));
}

#[test]
fn a_pause_of_the_sender_is_no_restart() {
    let clock = TestClock::new();
    let mut video = TrackTime::new(Timeline::default(), VIDEO, Timescale::VIDEO);
    video.media_time(0, clock.at_ms(0).at);
    // It stalled and goes on where it was …
    let (time, jumped) = video.media_time(3_600, clock.at_ms(60_000).at);
    assert_eq!((ms(time), jumped), (40, false));
    // … or its clock ran on.
    let (time, jumped) = video.media_time(3_600 + 60 * 90_000, clock.at_ms(120_000).at);
    assert_eq!((ms(time), jumped), (60_040, false));
}

#[test]
fn arrivals_of_two_timestamps_are_remembered() {
    let clock = TestClock::new();
    let mut arrivals = Arrivals::default();
    assert!(arrivals.of(1).is_none());
    arrivals.note(1, clock.at_ms(1));
    arrivals.note(1, clock.at_ms(2));
    arrivals.note(2, clock.at_ms(3));
    assert_eq!(arrivals.of(1), Some(clock.at_ms(1)));
    assert_eq!(arrivals.of(2), Some(clock.at_ms(3)));
    assert_eq!(arrivals.of(9), Some(clock.at_ms(3)));
}
