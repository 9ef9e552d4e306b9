use std::path::Component;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn at(text: &str) -> WallTime {
    WallTime::from_unix_micros(text.parse::<Timestamp>().unwrap().as_microsecond())
}

/// Central Europe's, by its rules: no list of zones is needed.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn door() -> StreamName {
    "house/door".parse().unwrap()
}

fn nth(mut names: impl Iterator<Item = PathBuf>, number: usize) -> String {
    let name = names.nth(number - 1).unwrap();
    name.to_str().unwrap().to_owned()
}

#[test]
fn a_segment_is_called_by_the_time_on_the_wall() {
    let name = |time, zone: &TimeZone, number| nth(segments(&door(), at(time), zone), number);
    let expected = "house+door/2026-11-22/segment_20261122_201500.mp4";
    assert_eq!(name("2026-11-22T19:15:00.999Z", &berlin(), 1), expected);
    let expected = "house+door/2026-11-22/segment_20261122_191500_3.mp4";
    assert_eq!(name("2026-11-22T19:15:00Z", &TimeZone::UTC, 3), expected);
    // The day is the one on the wall, too.
    let expected = "house+door/2027-01-01/segment_20270101_003000.mp4";
    assert_eq!(name("2026-12-31T23:30:00Z", &berlin(), 1), expected);
    let expected = "house+door/1970-01-01/segment_19700101_000005.mp4";
    assert_eq!(name("1970-01-01T00:00:05Z", &TimeZone::UTC, 1), expected);
}

/// From three it is two again, so half past two comes twice.
#[test]
fn the_hour_that_comes_twice() {
    let names = |time| segments(&door(), at(time), &berlin());
    let summer = "2026-10-25T00:30:00Z";
    let winter = "2026-10-25T01:30:00Z";
    assert_eq!(nth(names(summer), 1), nth(names(winter), 1));
    assert_eq!(
        nth(names(winter), 2),
        "house+door/2026-10-25/segment_20261025_023000_2.mp4"
    );
}

#[test]
fn there_is_an_end_to_names() {
    assert_eq!(segments(&door(), at("2026-11-22T19:15:00Z"), &berlin()).count(), 10_000);
}

#[rstest]
#[case("recording_2025-10-06.mp4", "recording_2025-10-06.mp4")]
#[case("front door", "front door.mp4")]
#[case("  a.MP4 ", "a.mp4")]
#[case("a.mkv", "a.mkv.mp4")]
#[case("a.mp4.mp4", "a.mp4.mp4")]
#[case("a..b", "a..b.mp4")]
#[case("mp4", "mp4.mp4")]
#[case("Straße 🚪", "Straße 🚪.mp4")]
#[case("console", "console.mp4")]
#[case("com12", "com12.mp4")]
fn a_clip_is_called_as_asked(#[case] asked: &str, #[case] expected: &str) {
    let clip: Clip = asked.parse().unwrap();
    let names = || clips(&door(), at("2026-11-22T19:15:00Z"), &TimeZone::UTC, &clip);
    assert_eq!(nth(names(), 1), format!("house+door/2026-11-22/{expected}"));
    let second = expected.strip_suffix(".mp4").unwrap();
    assert_eq!(nth(names(), 2), format!("house+door/2026-11-22/{second}_2.mp4"));
}

#[rstest]
#[case("", InvalidClip::Empty)]
#[case(" \n ", InvalidClip::Empty)]
#[case("../x", InvalidClip::Character('/'))]
#[case("..\\x", InvalidClip::Character('\\'))]
#[case("/etc/passwd", InvalidClip::Character('/'))]
#[case("C:x", InvalidClip::Character(':'))]
#[case("a\0.mp4", InvalidClip::Character('\0'))]
#[case("a\nb", InvalidClip::Character('\n'))]
#[case("a\u{202e}4pm.exe", InvalidClip::Character('\u{202e}'))]
#[case("a\u{61c}4pm.exe", InvalidClip::Character('\u{61c}'))]
#[case("a\u{e0041}.exe", InvalidClip::Character('\u{e0041}'))]
#[case("..", InvalidClip::Dot)]
#[case(".mp4", InvalidClip::Dot)]
#[case(".a.mp4.new", InvalidClip::Dot)]
#[case("nul", InvalidClip::Device("nul".to_owned()))]
#[case("Com1.x.mp4", InvalidClip::Device("Com1".to_owned()))]
#[case("lpt³", InvalidClip::Device("lpt³".to_owned()))]
fn a_clip_is_refused(#[case] asked: &str, #[case] why: InvalidClip) {
    assert_eq!(asked.parse::<Clip>(), Err(why));
}

