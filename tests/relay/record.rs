//! Recordings, as ffprobe and scripts see them.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use super::{Camera, assert_gapless, decodes, files, pictures, relay, start, wait_until};

/// Seconds of the day in the name of a file.
fn second(file: &Path) -> u32 {
    let name = file.file_stem().unwrap().to_str().unwrap();
    let time = name.split('_').nth(2).unwrap();
    let part = |at: usize| time[at..at + 2].parse::<u32>().unwrap();
    part(0) * 3_600 + part(2) * 60 + part(4)
}

#[test]
fn every_picture_is_in_files_that_survive_a_kill() {
    let camera = Camera::start(None, "320x240");
    let folder = tempfile::tempdir().unwrap();
    let words = format!(
        "{}STREAM_MODE=record\nOUTPUT_DIR=\"disk\"\nSEGMENT_TIME=2\n",
        camera.words()
    );
    let disk = folder.path().join("disk");
    let mut first = relay(folder.path(), &words);
    wait_until("recordings", &first, || files(&disk, ".mp4").len() >= 4);
    first.kill();
    let killed = files(&disk, ".mp4");
    // A script's.
    fs::write(disk.join("processed/segment_20260101_000000.mp4"), "theirs").unwrap();

    let second_run = relay(folder.path(), &words);
    wait_until("more recordings", &second_run, || {
        files(&disk, ".mp4").len() >= killed.len() + 2
    });
    let (finished, torn) = killed.split_at(killed.len() - 1);
    for (at, file) in finished.iter().enumerate() {
        decodes(file.to_str().unwrap());
        let pictures = pictures(file);
        // The first ones came at once.
        let most = if at == 0 { 61 + 15 } else { 61 };
        assert!(
            pictures[0].1 && (59..=most).contains(&pictures.len()),
            "{}: {}",
            file.display(),
            pictures.len()
        );
        assert_gapless(&pictures);
        if let Some(next) = finished.get(at + 1) {
            let step = (86_400 + second(next) - second(file)) % 86_400;
            assert!((1..=3).contains(&step), "{finished:?}");
        }
    }
    // What the kill took from the last one is no more than a fragment, and what is there is whole. It may have been before its first.
    for file in torn.iter().filter(|file| file.exists()) {
        decodes(file.to_str().unwrap());
        assert_gapless(&pictures(file));
    }
    second_run.signal(Signal::INT);
    let (status, said) = second_run.finish();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    for file in files(&disk, ".mp4") {
        decodes(file.to_str().unwrap());
    }
    let theirs = fs::read(disk.join("processed/segment_20260101_000000.mp4")).unwrap();
    assert_eq!(theirs, b"theirs");
}

#[test]
fn the_command_record_does_the_same() {
    let camera = Camera::start(None, "320x240");
    let folder = tempfile::tempdir().unwrap();
    let (url, token) = (camera.server.url("cam"), super::PASSWORD);
    let arguments = [
        "record",
        "--rtsp-url",
        &url,
        "--output-dir",
        "out",
        "--segment-time",
        "1",
        "--token",
        token,
    ];
    let process = start(folder.path(), &arguments);
    let out = folder.path().join("out");
    wait_until("recordings", &process, || files(&out, ".mp4").len() >= 3);
    process.signal(Signal::TERM);
    let (status, said) = process.finish();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    assert!(!said.join("\n").contains("p@ss"), "{said:#?}");
    for file in files(&out, ".mp4") {
        assert_gapless(&pictures(&file));
    }
    assert!(out.join("processed").is_dir());

    for (arguments, named) in [
        (&["record", "--rtsp-url", &url][..], "--output-dir is missing"),
        (&["record", "--output-dir", "out"], "--rtsp-url is missing"),
        (
            &[
                "record",
                "--rtsp-url",
                &url,
                "--output-dir",
                "out",
                "--segment-time",
                "0",
            ],
            "--segment-time: relay.camera.segment",
        ),
    ] {
        let (status, said) = start(folder.path(), arguments).finish();
        assert_eq!(status.code(), Some(2), "{said:?}");
        assert!(said.join("\n").contains(named), "{said:?}");
    }
}
