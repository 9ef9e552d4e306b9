//! Which pictures are wanted, and which frames have to be decoded for them ([`Choice`]).

/// How many pictures are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// All.
    All,
    /// Those that need no other: every keyframe.
    Keyframes,
    /// So many a second.
    PerSecond(f64),
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::All),
            "keyframes" => return Ok(Self::Keyframes),
            _ => {}
        }
        match text.parse::<f64>() {
            Ok(rate) if (SLOWEST..=FASTEST).contains(&rate) => Ok(Self::PerSecond(rate)),
            _ => Err(format!(
                "{text:?} is no rate; write a number from {SLOWEST} to {FASTEST}, `all` or `keyframes`"
            )),
        }
    }
}

/// One picture in a quarter of an hour.
const SLOWEST: f64 = 0.001;
const FASTEST: f64 = 480.0;
/// What times of cameras are off by.
const EARLY_US: i64 = 5_000;

/// Says of pictures, by their times, which are wanted. On the average it is as many as were asked for, whatever the stream's own rate is.
#[derive(Debug)]
struct Pace {
    /// `None`: all of them.
    interval_us: Option<i64>,
    next_us: Option<i64>,
}

impl Pace {
    /// One in so many microseconds; `None`: all.
    fn new(interval_us: Option<i64>) -> Self {
        Self {
            interval_us: interval_us.map(|interval| interval.max(1)),
            next_us: None,
        }
    }

    /// Whether the picture that is shown at this time is wanted. Times grow, but for streams that begin anew.
    fn is_due(&self, time_us: i64) -> bool {
        let (Some(interval), Some(next)) = (self.interval_us, self.next_us) else {
            return true;
        };
        // Times are not exact: one that is a little early is that which was meant.
        let early = EARLY_US.min(interval / 8);
        let starts_over = next.saturating_sub(time_us) > interval.saturating_mul(2);
        starts_over || time_us >= next.saturating_sub(early)
    }

    /// The picture of this time was taken.
    fn taken(&mut self, time_us: i64) {
        let Some(interval) = self.interval_us else { return };
        let on_grid = self.next_us.map(|next| next.saturating_add(interval));
        let is_near = |next: &i64| (0..=interval.saturating_mul(2)).contains(&next.saturating_sub(time_us));
        self.next_us = Some(
            on_grid
                .filter(is_near)
                .unwrap_or_else(|| time_us.saturating_add(interval)),
        );
    }
}

/// Both together, for one stream or file.
#[derive(Debug)]
pub struct Choice {
    thrift: Thrift,
    pace: Pace,
}

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// It is not decoded.
    Skip,
    /// It is decoded, as others may need it.
    Decode,
    /// It is decoded by itself: its picture is wanted, and no other that would need it.
    Alone,
}

impl Choice {
    /// For pictures at this rate.
    pub fn new(rate: Rate) -> Self {
        let interval_us = match rate {
            Rate::All | Rate::Keyframes => None,
            Rate::PerSecond(rate) => Some((1e6 / rate) as i64),
        };
        Self {
            thrift: Thrift::new(rate),
            pace: Pace::new(interval_us),
        }
    }

    /// What to do with the next frame in the order of decoding.
    pub fn frame(&mut self, keyframe: bool, time_us: i64) -> Frame {
        if !self.thrift.wants(keyframe, time_us) {
            return Frame::Skip;
        }
        match (self.thrift.is_on, self.pace.is_due(time_us)) {
            (false, _) => Frame::Decode,
            (true, true) => Frame::Alone,
            (true, false) => Frame::Skip,
        }
    }

    /// Whether keyframes alone are decoded.
    pub fn is_thrifty(&self) -> bool {
        self.thrift.is_on
    }

    /// Whether the picture of this time is wanted.
    pub fn is_due(&self, time_us: i64) -> bool {
        self.pace.is_due(time_us)
    }

    /// It was taken.
    pub fn taken(&mut self, time_us: i64) {
        self.pace.taken(time_us);
    }

    /// What follows is another stream.
    pub fn reset(&mut self) {
        self.thrift = Thrift::new(self.thrift.rate);
    }
}

/// Whether keyframes alone will do, by how far they are apart.
#[derive(Debug)]
struct Thrift {
    rate: Rate,
    last_us: Option<i64>,
    /// Between the last three keyframes.
    intervals_us: [Option<i64>; 2],
    is_on: bool,
}

