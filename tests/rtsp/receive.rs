//! Our own receiver and publisher, as other programs call them.

use std::path::Path;
use std::time::{Duration, Instant};

use media::{WallTime, stamp};
use serde_json::Value;

use super::support::{
    Machine, PATIENCE, Process, Server, free_port, mean_fps, publish_stamped, reports, sightline, tool, wall,
};

fn receive(arguments: &[&str]) -> (std::process::ExitStatus, Vec<String>) {
    let mut command = sightline();
    let mut process = Process::start(command.arg("receive").args(arguments));
    process.collect_stdout();
    process.finish()
}

#[test]
fn measures_by_the_stamp() {
    let server = Server::start(&["--source", "test"]);
    for transport in ["tcp", "udp"] {
        let url = server.url("zerolatency");
        let (status, said) = receive(&[&url, "--transport", transport, "--seconds", "4", "--json"]);
        assert!(status.success(), "{said:?}");
        let seconds = reports(&said);
        assert!(mean_fps(&seconds) > 15.0, "{seconds:?}");
        let last = seconds.last().unwrap();
        assert_eq!(last["measured_by"], "stamp", "{last}");
        let latency = &last["latency"];
        assert!(latency["p50_ms"].as_f64().unwrap() > 0.0 && latency["p50_ms"].as_f64() <= latency["p99_ms"].as_f64());
        assert_eq!(last["packets_lost"], 0);
    }
}

/// Pixels of the colour at the top left of a picture that FFmpeg finds in `input`, of 640×480.
fn colored(input: &str, skip: u32, is_colored: impl Fn(&[u8]) -> bool) -> usize {
    let mut command = tool("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i", input]);
    command.args([
        "-vf",
        &format!("select=gte(n\\,{skip}),crop=400:160:0:0"),
        "-frames:v",
        "1",
    ]);
    let output = command
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .unwrap();
    assert_eq!(
        output.stdout.len(),
        400 * 160 * 3,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout.chunks_exact(3).filter(|pixel| is_colored(pixel)).count()
}

fn is_red(pixel: &[u8]) -> bool {
    pixel[0] > 130 && pixel[1] < 110 && pixel[2] < 110
}

fn is_green(pixel: &[u8]) -> bool {
    pixel[1] > 130 && pixel[0] < 110 && pixel[2] < 110
}

