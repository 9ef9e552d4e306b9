use proptest::prelude::*;

use super::*;

const SECOND_US: i64 = 1_000_000;
const YEAR_US: i64 = 365 * 86_400 * SECOND_US;
/// 2026-11-22T19:15:00Z
const START: WallTime = WallTime::from_unix_micros(1_795_374_900_000_000);

fn picture(seconds: f64) -> MediaTime {
    MediaTime::new((seconds * 90_000.0) as i64, Timescale::VIDEO)
}

/// A machine whose clocks a test sets.
#[derive(Clone, Copy, Debug)]
struct Machine {
    now: Now,
}

impl Machine {
    fn new() -> Self {
        Self {
            now: Now {
                monotonic: Instant::now(),
                wall: START,
            },
        }
    }

    fn pass(&mut self, seconds: f64) -> Now {
        self.now.monotonic += Duration::from_secs_f64(seconds);
        self.set((seconds * 1e6) as i64)
    }

    fn set(&mut self, by_us: i64) -> Now {
        self.now.wall = self.now.wall.offset_micros(by_us);
        self.now
    }
}

#[test]
fn a_run_goes_by_the_clock_of_its_stream() {
    let mut machine = Machine::new();
    let mut anchor = Anchor::new(picture(7.0), machine.now);
    let start_90k = unix_90k(START);
    assert_eq!(start_90k, START.unix_micros() / 100 * 9);
    assert_eq!(anchor.at(picture(7.0)), start_90k);
    assert_eq!(anchor.at(picture(6.0)), start_90k, "nothing is before its segment");
    for second in 1..=60 {
        let now = machine.pass(1.0);
        assert_eq!(anchor.look(picture(7.0 + f64::from(second)), now), Said::Holds);
    }
    let (span, said) = anchor.end_segment(picture(67.0));
    let end_90k = start_90k + 60 * 90_000;
    assert_eq!(
        span,
        Span {
            start_90k,
            end_90k,
            drift_90k: 0
        }
    );
    assert_eq!(said, Said::Holds);
    assert_eq!(anchor.at(picture(68.0)), end_90k + 90_000);
}

/// Beyond what can be counted everything is at the same time, and not before what was counted.
#[test]
fn a_stream_that_leaps_to_the_end_of_time() {
    let ticks = |ticks| MediaTime::new(ticks, Timescale::VIDEO);
    let machine = Machine::new();
    let mut anchor = Anchor::new(ticks(0), machine.now);
    anchor.look(ticks(0), machine.now);
    anchor.look(ticks(1 << 60), machine.now);
    anchor.end_segment(ticks(1 << 60));
    assert!(anchor.at(ticks(i64::MAX - 192_517)) <= anchor.at(ticks(i64::MAX)));
}

/// As cameras send after a second in which the network was away.
#[test]
fn pictures_that_come_late_move_nothing() {
    let mut machine = Machine::new();
    let mut anchor = Anchor::new(picture(0.0), machine.now);
    let mut at_s = 0.0;
    for segment in 0..20 {
        machine.pass(50.0);
        assert_eq!(anchor.look(picture(at_s + 50.0), machine.now), Said::Holds);
        let late = machine.pass(9.0);
        for second in 51..59 {
            assert_eq!(anchor.look(picture(at_s + f64::from(second)), late), Said::Holds);
        }
        machine.pass(1.0);
        at_s += 60.0;
        let (span, said) = anchor.end_segment(picture(at_s));
        assert_eq!((span.drift_90k, said), (0, Said::Holds), "{segment}");
    }
}

#[test]
fn a_clock_that_was_set_ends_the_run() {
    for by_us in [2_100_000, -2_100_000, YEAR_US, -YEAR_US, -START.unix_micros()] {
        let mut machine = Machine::new();
        let mut anchor = Anchor::new(picture(0.0), machine.now);
        machine.pass(1.0);
        let now = machine.set(by_us);
        let said = Said::Set { by_us };
        assert_eq!(anchor.look(picture(1.0), now), said);
    }
    for by_us in [1_900_000, -1_900_000] {
        let mut machine = Machine::new();
        let mut anchor = Anchor::new(picture(0.0), machine.now);
        machine.pass(1.0);
        let now = machine.set(by_us);
        assert_eq!(anchor.look(picture(1.0), now), Said::Holds);
        // And once more: it is too much by now.
        machine.pass(1.0);
        let now = machine.set(by_us);
        let said = anchor.look(picture(2.0), now);
        let (_, at_the_end) = anchor.end_segment(picture(2.0));
        match by_us {
            // Pictures that are early are so at once; late ones may have a reason, which ends with the segment.
            ..0 => assert_eq!(said, Said::Apart { by_us: 2 * by_us }),
            _ => assert_eq!((said, at_the_end), (Said::Holds, Said::Holds)),
        }
    }
}

