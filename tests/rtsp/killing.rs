//! A publisher that is killed again and again under viewers that stay.
//!
//! Belongs here: the rounds, for the test of every change (twenty) and for the long one (hundreds).

use std::time::{Duration, Instant};

use super::support::{PATIENCE, Process, Server, counting_ffmpeg, publish_with_ffmpeg};

/// Viewers of the stream `cam`, the last two over UDP.
const VIEWERS: usize = 10;

/// A viewer of the stream `cam` that counts the frames it decodes.
pub(crate) fn viewer(server: &Server, transport: &str) -> Process {
    viewer_of(server, "cam", transport)
}

/// The same of any stream.
pub(crate) fn viewer_of(server: &Server, stream: &str, transport: &str) -> Process {
    let mut command = counting_ffmpeg(transport);
    command.args(["-i", &server.url(stream), "-f", "null", "-"]);
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    process
}

/// Frames it has decoded so far.
pub(crate) fn frames(viewer: &Process) -> u64 {
    let said = viewer.said();
    let newest = said
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("frame=")?.trim().parse().ok());
    newest.unwrap_or(0)
}

pub(crate) fn wait_for_frames(viewer: &mut Process, more_than: u64) {
    let begun = Instant::now();
    while frames(viewer) <= more_than {
        assert!(viewer.is_running(), "a viewer ended: {:?}", viewer.said());
        assert!(
            begun.elapsed() < PATIENCE,
            "a viewer sees nothing new: {:?}",
            viewer.said().last()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Kills an FFmpeg publisher `rounds` times under ten viewers: all must see its return each time, and from the fifth round on
/// neither descriptors nor, beyond what an allocator needs, memory may grow.
pub(crate) fn rounds(rounds: usize) {
    // However long FFmpeg takes to start.
    let mut server = Server::start_with(&[], &[("SIGHTLINE_LIMITS_HOLD", "1min")]);
    let mut publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
    let mut viewers: Vec<_> = (0..VIEWERS)
        .map(|number| viewer(&server, if number < VIEWERS - 2 { "tcp" } else { "udp" }))
        .collect();
    for viewer in &mut viewers {
        wait_for_frames(viewer, 10);
    }
    let mut before = None;
    for round in 0..rounds {
        publisher.kill();
        let seen: Vec<_> = viewers.iter().map(frames).collect();
        publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
        for (viewer, seen) in viewers.iter_mut().zip(seen) {
            wait_for_frames(viewer, seen + 5);
        }
        if round == 4 {
            before = Some((server.process.descriptors(), server.process.resident_kib()));
        }
    }
    let (descriptors, resident) = before.unwrap();
    // The connection of the one that was killed last may be about to be closed.
    let begun = Instant::now();
    while server.process.descriptors() > descriptors {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} descriptors after {rounds} rounds, {descriptors} after 5",
            server.process.descriptors()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let grown = server.process.resident_kib().saturating_sub(resident);
    assert!(grown < 4_096, "memory grew by {grown} KiB in {} rounds", rounds - 5);
    drop(publisher);
}
