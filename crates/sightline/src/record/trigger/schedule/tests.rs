use jiff::civil::{Weekday, datetime};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// 2026-11-23 is a Monday.
fn on(day: i8, hour: i8, minute: i8) -> DateTime {
    datetime(2026, 11, 23 + day, hour, minute, 59, 0)
}

fn schedule(entries: &[&str]) -> Schedule {
    let times: Vec<Times> = entries.iter().map(|entry| entry.parse().unwrap()).collect();
    Schedule::new(&times)
}

#[test]
fn hours_of_business() {
    assert_eq!(on(0, 0, 0).weekday(), Weekday::Monday);
    let hours = schedule(&["mon-fri 08:00-18:00", "Saturday 9:30-12:00,13:00-14:00"]);
    for (at, is_open) in [
        (on(0, 7, 59), false),
        (on(0, 8, 0), true),
        (on(0, 17, 59), true),
        (on(0, 18, 0), false),
        (on(4, 12, 0), true),
        (on(5, 9, 29), false),
        (on(5, 9, 30), true),
        (on(5, 12, 30), false),
        (on(5, 13, 59), true),
        (on(6, 12, 0), false),
    ] {
        assert_eq!(hours.contains(at), is_open, "{at}");
    }
}

#[test]
fn nights_go_on_into_the_next_day() {
    let nights = schedule(&["fri-sun 22:00-06:00"]);
    for (at, is_night) in [
        (on(4, 5, 0), false),
        (on(4, 21, 59), false),
        (on(4, 22, 0), true),
        (on(5, 5, 59), true),
        (on(5, 6, 0), false),
        // From Sunday into Monday.
        (on(6, 23, 0), true),
        (on(0, 5, 59), true),
        (on(0, 6, 0), false),
        (on(0, 22, 0), false),
    ] {
        assert_eq!(nights.contains(at), is_night, "{at}");
    }
}

/// They are those of the clock on the wall: two hours of an hour's span in the night that is longer, none in the one that is shorter.
#[test]
fn nights_in_which_clocks_are_set() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let two = schedule(&["sun 02:00-03:00"]);
    let minutes = |from: &str| {
        let from: jiff::Timestamp = from.parse().unwrap();
        let at = |minute: i64| zone.to_datetime(from + jiff::SignedDuration::from_mins(minute));
        (0..24 * 60).filter(|minute| two.contains(at(*minute))).count()
    };
    assert_eq!(minutes("2026-11-21T23:00:00Z"), 60);
    assert_eq!(minutes("2026-10-24T22:00:00Z"), 120);
    assert_eq!(minutes("2026-03-28T23:00:00Z"), 0);
}

#[rstest]
#[case("mon-fri 08:00-18:00", "mon-fri 08:00-18:00")]
#[case(" Sat,SUNDAY ", "sat-sun 00:00-24:00")]
#[case("22:00-6:00", "22:00-06:00")]
#[case("mon-sun 0:00-24:00", "00:00-24:00")]
#[case("fri-mon 20:00-00:00", "mon,fri-sun 20:00-24:00")]
#[case("tue,thu 01:00-02:00,03:00-03:01", "tue,thu 01:00-02:00,03:00-03:01")]
fn entries_are_read(#[case] text: &str, #[case] written: &str) {
    assert_eq!(text.parse::<Times>().unwrap().to_string(), written);
}

