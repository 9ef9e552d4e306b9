use proptest::prelude::*;
use rstest::rstest;

use super::*;

const ENTRY: &[u8] = b"\0\0\0\x0cavc1abcd";

fn sample(decode: i64, bytes: u32) -> Sample {
    Sample {
        decode,
        duration: 3_600,
        offset: 0,
        bytes,
        is_sync: decode % 36_000 == 0,
    }
}

fn movie() -> (Movie, usize) {
    let mut movie = Movie::new(WallTime::from_unix_micros(1_795_348_800_000_000));
    let track = movie.track(Kind::Video, 90_000, [640 << 16, 480 << 16]);
    assert_eq!(movie.entry(track, ENTRY), Ok(0));
    (movie, track)
}

/// Boxes by their path, as far as they hold others.
fn found(bytes: &[u8], path: &[&[u8; 4]]) -> Vec<u8> {
    let mut rest = bytes;
    while rest.len() >= 8 {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        if rest[4..8] == *path[0] {
            let content = &rest[8..length];
            return match path.len() {
                1 => content.to_vec(),
                _ => found(content, &path[1..]),
            };
        }
        rest = &rest[length..];
    }
    panic!("no {path:?}");
}

const TABLES: [&[u8; 4]; 5] = [b"moov", b"trak", b"mdia", b"minf", b"stbl"];

fn table(movie: &Movie, name: &'static [u8; 4]) -> Vec<u8> {
    found(&movie.head(), &[&TABLES[..], &[name]].concat())
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
        .collect()
}

#[test]
fn tables_tell_each_sample_once() {
    let (mut movie, track) = movie();
    movie.chunk(track, 0, &[sample(0, 10), sample(3_600, 11)]).unwrap();
    movie.chunk(track, 0, &[sample(7_200, 12), sample(10_800, 13)]).unwrap();
    movie.chunk(track, 0, &[sample(20_000, 14)]).unwrap();
    movie.chunk(track, 0, &[]).unwrap();
    assert_eq!(words(&table(&movie, b"stsz")), [0, 0, 5, 10, 11, 12, 13, 14]);
    // What lasts until the next, whatever it was said to last.
    assert_eq!(words(&table(&movie, b"stts")), [0, 3, 3, 3_600, 1, 9_200, 1, 3_600]);
    assert_eq!(words(&table(&movie, b"stss")), [0, 1, 1]);
    assert_eq!(words(&table(&movie, b"stsc")), [0, 2, 1, 2, 1, 3, 1, 1]);
    let head = movie.head().len() as u32;
    assert_eq!(words(&table(&movie, b"stco")), [0, 3, head, head + 21, head + 46]);
    assert_eq!((movie.data_bytes(), movie.duration_90k()), (60, 23_600));
    let head = movie.head();
    assert_eq!(words(&head[head.len() - 8..]), [68, u32::from_be_bytes(*b"mdat")]);
}

#[test]
fn a_switch_of_the_entry_begins_a_row() {
    let (mut movie, track) = movie();
    assert_eq!(movie.entry(track, b"\0\0\0\x0cavc1efgh"), Ok(1));
    assert_eq!(movie.entry(track, ENTRY), Ok(0));
    movie.chunk(track, 1, &[sample(0, 1)]).unwrap();
    movie.chunk(track, 0, &[sample(3_600, 1)]).unwrap();
    assert_eq!(words(&table(&movie, b"stsc")), [0, 2, 1, 1, 2, 2, 1, 1]);
    assert_eq!(words(&table(&movie, b"stsd"))[1], 2);
}

#[rstest]
#[case::hidden(-7_200, &[1 << 24, 1, 0, 10_800, 0, 7_200, 1 << 16])]
#[case::late(900, &[1 << 24, 2, 0, 900, u32::MAX, u32::MAX, 1 << 16, 0, 18_000, 0, 0, 1 << 16])]
fn edits(#[case] begins: i64, #[case] expected: &[u32]) {
    let (mut movie, track) = movie();
    let samples: Vec<Sample> = (0..5).map(|number| sample(begins + 3_600 * number, 1)).collect();
    movie.chunk(track, 0, &samples).unwrap();
    let edits = found(&movie.head(), &[b"moov", b"trak", b"edts", b"elst"]);
    assert_eq!(words(&edits), expected);
    assert_eq!(movie.duration_90k(), (begins + 18_000).cast_unsigned());
}

