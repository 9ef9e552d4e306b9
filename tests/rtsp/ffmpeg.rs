//! FFmpeg: publishing, probing, playing.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::delay::no_standing_delay;
use super::killing::{viewer_of, wait_for_frames};
use super::support::{
    PATIENCE, Process, Server, counting_ffmpeg, h264_of_ffmpeg, publish_encoded_with_ffmpeg, publish_stamped,
    publish_with_ffmpeg, sightline, tool,
};

/// What ffprobe finds in the first second or two.
fn probe(url: &str, transport: &str) -> Value {
    let mut command = tool("ffprobe");
    command.args([
        "-v",
        "error",
        "-of",
        "json",
        "-show_streams",
        "-rtsp_transport",
        transport,
    ]);
    let output = command.arg(url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn video(probed: &Value) -> (&str, u64, u64) {
    let stream = &probed["streams"][0];
    (
        stream["codec_name"].as_str().unwrap(),
        stream["width"].as_u64().unwrap(),
        stream["height"].as_u64().unwrap(),
    )
}

#[test]
fn publishes_and_plays_over_tcp_and_udp() {
    for publish in ["tcp", "udp"] {
        let mut server = Server::start(&[]);
        let _publisher = publish_with_ffmpeg(&mut server, "house/door", publish, 30);
        for play in ["tcp", "udp"] {
            let probed = probe(&server.url("house/door"), play);
            assert_eq!(
                video(&probed),
                ("h264", 320, 240),
                "published over {publish}, played over {play}"
            );
        }
    }
}

#[test]
fn decodes_without_a_single_error() {
    for transport in ["tcp", "udp"] {
        let mut server = Server::start(&[]);
        let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 30);
        let mut command = tool("ffmpeg");
        command.args([
            "-nostdin",
            "-v",
            "error",
            "-rtsp_transport",
            transport,
            "-i",
            &server.url("cam"),
        ]);
        command.args(["-frames:v", "60", "-f", "rawvideo", "-y", "/dev/null"]);
        let (status, said) = Process::start(&mut command).finish();
        assert!(status.success(), "{said:?}");
        assert_eq!(said, [""; 0], "over {transport}");
    }
}

#[test]
fn sound_is_passed_through() {
    for (codec, name) in [
        ("aac", "aac"),
        ("libopus", "opus"),
        ("pcm_alaw", "pcm_alaw"),
        ("pcm_mulaw", "pcm_mulaw"),
    ] {
        let mut server = Server::start(&[]);
        let format = if codec.starts_with("pcm") {
            "-ar 8000 -ac 1"
        } else {
            "-ac 2"
        };
        let options = format!(
            "-f lavfi -i sine=frequency=440:sample_rate=48000 {} -c:a {codec} {format}",
            h264_of_ffmpeg(15)
        );
        let _publisher = publish_encoded_with_ffmpeg(&mut server, "cam", "tcp", &options);
        let probed = probe(&server.url("cam"), "tcp");
        let streams = probed["streams"].as_array().unwrap();
        let names: Vec<_> = streams
            .iter()
            .map(|stream| stream["codec_name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["h264", name]);
    }
}

#[test]
fn h265_is_passed_through() {
    let mut server = Server::start(&[]);
    let options = "-c:v libx265 -preset ultrafast -tune zerolatency -x265-params keyint=30:log-level=error";
    let _publisher = publish_encoded_with_ffmpeg(&mut server, "cam", "tcp", options);
    assert_eq!(video(&probe(&server.url("cam"), "udp")), ("hevc", 320, 240));
}

#[test]
fn a_wrong_token_is_refused_and_the_right_one_let_in() {
    let mut server = Server::start(&["--token", "s3cret"]);
    let url = |user: &str| format!("rtsp://{user}127.0.0.1:{}/cam", server.port);
    let attempt = |url: &str| {
        let mut command = tool("ffmpeg");
        command.args([
            "-nostdin",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=320x240:rate=30:duration=1",
        ]);
        command.args([
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-f",
            "rtsp",
            "-rtsp_transport",
            "tcp",
            url,
        ]);
        Process::start(&mut command).finish()
    };
    for wrong in ["", "publisher:wrong@"] {
        let (status, said) = attempt(&url(wrong));
        assert!(!status.success());
        assert!(said.iter().any(|line| line.contains("401")), "{said:?}");
    }
    let (status, said) = attempt(&url("publisher:s3cret@"));
    assert!(status.success(), "{said:?}");
    server.wait_for_event("publisher began", "cam");
    let secret_in_log = server.process.said().iter().any(|line| line.contains("s3cret"));
    assert!(!secret_in_log, "a credential is in the log");
}

#[test]
fn a_stream_that_is_not_there_is_404_with_when_it_was() {
    let mut server = Server::start_with(&[], &[("SIGHTLINE_LIMITS_HOLD", "200ms")]);
    let missing = |server: &Server| {
        let mut command = tool("ffprobe");
        let (status, said) = Process::start(command.args(["-v", "error", &server.url("cam")])).finish();
        assert!(!status.success());
        assert!(said.iter().any(|line| line.contains("404")), "{said:?}");
    };
    // What the answer says beside its number, which FFmpeg does not show.
    let reason = |server: &Server| {
        let mut command = sightline();
        let (_, said) = Process::start(command.args(["receive", &server.url("cam"), "--test-connection"])).finish();
        said.join("\n")
    };
    missing(&server);
    let never = reason(&server);
    assert!(
        never.contains("no stream \"cam\"") && !never.contains("last seen"),
        "{never}"
    );
    // Seen is a stream that gave a picture.
    let publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 30);
    let mut viewer = viewer_of(&server, "cam", "tcp");
    wait_for_frames(&mut viewer, 0);
    let begun = Instant::now();
    drop((publisher, viewer));
    let after = loop {
        // While it is held for its publisher there is a stream without a picture.
        let after = reason(&server);
        if after.contains("is not published now") {
            break after;
        }
        assert!(begun.elapsed() < PATIENCE, "{after}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let seconds = after
        .split_once("last seen ")
        .and_then(|(_, ago)| ago.split(' ').next()?.parse::<u64>().ok());
    assert!(
        seconds.is_some_and(|seconds| seconds <= begun.elapsed().as_secs() + 1),
        "{after}"
    );
    missing(&server);
}

#[test]
fn plays_the_camera_of_the_program_itself() {
    let server = Server::start(&["--source", "test"]);
    let probed = probe(&server.url("zerolatency"), "tcp");
    assert_eq!(video(&probed), ("h264", 640, 480));
    assert_eq!(probed["streams"][0]["has_b_frames"], 0);
    assert_eq!(probed["streams"][0]["profile"], "Constrained Baseline");
}

/// A burst's timestamps lie close together, and FFmpeg guesses a rate from them where the stream tells none: 90,000 a second.
#[test]
fn the_rate_is_the_one_that_was_set_behind_a_long_burst_too() {
    let mut server = Server::start(&[]);
    let _publisher = publish_stamped(&mut server, "cam", 300);
    let mut viewer = viewer_of(&server, "cam", "tcp");
    wait_for_frames(&mut viewer, 120);
    for transport in ["tcp", "udp"] {
        let probed = probe(&server.url("cam"), transport);
        assert_eq!(probed["streams"][0]["r_frame_rate"], "30/1", "over {transport}");
    }
    let folder = tempfile::tempdir().unwrap();
    let times = folder.path().join("times");
    let mut command = counting_ffmpeg("tcp");
    command.args(["-i", &server.url("cam")]);
    command.args("-t 3 -c:v libx264 -preset ultrafast -f mp4 -y /dev/null".split(' '));
    command.args("-t 3 -c copy -f framecrc".split(' ')).arg(&times);
    let mut recorder = Process::start(&mut command);
    recorder.collect_stdout();
    let (status, said) = recorder.finish();
    assert!(status.success(), "{said:?}");
    let figure = |name: &str| -> u64 {
        let mut figures = said
            .iter()
            .filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        figures.next_back().unwrap_or_else(|| panic!("no {name} in {said:?}"))
    };
    assert_eq!(figure("frame="), 90, "{said:?}");
    // It fills with the picture before what a camera on a busy machine left out, and that is right.
    let missing = left_out(&std::fs::read_to_string(times).unwrap());
    assert!(
        figure("dup_frames=") < 15 + missing,
        "{missing} were left out: {said:?}"
    );
}

/// Pictures that are missing between others, a thirtieth of a second from one to the next, in a file of FFmpeg's `framecrc`.
fn left_out(text: &str) -> u64 {
    // `stream, dts, pts, duration, size, hash`, below lines that begin with #, in ticks of 90 kHz.
    assert!(text.contains("#tb 0: 1/90000"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let times: Vec<u64> = lines
        .map(|line| line.split(',').nth(2).unwrap().trim().parse().unwrap())
        .collect();
    let missing = |pair: &[u64]| ((pair[1] - pair[0] + 1_500) / 3_000).saturating_sub(1);
    times.windows(2).map(missing).sum()
}

#[test]
fn joining_in_the_middle_of_a_gop_leaves_no_standing_delay() {
    no_standing_delay(|url| {
        let mut command = tool("ffmpeg");
        command.args([
            "-nostdin",
            "-v",
            "error",
            "-fflags",
            "nobuffer",
            "-flags",
            "low_delay",
            "-rtsp_transport",
            "tcp",
        ]);
        // -re paces by timestamp, as a player does.
        command.args([
            "-re",
            "-i",
            url,
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-fps_mode",
            "passthrough",
            "-",
        ]);
        Process::start(&mut command)
    });
}
