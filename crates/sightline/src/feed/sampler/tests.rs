//! What seconds come to, one after another.

use media::WallTime;
use media::stats::{Role, SessionInfo};

use super::*;
use crate::source::{State as Asked, Trouble, Why};

fn door() -> StreamName {
    "door".parse().unwrap()
}

fn report(state: Asked) -> source::Report {
    source::Report {
        stream: door(),
        places: Vec::new(),
        place: 0,
        on_demand: false,
        state,
        reconnects: 0,
        at: None,
    }
}

/// A camera that is off is asked each half minute, which takes five seconds: it was not well in between.
#[test]
fn a_source_that_is_asked_again_is_wrong_since_it_first_was() {
    let now = Instant::now();
    let waiting = || Asked::Waiting {
        until: now,
        why: Why::new(Trouble::Unreachable, ""),
    };
    let connecting = || Asked::Connecting { attempt: 2, since: now };
    let mut failing = Failing::default();
    let mut reasons: Vec<Reason> = Vec::new();
    let mut since = |at: i64, reports: &[source::Report]| {
        let mut known = BTreeMap::new();
        failing.note(reports, &mut known);
        let sample = Sample::empty(WallTime::from_unix_micros(at));
        reasons = health::health(&sample, &known, &[], &reasons);
        let told = reasons.iter().map(|reason| (reason.code, reason.since.unix_micros()));
        told.collect::<Vec<_>>()
    };
    assert_eq!(since(1, &[report(connecting())]), [], "nothing is known of it yet");
    for (at, state) in [(2, waiting()), (3, connecting()), (4, waiting()), (5, connecting())] {
        assert_eq!(since(at, &[report(state)]), [("source-waits", 2)], "{at}");
    }
    assert_eq!(since(6, &[report(Asked::Running { since: now })]), []);
    assert_eq!(since(7, &[report(connecting())]), [], "it had run");
    assert_eq!(since(8, &[report(waiting())]), [("source-waits", 8)]);
    assert_eq!(since(9, &[]), []);
}

/// A camera that is unplugged shows a slate of five pictures a second: that is no picture, and not what is usual.
#[test]
fn a_slate_is_no_picture() {
    let error = device::source::Error::retryable("no camera at /dev/video0", "it was unplugged", "plug it in");
    let failed = Status::Slate {
        error,
        retry_in: Duration::from_secs(1),
    };
    assert_eq!(Own::of(None), Own::Pictures);
    assert_eq!(Own::of(Some(&Status::Off)), Own::Slate);
    let codes = |track: &Track, fps: f64, status: Option<&Status>| {
        let mut sample = Sample::empty(WallTime::from_unix_micros(0));
        let mut figures = UNKNOWN;
        figures[0] = fps;
        sample.cameras.insert(door(), figures);
        let known = BTreeMap::from([(door(), track.known(true, None, Own::of(status)))]);
        let found = health::health(&sample, &known, &[], &[]);
        found.iter().map(|reason| reason.code).collect::<Vec<_>>()
    };
    let mut track = Track::default();
    assert_eq!(codes(&track, 5.0, Some(&failed)), ["source-failed"], "from the start");
    for _ in 0..4 * MINUTE {
        track.note(30.0, 0.0);
    }
    assert_eq!(codes(&track, 30.0, None), [""; 0]);
    assert_eq!(codes(&track, 5.0, None), ["slow"], "of somebody else's it is known");
    assert_eq!(codes(&track, 5.0, Some(&failed)), ["source-failed"]);
    assert_eq!(codes(&track, 5.0, Some(&Status::Off)), [""; 0], "somebody wanted it so");
}

fn publisher() -> SessionStats {
    let stats = SessionStats::new(SessionInfo {
        stream: door(),
        role: Role::Publisher,
        protocol: "RTSP/TCP",
        remote: None,
        agent: None,
        since: WallTime::from_unix_micros(0),
    });
    stats.id.add(1);
    stats
}

/// Pictures that were left out in a second, and since the publisher came.
fn dropped(track: &mut Track, publisher: &SessionStats, there: Option<i32>) -> (f64, f64) {
    let said = there.map(|frames_dropped| CameraStatus {
        frames_dropped,
        ..CameraStatus::default()
    });
    let mut figures = UNKNOWN;
    track.of_publisher(&mut figures, publisher, said.as_ref());
    (figures[2], figures[13])
}

/// A camera's program counts since it began, and says so now and then.
#[test]
fn what_a_camera_lost_before_is_not_lost_again() {
    let (mut track, publisher) = (Track::default(), publisher());
    let (first, all) = dropped(&mut track, &publisher, None);
    assert!(first.is_nan() && all == 0.0);
    assert_eq!(dropped(&mut track, &publisher, Some(5_000)), (0.0, 0.0));
    assert_eq!(dropped(&mut track, &publisher, None), (0.0, 0.0), "its status is late");
    assert_eq!(dropped(&mut track, &publisher, Some(5_003)), (3.0, 3.0));
    publisher.frames_dropped.add(2);
    assert_eq!(dropped(&mut track, &publisher, Some(5_003)), (2.0, 5.0));
    assert_eq!(dropped(&mut track, &publisher, Some(1)), (0.0, 5.0), "it began anew");
    assert_eq!(dropped(&mut track, &publisher, Some(2)), (1.0, 6.0));
}

#[test]
fn what_was_lost_while_nobody_looked_is_not_of_one_second() {
    let (mut track, publisher, now) = (Track::default(), publisher(), Instant::now());
    let second = Duration::from_secs(1);
    track.begin(now);
    let _ = dropped(&mut track, &publisher, None);
    publisher.frames_dropped.add(1);
    track.begin(now + second);
    assert_eq!(dropped(&mut track, &publisher, None).0, 1.0);
    publisher.frames_dropped.add(900);
    track.begin(now + 3_600 * second);
    assert!(dropped(&mut track, &publisher, None).0.is_nan());
    publisher.frames_dropped.add(2);
    track.begin(now + 3_601 * second);
    assert_eq!(dropped(&mut track, &publisher, None).0, 2.0);
}
