use media::WallTime;
use proptest::prelude::*;

use super::*;

/// 2026-11-22T19:15:30Z, a Sunday.
const START: WallTime = WallTime::from_unix_micros(1_795_374_930_000_000);

/// A machine, its clocks, and what it said.
struct Bench {
    machine: Machine,
    begin: Instant,
    now: Now,
    /// From when to when, in milliseconds since the beginning; the last may go on.
    ranges: Vec<(i64, Option<i64>)>,
}

fn settings(mode: Mode, schedule: &[&str]) -> Settings {
    let times: Vec<Times> = schedule.iter().map(|entry| entry.parse().unwrap()).collect();
    Settings {
        mode,
        schedule: Schedule::new(&times),
        pre_roll: Duration::from_secs(5),
        post_roll: Duration::from_secs(10),
    }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        // Ahead enough that nothing before it is lost.
        let begin = Instant::now() + LONGEST_BACK;
        Self {
            machine: Machine::new(settings),
            begin,
            now: Now {
                monotonic: begin,
                wall: START,
            },
            ranges: Vec::new(),
        }
    }

    fn ms(&self, at: Instant) -> i64 {
        let after = at.saturating_duration_since(self.begin).as_millis() as i64;
        after - self.begin.saturating_duration_since(at).as_millis() as i64
    }

    fn input(&mut self, input: Input) -> Wanted {
        let wanted = self.machine.input(input, self.now, &TimeZone::UTC);
        let now_ms = self.ms(self.now.monotonic);
        match wanted {
            Wanted::Nothing => {}
            Wanted::From(from) => {
                assert!(from <= self.now.monotonic, "a range begins after now");
                let from_ms = self.ms(from);
                if let Some((_, ended)) = self.ranges.last() {
                    assert!(ended.expect("two ranges at once") <= from_ms, "two ranges overlap");
                }
                self.ranges.push((from_ms, None));
            }
            Wanted::Stop => {
                let (from, end) = self.ranges.last_mut().expect("nothing began");
                assert!(end.is_none() && *from <= now_ms, "a range ends before it begins");
                *end = Some(now_ms);
            }
        }
        assert_eq!(
            self.machine.is_recording(),
            self.ranges.last().is_some_and(|(_, end)| end.is_none())
        );
        wanted
    }

    fn pass(&mut self, ms: u64) {
        self.now.monotonic += Duration::from_millis(ms);
        self.now.wall = self.now.wall.offset_micros(ms as i64 * 1_000);
    }

    /// Time passes, and it is told when it asks for that.
    fn runs(&mut self, ms: u64) {
        let mut left = ms;
        while let Some(wakes_in) = self.machine.wakes_in(self.now) {
            // Rounded up, as timers are.
            let wakes_ms = wakes_in.as_micros().div_ceil(1_000) as u64;
            if wakes_ms > left {
                break;
            }
            self.pass(wakes_ms);
            left -= wakes_ms;
            self.input(Input::Nothing);
        }
        self.pass(left);
    }

    /// One that began so long ago and lasted for so long.
    fn event(&mut self, ago_ms: u64, lasts_ms: u64) -> Wanted {
        let began = self.now.monotonic - Duration::from_millis(ago_ms);
        let until = began + Duration::from_millis(lasts_ms);
        self.input(Input::Event { began, until })
    }
}

#[test]
fn always() {
    let mut bench = Bench::new(settings(Mode::Continuous, &[]));
    assert!(!bench.machine.is_recording());
    assert_eq!(bench.input(Input::Nothing), Wanted::From(bench.begin));
    assert_eq!(bench.machine.wakes_in(bench.now), None);
    // What somebody starts and stops changes nothing.
    for input in [Input::Start, Input::Stop, Input::Nothing] {
        bench.pass(1_000);
        assert_eq!(bench.input(input), Wanted::Nothing);
    }
    bench.machine.set(settings(Mode::Manual, &[]));
    assert_eq!(bench.input(Input::Nothing), Wanted::Stop);
}

