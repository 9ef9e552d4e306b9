pub(super) mod liar;

use std::sync::mpsc::channel;
use std::time::Instant;

use super::choose::{Choosing, Next};
use super::*;
use crate::clock::SystemClock;
use crate::record::index::{Change, Protected};
use crate::record::library::made::{Made, NOON_90K, pictures, row};
use crate::record::library::{self, Library, MAX_OPEN, Media};

const SECOND_90K: i64 = 90_000;

/// Eight seconds in files of two.
fn made() -> Made {
    let made = Made::new();
    let (track, frames) = pictures(8, 25, "160x120");
    made.record("door", NOON_90K, &[track], frames, Duration::from_secs(2));
    made
}

fn archive(made: &Made) -> Arc<Archive> {
    archive_of(made, "archive.sqlite")
}

/// With a catalogue of this name.
pub(super) fn archive_of(made: &Made, catalogue: &str) -> Arc<Archive> {
    let recorder = made.recorder.clone();
    Archive::new(World {
        recorder: Box::new(move || Some(recorder.clone())),
        clock: Arc::new(SystemClock),
        random: crate::random::bits,
        catalogue: made.folder.path().join(catalogue),
    })
}

/// So many files that lie in a folder that is away, a second each, from then on.
fn put_away(made: &Made, start_90k: i64, files: i64) {
    let away = [9; 16];
    let path = made.folder.path().join("away").display().to_string();
    made.index.write(Change::Storage { uuid: away, path }).unwrap();
    for number in 0..files {
        let begins_90k = start_90k + number * SECOND_90K;
        let segment = Segment {
            storage: away,
            run: 77,
            ..row(made.index.next_segment(), "door", begins_90k..begins_90k + SECOND_90K)
        };
        made.index.write(Change::Segment(segment, Vec::new())).unwrap();
    }
    made.index.flush().unwrap();
}

/// The next file, and how many looks it took.
fn next(choosing: &mut Choosing, made: &Made) -> Option<(Segment, usize)> {
    for looks in 1..100 {
        match choosing.look(&made.recorder, i64::MAX, Instant::now()).unwrap() {
            Next::File(chosen) => return Some((chosen.0, looks)),
            Next::More => {}
            Next::Nothing => return None,
        }
    }
    panic!("there is no end to it");
}

/// What lies on a disk that is away keeps nobody waiting, however much that is.
#[test]
fn a_disk_that_is_away_keeps_no_other_waiting() {
    let made = made();
    put_away(&made, NOON_90K - 3_000 * SECOND_90K, 2_500);
    let mut choosing = Choosing::default();
    let (first, looks) = next(&mut choosing, &made).unwrap();
    assert_eq!((first.start_90k, looks), (NOON_90K, 3));
    // It comes back: what lies there is the oldest.
    let root = made.folder.path().join("away");
    std::fs::create_dir_all(root.join("door/2026-11-22")).unwrap();
    std::fs::write(
        root.join(crate::record::storage::MARK),
        format!("{}\n", "09".repeat(16)),
    )
    .unwrap();
    let from = made.root().join(&first.path);
    std::fs::copy(from, root.join("door/2026-11-22/0.mp4")).unwrap();
    // Its head is another length than the row tells: it is passed over, as all are of which there is no file.
    let (next, _) = next(&mut choosing, &made).unwrap();
    assert_eq!(next.start_90k, NOON_90K);
}

#[test]
fn what_is_protected_and_what_cannot_be_read_is_passed_over() {
    let made = made();
    made.recorder
        .protect(Protected {
            camera: "door".parse().unwrap(),
            range_90k: NOON_90K..NOON_90K + SECOND_90K,
            why: String::new(),
        })
        .unwrap();
    let mut choosing = Choosing::default();
    let (second, _) = next(&mut choosing, &made).unwrap();
    assert_eq!(second.start_90k, NOON_90K + 2 * SECOND_90K);
    let away = made.folder.path().join("away.mp4");
    std::fs::rename(made.root().join(&second.path), &away).unwrap();
    let (third, _) = next(&mut choosing, &made).unwrap();
    assert_eq!(third.start_90k, NOON_90K + 4 * SECOND_90K);
    choosing.never(&third);
    let (fourth, _) = next(&mut choosing, &made).unwrap();
    assert_eq!(fourth.start_90k, NOON_90K + 6 * SECOND_90K);
    choosing.never(&fourth);
    assert!(next(&mut choosing, &made).is_none());
    // A protection may have ended since.
    let later = Instant::now() + choose::AGAIN + Duration::from_secs(1);
    std::fs::rename(&away, made.root().join(&second.path)).unwrap();
    let again = choosing.look(&made.recorder, i64::MAX, later).unwrap();
    assert!(
        matches!(again, Next::File(chosen) if chosen.0 == second),
        "it is looked at again"
    );
}

