//! Streams that the server fetches by HLS: FFmpeg's lists on a plain server of files, and those of another of ours.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::origin::Connection;
use super::support::{PATIENCE, Process, Server, free_port, test_tool, tool};

const STREAM: &str = "door";
const SOURCE: &str = "SIGHTLINE_STREAM_DOOR_SOURCE";

/// Serves the files of a folder, knows no ranges, and gives no end to what is called `endless.ts`; its port.
fn files(folder: &Path) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let folder = folder.clone();
            std::thread::spawn(move || answer(socket, &folder));
        }
    });
    port
}

fn answer(mut socket: std::net::TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(socket.try_clone()?).lines();
    while let Some(Ok(request)) = lines.next() {
        while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
        let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        if path == "endless.ts" {
            write!(socket, "HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                socket.write_all(&[0x47; 18_800])?;
            }
        }
        match std::fs::read(folder.join(path)) {
            Ok(bytes) => {
                write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
                socket.write_all(&bytes)?;
            }
            Err(_) => write!(socket, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
        }
    }
    Ok(())
}

/// FFmpeg that writes a live list with segments of a second.
fn record(folder: &Path, options: &str) -> Process {
    let mut command = tool("ffmpeg");
    command.args(
        "-nostdin -v error -re -f lavfi -i testsrc=size=320x240:rate=30 -re -f lavfi -i sine=frequency=440".split(' '),
    );
    command.args("-c:v libx264 -preset ultrafast -g 30 -pix_fmt yuv420p -c:a aac -f hls -hls_time 1".split(' '));
    let process = Process::start(command.args(options.split(' ')).arg(folder.join("live.m3u8")));
    let begun = std::time::Instant::now();
    while !folder.join("live.m3u8").exists() {
        assert!(begun.elapsed() < PATIENCE, "FFmpeg writes no list");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    process
}

#[test]
fn lists_of_ffmpeg_are_fetched() {
    for (options, list) in [
        ("-hls_flags delete_segments+program_date_time", "live.m3u8"),
        (
            "-hls_segment_type fmp4 -hls_flags delete_segments -master_pl_name all.m3u8",
            "all.m3u8",
        ),
        ("-hls_flags single_file", "live.m3u8"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let _ffmpeg = record(folder.path(), options);
        let url = format!("http://127.0.0.1:{}/{list}", files(folder.path()));
        let mut fetching = Server::start_with(&[], &[(SOURCE, &url)]);
        fetching.wait_for_event("source runs", STREAM);
        let tracks = fetching.played(STREAM, 3);
        assert!(
            tracks.len() == 2 && tracks[0].contains("h264") && tracks[1].contains("aac"),
            "{options}: {tracks:#?}"
        );
        assert!(fetching.events("source failed", STREAM).is_empty(), "{options}");
    }
}

#[test]
fn another_of_ours_is_fetched_and_its_end_is_told() {
    let camera = Server::start_with(&["--source", "test"], &[("SIGHTLINE_OPEN", "true")]);
    let url = format!("http://127.0.0.1:{}/zerolatency/index.m3u8", camera.port_of("hls_port"));
    let mut fetching = Server::start_with(&[], &[(SOURCE, &url)]);
    fetching.wait_for_event("source runs", STREAM);
    assert_eq!(fetching.played(STREAM, 3).len(), 1);
    drop(camera);
    fetching.wait_for_event("source failed", STREAM);
}

/// By whole segments of four seconds pictures would be older than that.
#[test]
fn parts_are_fetched_as_they_come() {
    let variables = [
        ("SIGHTLINE_OPEN", "true"),
        ("SIGHTLINE_HLS_SEGMENT_DURATION", "4s"),
        ("SIGHTLINE_CAMERA_GOP", "60"),
    ];
    let camera = Server::start_with(&["--source", "test"], &variables);
    let url = format!("http://127.0.0.1:{}/zerolatency/index.m3u8", camera.port_of("hls_port"));
    let mut fetching = Server::start_with(&[], &[(SOURCE, &url), ("SIGHTLINE_OPEN", "true")]);
    fetching.wait_for_event("source runs", STREAM);
    assert_eq!(fetching.played(STREAM, 6).len(), 1);
    let answer = Connection::new(fetching.port_of("http_port")).get(&format!("/api/v1/streams/{STREAM}"));
    let stream: Value = serde_json::from_slice(&answer.body).unwrap();
    let age_ms = stream["latency"]["to_server_ms"].as_f64().unwrap();
    println!("pictures were {age_ms} ms old when they were there");
    assert!(age_ms < 2_500.0, "{age_ms} ms: {stream}");
    assert!(fetching.events("source failed", STREAM).is_empty());
}

/// FFmpeg that writes pictures and sound to lists of their own; the list of both.
fn record_apart(folder: &Path, kind: &str) -> Process {
    let mut command = tool("ffmpeg");
    command.args(
        "-nostdin -v error -re -f lavfi -i testsrc=size=320x240:rate=30 -re -f lavfi -i sine=frequency=440".split(' '),
    );
    command.args("-map 0:v -map 1:a -c:v libx264 -preset ultrafast -g 30 -pix_fmt yuv420p -c:a aac".split(' '));
    command.args(["-f", "hls", "-hls_time", "1", "-hls_segment_type", kind]);
    command.args(["-var_stream_map", "a:0,agroup:snd,default:yes v:0,agroup:snd"]);
    command.args(["-master_pl_name", "all.m3u8"]);
    let process = Process::start(command.arg(folder.join("live_%v.m3u8")));
    let begun = std::time::Instant::now();
    while ["all.m3u8", "live_0.m3u8", "live_1.m3u8"]
        .iter()
        .any(|list| !folder.join(list).exists())
    {
        assert!(
            begun.elapsed() < PATIENCE,
            "FFmpeg writes no lists: {:?}",
            process.said()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    process
}

#[test]
fn sound_in_a_list_of_its_own_is_fetched_too() {
    for kind in ["fmp4", "mpegts"] {
        let folder = tempfile::tempdir().unwrap();
        let _ffmpeg = record_apart(folder.path(), kind);
        let url = format!("http://127.0.0.1:{}/all.m3u8", files(folder.path()));
        let mut fetching = Server::start_with(&[], &[(SOURCE, &url)]);
        fetching.wait_for_event("source runs", STREAM);
        let tracks = fetching.played(STREAM, 5);
        assert!(
            tracks.len() == 2 && tracks[0].contains("h264") && tracks[1].contains("aac"),
            "{kind}: {tracks:#?}"
        );
        assert!(fetching.events("source failed", STREAM).is_empty(), "{kind}");
    }
}

/// Pictures go on without it.
#[test]
fn sound_that_is_not_to_be_had_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let _ffmpeg = record_apart(folder.path(), "fmp4");
    let all = std::fs::read_to_string(folder.path().join("all.m3u8")).unwrap();
    assert!(all.contains("URI=\"live_0.m3u8\""), "{all}");
    std::fs::write(
        folder.path().join("mute.m3u8"),
        all.replace("URI=\"live_0", "URI=\"gone"),
    )
    .unwrap();
    let url = format!("http://127.0.0.1:{}/mute.m3u8", files(folder.path()));
    let mut fetching = Server::start_with(&[], &[(SOURCE, &url)]);
    fetching.wait_for_event("source runs", STREAM);
    assert_eq!(fetching.played(STREAM, 3).len(), 1);
    let said = fetching.process.said().join("\n");
    assert!(said.contains("its sound is not to be had"), "{said}");
    assert!(fetching.events("source failed", STREAM).is_empty());
}

/// It is left out with all that follows, whether its list goes on or has ended; pictures go on without it.
#[test]
fn sound_of_another_clock_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tool("ffmpeg");
    command.args(
        "-nostdin -v error -re -f lavfi -i testsrc=size=320x240:rate=30 -re -f lavfi -i sine=frequency=440".split(' '),
    );
    command.args("-map 0:v -c:v libx264 -preset ultrafast -g 30 -pix_fmt yuv420p -f hls -hls_time 1".split(' '));
    command.arg(folder.path().join("pictures.m3u8"));
    command.args("-map 1:a -c:a aac -output_ts_offset 60 -f hls -hls_time 1".split(' '));
    let ffmpeg = Process::start(command.arg(folder.path().join("sound.m3u8")));
    let begun = std::time::Instant::now();
    while ["pictures.m3u8", "sound.m3u8"]
        .iter()
        .any(|list| !folder.path().join(list).exists())
    {
        assert!(
            begun.elapsed() < PATIENCE,
            "FFmpeg writes no lists: {:?}",
            ffmpeg.said()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut sound = std::fs::read_to_string(folder.path().join("sound.m3u8")).unwrap();
    sound.push_str("#EXT-X-ENDLIST\n");
    std::fs::write(folder.path().join("ended.m3u8"), sound).unwrap();
    let port = files(folder.path());
    for sound in ["sound.m3u8", "ended.m3u8"] {
        let all = format!(
            "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"snd\",NAME=\"a\",DEFAULT=YES,URI=\"{sound}\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=300000,AUDIO=\"snd\"\npictures.m3u8\n"
        );
        std::fs::write(folder.path().join("all.m3u8"), all).unwrap();
        let url = format!("http://127.0.0.1:{port}/all.m3u8");
        let mut fetching = Server::start_with(&[], &[(SOURCE, &url)]);
        fetching.wait_for_event("source runs", STREAM);
        assert_eq!(fetching.played(STREAM, 4).len(), 1, "{sound}");
        let said = fetching.process.said().join("\n");
        assert!(said.contains("it is left out"), "{sound}: {said}");
        assert!(fetching.events("source failed", STREAM).is_empty(), "{sound}: {said}");
    }
}

/// LL-HLS of another make: parts, hints, and sound in a list of its own.
#[test]
fn mediamtx_is_fetched_by_parts_with_its_sound() {
    let folder = tempfile::tempdir().unwrap();
    let [rtsp, hls] = [free_port(), free_port()];
    let settings = format!(
        "rtmp: no\nsrt: no\nwebrtc: no\nmoq: no\nrtspTransports: [tcp]\nrtspAddress: 127.0.0.1:{rtsp}\nhlsAddress: 127.0.0.1:{hls}\nhlsAlwaysRemux: yes\npaths:\n  all_others:\n"
    );
    std::fs::write(folder.path().join("mediamtx.yml"), settings).unwrap();
    let mut command = std::process::Command::new(test_tool("mediamtx"));
    let mut theirs = Process::start(command.arg("mediamtx.yml").current_dir(folder.path()));
    theirs.collect_stdout();
    theirs.wait_for("HLS", |line| line.contains("[HLS] started with listener").then_some(()));
    let mut command = tool("ffmpeg");
    command.args(
        "-nostdin -v error -re -f lavfi -i testsrc=size=320x240:rate=30 -re -f lavfi -i sine=frequency=440".split(' '),
    );
    command.args("-c:v libx264 -preset ultrafast -tune zerolatency -g 30 -pix_fmt yuv420p -c:a aac".split(' '));
    command.args(["-f", "rtsp", "-rtsp_transport", "tcp"]);
    let _publisher = Process::start(command.arg(format!("rtsp://127.0.0.1:{rtsp}/cam")));
    theirs.wait_for("a muxer", |line| line.contains("[HLS] [muxer cam]").then_some(()));
    let url = format!("http://127.0.0.1:{hls}/cam/index.m3u8");
    let mut fetching = Server::start_with(&[], &[(SOURCE, &url), ("SIGHTLINE_OPEN", "true")]);
    fetching.wait_for_event("source runs", STREAM);
    let tracks = fetching.played(STREAM, 6);
    assert!(
        tracks.len() == 2 && tracks[0].contains("h264") && tracks[1].contains("aac"),
        "{tracks:#?}"
    );
    let answer = Connection::new(fetching.port_of("http_port")).get(&format!("/api/v1/streams/{STREAM}"));
    let stream: Value = serde_json::from_slice(&answer.body).unwrap();
    println!("pictures were {} ms old", stream["latency"]["to_server_ms"]);
    assert!(fetching.events("source failed", STREAM).is_empty());
}

#[test]
fn what_cannot_be_played_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let port = files(folder.path());
    let list = |name: &str, text: &str| {
        let path: PathBuf = folder.path().join(name);
        std::fs::write(path, format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n{text}")).unwrap();
    };
    list("key.m3u8", "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:1,\na.ts\n");
    list("loop.m3u8", "#EXT-X-STREAM-INF:BANDWIDTH=1\nloop.m3u8\n");
    list(
        "av1.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"av01.0.04M.08\"\na.m3u8\n",
    );
    list("endless.m3u8", "#EXTINF:1,\nendless.ts\n");
    list("text.m3u8", "#EXTINF:1,\ntext.m3u8\n");
    list("file.m3u8", "#EXTINF:1,\nfile:///etc/passwd\n");
    list("empty.m3u8", "#EXTINF:1,\nnone.ts\n#EXT-X-ENDLIST\n");
    for (name, reason) in [
        ("key.m3u8", "encrypted (AES-128)"),
        ("loop.m3u8", "lead to lists of variants"),
        ("av1.m3u8", "none of its variants is in H.264 or H.265: av01.0.04M.08"),
        ("endless.m3u8", "sends more than 33554432 bytes"),
        ("text.m3u8", "neither MPEG-TS nor fragmented MP4"),
        ("file.m3u8", "not to be had by HTTP"),
        ("empty.m3u8", "says that the stream has ended"),
        ("none.m3u8", "404 Not Found"),
    ] {
        let url = format!("http://127.0.0.1:{port}/{name}");
        let mut fetching = Server::start_with(&[], &[(SOURCE, &url)]);
        fetching.wait_for_event("source failed", STREAM);
        let event = fetching.events("source failed", STREAM).swap_remove(0);
        let said = event["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{name}: {said}");
    }
}