#[test]
fn at_times_of_the_week() {
    let mut bench = Bench::new(settings(Mode::Schedule, &["sun 19:17-19:20", "sun 20:00-21:00"]));
    bench.input(Input::Nothing);
    bench.event(0, 1_000);
    assert!(!bench.machine.is_recording(), "events are not what is recorded here");
    bench.runs(10 * 60_000);
    assert_eq!(bench.ranges, [(90_000, Some(270_000))], "to the second");
    // The clock is set into the second span: seen within a minute.
    bench.now.wall = bench.now.wall.offset_micros(45 * 60_000_000);
    bench.runs(60_000);
    assert!(bench.machine.is_recording());
}

#[test]
fn the_schedule_is_in_local_time() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let mut machine = Machine::new(settings(Mode::Schedule, &["20:00-21:00"]));
    let now = Bench::new(settings(Mode::Manual, &[])).now;
    assert_eq!(machine.input(Input::Nothing, now, &zone), Wanted::From(now.monotonic));
    assert_eq!(machine.input(Input::Nothing, now, &TimeZone::UTC), Wanted::Stop);
}

#[test]
fn events_with_what_was_before_and_after() {
    let mut bench = Bench::new(settings(Mode::Events, &[]));
    bench.input(Input::Nothing);
    bench.runs(60_000);
    bench.event(0, 0);
    bench.runs(8_000);
    // It goes on, so ten seconds begin again.
    bench.event(0, 0);
    bench.runs(60_000);
    assert_eq!(bench.ranges, [(55_000, Some(78_000))]);
    // The next is there before what it wants to see first: they meet.
    bench.runs(60_000);
    bench.event(0, 2_000);
    bench.runs(14_000);
    bench.event(0, 0);
    bench.runs(60_000);
    assert_eq!(bench.ranges[1..], [(183_000, Some(200_000)), (200_000, Some(212_000))]);
    assert_eq!(bench.machine.wakes_in(bench.now), None);
}

#[test]
fn an_event_that_is_told_late() {
    let mut bench = Bench::new(settings(Mode::Events, &[]));
    bench.runs(600_000);
    // It is over, with all that would have come after it; what is in memory is recorded.
    bench.event(30_000, 1_000);
    bench.runs(60_000);
    assert_eq!(bench.ranges, [(565_000, Some(601_000))]);
    // Memory does not go back further than this.
    bench.runs(600_000);
    bench.event(90_000, 1_000);
    bench.runs(60_000);
    assert_eq!(bench.ranges[1], (1_200_000, Some(1_261_000)));
}

#[test]
fn an_event_that_nobody_ends() {
    let mut bench = Bench::new(settings(Mode::Events, &[]));
    bench.event(0, 10_000_000);
    bench.runs(10_000_000);
    assert_eq!(bench.ranges, [(-5_000, Some(3_610_000))]);
    let far = bench.now.monotonic + Duration::from_secs(1 << 40);
    bench.input(Input::Event { began: far, until: far });
    bench.runs(10_000_000);
    assert_eq!(bench.ranges[1], (9_995_000, Some(13_610_000)));
}

#[test]
fn events_at_times_of_the_week() {
    let mut bench = Bench::new(settings(Mode::Events, &["sun 19:17-19:20"]));
    bench.event(0, 0);
    assert!(!bench.machine.is_recording());
    bench.runs(120_000);
    bench.event(0, 0);
    bench.runs(300_000);
    assert_eq!(bench.ranges, [(115_000, Some(130_000))]);
}

#[test]
fn somebody_says_so() {
    let mut bench = Bench::new(settings(Mode::Manual, &["00:00-24:00"]));
    bench.input(Input::Nothing);
    bench.event(0, 1_000);
    bench.runs(100_000);
    assert_eq!(bench.input(Input::Stop), Wanted::Nothing);
    bench.input(Input::Start);
    assert!(bench.machine.is_started());
    bench.runs(5_000);
    assert_eq!(bench.input(Input::Start), Wanted::Nothing);
    bench.runs(5_000);
    bench.input(Input::Stop);
    assert!(!bench.machine.is_started());
    assert_eq!(bench.ranges, [(100_000, Some(110_000))]);
}

