//! Pictures of live streams.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{ChildStdout, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use media::{WallTime, stamp};
use rustix::process::Signal;
use serde_json::Value;

use super::support::{Process, Server, publish_with_ffmpeg, tool};
use super::{command, example, names, run, said};

fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    WallTime::from_unix_micros(i64::try_from(since.as_micros()).unwrap())
}

/// A picture that was read from a pipe: its header and its bytes.
fn next(pipe: &mut BufReader<ChildStdout>) -> Option<(Value, Vec<u8>)> {
    let mut line = String::new();
    pipe.read_line(&mut line).unwrap();
    let header: Value = serde_json::from_str(&line).ok()?;
    let mut bytes = vec![0; usize::try_from(header["bytes"].as_u64().unwrap()).unwrap()];
    pipe.read_exact(&mut bytes).ok()?;
    Some((header, bytes))
}

fn number(header: &Value, key: &str) -> i64 {
    header[key].as_i64().unwrap_or_else(|| panic!("{key} of {header}"))
}

/// When the picture says that it was taken.
fn drawn(header: &Value, grey: &[u8]) -> WallTime {
    let (width, height) = (number(header, "width") as u32, number(header, "height") as u32);
    let reading = stamp::read(grey, width as usize, width, height, wall());
    reading.expect("the stamp cannot be read").time
}

fn frames(server: &Server, name: &str, arguments: &[&str]) -> (Process, BufReader<ChildStdout>) {
    let folder = std::env::temp_dir();
    let url = server.url(name);
    let mut process = Process::start(command(&folder, &["frames", &url]).args(arguments));
    let pipe = BufReader::with_capacity(1, process.stdout());
    (process, pipe)
}

#[test]
fn rate_size_and_times_are_those_that_were_asked_for() {
    let server = Server::start(&["--source", "test"]);
    let (process, mut pipe) = frames(
        &server,
        "zerolatency",
        &["--fps", "5", "--format", "gray", "--header", "--count", "20"],
    );
    let mut times = Vec::new();
    while let Some((header, grey)) = next(&mut pipe) {
        assert_eq!((number(&header, "width"), number(&header, "height")), (640, 480));
        assert_eq!((grey.len(), header["format"].as_str()), (640 * 480, Some("gray")));
        assert_eq!(
            (number(&header, "index"), &header["clock"]),
            (times.len() as i64, &Value::from("camera"))
        );
        let captured = WallTime::from_unix_micros(number(&header, "captured_us"));
        assert_eq!(header["captured"].as_str(), Some(captured.to_rfc3339().as_str()));
        // The same picture, to the millisecond of the stamp.
        let off_us = captured.micros_since(drawn(&header, &grey));
        assert!(off_us.abs() < 2_000, "{off_us} µs");
        times.push(captured);
    }
    assert_eq!(times.len(), 20);
    assert!(process.finish().0.success());
    let mut steps: Vec<i64> = times.windows(2).map(|pair| pair[1].micros_since(pair[0])).collect();
    steps.sort_unstable();
    let median = steps[steps.len() / 2];
    assert!((150_000..250_000).contains(&median), "{steps:?}");
}

#[test]
fn each_format_is_what_it_is_called() {
    let server = Server::start(&["--source", "test"]);
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("zerolatency");
    for (format, bytes) in [
        ("bgr24", 320 * 240 * 3),
        ("gray", 320 * 240),
        ("yuv420p", 320 * 240 * 3 / 2),
    ] {
        let output = run(
            folder.path(),
            &[
                "frames", &url, "--format", format, "--width", "320", "--count", "2", "--fps", "all",
            ],
        );
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(output.stdout.len(), 2 * bytes, "{format}");
        assert!(said(&output).contains("height=240"), "{}", said(&output));
    }
    let output = run(folder.path(), &["frames", &url, "--count", "3", "--fps", "10"]);
    // As FFmpeg reads JPEGs that follow each other.
    std::fs::write(folder.path().join("all.mjpeg"), &output.stdout).unwrap();
    let mut probe = tool("ffprobe");
    probe.args("-v error -count_frames -show_entries stream=nb_read_frames,width,height -of csv=p=0".split(' '));
    let probed = probe.arg(folder.path().join("all.mjpeg")).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&probed.stdout).trim(),
        "640,480,3",
        "{}",
        said(&output)
    );
}

