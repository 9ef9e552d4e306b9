//! Times that people write in plain seconds, as the words of `.env` have them, or with a unit.
//!
//! Does not belong here: time spans of other settings, which have a unit ([`super::units`]).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::units::{InvalidWord, Span};

/// A time: `60`, `60s`, `6h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

/// How long a segment lasts: as [`Seconds`], from one second to an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentTime(pub Duration);

/// What a segment may last.
const SEGMENT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

impl FromStr for Seconds {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let text = text.trim();
        let has_unit = !text.ends_with(|last: char| last.is_ascii_digit());
        let span = if has_unit {
            text.parse::<Span>()
        } else {
            format!("{text}s").parse()
        };
        span.map(|span| Self(span.0)).map_err(|_| {
            InvalidWord::new(format!(
                "{text:?} is not a time; write it in seconds, such as 60, or with a unit, such as 10min or 6h"
            ))
        })
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Span(self.0).fmt(f)
    }
}

impl FromStr for SegmentTime {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let Seconds(time) = text.parse()?;
        if !SEGMENT.contains(&time) {
            let message = format!(
                "{:?} is no length of a segment; write seconds from 1 to 3600",
                text.trim()
            );
            return Err(InvalidWord::new(message));
        }
        Ok(Self(time))
    }
}

impl fmt::Display for SegmentTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Span(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("4", Some(4_000))]
    #[case(" 60 ", Some(60_000))]
    #[case("2.5", Some(2_500))]
    #[case("10min", Some(600_000))]
    #[case("0", Some(0))]
    #[case("", None)]
    #[case("-4", None)]
    #[case("four", None)]
    #[case("4 5", None)]
    #[case("99999999999999999999", None)]
    fn seconds_with_and_without_a_unit(#[case] text: &str, #[case] ms: Option<u64>) {
        let read = text.parse::<Seconds>();
        assert_eq!(read.clone().ok().map(|time| time.0.as_millis() as u64), ms);
        match read {
            Ok(time) => assert_eq!(time.to_string().parse(), Ok(time)),
            Err(error) => assert!(error.to_string().contains("write it in seconds"), "{error}"),
        }
    }

    #[rstest]
    #[case("1", true)]
    #[case("0.9", false)]
    #[case("1h", true)]
    #[case("3601", false)]
    fn segments_have_a_least_and_a_longest(#[case] text: &str, #[case] fine: bool) {
        let read = text.parse::<SegmentTime>();
        assert_eq!(read.is_ok(), fine, "{read:?}");
        if let Err(error) = read {
            assert!(error.to_string().contains("from 1 to 3600"), "{error}");
        }
    }
}
