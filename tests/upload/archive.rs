//! Recordings that go to S3 and then from this disk.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;
use serde_json::Value;

use super::support::{Process, h264_of_ffmpeg, tool};
use super::{Own, S3, events, files, wait_until};

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

/// A camera with a keyframe every two seconds, of which files have no index, and what is archived of it.
const CAMERA: &str = "[camera.cam]\nsource = \"test\"\nsize = \"320x240\"\nfps = 10\ngop = 20\n[record]\nenabled = true\nsegment = \"2s\"\n";
const ARCHIVE: &str = "archive = \"s3://bucket/rec\"\narchive_after = \"3s\"\n";

/// The database in which `sightline` keeps one of its tables.
fn database(folder: &Path, name: &str) -> Connection {
    Connection::open(folder.join("state").join(name)).unwrap()
}

/// Pictures that FFmpeg finds in it.
fn pictures(input: &str) -> u32 {
    let mut probe = tool("ffprobe");
    probe.args("-v error -count_frames -select_streams v -show_entries stream=nb_read_frames -of csv=p=0".split(' '));
    let output = probe.arg(input).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout)
        .trim()
        .trim_matches(',')
        .to_owned();
    // Of lists it names the program, too.
    let first = text.lines().next().unwrap_or_default().to_owned();
    first
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {text}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The catalogue is of before, and the bucket is not what it was: the last copy of a recording stays.
#[test]
fn what_the_bucket_lost_is_sent_again_before_it_is_deleted_here() {
    let s3 = S3::start(None);
    let endpoint = s3.endpoint();
    let folder = tempfile::tempdir().unwrap();
    let server = Own::start(folder.path(), CAMERA, &[]);
    wait_until("files", &server.process, || recorded(folder.path()).len() >= 4);
    server.process.signal(Signal::TERM);
    server.process.finish();
    let index = database(folder.path(), "recordings.sqlite");
    let mut rows = index
        .prepare("SELECT segment.id, start_90k, start_90k + duration_90k, bytes, path FROM segment WHERE state = 1")
        .unwrap();
    let rows: Vec<(i64, i64, i64, i64, String)> = rows
        .query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(rows.len() >= 4, "{rows:?}");
    // As the first version of the catalogue has it.
    let catalogue = database(folder.path(), "archive.sqlite");
    let tables = "CREATE TABLE archived (camera TEXT NOT NULL, start_90k INTEGER NOT NULL, segment INTEGER NOT NULL,
            end_90k INTEGER NOT NULL, bytes INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (camera, start_90k, segment)) STRICT, WITHOUT ROWID;
        CREATE TABLE upload (one INTEGER PRIMARY KEY CHECK (one = 1), segment INTEGER NOT NULL, start_90k INTEGER NOT NULL,
            bytes INTEGER NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL) STRICT;
        CREATE TABLE part (number INTEGER PRIMARY KEY, etag TEXT NOT NULL) STRICT;
        PRAGMA user_version = 1;";
    catalogue.execute_batch(tables).unwrap();
    let key = |id: i64, path: &str| format!("rec/{}-{id}.mp4", path.trim_end_matches(".mp4"));
    for (id, start, end, bytes, path) in &rows {
        let values = (start, id, end, bytes, key(*id, path));
        let sql = "INSERT INTO archived VALUES ('cam', ?1, ?2, ?3, ?4, ?5)";
        catalogue.execute(sql, values).unwrap();
    }
    drop(catalogue);
    let server = Own::start(folder.path(), CAMERA, &[]);
    wait_until("it is taken over", &server.process, || {
        server.get("/api/v1/recordings?camera=cam")["archived"].is_array()
    });
    server.process.signal(Signal::TERM);
    server.process.finish();
    // Of those that were sent since, the tag is known. One is there as it was, one is another there, the others are not.
    let local = |path: &str| folder.path().join("state/recordings").join(path);
    let same = key(rows[0].0, &rows[0].4);
    let tag = s3.put_bytes(&same, &fs::read(local(&rows[0].4)).unwrap());
    s3.put(&key(rows[1].0, &rows[1].4), "not what was recorded");
    let catalogue = database(folder.path(), "archive.sqlite");
    let tagged = catalogue.execute("UPDATE archived SET etag = ?1 WHERE segment != ?2", (&tag, rows[3].0));
    assert_eq!(tagged.unwrap(), rows.len() - 1);
    drop(catalogue);
    let server = Own::start(folder.path(), &format!("{CAMERA}{ARCHIVE}"), &s3.variables(&endpoint));
    wait_until("they go", &server.process, || {
        rows.iter().all(|(.., path)| !local(path).exists())
    });
    for (id, _, _, bytes, path) in &rows {
        let (head, object) = s3.object(&key(*id, path));
        assert_eq!(object.len() as i64, *bytes, "{path}: {head}");
    }
    assert_eq!(s3.asked(&format!("PUT /bucket/{same}")), 1, "it is not sent again");
}

