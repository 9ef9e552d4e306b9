use super::*;
use crate::hls::playlist::{Media, Playlist};
use proptest::prelude::*;

const SECOND_90K: i64 = 90_000;
/// 2026-11-22 12:00 UTC.
const NOON_90K: i64 = 1_795_348_800 * SECOND_90K;

/// Fragments of a second, a keyframe every so many.
fn fragments(count: usize, gop: usize) -> Fragments {
    let mut table = Fragments::new();
    for number in 0..count {
        table.push(1_000 + number, 90_000, number % gop == 0).unwrap();
    }
    table
}

fn file<'a>(uri: &'a str, start_s: i64, fragments: &'a Fragments, run: u64) -> File<'a> {
    File {
        uri,
        header_bytes: 900,
        head_bytes: 4_996,
        start_90k: NOON_90K + start_s * SECOND_90K,
        end_90k: NOON_90K + start_s * SECOND_90K + fragments.duration_90k().cast_signed(),
        from_90k: 0,
        fragments,
        run,
        grows: false,
    }
}

proptest! {
    /// However often it is asked for, what was listed stays as it was, and in the end nothing is missing.
    #[test]
    fn a_list_of_what_is_being_recorded_grows_at_its_end(
        keyframes in prop::collection::vec((any::<bool>(), 1_000_u32..1_200_000), 1..60),
        from_s in 0_i64..30,
    ) {
        let mut table = Fragments::new();
        let mut before = String::new();
        for (keyframe, duration_90k) in keyframes {
            table.push(1_000, duration_90k, keyframe).unwrap();
            let mut list = List::new(range(from_s, 100_000));
            list.file(&File { grows: true, ..file("a/media", 0, &table, 1) });
            let grown = list.body.clone();
            prop_assert!(grown.starts_with(&before), "{before}\n{grown}");
            before = grown;
        }
        let mut whole = List::new(range(from_s, 100_000));
        whole.file(&file("a/media", 0, &table, 1));
        prop_assert!(whole.body.starts_with(&before));
        let mut grows = List::new(range(from_s, 100_000));
        grows.file(&File { grows: true, ..file("a/media", 0, &table, 1) });
        prop_assert_eq!(grows.pieces() + usize::from(whole.pieces() > 0), whole.pieces());
    }
}

fn range(from_s: i64, until_s: i64) -> std::ops::Range<i64> {
    NOON_90K + from_s * SECOND_90K..NOON_90K + until_s * SECOND_90K
}

fn text(list: &List, kind: Kind) -> String {
    String::from_utf8(list.text(kind).plain().to_vec()).unwrap()
}

/// As our own reader understands it.
fn read(text: &str) -> Media {
    match Playlist::parse(text.as_bytes()).unwrap() {
        Playlist::Media(media) => media,
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_of_a_run_a_gap_and_other_parameter_sets() {
    let (minute, rest) = (fragments(20, 2), fragments(7, 2));
    let mut list = List::new(range(3, 100));
    list.file(&file("a/media", 0, &minute, 1));
    list.file(&file("b/media?begins=1800000", 20, &rest, 1));
    // Another run, after a gap.
    list.file(&file("c/media", 60, &rest, 2));
    let longer = File {
        header_bytes: 904,
        ..file("d/media", 67, &rest, 2)
    };
    list.file(&longer);
    insta::assert_snapshot!(text(&list, Kind::Vod));
}

#[test]
fn a_list_that_grows_has_no_end_and_a_fixed_target() {
    let table = fragments(30, 1);
    let mut list = List::new(range(0, 3_600));
    list.file(&file("a", 0, &table, 1));
    let before = text(&list, Kind::Event);
    assert!(!before.contains("ENDLIST") && before.contains("TYPE:EVENT"));
    list.file(&file("b", 30, &table, 1));
    let after = text(&list, Kind::Event);
    assert!(after.starts_with(&before), "{before}\n{after}");
}

#[test]
fn what_is_far_apart_is_left_out() {
    let table = fragments(3_600, 1);
    let mut list = List::new(range(0, 100 * 3_600));
    for hour in 0..6 {
        list.file(&file("a", hour * 3_600, &table, 1));
    }
    assert_eq!(list.pieces(), 4 * 600);
    let media = read(&text(&list, Kind::Vod));
    let all: std::time::Duration = media.segments.iter().map(|segment| segment.duration).sum();
    assert_eq!(all.as_secs(), 4 * 3_600);
}

#[test]
fn nothing_in_the_range_is_an_empty_list() {
    let table = fragments(10, 1);
    for (from_s, until_s) in [(10, 20), (-20, 0), (5, 5), (7, 6)] {
        let mut list = List::new(range(from_s, until_s));
        list.file(&file("a", 0, &table, 1));
        let expected = usize::from((0..10).contains(&from_s) && from_s < until_s);
        assert_eq!(list.pieces(), expected, "{from_s}..{until_s}");
    }
}

/// A group of pictures that is longer than the target is cut in the middle.
#[test]
fn no_piece_is_longer_than_the_target() {
    let table = fragments(40, 1_000);
    let mut list = List::new(range(0, 100));
    list.file(&file("a", 0, &table, 1));
    let media = read(&text(&list, Kind::Vod));
    let seconds: Vec<u64> = media
        .segments
        .iter()
        .map(|segment| segment.duration.as_secs())
        .collect();
    assert_eq!(seconds, [12, 12, 12, 4]);
}

proptest! {
    /// Whatever the fragments: pieces are within the target, follow each other without a byte or an instant left out but for seals, begin at a keyframe where one came in
    /// time, and cover what was asked for.
    #[test]
    fn pieces_follow_each_other(
        rows in proptest::collection::vec((1_u32..100_000, 1_u32..11 * 90_000, any::<bool>()), 1..200),
        from_s in -10_i64..300, length_s in 1_i64..300,
    ) {
        let mut table = Fragments::new();
        for (number, (bytes, duration_90k, keyframe)) in rows.iter().enumerate() {
            table.push(*bytes as usize, *duration_90k, *keyframe || number == 0).unwrap();
        }
        let file = file("a", 0, &table, 1);
        let wanted = range(from_s, from_s + length_s);
        let mut list = List::new(wanted.clone());
        list.file(&file);
        let text = text(&list, Kind::Vod);
        let media = read(&text);
        prop_assert_eq!(media.segments.len(), list.pieces());
        let all: Vec<Row> = table.iter().collect();
        let is_in = |row: &&Row| file.start_90k + (row.begins_90k.cast_signed()) < wanted.end && end_of(&file, row) > wanted.start;
        let inside: Vec<&Row> = all.iter().filter(is_in).collect();
        prop_assert_eq!(inside.is_empty(), media.segments.is_empty());
        let mut at = None;
        for segment in &media.segments {
            prop_assert!(segment.duration.as_secs_f64() < 12.001, "{text}");
            let range = segment.range.unwrap();
            if let Some(at) = at {
                prop_assert_eq!(range.offset, at);
            }
            at = Some(range.offset + range.length + media::recording::SEAL_BYTES as u64);
            let first = all.iter().find(|row| row.at + 4_996 == range.offset).unwrap();
            prop_assert!(first.keyframe || Some(segment.sequence) != media.segments.first().map(|first| first.sequence));
        }
        if let (Some(first), Some(last)) = (inside.first(), inside.last()) {
            let begins = media.segments.first().unwrap().range.unwrap().offset;
            prop_assert!(begins <= first.at + 4_996);
            prop_assert_eq!(at, Some(4_996 + last.at + u64::from(last.bytes) + media::recording::SEAL_BYTES as u64));
        }
    }
}