#[test]
fn what_is_started_outlives_an_event_and_the_reverse() {
    let mut bench = Bench::new(settings(Mode::Events, &[]));
    bench.event(0, 0);
    bench.input(Input::Start);
    bench.runs(20_000);
    assert_eq!(bench.input(Input::Nothing), Wanted::Nothing);
    bench.event(0, 0);
    assert_eq!(bench.input(Input::Stop), Wanted::Nothing);
    bench.runs(20_000);
    assert_eq!(bench.ranges, [(-5_000, Some(30_000))]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Runs(u64),
    /// Nobody tells it the time meanwhile, as where a task has no turn.
    Stands(u64),
    Sets(i64),
    Start,
    Stop,
    Event(u64, u64),
    Mode(Mode),
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![
        Just(Mode::Continuous),
        Just(Mode::Schedule),
        Just(Mode::Events),
        Just(Mode::Manual),
    ];
    prop_oneof![
        4 => (0..40_000_u64).prop_map(Step::Runs),
        1 => (0..40_000_u64).prop_map(Step::Stands),
        1 => any::<i64>().prop_map(Step::Sets),
        1 => Just(Step::Start),
        1 => Just(Step::Stop),
        6 => (0..20_000_u64, 0..20_000_u64).prop_map(|(ago, lasts)| Step::Event(ago, lasts)),
        1 => mode.prop_map(Step::Mode),
    ]
}

proptest! {
    /// The bench holds after each step that no range overlaps another or ends before it begins.
    #[test]
    fn ranges_follow_each_other(
        steps in prop::collection::vec(step(), 1..80),
        pre_roll_ms in 0..90_000_u64,
        post_roll_ms in 0..60_000_u64,
    ) {
        let with = |mode| Settings {
            pre_roll: Duration::from_millis(pre_roll_ms),
            post_roll: Duration::from_millis(post_roll_ms),
            ..settings(mode, &["mon-sun 00:00-12:00"])
        };
        let mut bench = Bench::new(with(Mode::Events));
        for step in steps {
            match step {
                Step::Runs(ms) => bench.runs(ms),
                Step::Stands(ms) => bench.pass(ms),
                Step::Sets(by_us) => bench.now.wall = bench.now.wall.offset_micros(by_us),
                Step::Start => _ = bench.input(Input::Start),
                Step::Stop => _ = bench.input(Input::Stop),
                Step::Event(ago_ms, lasts_ms) => _ = bench.event(ago_ms, lasts_ms),
                Step::Mode(mode) => {
                    bench.machine.set(with(mode));
                    bench.input(Input::Nothing);
                }
            }
        }
    }

    /// All that was asked for is in a range, as far as memory goes back, and nothing else but what lies before and behind it.
    #[test]
    fn events_are_recorded_whole(
        steps in prop::collection::vec((0..40_000_u64, 0..20_000_u64, 0..20_000_u64), 1..40),
        pre_roll_ms in 0..40_000_i64,
        post_roll_ms in 1_000..40_000_i64,
    ) {
        let mut bench = Bench::new(Settings {
            pre_roll: Duration::from_millis(pre_roll_ms as u64),
            post_roll: Duration::from_millis(post_roll_ms as u64),
            ..settings(Mode::Events, &[])
        });
        let mut asked = Vec::new();
        for (passes_ms, ago_ms, lasts_ms) in steps {
            bench.runs(passes_ms);
            // What was not recorded when it was told, and what the range before it has.
            let earliest_ms = match bench.ranges.last() {
                Some((from_ms, None)) => *from_ms,
                Some((_, Some(to_ms))) => *to_ms,
                None => i64::MIN,
            };
            bench.event(ago_ms, lasts_ms);
            let now_ms = bench.ms(bench.now.monotonic);
            let began_ms = now_ms - ago_ms as i64;
            let from_ms = (began_ms - pre_roll_ms).max(now_ms - 60_000).max(earliest_ms);
            asked.push((from_ms, (began_ms + lasts_ms as i64 + post_roll_ms).max(now_ms + 1_000)));
        }
        bench.runs(200_000);
        let ranges: Vec<(i64, i64)> = bench.ranges.iter().map(|(from, to)| (*from, to.unwrap())).collect();
        for (from_ms, to_ms) in &asked {
            let is_whole = ranges.iter().any(|(from, to)| from <= from_ms && to_ms <= to);
            prop_assert!(is_whole, "{from_ms} to {to_ms} of {ranges:?}");
        }
        for (from, to) in &ranges {
            prop_assert!(asked.iter().any(|(_, to_ms)| to_ms == to), "{to} was not asked for");
            prop_assert!(asked.iter().any(|(from_ms, _)| from_ms == from), "{from} was not asked for");
        }
    }
}