/// A key that lies on a disk that is mounted late, or that somebody forgot: said once, and then it goes.
#[test]
fn a_key_that_comes_later_is_taken() {
    let s3 = S3::start(None);
    let endpoint = s3.endpoint();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let settings = format!(
        "{CAMERA}{ARCHIVE}[s3]\nendpoint = {endpoint:?}\naccess_key_id = \"AKIAEXAMPLE\"\nsecret_access_key_file = {:?}\n",
        file.display().to_string()
    );
    let server = Own::start(folder.path(), &settings, &[]);
    wait_until("a file", &server.process, || recorded(folder.path()).len() >= 2);
    let metrics = || String::from_utf8(server.ask("GET", "/metrics", "").1).unwrap();
    assert!(metrics().contains("sightline_archive_failing 1"), "{}", metrics());
    fs::write(&file, "s3cret\n").unwrap();
    wait_until("the archive", &server.process, || !s3.keys().is_empty());
    assert_eq!(events(&server.process, "nothing is archived").len(), 1);
    assert!(metrics().contains("sightline_archive_failing 0"), "{}", metrics());
}

/// When a recording begins and ends, by its number: microseconds.
fn range_of(recording: &Value) -> (i64, i64) {
    let (_, range) = recording["id"].as_str().unwrap().rsplit_once('@').unwrap();
    let (start, end) = range.split_once('-').unwrap();
    (start.parse().unwrap(), end.parse().unwrap())
}

/// Waits until so many milliseconds are archived and not here any more: as MP4 and as a list of HLS.
fn archived(server: &Own, ms: i64) -> (String, String) {
    let mut found = (String::new(), String::new());
    wait_until("what is archived", &server.process, || {
        let told = server.get("/api/v1/recordings?camera=cam");
        let Some(first) = told["archived"].get(0) else {
            return false;
        };
        let url = |name: &str| first[name].as_str().unwrap().to_owned();
        found = (url("url"), url("hls"));
        let is_gone = told["recordings"]
            .get(0)
            .is_none_or(|here| range_of(here).0 + 1_000 >= range_of(first).1);
        first["duration_ms"].as_i64().unwrap() >= ms && is_gone
    });
    found
}

