//! Players over UDP that stay longer than a session lives without a sign of life.

use std::process::Command;

use serde_json::Value;

use super::support::{
    Process, Server, counting_ffmpeg, mean_fps, publish_with_ffmpeg, reports, sightline, test_tool, tool,
};

/// How long a session lives here without a sign of life.
/// Clients say one after a half of it, gortsplib and GStreamer after four fifths: the rest is for a machine that lets them wait.
const TIMEOUT: &str = "5s";
/// How long the players play: three such lives, so that several signs of each were due.
const SECONDS: &str = "15";
const FRAMES: usize = 15 * 30;

fn start(command: &mut Command) -> Process {
    let mut process = Process::start(command);
    process.collect_stdout();
    process
}

#[test]
fn players_over_udp_stay_beyond_the_timeout() {
    let mut server = Server::start_with(&[], &[("SIGHTLINE_RTSP_TIMEOUT", TIMEOUT)]);
    let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 30);
    let url = server.url("cam");
    let ours = start(sightline().args(["receive", &url, "--transport", "udp", "--seconds", SECONDS, "--json"]));
    let go = ["play", "-transport", "udp", "-seconds", SECONDS, &url];
    let go = start(Command::new(test_tool("gortsplib")).args(go));
    let mut ffmpeg = counting_ffmpeg("udp");
    let ffmpeg = start(ffmpeg.args(["-i", &url, "-t", SECONDS, "-f", "null", "-"]));
    let mut gstreamer = tool("gst-launch-1.0");
    gstreamer.args([
        "-q",
        "rtspsrc",
        &format!("location={url}"),
        "protocols=udp",
        "!",
        "identity",
        "silent=false",
    ]);
    let mut gstreamer = start(gstreamer.args(["!", "fakesink"]));

    let (status, said) = ours.finish();
    assert!(status.success(), "{said:?}");
    let reports = reports(&said);
    assert!(mean_fps(&reports) > 15.0, "{reports:?}");
    assert_eq!(reports.last().unwrap()["reconnections"], 0, "{reports:?}");

    let (status, said) = go.finish();
    assert!(status.success(), "{said:?}");
    let events = said.iter().rev().map(|line| serde_json::from_str::<Value>(line).ok());
    let end = events.flatten().find(|event| event["event"] == "end").unwrap();
    assert!(end["units"].as_u64().unwrap() as usize > FRAMES * 3 / 4, "{end}");

    let (status, said) = ffmpeg.finish();
    assert!(status.success(), "{said:?}");
    let frames = said
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("frame=")?.trim().parse::<usize>().ok());
    assert!(frames > Some(FRAMES * 3 / 4), "{frames:?}: {said:?}");

    assert!(gstreamer.is_running(), "{:?}", gstreamer.said());
    let said = server.process.said();
    assert!(!said.iter().any(|line| line.contains("no sign of life")), "{said:?}");
}
