//! Recordings that go to S3 and then from this disk.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::support::{Process, h264_of_ffmpeg, tool};
use super::{Own, S3, files, wait_until};

/// Pictures of noise: 2.5 MB a second, for a file of several parts.
fn film(server: &Own) -> Process {
    let mut command = tool("ffmpeg");
    let source =
        "-nostdin -v warning -re -f lavfi -i testsrc=rate=30:size=640x480,noise=alls=60:allf=t -pix_fmt yuv420p";
    command.args(source.split(' ')).args(h264_of_ffmpeg(15).split(' '));
    let url = format!("rtsp://127.0.0.1:{}/noise", server.rtsp_port);
    Process::start(command.args(["-f", "rtsp", "-rtsp_transport", "tcp", &url]))
}

/// Whole files of recordings, by name.
fn recorded(folder: &Path) -> Vec<PathBuf> {
    let root = folder.join("state/recordings");
    let files = files(&root)
        .into_iter()
        .filter(|file| file.ends_with(".mp4") && !file.contains("/."));
    files.map(|file| root.join(file)).collect()
}

#[test]
fn recordings_go_to_the_archive_and_only_then_from_the_disk() {
    let s3 = S3::start(None);
    let endpoint = s3.endpoint();
    let folder = tempfile::tempdir().unwrap();
    let settings = "[camera.cam]\nsource = \"test\"\nsize = \"320x240\"\nfps = 10\ngop = 10\n[record]\nenabled = true\nsegment = \"2s\"\narchive = \"s3://bucket/rec\"\narchive_after = \"5s\"\n";
    let server = Own::start(folder.path(), settings, &s3.variables(&endpoint));
    wait_until("the archive", &server.process, || s3.keys().len() >= 2);
    let keys = s3.keys();
    assert!(
        keys.iter()
            .all(|key| key.starts_with("rec/cam/20") && key.ends_with(".mp4")),
        "{keys:?}"
    );
    // FFmpeg plays what lies there: it is whole.
    let (head, bytes) = s3.object(&keys[0]);
    assert!(head.to_ascii_lowercase().contains("content-type: video/mp4"), "{head}");
    let copy = folder.path().join("copy.mp4");
    fs::write(&copy, bytes).unwrap();
    let mut probe = tool("ffprobe");
    probe.args("-v error -count_frames -select_streams v -show_entries stream=nb_read_frames -of csv=p=0".split(' '));
    let frames = String::from_utf8(probe.arg(&copy).output().unwrap().stdout).unwrap();
    assert!(frames.trim().parse::<u32>().unwrap() >= 10, "{frames}");
    // Named as here, with a number behind it.
    let name = keys[0]
        .trim_start_matches("rec/")
        .rsplit_once('-')
        .unwrap()
        .0
        .to_owned();
    let local = folder.path().join(format!("state/recordings/{name}.mp4"));
    wait_until("it is deleted here", &server.process, || !local.exists());
    let listed = server.get("/api/v1/recordings?camera=cam");
    assert!(
        listed["archived"][0]["size_bytes"].as_u64().unwrap() > 1_000,
        "{listed}"
    );
    assert!(
        listed["archived"][0]["duration_ms"].as_i64().unwrap() >= 1_000,
        "{listed}"
    );
    assert!(!listed["recordings"].as_array().unwrap().is_empty(), "{listed}");
}

/// The parts of which the program knows that the server has them.
fn known_parts(folder: &Path) -> i64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(catalogue) = Connection::open_with_flags(folder.join("state/archive.sqlite"), flags) else {
        return 0;
    };
    let count = catalogue.query_row("SELECT count(*) FROM part", [], |row| row.get(0));
    count.unwrap_or(0)
}

#[test]
fn a_kill_amid_an_upload_neither_repeats_nor_loses_a_part() {
    let s3 = S3::start(None);
    let endpoint = s3.endpoint();
    let folder = tempfile::tempdir().unwrap();
    let of = |archive: &str| format!("[stream.noise.record]\nenabled = true\n[record]\nsegment = \"10s\"\n{archive}");
    // Recorded first, so that there is one file of several parts, and nothing else to do.
    let server = Own::start(folder.path(), &of(""), &[]);
    let publisher = film(&server);
    wait_until("a file of 18 MB", &server.process, || {
        recorded(folder.path())
            .iter()
            .any(|file| fs::metadata(file).is_ok_and(|data| data.len() > 18 << 20))
    });
    drop(publisher);
    drop(server);
    let archive = of("archive = \"s3://bucket/rec\"\narchive_after = \"1s\"\narchive_rate = \"32M\"\n");
    let mut server = Own::start(folder.path(), &archive, &s3.variables(&endpoint));
    wait_until("the first part", &server.process, || known_parts(folder.path()) >= 1);
    let key = s3.unfinished().remove(0);
    let copies = tempfile::tempdir().unwrap();
    let sent: Vec<PathBuf> = recorded(folder.path());
    for file in &sent {
        fs::copy(file, copies.path().join(file.file_name().unwrap())).unwrap();
    }
    server.process.kill();
    assert!(s3.keys().is_empty(), "nothing is there that is not whole");
    let server = Own::start(folder.path(), &archive, &s3.variables(&endpoint));
    wait_until("the rest", &server.process, || s3.keys().contains(&key));
    wait_until("it is deleted here", &server.process, || {
        recorded(folder.path()).len() < sent.len()
    });
    let name = key.rsplit('/').next().unwrap().rsplit_once('-').unwrap().0.to_owned();
    let copy = fs::read(copies.path().join(format!("{name}.mp4"))).unwrap();
    assert!(copy == s3.object(&key).1, "byte for byte, {} of them", copy.len());
    assert!(!s3.unfinished().contains(&key), "nothing is left over");
    let begun = s3.asked(&format!("POST /bucket/{key}?uploads"));
    // One that was under way at the kill may be seen twice; the one that was known to be there may not.
    let first = s3.asked(&format!("PUT /bucket/{key}?partNumber=1&"));
    assert_eq!((begun, first), (1, 1), "{:#?}", server.process.said());
}