impl Thrift {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            last_us: None,
            intervals_us: [None; 2],
            is_on: rate == Rate::Keyframes,
        }
    }

    /// A frame came. Whether it is to be decoded.
    fn wants(&mut self, keyframe: bool, time_us: i64) -> bool {
        if keyframe {
            self.keyframe(time_us);
        }
        keyframe || !self.is_on
    }

    fn keyframe(&mut self, time_us: i64) {
        let interval = self.last_us.replace(time_us).map(|last| time_us.saturating_sub(last));
        self.intervals_us = [self.intervals_us[1], interval];
        let Rate::PerSecond(rate) = self.rate else { return };
        // Encoders are not exact. A twentieth fewer pictures are worth the decoding of all.
        let wanted_us = (1.05e6 / rate) as i64;
        let is_short = |interval: &Option<i64>| interval.is_some_and(|interval| (1..=wanted_us).contains(&interval));
        self.is_on = self.intervals_us.iter().all(is_short);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn kept(pace: &mut Pace, times: impl Iterator<Item = i64>) -> Vec<i64> {
        times
            .filter(|&time| {
                let due = pace.is_due(time);
                if due {
                    pace.taken(time);
                }
                due
            })
            .collect()
    }

    #[rstest]
    #[case(30.0, 30.0, 300)]
    #[case(30.0, 29.0, 290)]
    #[case(30.0, 20.0, 200)]
    #[case(30.0, 1.0, 10)]
    #[case(25.0, 10.0, 100)]
    #[case(10.0, 30.0, 100)]
    #[case(30.0, 0.2, 2)]
    fn on_the_average_it_is_what_was_asked_for(#[case] fps: f64, #[case] wanted: f64, #[case] expected: usize) {
        let mut pace = Pace::new(Some((1e6 / wanted) as i64));
        // Cameras' times are off by a millisecond or two.
        let jitter = [0, 1_500, -1_500, 700];
        let times = (0..(fps * 10.0) as usize).map(|n| (n as f64 * 1e6 / fps) as i64 + jitter[n % 4]);
        let kept = kept(&mut pace, times).len();
        assert!(kept.abs_diff(expected) <= 1, "{kept} for {expected}");
    }

    #[test]
    fn neither_a_gap_nor_a_stream_that_starts_over_stops_it() {
        let mut pace = Pace::new(Some(1_000_000));
        let times = [
            0, 500_000, 1_000_000, 60_000_000, 60_500_000, 61_000_000, 5, 500_000, 1_000_005,
        ];
        assert_eq!(
            kept(&mut pace, times.into_iter()),
            [0, 1_000_000, 60_000_000, 61_000_000, 5, 1_000_005]
        );
    }

    #[test]
    fn a_picture_that_is_not_taken_leaves_its_place_to_the_next() {
        let mut pace = Pace::new(Some(1_000_000));
        assert!(pace.is_due(0));
        pace.taken(0);
        assert!(pace.is_due(1_000_000) && pace.is_due(1_040_000));
        pace.taken(1_040_000);
        assert!(!pace.is_due(1_080_000) && pace.is_due(2_000_000));
    }

    #[test]
    fn keyframes_alone_where_they_come_often_enough() {
        let decoded = |rate: Rate, gop: i64| -> usize {
            let mut thrift = Thrift::new(rate);
            (0..300).filter(|n| thrift.wants(n % gop == 0, n * 33_333)).count()
        };
        // Two groups tell how long they are.
        assert_eq!(decoded(Rate::PerSecond(1.0), 30), 60 + 8);
        assert_eq!(decoded(Rate::PerSecond(1.0), 60), 300);
        assert_eq!(decoded(Rate::PerSecond(2.0), 30), 300);
        assert_eq!(decoded(Rate::Keyframes, 60), 5);
        assert_eq!(decoded(Rate::All, 1), 300);
    }

    #[test]
    fn keyframes_that_stay_out_are_not_counted_on() {
        let mut thrift = Thrift::new(Rate::PerSecond(1.0));
        for n in 0..3 {
            thrift.wants(true, n * 1_000_000);
        }
        assert!(!thrift.wants(false, 2_500_000));
        thrift.wants(true, 7_000_000);
        assert!(thrift.wants(false, 7_040_000));
    }

    #[rstest]
    #[case("0")]
    #[case("-1")]
    #[case("nan")]
    #[case("inf")]
    #[case("1e9")]
    #[case("")]
    #[case("ALL")]
    fn what_is_no_rate_is_refused(#[case] text: &str) {
        assert!(
            text.parse::<Rate>()
                .unwrap_err()
                .starts_with(&format!("{text:?} is no rate"))
        );
    }

    proptest! {
        #[test]
        fn any_times_are_taken(times: Vec<i64>, interval: Option<i64>) {
            let mut pace = Pace::new(interval);
            let mut thrift = Thrift::new(Rate::PerSecond(0.001));
            for time in times {
                if pace.is_due(time) {
                    pace.taken(time);
                }
                thrift.wants(time % 2 == 0, time);
            }
        }
    }
}
