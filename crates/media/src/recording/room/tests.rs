use std::str::FromStr as _;
use std::sync::Arc;

use mp4_atom::{Decode as _, Mehd, Moov, Sidx};
use proptest::prelude::*;

use super::*;
use crate::audio::Opus;
use crate::fmp4::Writer;
use crate::recording::{Found, Head, MAX_FRAGMENT_BYTES, SEAL_BYTES};
use crate::track::{Format, Track, TrackIndex};
use crate::{MediaTime, StreamName, Timescale, WallTime};

/// The head of a file of Opus, as it is written.
fn head(camera: &str) -> Vec<u8> {
    let track = Track {
        index: TrackIndex(0),
        format: Arc::new(Format::Opus(Opus { channels: 2 })),
        timescale: Timescale::OPUS,
    };
    let writer = Writer::of_file(&[track], MediaTime::new(0, Timescale::OPUS)).unwrap();
    let head = Head {
        storage: [7; 16],
        camera: StreamName::from_str(camera).unwrap(),
        run: 1,
        number: 0,
        start: WallTime::from_unix_micros(1_763_719_485_000_000),
    };
    head.write(writer.init_segment()).unwrap().to_vec()
}

fn table(rows: impl IntoIterator<Item = (usize, u32, bool)>) -> Fragments {
    let mut table = Fragments::new();
    for (bytes, duration_90k, keyframe) in rows {
        table.push(bytes, duration_90k, keyframe).unwrap();
    }
    table
}