#[test]
fn draws_its_lines_into_the_file() {
    // Without the publisher's lines.
    let server = Server::start_with(
        &["--source", "test"],
        &[("SIGHTLINE_CAMERA_ZEROLATENCY_OVERLAY", "off")],
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.mp4");
    let (url, path) = (server.url("zerolatency"), file.to_str().unwrap());
    let (status, said) = receive(&[&url, "--display-mode", "save", "--output", path, "--seconds", "3"]);
    assert!(status.success(), "{said:?}");
    let (film, stream) = (colored(path, 20, is_red), colored(&url, 0, is_red));
    assert!(
        film > 1_000 && stream < 500,
        "{film} red pixels in the file, {stream} in the stream"
    );
}

#[test]
fn its_lines_stand_beside_the_publishers() {
    let server = Server::start(&["--source", "test"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.mp4");
    let (url, path) = (server.url("zerolatency"), file.to_str().unwrap());
    let (status, said) = receive(&[&url, "--display-mode", "save", "--output", path, "--seconds", "3"]);
    assert!(status.success(), "{said:?}");
    let (red, green) = (colored(path, 20, is_red), colored(path, 20, is_green));
    let published = colored(&url, 0, is_green);
    assert!(red > 1_000, "{red} red pixels");
    // Encoded once more, and of another second.
    assert!(
        green > published / 2,
        "{green} green pixels in the file, {published} in the stream"
    );
}

#[test]
fn measures_the_rate_of_a_stream_and_not_that_of_its_burst() {
    let mut server = Server::start(&[]);
    // Joined four seconds into a GOP of ten, it gives a hundred pictures at once.
    let _publisher = publish_stamped(&mut server, "cam", 300);
    std::thread::sleep(Duration::from_secs(4));
    for transport in ["tcp", "udp"] {
        let (status, said) = receive(&[
            &server.url("cam"),
            "--test-connection",
            "--json",
            "--transport",
            transport,
        ]);
        assert!(status.success(), "{said:?}");
        let found: Vec<Value> = said.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let fps = found[0]["fps"].as_f64().unwrap();
        println!("over {transport}: {fps:.1} fps");
        // A machine that is busy encodes less than the 30 it should.
        assert!((10.0..33.0).contains(&fps), "over {transport}: {fps:.1} fps");
    }
    let joined = server.wait_for_events("viewer joined", "cam", 2);
    assert!(joined["burst_frames"].as_u64() >= Some(60), "{joined}");
}

/// A burst is old by no fault of the way, and no picture of it is lost on our own side.
#[test]
fn the_burst_is_neither_measured_nor_lost() {
    let mut server = Server::start(&[]);
    // Joined four seconds into a GOP of ten, it gives a hundred pictures at once.
    let _publisher = publish_stamped(&mut server, "cam", 300);
    std::thread::sleep(Duration::from_secs(4));
    let machine = Machine::watch();
    let (status, said) = receive(&[&server.url("cam"), "--seconds", "3", "--json"]);
    assert!(status.success(), "{said:?}");
    let joined = server.wait_for_events("viewer joined", "cam", 1);
    let burst = joined["burst_frames"].as_f64().unwrap();
    assert!(burst >= 60.0, "{joined}");
    let seconds = reports(&said);
    let [first, .., last] = &seconds[..] else {
        panic!("{said:?}")
    };
    println!("{first}\n{last}");
    // A machine that is busy encodes less than the 30 it should, and may have those of half a second come at once. A burst that counts is more.
    assert!(
        (5.0..30.0 + burst / 2.0).contains(&first["fps"].as_f64().unwrap()),
        "{first}"
    );
    // The burst's pictures are up to four seconds old, and keep those behind them waiting.
    let oldest_ms = burst * 1_000.0 / 30.0;
    assert!(
        first["latency"]["p95_ms"].as_f64().unwrap() < oldest_ms / 2.0,
        "{first}"
    );
    let losses = ["packets_lost", "frames_lost"].map(|name| last[name].as_u64());
    assert_eq!(losses, [Some(0); 2], "{last}");
    // Pictures of half a second that come at once are more than may wait, by intent.
    let stood = machine.longest();
    assert!(
        last["frames_skipped"] == 0 || stood > Duration::from_millis(250),
        "{last}, though the machine stood for {stood:?} only"
    );
}

#[test]
fn a_short_look_has_figures_too() {
    let server = Server::start(&["--source", "test"]);
    for time in ["1", "0.5"] {
        // What is seen in so short a time is told by one in which the machine did not stand.
        let begun = Instant::now();
        let (status, said, kept) = loop {
            let machine = Machine::watch();
            let (status, said) = receive(&[&server.url("zerolatency"), "--seconds", time, "--json"]);
            let kept = machine.kept();
            if kept < Duration::from_millis(100) || begun.elapsed() > PATIENCE {
                break (status, said, kept.as_secs_f64());
            }
        };
        assert!(status.success(), "{said:?}");
        let seconds = reports(&said);
        let second = seconds.first().unwrap_or_else(|| panic!("{said:?}"));
        assert!(
            second["seconds"].as_f64().unwrap() <= 1.05 + kept,
            "{second}, the machine kept {kept}"
        );
        assert!(second["latency"]["p50_ms"].as_f64() > Some(0.0), "{second}");
    }
}

#[test]
fn tests_a_connection() {
    let server = Server::start(&["--source", "test"]);
    let (status, said) = receive(&[&server.url("zerolatency"), "--test-connection"]);
    assert!(status.success(), "{said:?}");
    assert!(said.iter().any(|line| line.contains("H.264 640×480")), "{said:?}");
    let (status, said) = receive(&[&server.url("nobody"), "--test-connection"]);
    assert_eq!(status.code(), Some(1), "{said:?}");
    assert!(
        said.iter().any(|line| line.contains("no stream \"nobody\"")),
        "{said:?}"
    );
}

#[test]
fn saves_a_file_that_players_open() {
    let server = Server::start(&["--source", "test"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.mp4");
    let url = server.url("zerolatency");
    let path = file.to_str().unwrap();
    let (status, said) = receive(&[&url, "--display-mode", "save", "--output", path, "--seconds", "4"]);
    assert!(status.success(), "{said:?}");
    let mut probe = tool("ffprobe");
    probe.args(["-v", "error", "-of", "json", "-count_frames", "-show_streams"]);
    let output = probe.arg(&file).output().unwrap();
    let probed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stream = &probed["streams"][0];
    assert_eq!(
        (stream["codec_name"].as_str(), stream["width"].as_u64()),
        (Some("h264"), Some(640))
    );
    let frames: u32 = stream["nb_read_frames"].as_str().unwrap().parse().unwrap();
    assert!(frames > 45, "{frames} frames in about four seconds");
}

/// When the last picture of a film was taken, by its stamp.
fn last_taken(film: &Path) -> WallTime {
    let mut command = tool("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i"]).arg(film);
    let output = command
        .args(["-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .output()
        .unwrap();
    let (width, height) = (640, 480);
    let pictures = output.stdout.chunks_exact(640 * 480);
    let taken = pictures
        .rev()
        .find_map(|picture| stamp::read(picture, 640, width, height, wall()));
    taken
        .unwrap_or_else(|| panic!("no stamp in the film: {}", String::from_utf8_lossy(&output.stderr)))
        .time
}

/// Whatever the rate: at ten pictures a second, thirty are three seconds.
#[test]
fn a_kill_loses_a_second_of_the_film_at_the_most() {
    const FRAGMENTS: usize = 3;
    for fps in ["10", "30"] {
        let server = Server::start_with(&["--source", "test"], &[("SIGHTLINE_CAMERA_ZEROLATENCY_FPS", fps)]);
        let folder = tempfile::tempdir().unwrap();
        let film = folder.path().join("film.mp4");
        let mut command = sightline();
        command.args([
            "receive",
            &server.url("zerolatency"),
            "--display-mode",
            "save",
            "--output",
        ]);
        let mut receiver = Process::start(command.arg(&film));
        let machine = Machine::watch();
        let size = || std::fs::metadata(&film).map_or(0, |film| film.len());
        let mut written = vec![(Instant::now(), size())];
        while written.len() <= FRAGMENTS {
            let (since, before) = written[written.len() - 1];
            if size() > before {
                written.push((Instant::now(), size()));
            }
            assert!(
                receiver.is_running() && since.elapsed() < PATIENCE,
                "{:?}",
                receiver.said()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        // The worst moment: shortly before the next would be written.
        let [.., (before, _), (last, _)] = written[..] else {
            unreachable!()
        };
        let every = last - before;
        std::thread::sleep((every * 9 / 10).saturating_sub(last.elapsed()));
        let killed = wall();
        receiver.kill();
        let lost_ms = killed.micros_since(last_taken(&film)) / 1_000;
        println!("{fps} fps: written every {} ms, {lost_ms} ms lost", every.as_millis());
        // What a busy machine takes from lens to file is not lost by the kill.
        let kept_ms = machine.longest().as_millis() as i64;
        assert!(
            lost_ms - kept_ms < 1_500,
            "{lost_ms} ms lost at {fps} fps, the machine stood for {kept_ms} ms"
        );
    }
}

#[test]
fn the_receiver_sees_the_stream_return_after_the_server_was_killed() {
    let port = free_port().to_string();
    let mut server = Server::start(&["--rtsp-port", &port]);
    let _publisher = publish_stamped(&mut server, "cam", 10);
    let mut receiver = sightline();
    let mut receiver = Process::start(receiver.args(["receive", &server.url("cam"), "--json"]));
    receiver.collect_stdout();
    let picture = |line: &str| {
        let second: Value = serde_json::from_str(line).ok()?;
        (second.get("fps")?.as_f64()? > 5.0).then(|| second["reconnections"].as_u64())
    };
    receiver.wait_for("pictures", picture);
    server.process.kill();
    std::thread::sleep(Duration::from_millis(500));
    let _again = Server::start(&["--rtsp-port", &port]);
    receiver.wait_for("pictures after the restart", |line| {
        picture(line).filter(|&times| times > Some(0))
    });
}