#[test]
fn a_machine_without_a_date_gets_one() {
    let mut machine = Machine::new();
    let date_us = machine.now.wall.unix_micros();
    machine.set(-date_us);
    let mut anchor = Anchor::new(picture(0.0), machine.now);
    let mut date = Date::new(machine.now);
    assert_eq!(date.look(machine.pass(30.0)), None);
    let now = machine.set(date_us);
    let said = Said::Set { by_us: date_us };
    assert_eq!(anchor.look(picture(30.0), now), said);
    assert_eq!(date.look(now), Some(date_us));
    assert_eq!(date.look(now), None, "once");
    // A clock that is set later is no machine without a date, nor is one that is set back to none.
    assert_eq!(date.look(machine.set(YEAR_US)), None);
    assert_eq!(date.look(machine.set(-date_us)), None);
    // And time alone is no date.
    machine.now.wall = FIRST_DATE.offset_micros(-SECOND_US);
    let mut date = Date::new(machine.now);
    assert_eq!(date.look(machine.pass(5.0)), None);
}

/// A camera whose crystal is off by 300 ppm is followed; one that counts 1,000 ppm wrong is not, and its run ends before it is off by more than two seconds.
#[test]
fn a_stream_that_counts_wrong() {
    for (ppm, follows) in [(300.0, true), (-300.0, true), (1_000.0, false), (-1_000.0, false)] {
        let mut machine = Machine::new();
        let mut anchor = Anchor::new(picture(0.0), machine.now);
        let (mut media_s, mut wall_s) = (0.0, 0.0);
        let mut apart_us = None;
        while apart_us.is_none() && wall_s < 86_400.0 {
            let mut said = Said::Holds;
            for _ in 0..12 {
                let now = machine.pass(5.0);
                (media_s, wall_s) = (media_s + 5.0 * (1.0 + ppm / 1e6), wall_s + 5.0);
                said = anchor.look(picture(media_s), now);
                if said != Said::Holds {
                    break;
                }
            }
            if said == Said::Holds {
                said = anchor.end_segment(picture(media_s)).1;
            }
            if let Said::Apart { by_us } = said {
                apart_us = Some(by_us);
            }
        }
        match apart_us {
            None => assert!(follows, "{ppm} ppm were followed"),
            Some(by_us) => {
                assert!(!follows, "{ppm} ppm: apart by {by_us} µs after {wall_s} s");
                assert!((2_000_000..2_100_000).contains(&by_us.abs()), "{by_us}");
                assert_eq!(by_us < 0, ppm > 0.0, "{by_us}");
            }
        }
    }
}

#[test]
fn age_is_counted_by_what_passes() {
    let mut machine = Machine::new();
    let mut carried = Carried::new(None, machine.now);
    for by_us in [YEAR_US, -2 * YEAR_US, 0, 5 * SECOND_US] {
        let before = carried.at(machine.now.monotonic);
        machine.pass(60.0);
        let now = machine.set(by_us);
        assert_eq!(carried.look(now, false), None);
        assert_eq!(carried.at(now.monotonic).micros_since(before), 60 * SECOND_US);
        assert!(!carried.is_sure());
    }
}

#[test]
fn a_date_is_believed_after_ten_minutes() {
    let mut machine = Machine::new();
    let kept = START.offset_micros(-YEAR_US);
    let mut carried = Carried::new(Some(kept), machine.now);
    assert_eq!(carried.look(machine.now, true), None);
    machine.pass(599.0);
    assert_eq!(carried.look(machine.now, true), None);
    // It was set in between, so ten minutes begin again; and again where the system does not say so once.
    machine.pass(1.0);
    machine.set(-3 * SECOND_US);
    assert_eq!(carried.look(machine.now, true), None);
    machine.pass(300.0);
    assert_eq!(carried.look(machine.now, false), None);
    machine.pass(1.0);
    assert_eq!(carried.look(machine.now, true), None);
    machine.pass(599.0);
    assert_eq!(carried.look(machine.now, true), None);
    assert!(!carried.is_sure());
    machine.pass(1.0);
    let by_us = YEAR_US - 3 * SECOND_US;
    assert_eq!(carried.look(machine.now, true), Some(Moved { by_us }));
    assert!(carried.is_sure());
    assert_eq!(carried.at(machine.now.monotonic), machine.now.wall);
    // What a synchronised clock is moved by later, nobody is told.
    machine.pass(10.0);
    machine.set(SECOND_US);
    assert_eq!(carried.look(machine.now, true), None);
    assert_eq!(carried.at(machine.now.monotonic), machine.now.wall);
    // One that is set is not believed, though the system does.
    machine.pass(10.0);
    let before = carried.at(machine.now.monotonic);
    machine.set(YEAR_US);
    assert_eq!(carried.look(machine.now, true), None);
    assert_eq!(carried.at(machine.now.monotonic), before);
    assert!(!carried.is_sure());
}

