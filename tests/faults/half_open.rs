//! The way to a peer is cut and nobody says so: no end of the connection ever comes.

use std::time::{Duration, Instant};

use super::killing::{frames, viewer_of, wait_for_frames};
use super::neighbour::Neighbour;
use super::support::{PATIENCE, Process, Server, h264_of_ffmpeg, publish_with_ffmpeg};

fn until(what: &str, server: &mut Server, mut done: impl FnMut(&mut Server) -> bool) {
    let begun = Instant::now();
    while !done(server) {
        assert!(begun.elapsed() < 2 * PATIENCE, "{what}: {:#?}", server.process.said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn who_is_cut_off_is_given_up_and_leaves_nothing_open() {
    let neighbour = Neighbour::new("f", "10.78.9");
    let mut server = Server::start_with(
        &["--open"],
        &[("SIGHTLINE_RTSP_TIMEOUT", "3s"), ("SIGHTLINE_LIMITS_HOLD", "1s")],
    );
    let _publisher = publish_with_ffmpeg(&mut server, "near", "tcp", 15);
    let mut here = viewer_of(&server, "near", "tcp");
    wait_for_frames(&mut here, 10);
    let before = server.process.descriptors();

    let far = format!("rtsp://10.78.9.1:{}/far", server.port);
    let mut publisher = neighbour.tool("ffmpeg");
    publisher.args("-nostdin -v error -re -f lavfi -i testsrc2=size=320x240:rate=30".split_whitespace());
    publisher.args(h264_of_ffmpeg(15).split_whitespace());
    let _far = Process::start(publisher.args(["-f", "rtsp", "-rtsp_transport", "tcp", &far]));
    server.wait_for_event("publisher began", "far");
    let mut watching = Vec::new();
    for transport in ["tcp", "udp"] {
        let mut player = neighbour.tool("ffmpeg");
        player.args([
            "-nostdin",
            "-v",
            "error",
            "-progress",
            "pipe:1",
            "-rtsp_transport",
            transport,
            "-i",
        ]);
        player.arg(format!("rtsp://10.78.9.1:{}/near", server.port));
        let mut player = Process::start(player.args(["-f", "null", "-"]));
        player.collect_stdout();
        wait_for_frames(&mut player, 10);
        watching.push(player);
    }
    assert!(server.process.descriptors() > before);

    neighbour.cut();
    until("the publisher is given up", &mut server, |server| {
        !server.events("publisher left", "far").is_empty()
    });
    until("both viewers are given up", &mut server, |server| {
        server.events("viewer left", "near").len() >= 2
    });
    until("nothing is left open", &mut server, |server| {
        server.process.descriptors() <= before
    });
    // Who is here has noticed nothing.
    let seen = frames(&here);
    wait_for_frames(&mut here, seen + 30);
}
