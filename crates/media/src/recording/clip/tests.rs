use std::str::FromStr as _;
use std::sync::Arc;

use mp4_atom::{Decode as _, Moof};

use super::*;
use crate::audio::Aac;
use crate::frame::{Capture, CaptureSource, Frame};
use crate::recording::{Cutter, Fragments, Head, Limits, complete};
use crate::time::{MediaTime, Timescale, WallTime};
use crate::track::{Format, Track, TrackIndex};
use crate::{StreamName, h264};

const SOUND_HZ: u32 = 16_000;

/// A picture every 40 ms, a keyframe each second, and sound.
fn tracks() -> [Track; 2] {
    let sets = [h264::tests::SPS_OPENH264, &[0x68, 0xce, 0x38, 0x80]];
    let video = Track {
        index: TrackIndex(0),
        format: Arc::new(Format::H264(h264::Format::new(sets).unwrap())),
        timescale: Timescale::VIDEO,
    };
    let sound = Track {
        index: TrackIndex(1),
        format: Arc::new(Format::Aac(Aac::low_complexity(SOUND_HZ, 1).unwrap())),
        timescale: Timescale::new(SOUND_HZ).unwrap(),
    };
    [video, sound]
}

/// Head, fragments, and their table, of five seconds.
fn file() -> (Vec<u8>, Vec<Vec<u8>>, Fragments) {
    let tracks = tracks();
    let mut cutter = Cutter::new(&tracks, Limits::default()).unwrap();
    let mut frames: Vec<(i64, &Track)> = (0..125).map(|picture| (40_000 * picture, &tracks[0])).collect();
    frames.extend((0..78).map(|sound| (64_000 * sound, &tracks[1])));
    frames.sort_by_key(|(at_us, track)| (*at_us, track.index.0));
    let mut out = Vec::new();
    for (at_us, track) in frames {
        let frame = Frame {
            track: track.index,
            time: MediaTime::new(0, track.timescale).offset_micros(3_000_000 + at_us),
            capture: Capture {
                at: WallTime::from_unix_micros(at_us),
                source: CaptureSource::Camera,
            },
            keyframe: at_us % 1_000_000 == 0,
            format: Arc::clone(&track.format),
            data: vec![7; 50].into(),
        };
        cutter.frame(frame, &mut out).unwrap();
    }
    cutter.interrupt(&mut out);
    let mut table = Fragments::new();
    for fragment in &out {
        table
            .push(fragment.bytes.len(), fragment.duration_90k, fragment.keyframe)
            .unwrap();
    }
    let head = Head {
        storage: [1; 16],
        camera: StreamName::from_str("door").unwrap(),
        run: 1,
        number: 0,
        start: WallTime::from_unix_micros(0),
    };
    let head = head.write(&out[0].start.as_ref().unwrap().init_segment).unwrap();
    (
        head.to_vec(),
        out.iter().map(|fragment| fragment.bytes.to_vec()).collect(),
        table,
    )
}

fn entries(table: &Fragments) -> Vec<Entry> {
    let entry = |row: crate::recording::Row| Entry {
        bytes: row.bytes,
        duration_90k: row.duration_90k,
        keyframe: row.keyframe,
    };
    table.iter().map(entry).collect()
}

/// Number, and where each track begins.
fn times(fragment: &[u8]) -> (u32, Vec<u64>) {
    let moof = Moof::decode(&mut &fragment[..]).unwrap();
    let begins = |traf: &mp4_atom::Traf| traf.tfdt.as_ref().unwrap().base_media_decode_time;
    (moof.mfhd.sequence_number, moof.traf.iter().map(begins).collect())
}