/// The disk of the state folder may hang: tasks go on meanwhile.
#[test]
fn the_catalogue_is_not_waited_for_on_a_thread_of_the_runtime() {
    let made = Made::new();
    let archive = archive(&made);
    let catalogue = archive.open().unwrap();
    let (held_to, held) = channel();
    let (release, released) = channel::<()>();
    let holding = std::thread::spawn(move || {
        catalogue.hold(|| {
            held_to.send(()).unwrap();
            // Where the runtime stands still nobody ever says so.
            released.recv_timeout(Duration::from_secs(10)).is_ok()
        })
    });
    held.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let asking = tokio::spawn({
            let archive = Arc::clone(&archive);
            async move { archive.asked(Catalogue::remaking).await }
        });
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        release.send(()).unwrap();
        assert_eq!(asking.await.unwrap(), Ok(Some(String::new())));
    });
    assert!(holding.join().unwrap(), "the runtime stood still");
}

#[test]
fn a_catalogue_that_cannot_be_read_is_put_aside() {
    let made = Made::new();
    let archive = archive(&made);
    let path = made.folder.path().join("archive.sqlite");
    assert_eq!(
        archive.ranges(&"door".parse().unwrap(), &(0..i64::MAX), 0),
        Ok((vec![], None))
    );
    assert!(!path.exists(), "none is made by asking");
    std::fs::write(&path, vec![b'x'; 5_000]).unwrap();
    assert_eq!(
        archive.ranges(&"door".parse().unwrap(), &(0..i64::MAX), 0),
        Ok((vec![], None))
    );
    let aside = made.folder.path().join("archive.sqlite.unreadable-1");
    assert_eq!(std::fs::read(aside).unwrap(), vec![b'x'; 5_000]);
    assert_eq!(archive.ask(Catalogue::remaking), Ok(Some(String::new())));
}

/// Damage that is met under way, too.
#[test]
fn a_catalogue_that_is_damaged_later_is_put_aside() {
    let made = Made::new();
    let archive = archive(&made);
    let damage = Error::damage(&made.folder.path().join("archive.sqlite"));
    assert_eq!(archive.ask(|_| Err::<(), _>(damage.clone())), Err(damage));
    assert!(made.folder.path().join("archive.sqlite.unreadable-1").exists());
    assert_eq!(archive.ask(Catalogue::remaking), Ok(Some(String::new())));
}

/// A catalogue of a newer version, or on a disk that does not answer: what is here needs none of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_is_played_without_the_catalogue() {
    let made = made();
    let archive = archive(&made);
    drop(archive.open().unwrap());
    let path = made.folder.path().join("archive.sqlite");
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 9).unwrap();
    *archive.known() = None;
    let recorder = made.recorder.clone();
    let library = Library::new(move || Some(recorder.clone()), Some(Arc::clone(&archive)));
    let door: StreamName = "door".parse().unwrap();
    let range = NOON_90K..NOON_90K + 8 * SECOND_90K;
    let clip = library.clip(door.clone(), range.clone()).await.unwrap();
    assert!(clip.bytes() > 10_000 && !clip.knows_all, "{clip:?}");
    assert_eq!(
        library.listed(door.clone(), range.clone()).await.unwrap().files.len(),
        4
    );
    // Where there is nothing it is not known that there is none.
    let before = NOON_90K - 8 * SECOND_90K..NOON_90K - SECOND_90K;
    let error = library.clip(door.clone(), before).await.unwrap_err();
    assert!(matches!(error, library::Error::Archive(_)), "{error}");
    assert!(archive.told.lock().unwrap().is_some(), "it is said");
    newer.pragma_update(None, "user_version", 2).unwrap();
    assert!(library.clip(door, range).await.unwrap().knows_all);
    assert_eq!(*archive.told.lock().unwrap(), None);
}

/// A file that is here, as it is archived.
fn discovered(made: &Made, segment: &Segment, key: &str) -> catalogue::Discovered {
    let file = std::fs::read(made.root().join(&segment.path)).unwrap();
    let reader = made.recorder.reader().unwrap();
    catalogue::Discovered {
        segment: segment.clone(),
        known: catalogue::Known {
            key: key.to_owned(),
            etag: None,
        },
        contents: catalogue::Contents {
            header: Header::read(&file[..segment.head_bytes as usize]).unwrap(),
            fragments: Fragments::read(&reader.fragments(segment.id).unwrap()).unwrap(),
        },
    }
}