#[test]
fn archived_recordings_are_played_from_the_bucket() {
    let mut s3 = S3::start(None);
    let endpoint = s3.endpoint();
    let folder = tempfile::tempdir().unwrap();
    let server = Own::start(folder.path(), &format!("{CAMERA}{ARCHIVE}"), &s3.variables(&endpoint));
    // As it is while it is here.
    let mut start = String::new();
    wait_until("a recording", &server.process, || {
        let told = server.get("/api/v1/recordings?camera=cam");
        let first = &told["recordings"][0];
        start = first["start"].as_str().unwrap_or_default().to_owned();
        first["duration_ms"].as_i64().is_some_and(|ms| ms >= 6_000)
    });
    let clip = format!("/api/v1/recordings/cam/clip.mp4?start={start}&duration=3.5");
    let (_, here) = server.ask("GET", &clip, "");
    let frame = format!("/api/v1/recordings/cam/frame.jpg?at={start}");
    let (_, picture) = server.ask("GET", &frame, "");
    let (url, hls) = archived(&server, 6_000);
    let (head, there) = server.ask("GET", &clip, "");
    assert!(head.starts_with("HTTP/1.1 200") && there.len() > 10_000, "{head}");
    assert!(
        here == there,
        "{} bytes were here, {} are there",
        here.len(),
        there.len()
    );
    assert!(server.ask("GET", &frame, "").1 == picture && picture.starts_with(&[0xff, 0xd8]));
    let all = pictures(&server.url(&url));
    assert!(all >= 50, "{all}");
    assert_eq!(pictures(&server.url(&hls)), all);
    let get = format!("/get?path=cam&start={start}&duration=1.5");
    assert!((14..all).contains(&pictures(&server.url(&get))));
    // What is archived and what is here, as one.
    let both = format!("/api/v1/recordings/cam/clip.mp4?start={start}&duration=3600");
    assert!(pictures(&server.url(&both)) > all);
    // An export.
    let wish = format!("{{\"camera\":\"cam\",\"start\":{start:?},\"duration\":4}}");
    let (head, made) = server.ask("POST", "/api/v1/exports", &wish);
    assert!(head.starts_with("HTTP/1.1 202"), "{head}");
    let made: Value = serde_json::from_slice(&made).unwrap();
    let export = format!("/api/v1/exports/{}", made["exports"][0]["id"].as_str().unwrap());
    let mut told = Value::Null;
    wait_until("the export", &server.process, || {
        told = server.get(&export);
        told["state"] == "done" || told["state"] == "failed"
    });
    assert_eq!(
        (&told["state"], &told["gaps"]),
        (&"done".into(), &serde_json::json!([])),
        "{told}"
    );
    assert!((35..=all).contains(&pictures(&server.url(&format!("{export}/media")))));
    let one = s3.keys().remove(0);
    assert!(s3.asked(&format!("GET /bucket/{one}")) > 0, "ranges are asked for");
    s3.kill();
    let (head, body) = server.ask("GET", &clip, "");
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(
        head.starts_with("HTTP/1.1 503") && head.to_ascii_lowercase().contains("retry-after"),
        "{head}"
    );
    assert!(
        body.contains("archive-unreachable") && !body.contains("127.0.0.1"),
        "{body}"
    );
    // What is here is played all the same.
    let here = server.get("/api/v1/recordings?camera=cam");
    let last = here["recordings"].as_array().unwrap().last().unwrap()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(pictures(&server.url(&last)) >= 1);
}

/// The catalogue is lost, or rots: what lies in the bucket tells what it was, also of files that have no index.
#[test]
fn a_catalogue_is_made_anew_of_what_lies_in_the_bucket() {
    let s3 = S3::start(None);
    let endpoint = s3.endpoint();
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("{CAMERA}{ARCHIVE}");
    let mut server = Own::start(folder.path(), &settings, &s3.variables(&endpoint));
    let (url, hls) = archived(&server, 4_000);
    let all = pictures(&server.url(&url));
    for foreign in ["rec/notes-1.mp4", "rec/cam/notes.txt", "rec/-5.mp4", "rec/empty-7.mp4"] {
        s3.put(foreign, if foreign.contains("empty") { "" } else { "somebody's" });
    }
    // As consoles make folders: the last name of all.
    s3.put("rec/zoo/", "");
    for how in ["lost", "rotten"] {
        server.process.signal(Signal::TERM);
        server.process.finish();
        let catalogue = folder.path().join("state/archive.sqlite");
        for ending in ["-wal", "-shm"] {
            let _ = fs::remove_file(folder.path().join(format!("state/archive.sqlite{ending}")));
        }
        match how {
            "lost" => fs::remove_file(&catalogue).unwrap(),
            _ => fs::write(&catalogue, vec![7; 20_000]).unwrap(),
        }
        server = Own::start(folder.path(), &settings, &s3.variables(&endpoint));
        wait_until("what is archived", &server.process, || {
            let (head, _) = server.ask("GET", &url, "");
            head.starts_with("HTTP/1.1 200")
        });
        // A file begins and ends by its own clock then, which may be some milliseconds off: a list goes on behind that.
        wait_until("all of it", &server.process, || pictures(&server.url(&hls)) >= all);
        wait_until("it ends", &server.process, || {
            let left =
                database(folder.path(), "archive.sqlite")
                    .query_row("SELECT count(*) FROM remaking", [], |row| row.get::<_, i64>(0));
            left == Ok(0)
        });
    }
    assert!(folder.path().join("state/archive.sqlite.unreadable-1").exists());
    assert_eq!(events(&server.process, "made anew of what lies in the bucket").len(), 1);
}