/// However long a program takes for a picture, the next one it reads is of the time at which it was ready for it.
#[test]
fn a_slow_program_gets_the_newest() {
    let server = Server::start(&["--source", "test"]);
    for format in ["gray", "jpeg"] {
        let (_process, mut pipe) = frames(
            &server,
            "zerolatency",
            &["--fps", "all", "--format", format, "--header"],
        );
        let (mut ready, mut dropped, mut late) = (None, 0, Vec::new());
        for _ in 0..8 {
            let (header, _) = next(&mut pipe).unwrap();
            let captured = WallTime::from_unix_micros(number(&header, "captured_us"));
            if let Some(ready) = ready.replace(wall()) {
                late.push(captured.micros_since(ready));
            }
            dropped = number(&header, "dropped");
            std::thread::sleep(Duration::from_millis(400));
        }
        late.sort_unstable();
        // Of 12 pictures that come meanwhile it is the first, and not one of those before it: nothing waits in a queue.
        let median = late[late.len() / 2];
        assert!((-400_000..400_000).contains(&median), "{format}: {late:?}");
        assert!(dropped >= 40, "{format}: {dropped} of some 90 pictures were left out");
    }
}

#[test]
fn keyframes_alone_where_that_is_enough() {
    let mut server = Server::start(&[]);
    let _camera = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
    let folder = tempfile::tempdir().unwrap();
    let output = run(
        folder.path(),
        &[
            "frames",
            &server.url("cam"),
            "--fps",
            "keyframes",
            "--count",
            "4",
            "--to",
            "k",
            "--quality",
            "95",
        ],
    );
    assert!(output.status.success(), "{}", said(&output));
    let files = names(&folder.path().join("k"));
    assert!(
        files.len() == 4
            && files
                .iter()
                .all(|name| name.starts_with("frame_2") && name.ends_with(".jpg"))
    );
    let (process, mut pipe) = frames(
        &server,
        "cam",
        &["--fps", "1", "--format", "gray", "--header", "--count", "5"],
    );
    let mut times = Vec::new();
    while let Some((header, _)) = next(&mut pipe) {
        times.push(number(&header, "captured_us"));
    }
    assert!(process.finish().0.success());
    let span = times[4] - times[0];
    assert!((3_000_000..5_500_000).contains(&span), "{times:?}");
}

#[test]
fn the_example_sees_what_moves() {
    let server = Server::start(&["--source", "test"]);
    let script = example("frames_opencv.py");
    let folder = tempfile::tempdir().unwrap();
    let (_process, pipe) = frames(
        &server,
        "zerolatency",
        &["--fps", "5", "--format", "bgr24", "--header", "--count", "10"],
    );
    let output = tool("/usr/bin/python3")
        .arg(script)
        .stdin(pipe.into_inner())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.lines().count() == 9,
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.lines().all(|line| line.ends_with("% changed")), "{text}");
    assert!(text.lines().any(|line| !line.contains(" 0.0%")), "{text}");
    drop(folder);
}

#[test]
fn commands_that_fail_or_hang_hold_up_nothing() {
    let server = Server::start(&["--source", "test"]);
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("zerolatency");
    let look = "echo $FRAME_INDEX $FRAME_WIDTH $FRAME_CLOCK $(head -c 3 \"$1\" | od -An -tx1) >> list; [ $2 != 1 ] || sleep 60; [ $2 != 2 ]";
    let output = run(
        folder.path(),
        &[
            "frames",
            &url,
            "--fps",
            "10",
            "--count",
            "5",
            "--timeout",
            "5s",
            "--",
            "sh",
            "-c",
            look,
            "sh",
            "{}",
            "{index}",
        ],
    );
    let list = std::fs::read_to_string(folder.path().join("list")).unwrap();
    let expected: Vec<String> = (0..5).map(|n| format!("{n} 640 camera ff d8 ff")).collect();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(list.lines().collect::<Vec<_>>(), expected);
    assert!(said(&output).contains("it took longer than 5 s"), "{}", said(&output));
    // Nothing is left where the pictures were.
    assert_eq!(names(folder.path()), ["list"]);
    // One that reads all, and what it ends with.
    for (script, code) in [("head -c 1000 >/dev/null", 0), ("head -c 1000 >/dev/null; exit 3", 1)] {
        let output = run(
            folder.path(),
            &["frames", &url, "--fps", "10", "--", "sh", "-c", script],
        );
        assert_eq!(output.status.code(), Some(code), "{script}: {}", said(&output));
    }
    let output = run(folder.path(), &["frames", &url, "--", "/no/such/program"]);
    assert!(
        output.status.code() == Some(1) && said(&output).contains("program: cannot be started"),
        "{}",
        said(&output)
    );
}