fn patch(file: &mut [u8], patch: &Patch) {
    let at = usize::try_from(patch.at).unwrap();
    file[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
}

/// The top-level boxes of a head: names and lengths. They fill it to the last byte.
fn boxes(mut head: &[u8]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    while !head.is_empty() {
        let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        found.push((String::from_utf8(head[4..8].to_vec()).unwrap(), length));
        head = &head[length..];
    }
    found
}

/// What the head of a finished file says of it.
fn completed(table: &Fragments, first_shown_90k: u32) -> (Mehd, Sidx) {
    let mut head = head("door");
    let room_at = head.len() - ROOM_BYTES;
    let before = head.clone();
    let completion = complete(&head, table, first_shown_90k).unwrap();
    patch(&mut head, &completion.contents);
    patch(&mut head, &completion.names);
    assert_eq!(head[..room_at - 16], before[..room_at - 16]);
    let Found::Whole(_, media_at) = Head::read(&head) else {
        panic!("the head is another")
    };
    assert_eq!(media_at, head.len());
    let moov_at = head.windows(4).position(|name| name == b"moov").unwrap() - 4;
    let moov = Moov::decode(&mut &head[moov_at..]).unwrap();
    let sidx = Sidx::decode(&mut &head[room_at..]).unwrap();
    // Each entry begins where the one before ended, the first behind the head, and the last ends with the file.
    let names: Vec<(String, usize)> = boxes(&head).split_off(3);
    let index_bytes = INDEX_BYTES + ENTRY_BYTES * sidx.references.len();
    let rest = ROOM_BYTES - index_bytes;
    let mut expected = vec![("sidx".to_owned(), index_bytes)];
    expected.extend((rest > 0).then(|| ("free".to_owned(), rest)));
    assert_eq!((names, sidx.first_offset), (expected, rest as u64));
    let bytes: u64 = sidx
        .references
        .iter()
        .map(|entry| u64::from(entry.referenced_size))
        .sum();
    assert_eq!(bytes, table.bytes());
    let duration: u64 = sidx
        .references
        .iter()
        .map(|entry| u64::from(entry.subsegment_duration))
        .sum();
    assert_eq!(duration, table.duration_90k());
    assert_eq!((sidx.reference_id, sidx.timescale), (1, 90_000));
    assert_eq!(sidx.earliest_presentation_time, u64::from(first_shown_90k));
    (moov.mvex.unwrap().mehd.unwrap(), sidx)
}

#[test]
fn an_entry_is_a_fragment() {
    let rows = [
        (100, 90_000, true),
        (200, 45_000, true),
        (MAX_FRAGMENT_BYTES, u32::MAX, true),
    ];
    let (mehd, sidx) = completed(&table(rows), 7_200);
    let entries: Vec<_> = sidx
        .references
        .iter()
        .map(|entry| (entry.referenced_size, entry.subsegment_duration, entry.starts_with_sap))
        .collect();
    let sealed = rows.map(|(bytes, duration_90k, keyframe)| ((bytes + SEAL_BYTES) as u32, duration_90k, keyframe));
    assert_eq!(entries, sealed);
    assert!(
        sidx.references
            .iter()
            .all(|entry| !entry.reference_type && entry.sap_type == 0)
    );
    // In milliseconds, to the end of the last picture, rounded up.
    let ticks = u64::from(u32::MAX) + 135_000 + 7_200;
    assert_eq!(mehd.fragment_duration, ticks / 90 + 1);
}

/// As many as have room, and the duration alone where they have not, or where one does not begin with a keyframe.
#[test]
fn an_index_has_limits() {
    let seconds = |count: usize| table((0..count).map(|_| (1_000, 90_000, true)));
    for count in [1, 337, 338] {
        assert_eq!(completed(&seconds(count), 0).1.references.len(), count);
    }
    let long_groups = table((0..60).map(|at| (1_000, 90_000, at % 2 == 0)));
    for (table, duration_ms) in [(seconds(339), 339_000), (long_groups, 60_000)] {
        let mut head = head("door");
        let before = boxes(&head);
        let completion = complete(&head, &table, 0).unwrap();
        patch(&mut head, &completion.contents);
        patch(&mut head, &completion.names);
        assert_eq!(boxes(&head), before);
        let moov_at = head.windows(4).position(|name| name == b"moov").unwrap() - 4;
        let moov = Moov::decode(&mut &head[moov_at..]).unwrap();
        assert_eq!(moov.mvex.unwrap().mehd.unwrap().fragment_duration, duration_ms);
    }
}

/// Of the three words of eight bytes that are written last any may be missing: pages and sectors are what a crash divides a write into.
#[test]
fn any_part_of_it_is_a_whole_head() {
    for camera in ["a", "ab", "abc", "door", "doors", "garden", "gardens", "backyard"] {
        let empty = head(camera);
        let completion = complete(&empty, &table([(100, 90_000, true), (9, 90_000, true)]), 0).unwrap();
        let mut filled = empty.clone();
        patch(&mut filled, &completion.contents);
        assert_eq!(boxes(&filled), boxes(&empty));
        // A kill between the two: it may be done again.
        assert_eq!(
            complete(&filled, &table([(1, 1, true)]), 0).unwrap().names.at,
            completion.names.at
        );
        let names = &completion.names;
        assert_eq!((names.at % 8, names.bytes.len()), (0, 24));
        for missing in 0..8_usize {
            let mut head = filled.clone();
            for word in (0..3).filter(|word| missing >> word & 1 == 0) {
                let part = Patch {
                    at: names.at + 8 * word as u64,
                    bytes: names.bytes[8 * word..8 * word + 8].to_vec(),
                };
                patch(&mut head, &part);
            }
            let moov_at = head.windows(4).position(|name| name == b"moov").unwrap() - 4;
            let moov = Moov::decode(&mut &head[moov_at..]).unwrap();
            let mehd = moov.mvex.unwrap().mehd.map(|mehd| mehd.fragment_duration);
            assert_eq!(mehd, (missing & 1 == 0).then_some(2_000));
            let expected = if missing & 4 == 0 { "sidx" } else { "free" };
            assert_eq!(boxes(&head)[3].0, expected);
        }
    }
}

#[test]
fn a_head_without_room_is_left_alone() {
    let fragments = table([(1, 1, true)]);
    let mut head = head("door");
    assert_eq!(complete(&head, &Fragments::new(), 0), Err(NoRoom::Empty));
    for short in [0, 1, ROOM_BYTES, ROOM_BYTES + 20] {
        assert_eq!(complete(&head[..short], &fragments, 0), Err(NoRoom::Taken));
    }
    assert_eq!(complete(&[&[0][..], &head].concat(), &fragments, 0), Err(NoRoom::Taken));
    let completion = complete(&head, &fragments, 0).unwrap();
    patch(&mut head, &completion.contents);
    assert!(!is_complete(&head) && !is_complete(&head[..100]));
    patch(&mut head, &completion.names);
    assert!(is_complete(&head));
    assert_eq!(complete(&head, &fragments, 0), Err(NoRoom::Taken));
}

proptest! {
    #[test]
    fn an_index_tells_of_the_whole_file(
        rows in proptest::collection::vec((1..=MAX_FRAGMENT_BYTES, any::<u32>(), Just(true)), 1..=MAX_ENTRIES),
        first_shown_90k: u32,
    ) {
        let table = table(rows);
        let (_, sidx) = completed(&table, first_shown_90k);
        prop_assert_eq!(sidx.references.len(), table.len());
    }
}

/// The table of a finished file comes back from its head; of others there is none, whatever the head holds.
#[test]
fn the_index_in_a_head_tells_the_table() {
    let finished = |table: &Fragments| {
        let mut head = head("door");
        let completion = complete(&head, table, 3_600).unwrap();
        patch(&mut head, &completion.contents);
        patch(&mut head, &completion.names);
        head
    };
    for count in [1, 60, MAX_ENTRIES] {
        let table = table((0..count).map(|at| (1_000 + at, 90_000 + at as u32, true)));
        assert_eq!(indexed(&finished(&table)), Some(table));
    }
    let table_of = table([(1_000, 90_000, true), (900, 90_000, false)]);
    assert_eq!(indexed(&finished(&table_of)), None, "it has no index");
    assert_eq!(indexed(&head("door")), None, "it is not finished");
    let whole = finished(&table([(1_000, 90_000, true), (900, 45_000, true)]));
    for length in 0..whole.len() {
        indexed(&whole[..length]);
    }
    let room_at = whole.len() - ROOM_BYTES;
    for at in room_at..room_at + INDEX_BYTES + 2 * ENTRY_BYTES {
        for value in [0, 1, 0x7f, 0xff] {
            let mut turned = whole.clone();
            turned[at] = value;
            indexed(&turned);
        }
    }
}