/// All that is sent of it.
async fn sent(media: Media) -> Vec<u8> {
    let reading = tokio::task::spawn_blocking(move || {
        let bytes = media.bytes();
        let mut sending = media.sending(0..bytes);
        let mut all = Vec::new();
        while sending.left() > 0 {
            all.extend(sending.read().unwrap());
        }
        all
    });
    reading.await.unwrap()
}

/// Files go to the archive one after the other, while they are found, planned and sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_the_archive_meanwhile_is_played_from_there() {
    let made = Made::new();
    let (track, frames) = pictures(20, 25, "160x120");
    let segments = made.record("door", NOON_90K, &[track], frames, Duration::from_secs(1));
    assert!(segments.len() > MAX_OPEN, "{}", segments.len());
    let files: Vec<Vec<u8>> = segments
        .iter()
        .map(|segment| std::fs::read(made.root().join(&segment.path)).unwrap())
        .collect();
    let archive = archive(&made);
    for (number, segment) in segments.iter().enumerate() {
        let found = discovered(&made, segment, &format!("rec/{number:02}"));
        archive.ask(|catalogue| catalogue.done(&found)).unwrap();
    }
    let (access, place) = liar::start(move |asked| {
        let (_, name) = asked.split_once("/bucket/rec/").unwrap();
        liar::Said::object(asked, &files[name[..2].parse::<usize>().unwrap()])
    });
    let door = Door::new(Bucket::new(&access, &place.bucket, None).unwrap());
    let _open = Open::new(&archive, &door);
    let recorder = made.recorder.clone();
    let library = Library::new(move || Some(recorder.clone()), Some(Arc::clone(&archive)));
    let clip = || library.clip("door".parse().unwrap(), NOON_90K..NOON_90K + 20 * SECOND_90K);
    let here = sent(clip().await.unwrap()).await;
    let planned = clip().await.unwrap();
    for segment in &segments {
        std::fs::remove_file(made.root().join(&segment.path)).unwrap();
    }
    assert!(sent(planned).await == here, "those that were not open yet");
    assert!(sent(clip().await.unwrap()).await == here, "those that were found here");
    let file = library.file("door".parse().unwrap(), segments[0].id, 0).await.unwrap();
    assert_eq!(sent(file).await.len() as u64, segments[0].bytes);
    // Another file of the same number, of an index that is lost.
    let other = Segment {
        bytes: segments[0].bytes + 1,
        ..segments[0].clone()
    };
    made.index.write(Change::Segment(other, Vec::new())).unwrap();
    made.index.flush().unwrap();
    let error = library
        .file("door".parse().unwrap(), segments[0].id, 0)
        .await
        .unwrap_err();
    assert!(matches!(error, library::Error::File { .. }), "{error}");
}

/// A file that is here and in the archive, and one that is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_does_not_come_back_from_the_archive() {
    let made = made();
    let archive = archive(&made);
    let reader = made.recorder.reader().unwrap();
    let all = reader
        .segments(&"door".parse().unwrap(), 0..i64::MAX, None, 10)
        .unwrap()
        .items;
    for segment in &all {
        archive
            .ask(|catalogue| catalogue.done(&discovered(&made, segment, "rec/key")))
            .unwrap();
    }
    let recorder = made.recorder.clone();
    let library = Library::new(move || Some(recorder.clone()), Some(Arc::clone(&archive)));
    let door: StreamName = "door".parse().unwrap();
    *archive.sending() = Some((all[1].id, false));
    let first = NOON_90K..NOON_90K + 2 * SECOND_90K;
    assert_eq!(library.delete(door.clone(), first.clone()).await.unwrap(), 1);
    assert_eq!(*archive.sending(), Some((all[1].id, false)), "it is another");
    assert_eq!(archive.file(&door, all[0].id), Ok(None));
    let gone = library.clip(door.clone(), first).await.unwrap_err();
    assert!(matches!(gone, library::Error::Nothing), "{gone}");
    let second = all[1].start_90k..all[1].end_90k();
    assert_eq!(library.delete(door.clone(), second).await.unwrap(), 1);
    assert_eq!(*archive.sending(), Some((all[1].id, true)));
    assert!(archive.file(&door, all[2].id).unwrap().is_some(), "the others stay");
}