/// What it does behind the last picture takes its time; one that takes longer is ended, which is a failure.
#[test]
fn a_command_that_reads_all_has_time_to_end() {
    let server = Server::start(&["--source", "test"]);
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("zerolatency");
    let script = "cat > all; sleep 2; wc -c < all > done";
    let frames = |more: &[&str], script: &str| {
        let arguments = [
            &["frames", &url, "--format", "gray", "--fps", "10"],
            more,
            &["--", "sh", "-c", script],
        ]
        .concat();
        run(folder.path(), &arguments)
    };
    // The duration has the start in it, and the first keyframe.
    for more in [&["--count", "2"][..], &["--duration", "10s"]] {
        let output = frames(more, script);
        assert!(output.status.success(), "{more:?}: {}", said(&output));
        let bytes = std::fs::read_to_string(folder.path().join("done")).unwrap();
        let bytes: usize = bytes.trim().parse().unwrap();
        assert!(
            bytes >= 2 * 640 * 480 && bytes.is_multiple_of(640 * 480),
            "{more:?}: {bytes}"
        );
        std::fs::remove_file(folder.path().join("done")).unwrap();
    }
    let output = frames(&["--count", "2"], "cat > all; exit 7");
    assert!(
        output.status.code() == Some(1) && said(&output).contains("exit status: 7"),
        "{}",
        said(&output)
    );
    let output = frames(&["--count", "2", "--timeout", "1s"], "cat > all; sleep 60");
    assert!(
        output.status.code() == Some(1) && said(&output).contains("it took longer than 1 s to end"),
        "{}",
        said(&output)
    );
    // Who is told to end does not wait for it.
    let arguments = [
        "frames",
        &url,
        "--count",
        "2",
        "--",
        "sh",
        "-c",
        "cat > all; touch waits; sleep 60",
    ];
    let process = Process::start(&mut command(folder.path(), &arguments));
    let begun = Instant::now();
    while !folder.path().join("waits").exists() {
        assert!(begun.elapsed() < super::support::PATIENCE, "{:#?}", process.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    process.signal(Signal::TERM);
    let (status, said) = process.finish_within(Duration::from_secs(5));
    assert!(status.success(), "{said:#?}");
}

/// All of its pictures, by one FFmpeg, soon.
#[test]
fn h265_is_shown_as_it_comes() {
    let mut server = Server::start(&[]);
    let options = "-c:v libx265 -preset ultrafast -tune zerolatency -x265-params log-level=none:keyint=60 -s 320x240";
    let _camera = super::support::publish_encoded_with_ffmpeg(&mut server, "cam", "tcp", options);
    let (process, mut pipe) = frames(
        &server,
        "cam",
        &["--fps", "10", "--format", "gray", "--header", "--count", "40"],
    );
    let (mut times, mut ages_ms) = (Vec::new(), Vec::new());
    while let Some((header, grey)) = next(&mut pipe) {
        let size = number(&header, "width") * number(&header, "height");
        assert_eq!(grey.len() as i64, size);
        times.push(number(&header, "captured_us"));
        ages_ms.push((wall().unix_micros() - number(&header, "captured_us")) / 1_000);
    }
    let (status, said) = process.finish();
    assert!(status.success() && times.len() == 40, "{said:#?}");
    // Of the first pictures it is not known when they were captured, but when they came.
    let mut steps: Vec<i64> = times[5..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    assert!((60_000..140_000).contains(&steps[steps.len() / 2]), "{steps:?}");
    // Since they came here; a frame interval is 33 ms, and the machine has other things to do.
    ages_ms.sort_unstable();
    println!("H.265, from arrival to the pipe: {ages_ms:?} ms");
    assert!(ages_ms[20] < 500, "{ages_ms:?}");
}

/// Its frames come in another order than its pictures, of which as many are wanted as from any other stream.
#[test]
fn h265_that_reorders_comes_as_often_as_is_asked_for() {
    let mut server = Server::start(&[]);
    let options = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=60:bframes=3:b-adapt=0 -s 320x240";
    let _camera = super::support::publish_encoded_with_ffmpeg(&mut server, "cam", "tcp", options);
    let (process, mut pipe) = frames(
        &server,
        "cam",
        &["--fps", "20", "--format", "gray", "--header", "--count", "80"],
    );
    let mut times = Vec::new();
    while let Some((header, _)) = next(&mut pipe) {
        times.push(number(&header, "captured_us"));
    }
    let (status, said) = process.finish();
    assert!(status.success() && times.len() == 80, "{said:#?}");
    // What the stream begins with was there before.
    let times = &times[20..];
    let per_second = 59e6 / (times[59] - times[0]) as f64;
    assert!((17.0..23.0).contains(&per_second), "{per_second} a second: {times:?}");
}

#[test]
fn h265_without_an_ffmpeg_says_what_to_install() {
    let mut server = Server::start(&[]);
    let options = "-c:v libx265 -preset ultrafast -tune zerolatency -x265-params log-level=none:keyint=30 -s 320x240";
    let _camera = super::support::publish_encoded_with_ffmpeg(&mut server, "cam", "tcp", options);
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["frames", &server.url("cam"), "--count", "1"])
        .env("PATH", folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.code() == Some(1) && said(&output).contains("apt install ffmpeg"),
        "{}",
        said(&output)
    );
}

#[test]
fn it_ends_when_it_is_told_to_and_with_who_reads() {
    let server = Server::start(&["--source", "test"]);
    let (process, mut pipe) = frames(&server, "zerolatency", &["--fps", "all", "--header"]);
    next(&mut pipe).unwrap();
    // Nobody reads any more, but the pipe is there: it is stuck in it.
    process.signal(Signal::TERM);
    let (status, said) = process.finish();
    assert!(status.success(), "{status:?} {said:#?}");
    let (process, mut pipe) = frames(&server, "zerolatency", &["--fps", "0.1", "--header"]);
    next(&mut pipe).unwrap();
    drop(pipe);
    let begun = Instant::now();
    let (status, said) = process.finish();
    // Long before the next picture.
    assert!(
        status.success() && begun.elapsed() < Duration::from_secs(8),
        "{status:?} {said:#?}"
    );
}

#[test]
fn a_camera_that_returns_is_seen_again() {
    let mut server = Server::start(&[]);
    let mut camera = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
    let (_process, mut pipe) = frames(&server, "cam", &["--fps", "10", "--format", "gray", "--header"]);
    (0..5).for_each(|_| drop(next(&mut pipe).unwrap()));
    camera.kill();
    drop(camera);
    // What was on its way is read; then a camera with other pictures comes.
    let returned = wall();
    let mut command = tool("ffmpeg");
    command.args("-nostdin -v warning -re -f lavfi -i testsrc=size=160x120:rate=30 -pix_fmt yuv420p".split(' '));
    command.args(super::support::h264_of_ffmpeg(15).split(' '));
    command.args(["-f", "rtsp", "-rtsp_transport", "tcp", &server.url("cam")]);
    let _camera = Process::start(&mut command);
    loop {
        let (header, grey) = next(&mut pipe).unwrap();
        if number(&header, "width") == 160 {
            assert_eq!(grey.len(), 160 * 120);
            break;
        }
        assert!(wall().micros_since(returned) < 60_000_000, "it does not come: {header}");
    }
}

#[test]
fn what_cannot_be_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["--source", "test", "--token", "secret"]);
    let (url, wrong) = (
        server.url("zerolatency"),
        server.url("zerolatency").replace("rtsp://", "rtsp://viewer:wr0ng@"),
    );
    let away = format!("rtsp://127.0.0.1:{}/a", super::support::free_port());
    for (arguments, code, hint) in [
        (&["frames", &wrong][..], 1, "wrong user or password"),
        (&["frames", &url], 1, "user and password"),
        (&["frames", &away, "--duration", "1s"], 1, "there was no picture"),
        (&["frames", "ftp://a/b"], 2, "a source begins with one of"),
        (&["frames", "a b"], 2, "URL: "),
        (&["frames", &url, "--fps", "0"], 2, "is no rate"),
        (&["frames", &url, "--width", "3"], 2, "3 is not in 16..=8192"),
        (&["frames", &url, "--quality", "101"], 2, "101 is not in 1..=100"),
        (&["frames", &url, "--count", "0"], 2, "--count"),
        (&["frames", &url, "--keep", "3"], 2, "--keep is for files"),
        (&["frames", &url, "--to", "x", "--header"], 2, "--header is for a pipe"),
        (
            &["frames", &url, "--header", "--", "x", "{}"],
            2,
            "--header is for a command that reads all",
        ),
        (
            &["frames", &url, "--timeout", "0s", "--", "x", "{}"],
            2,
            "--timeout is no time",
        ),
        (&["frames", &url, "--to", "/proc/x"], 2, "cannot write into /proc/x"),
    ] {
        let output = command(folder.path(), arguments).stdin(Stdio::null()).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(hint) && !said.contains("wr0ng"), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let output = run(
        folder.path(),
        &["frames", &url, "--token", "secret", "--count", "1", "--to", "."],
    );
    assert!(
        output.status.success() && names(folder.path()).len() == 1,
        "{}",
        said(&output)
    );
}
