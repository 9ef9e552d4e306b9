//! Segments of a camera, written into a folder by a clock of their own.

use std::path::Path;

use testkit::stream::Settings;

use super::*;
use crate::relay::tests::{Camera, changed_at, files, name, output};

const SECOND: Duration = Duration::from_secs(1);

fn hls(folder: &Path, camera: &Camera, segment: Duration, retention: Option<Duration>) -> Hls {
    let mut hls = Hls::new(
        name(),
        output(folder, segment, retention),
        Arc::clone(&camera.clock) as _,
        Arc::default(),
    );
    hls.open();
    hls.tracks(&camera.tracks());
    hls
}

fn write(hls: &mut Hls, camera: &mut Camera, frames: usize) {
    for entry in camera.frames(frames) {
        hls.frame(&entry);
    }
}

fn list(folder: &Path) -> List {
    List::read(&fs::read_to_string(folder.join(LIST)).unwrap()).unwrap()
}

/// Durations in milliseconds, and where discontinuities are.
fn told(list: &List) -> (Vec<i64>, Vec<usize>) {
    let durations = list
        .entries
        .iter()
        .map(|entry| (entry.duration_us + 500) / 1_000)
        .collect();
    let marks = list.entries.iter().enumerate().filter(|(_, entry)| entry.discontinuity);
    (durations, marks.map(|(at, _)| at).collect())
}

#[test]
fn segments_end_at_keyframes_and_are_whole_when_they_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut hls = hls(folder.path(), &camera, SECOND, None);
    write(&mut hls, &mut camera, 95);
    let list = list(folder.path());
    assert_eq!(told(&list), (vec![1_000; 3], vec![]));
    assert_eq!((list.target_s, list.first), (1, 0));
    let there = files(folder.path());
    assert!(
        there
            .iter()
            .any(|name| name.starts_with(".segment_") && name.ends_with("_3.ts.part")),
        "{there:?}"
    );
    for entry in &list.entries {
        let bytes = fs::read(folder.path().join(&entry.name)).unwrap();
        assert!(bytes.len() > 60_000 && bytes.chunks(188).all(|packet| packet.len() == 188 && packet[0] == 0x47));
    }
    hls.gap();
    assert_eq!(
        told(&super::tests::list(folder.path())).0,
        [1_000, 1_000, 1_000, 167],
        "the end is not lost"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        for name in [LIST, list.entries[0].name.as_str()] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644, "a web server reads {name}");
        }
    }
}

#[test]
fn groups_of_pictures_that_are_longer_than_the_target_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    // A keyframe a second and a half: the first segment decides. Then none at all.
    let mut camera = Camera::new(Settings {
        gop_frames: 45,
        ..Settings::default()
    });
    let mut hls = hls(folder.path(), &camera, SECOND, None);
    write(&mut hls, &mut camera, 46);
    assert_eq!(told(&list(folder.path())).0, [1_500]);
    assert_eq!(list(folder.path()).target_s, 2);
    write(&mut hls, &mut camera, 200);
    let mut long = Camera::new(Settings {
        gop_frames: 0,
        ..Settings::default()
    });
    hls.gap();
    hls.tracks(&long.tracks());
    write(&mut hls, &mut long, 300);
    let list = list(folder.path());
    assert_eq!(list.target_s, 2, "it never changes");
    assert!(
        list.entries.iter().all(|entry| entry.duration_us <= 2_499_999),
        "{:?}",
        told(&list)
    );
    assert!(
        told(&list).0.ends_with(&[2_400, 2_400, 2_400, 2_400]),
        "{:?}",
        told(&list)
    );
}

#[test]
fn after_a_cut_a_segment_begins_with_a_keyframe_as_soon_as_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    // A keyframe every 2.17 s, of which the first comes just behind where the first segment is cut.
    let mut camera = Camera::new(Settings {
        gop_frames: 65,
        ..Settings::default()
    });
    let mut hls = hls(folder.path(), &camera, SECOND, None);
    write(&mut hls, &mut camera, 4 * 65 + 1);
    let durations: Vec<i64> = list(folder.path())
        .entries
        .iter()
        .map(|entry| entry.duration_us)
        .collect();
    let group_us = 2_166_667;
    let is_group = |us: i64| (us - group_us).abs() < 1_000;
    assert_eq!(durations.len(), 5, "{durations:?}");
    assert!(
        durations[1] < 300_000 && is_group(durations[0] + durations[1]),
        "{durations:?}"
    );
    assert!(durations[2..].iter().all(|us| is_group(*us)), "{durations:?}");
}

#[test]
fn a_folder_that_cannot_be_read_at_the_start_is_gone_on_with_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut first = hls(folder.path(), &camera, SECOND, None);
    write(&mut first, &mut camera, 125);
    drop(first);
    let (path, aside) = (folder.path().join(LIST), folder.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    // In its place is what cannot be read, and beside it what cannot be removed.
    fs::create_dir(&path).unwrap();
    fs::create_dir(folder.path().join(".stream.m3u8.4711")).unwrap();
    let there = files(folder.path());
    let mut second = hls(folder.path(), &camera, SECOND, None);
    write(&mut second, &mut camera, 90);
    let segments = |names: &[String]| names.iter().filter(|name| number_of(name).is_some()).count();
    assert_eq!(segments(&files(folder.path())), segments(&there), "nothing is written");
    assert!(second.figures.is_failing.load(std::sync::atomic::Ordering::Relaxed));
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    write(&mut second, &mut camera, 300);
    assert!(!second.figures.is_failing.load(std::sync::atomic::Ordering::Relaxed));
    let list = list(folder.path());
    assert_eq!((list.first, told(&list).1), (0, vec![4]), "no number is used twice");
}

