use std::sync::Arc;

use media::audio::Opus;
use media::fmp4::Writer;
use media::{Format, MediaTime, Timescale, Track, TrackIndex};

use super::*;
use crate::record::index::MAX_ASIDE;
use crate::record::library::made::row;

const MINUTE: i64 = 60 * 90_000;

/// As it is archived, with three seconds of fragments.
fn found(segment: Segment, key: &str) -> Discovered {
    let mut fragments = Fragments::new();
    (0..3).for_each(|_| fragments.push(300, 90_000, true).unwrap());
    Discovered {
        segment,
        known: Known {
            key: key.to_owned(),
            etag: Some("tag".to_owned()),
        },
        contents: Contents {
            header: header(),
            fragments,
        },
    }
}

/// Of a file with sound alone.
fn header() -> Header {
    let track = Track {
        index: TrackIndex(0),
        format: Arc::new(Format::Opus(Opus { channels: 2 })),
        timescale: Timescale::OPUS,
    };
    let writer = Writer::of_file(&[track], MediaTime::new(0, Timescale::OPUS)).unwrap();
    Header::read(writer.init_segment()).unwrap()
}

fn segment(number: i64, minute: i64) -> Segment {
    row(SegmentId(number), "house/door", minute * MINUTE..(minute + 1) * MINUTE)
}

#[test]
fn what_is_archived_is_told_without_its_seams() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&folder.path().join("archive.sqlite")).unwrap();
    for (number, minute) in [(1, 10), (2, 11), (3, 12), (5, 20), (6, 21)] {
        catalogue.done(&found(segment(number, minute), "key")).unwrap();
    }
    catalogue.done(&found(segment(6, 21), "key")).unwrap();
    let camera = "house/door".parse().unwrap();
    let told = |range: Range<i64>, resolution| {
        let (ranges, next) = catalogue.ranges(&camera, &range, resolution).unwrap();
        assert_eq!(next, None);
        let told = ranges.into_iter().map(|one| {
            (
                one.range_90k.start / MINUTE,
                one.range_90k.end / MINUTE,
                one.bytes,
                one.files,
            )
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(told(0..i64::MAX, 0), [(10, 13, 3_000, 3), (20, 22, 2_000, 2)]);
    assert_eq!(told(0..i64::MAX, 7 * MINUTE), [(10, 22, 5_000, 5)]);
    assert_eq!(told(12 * MINUTE + 1..20 * MINUTE, 0), [(12, 13, 1_000, 1)]);
    assert_eq!(
        catalogue
            .ranges(&"other".parse().unwrap(), &(0..i64::MAX), 0)
            .unwrap()
            .0,
        []
    );
    assert_eq!(catalogue.totals(), Ok((5, 5_000)));
    let known = Known {
        key: "key".to_owned(),
        etag: Some("tag".to_owned()),
    };
    assert_eq!(catalogue.known(&segment(5, 20)), Ok(Some(known)));
    assert_eq!(
        catalogue.known(&segment(5, 19)),
        Ok(None),
        "the number is another file's"
    );
}

#[test]
fn what_is_on_its_way_is_known_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.sqlite");
    let mut begun = Begun {
        segment: SegmentId(7),
        start_90k: 70,
        bytes: 20 << 20,
        key: "a/b".to_owned(),
        id: "upload".to_owned(),
        parts: Vec::new(),
    };
    let catalogue = Catalogue::open(&path).unwrap();
    assert_eq!(catalogue.begun(), Ok(None));
    catalogue.begin(&begun).unwrap();
    for (number, etag) in [(0, "zero"), (1, "one"), (3, "three")] {
        catalogue.part(number, &Part(etag.to_owned())).unwrap();
    }
    drop(catalogue);
    let catalogue = Catalogue::open(&path).unwrap();
    begun.parts = vec![Part("zero".to_owned()), Part("one".to_owned())];
    assert_eq!(
        catalogue.begun(),
        Ok(Some(begun.clone())),
        "behind a hole nothing counts"
    );
    catalogue.done(&found(segment(7, 1), "a/b")).unwrap();
    assert_eq!(catalogue.begun(), Ok(None));
    catalogue.begin(&begun).unwrap();
    assert_eq!(
        catalogue.begun().unwrap().unwrap().parts,
        [],
        "another begins with none"
    );
    catalogue.forget().unwrap();
    assert_eq!(catalogue.begun(), Ok(None));
}

#[test]
fn what_cannot_be_read_is_told_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.sqlite");
    std::fs::write(&path, vec![b'x'; 5_000]).unwrap();
    let error = Catalogue::open(&path).unwrap_err().to_string();
    assert!(error.contains("archive.sqlite"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), vec![b'x'; 5_000]);
    std::fs::remove_file(&path).unwrap();
    let catalogue = Catalogue::open(&path).unwrap();
    catalogue.connection().pragma_update(None, "user_version", 9).unwrap();
    drop(catalogue);
    let error = Catalogue::open(&path).unwrap_err().to_string();
    assert!(error.contains("newer version"), "{error}");
}

