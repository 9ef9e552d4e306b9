//! GStreamer: `rtspsrc` and `rtspclientsink`.

use std::io::Read as _;

use super::delay::no_standing_delay;
use super::support::{Ages, Process, Server, publish_with_ffmpeg, tool};

fn pipeline(elements: &str) -> Process {
    let mut command = tool("gst-launch-1.0");
    Process::start(command.arg("-q").args(elements.split_whitespace()))
}

/// Grey pictures on standard output, paced by the pipeline's clock as on a screen.
fn grey(url: &str, source: &str) -> Process {
    pipeline(&format!(
        "rtspsrc location={url} {source} latency=0 ! rtph264depay ! h264parse ! avdec_h264 ! videoconvert ! \
         video/x-raw,format=GRAY8 ! fdsink fd=1 sync=true"
    ))
}

#[test]
fn plays_over_tcp_and_udp() {
    let server = Server::start(&["--source", "test"]);
    for transport in ["tcp", "udp"] {
        let mut player = grey(&server.url("zerolatency"), &format!("protocols={transport}"));
        let ages = Ages::read_many(player.stdout(), (640, 480), 60);
        assert!(
            ages.samples.len() == 60 && ages.every_ms() < 67.0,
            "over {transport}: {} stamps, {:.0} ms from one to the next",
            ages.samples.len(),
            ages.every_ms()
        );
        assert!(
            ages.unread <= 2,
            "over {transport}: {} pictures without a readable stamp",
            ages.unread
        );
    }
}

#[test]
fn publishes_over_tcp_and_udp() {
    for transport in ["tcp", "udp"] {
        let mut server = Server::start(&[]);
        let _publisher = pipeline(&format!(
            "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 ! x264enc tune=zerolatency \
             speed-preset=ultrafast key-int-max=30 ! rtspclientsink location={} protocols={transport}",
            server.url("cam")
        ));
        server.wait_for_event("publisher began", "cam");
        let mut player = tool("ffmpeg");
        player.args([
            "-nostdin",
            "-v",
            "error",
            "-rtsp_transport",
            "tcp",
            "-i",
            &server.url("cam"),
        ]);
        let (status, said) = Process::start(player.args(["-frames:v", "30", "-f", "null", "-"])).finish();
        assert!(status.success(), "over {transport}: {said:?}");
    }
}

#[test]
fn joining_in_the_middle_of_a_gop_leaves_no_standing_delay() {
    no_standing_delay(|url| grey(url, "protocols=tcp"));
}

/// By the stream's times alone. Its default moves them towards those of arrival, and so forgets a burst by itself, sooner or later.
#[test]
fn nor_does_it_where_the_times_of_arrival_do_not_count() {
    no_standing_delay(|url| grey(url, "protocols=tcp buffer-mode=none"));
}

#[test]
fn leaves_and_comes_back() {
    let mut server = Server::start(&[]);
    let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 30);
    for round in 1..=3 {
        let mut player = grey(&server.url("cam"), "protocols=tcp");
        let mut picture = [0; 320 * 240];
        player.stdout().read_exact(&mut picture).expect("a picture");
        drop(player);
        server.wait_for_events("viewer left", "cam", round);
    }
}