#[test]
fn a_segment_that_cannot_be_removed_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut hls = hls(folder.path(), &camera, SECOND, Some(20 * SECOND));
    // The oldest.
    let stuck = "segment_20250101_000000_0.ts";
    fs::create_dir(folder.path().join(stuck)).unwrap();
    hls.list = List::begin(1, None);
    write(&mut hls, &mut camera, 155);
    hls.gap();
    camera.clock.advance(60 * SECOND);
    hls.look(camera.clock.now());
    assert_eq!(files(folder.path()), [LIST]);
    assert!(folder.path().join(stuck).is_dir() && hls.stuck == 1);
}

#[test]
fn what_is_missing_or_of_another_format_is_a_discontinuity() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut hls = hls(folder.path(), &camera, SECOND, None);
    write(&mut hls, &mut camera, 40);
    camera.frames(5);
    hls.gap();
    write(&mut hls, &mut camera, 40);
    // It is not decoded until there is a keyframe.
    camera.video.resize(320, 240);
    write(&mut hls, &mut camera, 45);
    hls.gap();
    let list = list(folder.path());
    let (durations, marks) = told(&list);
    assert_eq!(marks, [2, 4], "{durations:?}");
    let text = list.text();
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 2);
    assert_eq!(text.matches("#EXT-X-PROGRAM-DATE-TIME").count(), 3);
}

#[test]
fn after_a_restart_the_list_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut first = hls(folder.path(), &camera, SECOND, None);
    write(&mut first, &mut camera, 125);
    // Killed: nothing is ended.
    drop(first);
    fs::write(folder.path().join(".stream.m3u8.4711"), "half").unwrap();
    fs::write(folder.path().join("mine.html"), "").unwrap();
    let mut second = hls(folder.path(), &camera, SECOND, None);
    let there = files(folder.path());
    assert!(
        !there.iter().any(|name| name.starts_with('.')) && there.contains(&"mine.html".to_owned()),
        "{there:?}"
    );
    write(&mut second, &mut camera, 45);
    let list_of = || list(folder.path());
    assert_eq!(told(&list_of()).1, [4]);
    assert_eq!((list_of().first, list_of().next(), list_of().target_s), (0, 5, 1));

    // A file that somebody took away, and all that was before it.
    let gone = list_of().entries[1].name.clone();
    fs::remove_file(folder.path().join(gone)).unwrap();
    drop(second);
    let third = hls(folder.path(), &camera, SECOND, None);
    assert_eq!((third.list.first, third.list.next()), (2, 5));

    // Segments of another length make another target: another list, whose numbers go on.
    drop(third);
    let mut fourth = hls(folder.path(), &camera, 5 * SECOND, None);
    write(&mut fourth, &mut camera, 170);
    assert_eq!((list_of().first, list_of().target_s), (5, 5));
    assert!(
        list_of()
            .text()
            .contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-DISCONTINUITY\n")
    );

    // Somebody else's list: another, and no number twice.
    drop(fourth);
    fs::write(folder.path().join(LIST), "#EXTM3U\n").unwrap();
    let fifth = hls(folder.path(), &camera, SECOND, None);
    assert_eq!((fifth.list.first, fifth.list.entries.len()), (6, 0));
}

#[test]
fn old_segments_go_and_no_list_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut hls = hls(folder.path(), &camera, SECOND, Some(20 * SECOND));
    fs::write(folder.path().join("segment_mine.ts"), "").unwrap();
    for second in 0..60 {
        write(&mut hls, &mut camera, 30);
        for name in files(folder.path())
            .iter()
            .filter(|name| number_of(name).map(|number| number + 1) == Some(second))
        {
            changed_at(folder.path().join(name), 1_000 + second);
        }
        hls.look(camera.clock.now());
    }
    let there = files(folder.path());
    let segments = there.iter().filter_map(|name| number_of(name));
    let kept: Vec<u64> = segments.collect();
    assert!((20..=23).contains(&kept.len()), "{there:?}");
    let listed = list(folder.path());
    assert_eq!(
        listed.entries.len(),
        10,
        "half of it, so that players can load what they were told of"
    );
    assert!(listed.first >= *kept.iter().min().unwrap());
    assert!(there.contains(&"segment_mine.ts".to_owned()));

    // The camera is away, for longer than that.
    hls.gap();
    camera.clock.advance(60 * SECOND);
    hls.look(camera.clock.now());
    assert_eq!(files(folder.path()), ["segment_mine.ts", LIST]);
    assert_eq!((list(folder.path()).entries.len(), list(folder.path()).next()), (0, 60));
}

#[test]
fn a_folder_that_fails_is_said_waited_for_and_gone_on_with() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("www");
    fs::create_dir(&folder).unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut hls = hls(&folder, &camera, SECOND, None);
    write(&mut hls, &mut camera, 70);
    fs::rename(&folder, parent.path().join("away")).unwrap();
    write(&mut hls, &mut camera, 90);
    assert!(hls.figures.is_failing.load(std::sync::atomic::Ordering::Relaxed) && hls.figures.left_out.get() > 50);
    fs::rename(parent.path().join("away"), &folder).unwrap();
    write(&mut hls, &mut camera, 300);
    assert!(!hls.figures.is_failing.load(std::sync::atomic::Ordering::Relaxed));
    let (_, marks) = told(&list(&folder));
    assert_eq!(marks.len(), 1, "{marks:?}");
}

#[test]
fn sound_that_mpeg_ts_cannot_carry_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let g711 = testkit::stream::Audio::new(media::TrackIndex(1), 0).track();
    let mut hls = hls(folder.path(), &camera, SECOND, None);
    hls.tracks(&Arc::from([camera.video.track(), g711]));
    write(&mut hls, &mut camera, 45);
    assert_eq!(list(folder.path()).entries.len(), 1);
}