#[test]
fn the_longest_clip() {
    let longest = "ü".repeat(MAX_CLIP_BYTES / 2);
    let clip: Clip = longest.parse().unwrap();
    assert_eq!(
        format!("{longest}a").parse::<Clip>(),
        Err(InvalidClip::TooLong(MAX_CLIP_BYTES + 1))
    );
    let last = clips(&door(), at("2026-11-22T19:15:00Z"), &TimeZone::UTC, &clip)
        .last()
        .unwrap();
    let name = last.file_name().unwrap();
    assert!(format!(".{}.new", name.to_str().unwrap()).len() <= 255);
}

/// What a path says of a segment: camera, local time, number.
fn read(path: &Path) -> Option<(StreamName, String, u32)> {
    let mut parts = path.to_str()?.split('/');
    let camera = parts.next()?.replace('+', "/").parse().ok()?;
    let day = parts.next()?.replace('-', "");
    let name = parts.next()?.strip_prefix("segment_")?.strip_suffix(".mp4")?;
    let time = name.get(..15)?;
    let number = match name.get(15..)? {
        "" => 1,
        number => number.strip_prefix('_')?.parse().ok().filter(|number| *number > 1)?,
    };
    let is_whole = parts.next().is_none() && time.starts_with(&day) && number <= MAX_TRIED;
    is_whole.then(|| (camera, time.to_owned(), number))
}

fn camera() -> impl Strategy<Value = StreamName> {
    "[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,6}(/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,6}){0,2}"
        .prop_filter_map("reserved", |name| name.parse().ok())
}

fn zone() -> impl Strategy<Value = TimeZone> {
    prop_oneof![
        Just(TimeZone::UTC),
        Just(berlin()),
        Just(TimeZone::posix("<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45").unwrap()),
        Just(TimeZone::posix("PST8PDT,M3.2.0,M11.1.0").unwrap()),
    ]
}

fn is_three_components(path: &Path) -> bool {
    let parts: Vec<Component<'_>> = path.components().collect();
    parts.len() == 3 && parts.iter().all(|part| matches!(part, Component::Normal(_)))
}

proptest! {
    #[test]
    fn names_of_segments_say_what_they_were_made_of(
        camera in camera(),
        start_us in prop_oneof![any::<i64>(), 0..4_000_000_000_000_000_i64],
        zone in zone(),
        number in prop_oneof![9 => 1..10_u32, 1 => 1..=10_000_u32],
    ) {
        let path = segments(&camera, WallTime::from_unix_micros(start_us), &zone).nth(number as usize - 1).unwrap();
        prop_assert!(is_three_components(&path));
        let (read_camera, time, read_number) = read(&path).unwrap();
        prop_assert_eq!((read_camera, read_number), (camera, number));
        if (FIRST_US..=LAST_US).contains(&start_us) {
            let local = zone.to_datetime(Timestamp::from_microsecond(start_us).unwrap());
            prop_assert_eq!(time, local.strftime("%Y%m%d_%H%M%S").to_string());
        }
    }

    #[test]
    fn a_clip_stays_in_its_folder(asked in prop_oneof!["\\PC{0,220}", ".{0,40}", "[./\\\\a-c\u{200b}:0-9 ]{0,12}(.mp4)?"], number in 1..=100_usize) {
        let Ok(clip) = asked.parse::<Clip>() else { return Ok(()) };
        let path = clips(&door(), WallTime::from_unix_micros(0), &TimeZone::UTC, &clip).nth(number - 1).unwrap();
        prop_assert!(is_three_components(&path));
        prop_assert_eq!(path.parent().unwrap(), Path::new("house+door/1970-01-01"));
        let name = path.file_name().unwrap().to_str().unwrap();
        prop_assert!(name.ends_with(".mp4") && !name.starts_with('.') && !name.contains(|c: char| is_refused(c)));
        if number == 1 {
            // What somebody read of a list is what they may ask for.
            prop_assert_eq!(name.parse::<Clip>(), Ok(clip));
        }
    }
}