/// Of pictures that are shown in another order than they are decoded the last that is shown counts.
#[test]
fn it_ends_with_what_is_shown_last() {
    let (mut movie, track) = movie();
    let shown = |decode, offset| Sample {
        offset,
        ..sample(decode, 1)
    };
    let samples = [
        shown(-7_200, 7_200),
        shown(-3_600, 14_400),
        shown(0, 3_600),
        shown(3_600, 3_600),
    ];
    movie.chunk(track, 0, &samples).unwrap();
    assert_eq!(movie.duration_90k(), 14_400);
    let edits = found(&movie.head(), &[b"moov", b"trak", b"edts", b"elst"]);
    assert_eq!(words(&edits), [1 << 24, 1, 0, 14_400, 0, 7_200, 1 << 16]);
    movie.shift(3_600);
    assert_eq!((movie.duration_90k(), movie.begins_90k(track)), (18_000, Some(-3_600)));
}

/// Longer than 13 hours, larger than 4 GiB: numbers of 64 bits, and places that are right.
#[test]
fn what_is_large_is_told_with_large_numbers() {
    let (mut movie, track) = movie();
    for hour in 0..20 {
        movie
            .chunk(track, 0, &[sample(hour * 3_600 * 90_000, 1 << 30)])
            .unwrap();
    }
    let head = movie.head();
    let places = table(&movie, b"co64");
    assert_eq!(places.len(), 8 + 20 * 8);
    let second = u64::from_be_bytes(places[16..24].try_into().unwrap());
    assert_eq!(second, head.len() as u64 + (1 << 30));
    assert_eq!(head[head.len() - 16..][..8], *b"\0\0\0\x01mdat");
    let mvhd = found(&head, &[b"moov", b"mvhd"]);
    assert_eq!(mvhd[0], 1);
    assert_eq!(
        u64::from_be_bytes(mvhd[24..32].try_into().unwrap()),
        movie.duration_90k()
    );
}

#[test]
fn what_is_not_taken() {
    let (mut movie, track) = movie();
    assert_eq!(movie.chunk(track, 1, &[sample(0, 1)]), Err(Error::NoTrack));
    assert_eq!(movie.chunk(7, 0, &[sample(0, 1)]), Err(Error::NoTrack));
    assert_eq!(movie.entry(7, ENTRY), Err(Error::NoTrack));
    movie.chunk(track, 0, &[sample(5, 1)]).unwrap();
    assert_eq!(movie.chunk(track, 0, &[sample(4, 1)]), Err(Error::GoesBack));
    movie.samples = MAX_SAMPLES;
    assert_eq!(movie.chunk(track, 0, &[sample(9, 1)]), Err(Error::TooMany));
}

proptest! {
    /// Whatever is told: sums of the tables are those of the samples, and no number overflows.
    #[test]
    fn sums_hold(
        steps in proptest::collection::vec((0_i64..5_000_000_000, any::<u32>(), any::<i32>(), any::<bool>(), any::<u32>()), 1..40),
        begins in any::<i32>(),
    ) {
        let (mut movie, track) = movie();
        let (mut at, mut told) = (i64::from(begins), Vec::new());
        for (step, bytes, offset, is_sync, duration) in steps {
            let sample = Sample { decode: at, duration, offset, bytes, is_sync };
            match movie.chunk(track, 0, &[sample]) {
                Ok(()) => told.push(sample),
                // A step of more than 32 bits.
                Err(error) => {
                    prop_assert_eq!(error, Error::GoesBack);
                    return Ok(());
                }
            }
            at += step;
        }
        let bytes: u64 = told.iter().map(|sample| u64::from(sample.bytes)).sum();
        prop_assert_eq!(movie.data_bytes(), bytes);
        let rows = words(&table(&movie, b"stts"));
        let (mut count, mut ticks) = (0, 0_u64);
        for row in rows[2..].chunks_exact(2) {
            count += row[0] as usize;
            ticks += u64::from(row[0]) * u64::from(row[1]);
        }
        prop_assert_eq!(count, told.len());
        let last = told.last().unwrap();
        prop_assert_eq!(ticks.cast_signed(), last.decode - i64::from(begins) + i64::from(last.duration));
    }
}