/// What players need comes back as it was, and its header is kept once.
#[test]
fn what_is_played_is_found_by_time_and_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&folder.path().join("archive.sqlite")).unwrap();
    for (number, minute) in [(1, 10), (2, 11), (3, 12)] {
        catalogue
            .done(&found(segment(number, minute), &format!("rec/{number}")))
            .unwrap();
    }
    let camera: StreamName = "house/door".parse().unwrap();
    let files = catalogue.files(&camera, &(11 * MINUTE + 5..12 * MINUTE), 10).unwrap();
    let expected = Segment {
        storage: STORAGE,
        path: "rec/2".to_owned(),
        ..segment(2, 11)
    };
    assert_eq!(
        files,
        [(expected.clone(), found(expected.clone(), "").contents.fragments)]
    );
    assert_eq!(catalogue.file(&camera, SegmentId(2)).unwrap(), Some(files[0].clone()));
    assert_eq!(catalogue.file(&camera, SegmentId(4)), Ok(None));
    assert_eq!(
        catalogue.files(&camera, &(0..i64::MAX), 2).unwrap().len(),
        2,
        "no more than is asked for"
    );
    assert_eq!(catalogue.header(&expected), Ok(Some(header())));
    let headers: i64 = catalogue
        .connection()
        .query_row("SELECT count(*) FROM header", [], |row| row.get(0))
        .unwrap();
    assert_eq!(headers, 1);
}

/// What was written by the first version is kept, and what it does not know is looked for in the bucket.
#[test]
fn the_first_format_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.sqlite");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(TABLES).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    let row = "INSERT INTO archived VALUES ('house/door', ?1, 7, ?2, 1000, 'rec/7')";
    old.execute(row, params![10 * MINUTE, 11 * MINUTE]).unwrap();
    drop(old);
    let catalogue = Catalogue::open(&path).unwrap();
    let camera: StreamName = "house/door".parse().unwrap();
    assert_eq!(catalogue.totals(), Ok((1, 1_000)));
    assert_eq!(catalogue.files(&camera, &(0..i64::MAX), 10), Ok(vec![]));
    assert_eq!(catalogue.remaking(), Ok(Some(String::new())));
    // Its time was set right since it was written.
    catalogue
        .discovered(&[found(segment(7, 99), "rec/7")], "", Some("rec/7"))
        .unwrap();
    assert_eq!(catalogue.remaking(), Ok(Some("rec/7".to_owned())));
    assert_eq!(catalogue.totals(), Ok((1, 1_000)), "it is the same file");
    let files = catalogue.files(&camera, &(0..i64::MAX), 10).unwrap();
    assert_eq!((files[0].0.start_90k, files.len()), (10 * MINUTE, 1));
    // Who began with a catalogue that was put aside since has not looked at what this one knows nothing of.
    catalogue.discovered(&[], "rec/4", Some("rec/9")).unwrap();
    catalogue.discovered(&[], "rec/9", None).unwrap();
    assert_eq!(catalogue.remaking(), Ok(Some("rec/7".to_owned())));
    catalogue.discovered(&[], "rec/7", None).unwrap();
    drop(catalogue);
    assert_eq!(Catalogue::open(&path).unwrap().remaking(), Ok(None));
}

#[test]
fn those_that_are_put_aside_have_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.sqlite");
    for number in 1..=MAX_ASIDE {
        std::fs::write(&path, vec![b'x'; 5_000]).unwrap();
        std::fs::write(folder.path().join("archive.sqlite-wal"), "x").unwrap();
        assert!(Catalogue::open(&path).unwrap_err().is_damage());
        let aside = Catalogue::put_aside(&path).unwrap();
        assert!(
            aside.ends_with(format!("archive.sqlite.unreadable-{number}")),
            "{aside:?}"
        );
        Catalogue::open(&path).unwrap();
    }
    let error = Catalogue::put_aside(&path).unwrap_err().to_string();
    assert!(error.contains("delete them") && path.exists(), "{error}");
}