#[test]
fn a_header_is_the_same_before_and_after_its_file_was_finished() {
    let (mut head, _, table) = file();
    let before = Header::read(&head).unwrap();
    assert_eq!(before.tracks, [(1, 90_000), (2, SOUND_HZ)]);
    let completion = complete(&head, &table, 0).unwrap();
    for patch in [completion.contents, completion.names] {
        let at = patch.at as usize;
        head[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    let after = Header::read(&head).unwrap();
    assert!(after.covers(&before));
    assert_eq!(after, before);
}

#[test]
fn the_head_of_a_clip_says_how_long_it_is_and_where_all_is() {
    let (head, _, table) = file();
    let written = Header::read(&head).unwrap().write(&entries(&table));
    let names: Vec<&[u8; 4]> = boxes(&written).map(|found| found.name).collect();
    assert_eq!(names, [b"ftyp", b"moov", b"sidx"]);
    let movie = boxes(&written).nth(1).unwrap().all;
    let room = &movie[movie.len() - 20..];
    assert_eq!((&room[4..8], &room[12..]), (&b"mehd"[..], &5_000_u64.to_be_bytes()[..]));
    let index = boxes(&written).nth(2).unwrap().all;
    assert_eq!(index.len(), 40 + 12 * table.len());
    let read = Header::read(&written).unwrap();
    assert!(read.covers(&Header::read(&head).unwrap()));
}

/// FFmpeg takes each entry for a place to seek to.
#[test]
fn there_is_no_index_where_it_would_be_wrong() {
    let (head, _, table) = file();
    let mut entries = entries(&table);
    entries[2].keyframe = false;
    let written = Header::read(&head).unwrap().write(&entries);
    assert_eq!(boxes(&written).count(), 2);
    let many = vec![entries[0]; 65_536];
    assert_eq!(boxes(&Header::read(&head).unwrap().write(&many)).count(), 2);
}

#[test]
fn a_fragment_is_put_at_another_time() {
    let (head, fragments, _) = file();
    let header = Header::read(&head).unwrap();
    let before = times(&fragments[2]);
    for by_90k in [0, 90_000, 45, -180_000, 4 * 3_600 * 90_000] {
        let mut moved = fragments[2].clone();
        let moof = moof_bytes(&moved).unwrap();
        header.shift(&mut moved[..moof], Some(77), by_90k).unwrap();
        let (number, begins) = times(&moved);
        assert_eq!((number, moved.len()), (77, fragments[2].len()));
        assert_eq!(begins[0].cast_signed(), before.1[0].cast_signed() + by_90k);
        let sound = before.1[1].cast_signed() + by_90k * i64::from(SOUND_HZ) / 90_000;
        assert_eq!(begins[1].cast_signed(), sound, "{by_90k}");
        assert_eq!(moved[moof..], fragments[2][moof..]);
    }
    let mut moved = fragments[2].clone();
    header.shift(&mut moved, None, i64::MIN).unwrap();
    assert_eq!(times(&moved), (3, vec![0, 0]));
    header.shift(&mut moved, None, i64::MAX).unwrap();
}

/// Whatever a disk gives back.
#[test]
fn what_is_damaged_is_refused() {
    let (head, fragments, _) = file();
    for length in 0..head.len() - super::super::ROOM_BYTES {
        assert!(Header::read(&head[..length]).is_err(), "{length}");
    }
    let header = Header::read(&head).unwrap();
    let moof = moof_bytes(&fragments[0]).unwrap();
    for length in 0..moof {
        assert!(header.shift(&mut fragments[0][..length].to_vec(), Some(1), 1).is_err());
    }
    for at in 0..moof {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = fragments[0][..moof].to_vec();
            bytes[at] = value;
            // Nothing but that it comes back.
            let _ = header.shift(&mut bytes, Some(1), 1);
        }
    }
    for at in 0..head.len() {
        let mut bytes = head.clone();
        bytes[at] ^= 0xff;
        let _ = Header::read(&bytes);
    }
    assert_eq!(moof_bytes(b"\0\0\0\x08mdat"), None);
    assert_eq!(moof_bytes(b"\0\0\0\x07moof"), None);
    assert_eq!(moof_bytes(b"\xff\0\0\0moof"), None);
}
