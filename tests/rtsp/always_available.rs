//! A stream that is always available, with FFmpeg as its publisher: viewers stay from slate to publisher to slate to publisher.

use std::io::Read as _;
use std::process::ChildStdout;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Machine, PATIENCE, Process, Server, publish_with_ffmpeg, tool};

const STREAM: &str = "door";
/// In which pictures are looked at: that of the publisher. The first slate is larger.
const SIZE: (u32, u32) = (320, 240);

/// What a picture shows: a slate is letters on dark grey, the test picture is full of colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Slate,
    Publisher,
}

fn look_at(picture: &[u8]) -> Shown {
    let mean = picture.iter().map(|&luma| u64::from(luma)).sum::<u64>() / picture.len() as u64;
    if mean < 60 { Shown::Slate } else { Shown::Publisher }
}

/// Reads grey pictures until the pipe ends.
fn watch(mut pipe: ChildStdout) -> Receiver<Shown> {
    let (to, shown) = mpsc::channel();
    std::thread::spawn(move || {
        let mut picture = vec![0; (SIZE.0 * SIZE.1) as usize];
        while pipe.read_exact(&mut picture).is_ok() && to.send(look_at(&picture)).is_ok() {}
    });
    shown
}

/// How long it took, without what the machine kept.
fn wait_for(wanted: Shown, shown: &Receiver<Shown>) -> Duration {
    let (begun, machine) = (Instant::now(), Machine::watch());
    while begun.elapsed() < PATIENCE {
        match shown.recv_timeout(PATIENCE) {
            Ok(now) if now == wanted => return begun.elapsed().saturating_sub(machine.kept()),
            Ok(_) => {}
            Err(error) => panic!("no {wanted:?}: the viewer {error}"),
        }
    }
    panic!("no {wanted:?}");
}

/// FFmpeg's pictures.
fn ffmpeg(url: &str, transport: &str) -> Process {
    let mut command = tool("ffmpeg");
    command.args("-nostdin -loglevel error -fflags nobuffer -rtsp_transport".split(' '));
    command.args([transport, "-i", url, "-an", "-fps_mode", "passthrough", "-s"]);
    command.arg(format!("{}x{}", SIZE.0, SIZE.1));
    command.args("-pix_fmt gray -f rawvideo -".split(' '));
    Process::start(&mut command)
}

/// GStreamer's.
fn gstreamer(url: &str, transport: &str) -> Process {
    let (width, height) = SIZE;
    let pipeline = format!(
        "rtspsrc location={url} protocols={transport} latency=0 ! rtph264depay ! h264parse ! avdec_h264 ! videoconvert ! videoscale ! \
         video/x-raw,format=GRAY8,width={width},height={height} ! fdsink fd=1 sync=false"
    );
    Process::start(tool("gst-launch-1.0").arg("-q").args(pipeline.split_whitespace()))
}

/// With sound or without.
fn publish(server: &mut Server, sound: bool) -> Process {
    if !sound {
        return publish_with_ffmpeg(server, STREAM, "tcp", 15);
    }
    let mut command = tool("ffmpeg");
    command.args("-nostdin -loglevel error -re -f lavfi -i testsrc=size=320x240:rate=30 -f lavfi -i sine".split(' '));
    command.args("-pix_fmt yuv420p -c:v libx264 -preset ultrafast -tune zerolatency -g 15 -c:a aac".split(' '));
    command.args("-f rtsp -rtsp_transport tcp".split(' '));
    let process = Process::start(command.arg(server.url(STREAM)));
    server.wait_for_event("publisher began", STREAM);
    process
}

/// Longest wait for a slate once the publisher is gone: the look-out's 0.1 s, the start of a camera, and the player's own delay in handing
/// on what it has decoded, on a machine where other tests run. The stream is held for 5 s.
const SOON: Duration = Duration::from_secs(4);

/// One viewer from the slate, or from a publisher with sound, on.
fn stays_through(play: fn(&str, &str) -> Process, transport: &str, sound: bool) {
    let mut server = Server::start_with(&[], &[("SIGHTLINE_STREAM_DOOR_ALWAYS_AVAILABLE", "true")]);
    // Players ask for the sound that is there when they come.
    let mut publisher = sound.then(|| publish(&mut server, sound));
    let mut viewer = play(&server.url(STREAM), transport);
    let shown = watch(viewer.stdout());
    // The last time longer than a stream without publisher is held.
    for absence in [0, 0, 6].map(Duration::from_secs) {
        if let Some(publisher) = publisher.take() {
            wait_for(Shown::Publisher, &shown);
            // Killed: its connection ends.
            drop(publisher);
            let took = wait_for(Shown::Slate, &shown);
            assert!(took < SOON, "{took:?}");
        }
        wait_for(Shown::Slate, &shown);
        std::thread::sleep(absence);
        publisher = Some(publish(&mut server, sound));
    }
    wait_for(Shown::Publisher, &shown);
    assert!(viewer.is_running());
    let joined = server.process.said();
    let joined = joined.iter().filter(|line| line.contains("RTSP viewer joined"));
    assert_eq!(joined.count(), 1, "it came back");
}

#[test]
fn ffmpeg_stays_over_tcp() {
    stays_through(ffmpeg, "tcp", false);
}

#[test]
fn ffmpeg_stays_over_udp() {
    stays_through(ffmpeg, "udp", false);
}

#[test]
fn viewers_who_hear_stay() {
    stays_through(ffmpeg, "tcp", true);
}

#[test]
fn gstreamer_stays() {
    stays_through(gstreamer, "tcp", false);
}

#[test]
fn a_publisher_that_fails_again_and_again_is_never_refused() {
    let mut server = Server::start_with(&[], &[("SIGHTLINE_STREAM_DOOR_ALWAYS_AVAILABLE", "true")]);
    let mut viewer = ffmpeg(&server.url(STREAM), "tcp");
    let shown = watch(viewer.stdout());
    for _ in 0..5 {
        wait_for(Shown::Slate, &shown);
        let publisher = publish(&mut server, false);
        wait_for(Shown::Publisher, &shown);
        drop(publisher);
    }
    wait_for(Shown::Slate, &shown);
    let _publisher = publish(&mut server, false);
    wait_for(Shown::Publisher, &shown);
}

#[test]
fn a_publisher_whose_power_is_cut_has_a_slate_in_its_place_and_may_return() {
    let mut server = Server::start_with(
        &[],
        &[
            ("SIGHTLINE_STREAM_DOOR_ALWAYS_AVAILABLE", "true"),
            ("SIGHTLINE_LIMITS_HOLD", "1s"),
        ],
    );
    let publisher = publish(&mut server, false);
    let mut viewer = ffmpeg(&server.url(STREAM), "tcp");
    let shown = watch(viewer.stdout());
    for _ in 0..2 {
        wait_for(Shown::Publisher, &shown);
        // Its connection stays, and nothing comes.
        publisher.signal(Signal::STOP);
        let took = wait_for(Shown::Slate, &shown);
        assert!(took < SOON, "{took:?}");
        publisher.signal(Signal::CONT);
    }
    wait_for(Shown::Publisher, &shown);
}
