//! Values of recordings, and what can be wrong with them together.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::load::Wrong;
use super::settings::{Record, Settings};
use super::units::{Bytes, InvalidWord, Span};
use crate::record::trigger::{Mode, Times};

/// Times of the week, as text or as a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weekly(pub Vec<Times>);

/// Most entries of a schedule.
const MOST: usize = 50;
/// What the schema calls the setting.
const FORMAT: &str = "time of the week, or a list of them";

/// What is to stay free on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeSpace {
    /// Of its size.
    Percent(u8),
    /// So much.
    Bytes(Bytes),
}

impl FromStr for FreeSpace {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let refused = |why: &str| InvalidWord::new(format!("{text:?} {why}; write it like 5% or 20GiB"));
        match text.trim().strip_suffix('%') {
            None => {
                let bytes = text.trim().parse().map_err(|_| refused("is no part of a disk"))?;
                Ok(Self::Bytes(bytes))
            }
            Some(percent) => match percent.trim().parse() {
                Ok(percent @ 0..=90) => Ok(Self::Percent(percent)),
                Ok(_) => Err(refused("leaves no room for recordings; at most 90% may stay free")),
                Err(_) => Err(refused("is no part of a disk")),
            },
        }
    }
}

impl fmt::Display for FreeSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

impl serde::Serialize for Weekly {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Weekly {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> serde::de::Visitor<'de> for OneOrMany {
            type Value = Weekly;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("times of the week such as \"mon-fri 08:00-18:00\", or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Weekly, E> {
                text.parse().map(|times| Weekly(vec![times])).map_err(E::custom)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Weekly, A::Error> {
                let mut all = Vec::new();
                while let Some(times) = list.next_element::<Times>()? {
                    if all.len() == MOST {
                        return Err(serde::de::Error::custom(format!("it has more than {MOST} entries")));
                    }
                    all.push(times);
                }
                Ok(Weekly(all))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl schemars::JsonSchema for Weekly {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "times of the week".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "array"], "items": { "type": "string" }, "format": FORMAT })
    }
}

/// What is wrong in `[record]`, and in what tables of streams say of recording.
pub(super) fn wrong(settings: &Settings) -> Vec<Wrong> {
    let mut all = wrong_in("record", &settings.record);
    for (name, stream) in &settings.stream {
        let known = all.len();
        let of_stream = settings.record.of_stream(&stream.record);
        let in_stream = wrong_in(&format!("stream.{name}.record"), &of_stream);
        // What is wrong in the section is told there.
        let inherited = |(key, _): &Wrong| {
            let key = key.rsplit('.').next().unwrap_or_default();
            all.iter()
                .take(known)
                .any(|(of_all, _)| *of_all == format!("record.{key}"))
        };
        let own: Vec<Wrong> = in_stream.into_iter().filter(|wrong| !inherited(wrong)).collect();
        all.extend(own);
    }
    all
}

fn wrong_in(table: &str, record: &Record) -> Vec<Wrong> {
    let spans: [(&str, Span, RangeInclusive<Duration>); 4] = [
        ("segment", record.segment, seconds(2)..=seconds(3_600)),
        ("pre_roll", record.pre_roll, seconds(0)..=seconds(60)),
        ("post_roll", record.post_roll, seconds(0)..=seconds(3_600)),
        ("sync_interval", record.sync_interval, seconds(1)..=seconds(60)),
    ];
    let spans = spans.into_iter().filter(|(_, span, range)| !range.contains(&span.0));
    let mut wrong: Vec<Wrong> = spans
        .map(|(key, span, range)| {
            let (least, most) = (Span(*range.start()), Span(*range.end()));
            (
                format!("{table}.{key}"),
                format!("{span} is not between {least} and {most}"),
            )
        })
        .collect();
    if record.mode == Mode::Schedule && record.schedule.0.is_empty() {
        let message =
            "a schedule without times records nothing; add some, such as schedule = [\"mon-fri 08:00-18:00\"]";
        wrong.push((format!("{table}.mode"), message.to_owned()));
    }
    wrong
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[rstest]
    #[case("5%", FreeSpace::Percent(5), "5%")]
    #[case(" 0 % ", FreeSpace::Percent(0), "0%")]
    #[case("20GiB", FreeSpace::Bytes(Bytes(20 << 30)), "20GiB")]
    fn free_space(#[case] text: &str, #[case] free: FreeSpace, #[case] shown: &str) {
        let read: FreeSpace = text.parse().unwrap();
        assert_eq!((read, read.to_string().as_str()), (free, shown));
    }

    #[rstest]
    #[case("91%", "leaves no room for recordings")]
    #[case("-1%", "is no part of a disk; write it like 5% or 20GiB")]
    #[case("x%", "is no part of a disk")]
    #[case("5", "is no part of a disk")]
    fn no_free_space(#[case] text: &str, #[case] why: &str) {
        let error = text.parse::<FreeSpace>().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn what_a_stream_says_wins_and_the_rest_is_that_of_all() {
        let text = "[record]\nsegment = \"30s\"\nkeep = \"1d\"\n[stream.door.record]\nenabled = true\nkeep = \"0s\"\nmode = \"events\"";
        let settings = settings(text);
        let stream = settings.stream.values().next().unwrap();
        let record = settings.record.of_stream(&stream.record);
        assert!(record.enabled && !settings.record.enabled);
        assert_eq!((record.segment.0, record.keep.0), (seconds(30), Duration::ZERO));
        assert_eq!((record.mode, settings.record.mode), (Mode::Events, Mode::Continuous));
        assert!(wrong(&settings).is_empty());
    }

    #[test]
    fn what_cannot_be_is_said_where_it_stands() {
        let wrong = |text: &str| wrong(&settings(text));
        let told = |key: &str, message: &str| vec![(key.to_owned(), message.to_owned())];
        assert_eq!(
            wrong("[record]\nsegment = \"1s\"\n[stream.a]\n[stream.b.record]\naudio = false"),
            told("record.segment", "1s is not between 2s and 1h")
        );
        assert_eq!(
            wrong("[stream.a.record]\npre_roll = \"61s\""),
            told("stream.a.record.pre_roll", "61s is not between 0s and 1min")
        );
        let [(key, message)] = &wrong("[record]\nmode = \"schedule\"\n[stream.a.record]\nschedule = \"sat\"")[..]
        else {
            panic!("one thing is wrong");
        };
        assert_eq!(key, "record.mode");
        assert!(message.starts_with("a schedule without times"), "{message}");
    }

    #[test]
    fn a_schedule_is_one_text_or_several() {
        let schedule = |text: &str| toml::from_str::<Record>(text).map(|record| record.schedule.0.len());
        assert_eq!(schedule("schedule = \"mon-fri 08:00-12:00,13:00-18:00\""), Ok(1));
        assert_eq!(schedule("schedule = [\"sat\", \"22:00-06:00\"]"), Ok(2));
        assert_eq!(schedule("schedule = []"), Ok(0));
        let many = format!("schedule = [{}]", "\"sat\",".repeat(51));
        assert!(schedule(&many).unwrap_err().message().contains("more than 50 entries"));
        assert!(schedule("schedule = \"someday\"").is_err());
    }
}
