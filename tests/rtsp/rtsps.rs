//! RTSPS: FFmpeg and GStreamer by TLS, publishing and playing, and one server that fetches from another.

use super::support::{Process, Server, publish_encoded_with_ffmpeg, tool};

/// `rtsps://…` of a stream.
fn url(server: &Server, name: &str) -> String {
    format!("rtsps://127.0.0.1:{}/{name}", server.port_of("rtsps_port"))
}

fn decodes(url: &str) {
    let mut player = tool("ffmpeg");
    player.args(["-nostdin", "-v", "error", "-i", url, "-frames:v", "45"]);
    let (status, said) = Process::start(player.args(["-f", "rawvideo", "-y", "/dev/null"])).finish();
    assert!(status.success() && said.is_empty(), "{url}: {said:?}");
}

#[test]
fn ffmpeg_publishes_and_plays() {
    let mut server = Server::start(&[]);
    let mut publisher = tool("ffmpeg");
    publisher.args("-nostdin -v error -re -f lavfi -i testsrc2=size=640x480:rate=30".split_whitespace());
    publisher.args("-c:v libx264 -preset ultrafast -tune zerolatency -g 30 -b:v 3M -f rtsp".split_whitespace());
    let _publisher = Process::start(publisher.arg(url(&server, "cam")));
    server.wait_for_event("publisher began", "cam");
    decodes(&url(&server, "cam"));
    // The same stream without TLS, beside it.
    decodes(&server.url("cam"));
}

#[test]
fn gstreamer_plays() {
    let mut server = Server::start(&[]);
    let _publisher = publish_encoded_with_ffmpeg(&mut server, "cam", "tcp", "-c:v libx264 -tune zerolatency -g 30");
    let mut player = tool("gst-launch-1.0");
    let pipeline = format!(
        "rtspsrc location={} tls-validation-flags=0 latency=0 ! rtph264depay ! h264parse ! avdec_h264 ! \
         identity eos-after=45 ! fakesink",
        url(&server, "cam")
    );
    let (status, said) = Process::start(player.arg("-q").args(pipeline.split_whitespace())).finish();
    assert!(status.success(), "{said:?}");
}

/// With the fingerprint of the certificate that the other made for itself.
#[test]
fn another_server_fetches_it() {
    let mut from = Server::start(&[]);
    let _publisher = publish_encoded_with_ffmpeg(&mut from, "cam", "tcp", "-c:v libx264 -tune zerolatency -g 30");
    let source = url(&from, "cam");
    let asked = Server::start_with(&[], &[("SIGHTLINE_STREAM_CAM_SOURCE", &source)]);
    let mut asked = asked.process;
    let fingerprint = asked.wait_for("the fingerprint that is shown", |line| {
        let mut words = line.split(|c: char| !c.is_ascii_hexdigit());
        words.find(|word| word.len() == 64).map(str::to_owned)
    });
    let to = Server::start_with(
        &[],
        &[
            ("SIGHTLINE_STREAM_CAM_SOURCE", &source),
            ("SIGHTLINE_STREAM_CAM_SOURCE_FINGERPRINT", &fingerprint),
        ],
    );
    decodes(&to.url("cam"));
}
