//! What seconds come to, one after another.

use media::WallTime;

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
        at: None,
    }
}

/// A camera that is off is asked each half minute, which takes five seconds: it was not well in between.
#[test]
fn a_source_that_is_asked_again_is_wrong_since_it_first_was() {
    let now = Instant::now();
    let waiting = || Asked::Waiting {
        until: now,
        why: Why {
            trouble: Trouble::Unreachable,
            detail: "".into(),
        },
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
