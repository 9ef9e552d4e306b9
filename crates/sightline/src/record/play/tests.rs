use std::io;

use media::recording::Fragments;
use proptest::prelude::*;
use testkit::stream::{Audio, Settings, Video};

use super::*;
use crate::record::library::made::{Made, NOON_90K};
use media::{Frame, Track, TrackIndex, WallTime};

const SECOND_90K: i64 = 90_000;

/// Files in memory, that are as short as they are told to be.
struct Files(Vec<Vec<u8>>);

impl super::Files for Files {
    fn read_at(&self, file: usize, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = &self.0[file];
        let rest = bytes.get(at as usize..).unwrap_or_default();
        // Never all at once, as of a slow disk.
        let count = rest.len().min(into.len()).min(1_000);
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// A picture 30 times a second, and sound.
fn frames(seconds: u64, gop: u64) -> (Vec<Track>, Vec<Frame>) {
    let settings = Settings {
        gop_frames: gop,
        idr_bytes: 900,
        frame_bytes: 200,
        ..Settings::default()
    };
    let (mut video, mut audio) = (Video::new(settings), Audio::new(TrackIndex(1), 0));
    let tracks = vec![video.track(), audio.track()];
    let capture = WallTime::from_unix_micros(0);
    let mut frames: Vec<Frame> = (0..30 * seconds).map(|_| video.next_frame(capture)).collect();
    frames.extend((0..50 * seconds).map(|_| audio.next_frame(capture)));
    frames.sort_by_key(|frame| (frame.time.as_micros(), frame.track));
    (tracks, frames)
}

/// Three files of six seconds of one run, then a gap, then another run.
fn recorded(gop: u64) -> (Vec<(Segment, Fragments)>, Files) {
    let made = Made::new();
    let (tracks, all) = frames(18, gop);
    let file = std::time::Duration::from_secs(6);
    let mut segments = made.record("door", NOON_90K, &tracks, all, file);
    let (tracks, all) = frames(4, gop);
    segments.extend(made.record("door", NOON_90K + 30 * SECOND_90K, &tracks, all, file));
    let reader = made.index.reader().unwrap();
    let read = |segment: &Segment| std::fs::read(made.root().join(&segment.path)).unwrap();
    let files = Files(segments.iter().map(read).collect());
    let table = |segment: Segment| {
        let table = Fragments::read(&reader.fragments(segment.id).unwrap()).unwrap();
        (segment, table)
    };
    (segments.into_iter().map(table).collect(), files)
}

fn headers(files: &[(Segment, Fragments)], bytes: &Files, chosen: &[Chosen]) -> Vec<Header> {
    let head = |chosen: &Chosen| &bytes.0[chosen.file][..files[chosen.file].0.head_bytes as usize];
    chosen
        .iter()
        .map(|chosen| Header::read(head(chosen)).unwrap())
        .collect()
}

fn clip(files: &[(Segment, Fragments)], bytes: &Files, from_s: i64, until_s: i64) -> Option<(Plan, Range<i64>)> {
    let at = |s: i64| NOON_90K + s * SECOND_90K;
    let chosen = choose(files, at(from_s)..at(until_s));
    Plan::clip(files, &chosen, &headers(files, bytes, &chosen))
}

fn all(plan: &Plan, bytes: &Files) -> Vec<u8> {
    let mut out = Vec::new();
    plan.read(0..plan.len(), bytes, &mut out).unwrap();
    assert_eq!(out.len() as u64, plan.len());
    out
}

/// Of each fragment its number, and where each track begins.
fn times(mut file: &[u8]) -> Vec<(u32, Vec<u64>)> {
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut found = Vec::new();
    while !file.is_empty() {
        let (now, rest) = file.split_at(word(file, 0) as usize);
        if &now[4..8] == b"moof" {
            // As `media::fmp4` writes it: mfhd, then traf with tfhd (20) and tfdt (20).
            let mut at = 24;
            let mut begins = Vec::new();
            while at < now.len() {
                let tfdt = at + 8 + 20;
                assert_eq!(&now[tfdt + 4..tfdt + 8], b"tfdt");
                begins.push(u64::from_be_bytes(now[tfdt + 12..tfdt + 20].try_into().unwrap()));
                at += word(now, at) as usize;
            }
            found.push((word(now, 20), begins));
        }
        file = rest;
    }
    found
}

#[test]
fn a_clip_crosses_files_and_ends_at_the_gap() {
    let (files, bytes) = recorded(30);
    let (plan, range) = clip(&files, &bytes, 3, 60).unwrap();
    assert_eq!(range, NOON_90K + 3 * SECOND_90K..NOON_90K + 18 * SECOND_90K);
    let told = times(&all(&plan, &bytes));
    let numbers: Vec<u32> = told.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=15).collect::<Vec<_>>());
    let pictures: Vec<u64> = told.iter().map(|(_, begins)| begins[0]).collect();
    assert_eq!(pictures, (0..15).map(|second| 90_000 * second).collect::<Vec<_>>());
    // The sound of each second, 8,000 samples, begins within a frame of 160.
    for (second, (_, begins)) in (0..).zip(&told) {
        assert!((8_000 * second..8_000 * second + 160).contains(&begins[1]), "{told:?}");
    }
    assert_eq!(plan.files(0..plan.len()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(plan.files(plan.len() - 1..plan.len()).collect::<Vec<_>>(), [2]);
    // In the gap the next is meant.
    let (_, range) = clip(&files, &bytes, 20, 60).unwrap();
    assert_eq!(range, NOON_90K + 30 * SECOND_90K..NOON_90K + 34 * SECOND_90K);
    assert!(clip(&files, &bytes, 20, 25).is_none());
    assert!(clip(&files, &bytes, 40, 50).is_none());
}

#[test]
fn a_clip_begins_with_a_keyframe() {
    // Every five seconds: from the second fifth on, when the sixth is wanted.
    let (files, bytes) = recorded(150);
    let (plan, range) = clip(&files, &bytes, 7, 8).unwrap();
    assert_eq!(range, NOON_90K + 5 * SECOND_90K..NOON_90K + 8 * SECOND_90K);
    assert_eq!(times(&all(&plan, &bytes)).len(), 3);
}

#[test]
fn a_file_with_another_header_ends_a_clip() {
    let (files, bytes) = recorded(30);
    let at = |s: i64| NOON_90K + s * SECOND_90K;
    let chosen = choose(&files, at(0)..at(18));
    let mut headers = headers(&files, &bytes, &chosen);
    let mut other = bytes.0[1][..files[1].0.head_bytes as usize].to_vec();
    let size = other.windows(4).position(|name| name == b"avcC").unwrap();
    other[size + 6] ^= 1;
    headers[1] = Header::read(&other).unwrap();
    let (_, range) = Plan::clip(&files, &chosen, &headers).unwrap();
    assert_eq!(range, at(0)..at(6));
}

#[test]
fn a_file_is_itself_at_another_time() {
    let (files, bytes) = recorded(30);
    let (segment, table) = &files[1];
    let head = Header::read(&bytes.0[1][..segment.head_bytes as usize]).unwrap();
    let only = Files(vec![bytes.0[1].clone()]);
    let same = Plan::file(segment, table, head.clone(), 0);
    assert_eq!(all(&same, &only), only.0[0]);
    let later = Plan::file(segment, table, head, 6 * SECOND_90K);
    let moved = all(&later, &only);
    assert_eq!(moved.len(), only.0[0].len());
    let begins = |file: &[u8]| times(file).iter().map(|(_, begins)| begins[0]).collect::<Vec<_>>();
    assert_eq!(begins(&only.0[0]), (0..6).map(|s| 90_000 * s).collect::<Vec<_>>());
    assert_eq!(begins(&moved), (6..12).map(|s| 90_000 * s).collect::<Vec<_>>());
    let changed = moved.iter().zip(&only.0[0]).filter(|(one, other)| one != other).count();
    assert!(changed <= 6 * 16, "{changed}");
}

/// A file that is not what the index says is an error, and no panic.
#[test]
fn files_that_are_not_as_planned() {
    let (files, bytes) = recorded(30);
    let (plan, _) = clip(&files, &bytes, 0, 18).unwrap();
    let short = Files(bytes.0.iter().map(|file| file[..file.len() / 2].to_vec()).collect());
    let zeros = Files(bytes.0.iter().map(|file| vec![0; file.len()]).collect());
    for files in [short, zeros] {
        let read = plan.read(0..plan.len(), &files, &mut Vec::new());
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any range of any plan is that part of the whole.
    #[test]
    fn ranges_are_parts_of_the_whole(
        from_s in 0_i64..17, length_s in 1_i64..20, gop in prop_oneof![Just(30_u64), Just(75)],
        ranges in proptest::collection::vec((any::<u32>(), any::<u32>()), 40), by_s in 0_i64..100,
    ) {
        let (files, bytes) = recorded(gop);
        let (segment, table) = &files[0];
        let head = Header::read(&bytes.0[0][..segment.head_bytes as usize]).unwrap();
        let plans = [
            clip(&files, &bytes, from_s, from_s + length_s).unwrap().0,
            Plan::file(segment, table, head, by_s * SECOND_90K),
        ];
        for plan in plans {
            let whole = all(&plan, &bytes);
            for (one, other) in &ranges {
                let (one, other) = (u64::from(*one) % (plan.len() + 1), u64::from(*other) % (plan.len() + 1));
                // Half of them short: those that begin within what is changed.
                let (start, end) = if one % 2 == 0 { (one.min(other), one.max(other)) } else { (one, (one + other % 50).min(plan.len())) };
                let mut part = vec![9];
                plan.read(start..end, &bytes, &mut part).unwrap();
                prop_assert_eq!(&part[1..], &whole[start as usize..end as usize], "{}..{}", start, end);
            }
        }
    }
}