#[rstest]
#[case("", InvalidTimes::Empty)]
#[case("  ", InvalidTimes::Empty)]
#[case("mo 08:00-18:00", InvalidTimes::Day("mo".to_owned()))]
#[case("mon- 08:00-18:00", InvalidTimes::Day(String::new()))]
#[case("mon,, 08:00-18:00", InvalidTimes::Day(String::new()))]
#[case("always", InvalidTimes::Day("always".to_owned()))]
#[case("mon-tue-wed", InvalidTimes::Day("tue-wed".to_owned()))]
#[case("mon 8-18", InvalidTimes::Span("8-18".to_owned()))]
#[case("mon 08:00", InvalidTimes::Span("08:00".to_owned()))]
#[case("08:00-24:01", InvalidTimes::Span("08:00-24:01".to_owned()))]
#[case("24:00-08:00", InvalidTimes::Span("24:00-08:00".to_owned()))]
#[case("08:60-09:00", InvalidTimes::Span("08:60-09:00".to_owned()))]
#[case("08:0-09:00", InvalidTimes::Span("08:0-09:00".to_owned()))]
#[case("08:00-+9:00", InvalidTimes::Span("08:00-+9:00".to_owned()))]
#[case("08:00-09:00,", InvalidTimes::Span(String::new()))]
#[case("08:00-08:00", InvalidTimes::Nothing("08:00-08:00".to_owned()))]
#[case("08:00-18:00 mon", InvalidTimes::Behind("mon".to_owned()))]
#[case("mon 08:00-18:00 19:00-20:00", InvalidTimes::Behind("19:00-20:00".to_owned()))]
fn entries_are_refused(#[case] text: &str, #[case] why: InvalidTimes) {
    assert_eq!(text.parse::<Times>(), Err(why));
}

#[test]
fn the_longest_entry() {
    let spans = "01:00-02:00,".repeat(MAX_BYTES / 12 + 1);
    assert!(spans[..191].parse::<Times>().is_ok());
    assert_eq!(spans.parse::<Times>(), Err(InvalidTimes::TooLong(spans.len())));
}

#[test]
fn without_entries_it_is_never() {
    assert!(schedule(&[]).is_empty());
    assert!(!schedule(&["sun 23:59-24:00"]).is_empty());
}

/// First and last of some days, beginnings and ends of some spans.
type Days = Vec<(u8, u8)>;
type Spans = Vec<(u16, u16)>;

fn times() -> impl Strategy<Value = (Days, Spans)> {
    let days = prop::collection::vec((0..7_u8, 0..7_u8), 0..4);
    let spans = prop::collection::vec((0..1_440_u16, 0..=1_440_u16), 1..5);
    (days, spans).prop_map(|(days, spans)| (days, spans.into_iter().filter(|(from, to)| from != to).collect()))
}

/// As people would write it, and whether they would say that it is then.
fn written(days: &[(u8, u8)], spans: &[(u16, u16)]) -> String {
    let day = |day: u8| short(day.into());
    let days: Vec<String> = days
        .iter()
        .map(|(first, last)| format!("{}-{}", day(*first), day(*last)))
        .collect();
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let spans: Vec<String> = spans
        .iter()
        .map(|(from, to)| format!("{}-{}", time(*from), time(*to)))
        .collect();
    format!("{} {}", days.join(","), spans.join(","))
}

fn says(days: &[(u8, u8)], spans: &[(u16, u16)], day: u8, minute: u16) -> bool {
    let is_day = |day: u8| {
        let within = |(first, last): &(u8, u8)| match first <= last {
            true => (*first..=*last).contains(&day),
            false => day >= *first || day <= *last,
        };
        days.is_empty() || days.iter().any(within)
    };
    spans.iter().any(|(from, to)| match from < to {
        true => is_day(day) && (*from..*to).contains(&minute),
        false => (is_day(day) && minute >= *from) || (is_day((day + 6) % 7) && minute < *to),
    })
}

proptest! {
    #[test]
    fn it_is_when_people_would_say_so((days, spans) in times()) {
        prop_assume!(!spans.is_empty());
        let read: Times = written(&days, &spans).parse().unwrap();
        let schedule = Schedule::new(std::slice::from_ref(&read));
        let again: Times = read.to_string().parse().unwrap();
        prop_assert_eq!(&again, &read);
        prop_assert_eq!(&Schedule::new(&[again]), &schedule);
        for day in 0..7_u8 {
            for minute in 0..1_440_u16 {
                let at = on(day as i8, (minute / 60) as i8, (minute % 60) as i8);
                prop_assert_eq!(schedule.contains(at), says(&days, &spans, day, minute), "{}", at);
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof![".{0,40}", "[a-z0-9:, -]{0,40}"]) {
        if let Ok(times) = text.parse::<Times>() {
            prop_assert_eq!(times.to_string().parse::<Times>(), Ok(times));
        }
    }
}