/// What happens between two pictures.
#[derive(Clone, Copy, Debug)]
struct Step {
    media_ticks: i64,
    passed_ms: u64,
    set_us: i64,
    ends: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let media_ticks = prop_oneof![8 => 0..200_000_i64, 1 => -1_000_000..0_i64, 1 => any::<i64>()];
    let set_us = prop_oneof![
        8 => Just(0),
        2 => -2_500_000..2_500_000_i64,
        1 => -2 * YEAR_US..2 * YEAR_US,
        1 => any::<i64>(),
    ];
    (media_ticks, 0..5_000_u64, set_us, any::<bool>()).prop_map(|(media_ticks, passed_ms, set_us, ends)| Step {
        media_ticks,
        passed_ms,
        set_us,
        ends,
    })
}

proptest! {
    /// Whatever the clocks do, and however a stream counts.
    #[test]
    fn no_segment_is_shorter_than_nothing(first: i64, steps in prop::collection::vec(step(), 1..60)) {
        let mut machine = Machine::new();
        let mut media = MediaTime::new(first, Timescale::VIDEO);
        let mut anchor = Anchor::new(media, machine.now);
        let (mut last_end_90k, mut last_90k) = (anchor.at(media), anchor.at(media));
        let mut latest = media.ticks();
        for step in steps {
            media = MediaTime::new(media.ticks().saturating_add(step.media_ticks), Timescale::VIDEO);
            machine.now.monotonic += Duration::from_millis(step.passed_ms);
            machine.set(step.passed_ms as i64 * 1_000);
            let now = machine.set(step.set_us);
            let at_90k = anchor.at(media);
            prop_assert!(at_90k >= last_end_90k);
            if media.ticks() >= latest {
                prop_assert!(at_90k >= last_90k, "{at_90k} is before {last_90k}");
                (latest, last_90k) = (media.ticks(), at_90k);
            }
            if anchor.look(media, now) == Said::Holds {
                let early_90k = at_90k.saturating_sub(unix_90k(now.wall));
                prop_assert!(early_90k <= 180_000, "{early_90k}");
            }
            if step.ends {
                let (span, _) = anchor.end_segment(media);
                prop_assert_eq!(span.start_90k, last_end_90k);
                prop_assert!(span.end_90k >= span.start_90k);
                prop_assert_eq!(span.end_90k, at_90k);
                last_end_90k = span.end_90k;
                // Its end is where the next begins, also where the stream went back.
                prop_assert!(anchor.at(media) >= last_end_90k);
                (latest, last_90k) = (media.ticks(), last_end_90k);
            }
        }
    }

    /// 30 ms a minute, without overshooting, while pictures come late by anything, if one a segment does not.
    #[test]
    fn drift_is_pulled_in(off_us in -1_900_000..1_900_000_i64, late in prop::collection::vec(0.0..3.0_f64, 1..200)) {
        let mut machine = Machine::new();
        let mut anchor = Anchor::new(picture(0.0), machine.now);
        machine.set(off_us);
        let mut media_s = 0.0;
        let off_90k = off_us * 9 / 100;
        for (segment, late) in late.iter().enumerate() {
            for second in [10.0, 20.0, 30.0, 40.0, 50.0, 60.0] {
                let now = machine.pass(10.0);
                let behind = if second == 30.0 { 0.0 } else { *late };
                let late = Now {
                    monotonic: now.monotonic + Duration::from_secs_f64(behind),
                    wall: now.wall.offset_micros((behind * 1e6) as i64),
                };
                prop_assert_eq!(anchor.look(picture(media_s + second), late), Said::Holds);
            }
            media_s += 60.0;
            let (span, said) = anchor.end_segment(picture(media_s));
            prop_assert_eq!(said, Said::Holds);
            // The first segment has nothing to pull in yet.
            let left_90k = (off_90k.abs() - 2_700 * segment as i64).max(0) * off_90k.signum();
            prop_assert!((span.drift_90k - left_90k).abs() <= 2, "{} and not {left_90k}", span.drift_90k);
        }
    }

    #[test]
    fn carried_time_goes_by_what_passes(steps in prop::collection::vec(step(), 1..60)) {
        let mut machine = Machine::new();
        let mut carried = Carried::new(None, machine.now);
        for step in steps {
            let before = carried.at(machine.now.monotonic);
            machine.now.monotonic += Duration::from_millis(step.passed_ms);
            let now = machine.set(step.set_us);
            prop_assert_eq!(carried.look(now, false), None);
            let passed_us = carried.at(now.monotonic).micros_since(before);
            prop_assert_eq!(passed_us, step.passed_ms as i64 * 1_000);
        }
    }
}
