//! Publishers that send without pause, and keyframes seldom: what is kept of all their pictures together has a limit.

use std::time::Duration;

use super::killing::{frames, viewer_of, wait_for_frames};
use super::support::{Process, Server, publish_with_ffmpeg, tool};

const FLOODS: usize = 6;
/// What may be kept; without a limit the program grows by 250 MiB.
const LIMIT_KIB: u64 = 48 << 10;
/// Beyond pictures: the program, its buffers, sockets of those who read, and what an allocator does not give back.
const REST_KIB: u64 = 96 << 10;

/// Some 25 MB in one GOP.
fn film(folder: &tempfile::TempDir) -> String {
    let file = folder.path().join("film.mkv");
    let mut command = tool("ffmpeg");
    command.args("-nostdin -v error -f lavfi -i testsrc2=size=640x480:rate=30,noise=alls=60:allf=t+u".split(' '));
    command.args("-t 4 -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -b:v 50M -g 9999".split(' '));
    let (status, said) = Process::start(command.arg(&file)).finish();
    assert!(status.success(), "{said:#?}");
    file.to_str().unwrap().to_owned()
}

#[test]
fn floods_of_pictures_stay_within_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let film = film(&folder);
    let limit = format!("{LIMIT_KIB}KiB");
    let mut server = Server::start_with(&[], &[("SIGHTLINE_LIMITS_MEMORY", &limit)]);
    let _quiet = publish_with_ffmpeg(&mut server, "quiet", "tcp", 15);
    let mut viewer = viewer_of(&server, "quiet", "tcp");
    wait_for_frames(&mut viewer, 10);
    let before = server.process.resident_kib();
    let _floods: Vec<_> = (0..FLOODS)
        .map(|number| {
            let name = format!("flood{number}");
            let mut command = tool("ffmpeg");
            command.args(["-nostdin", "-v", "error", "-stream_loop", "-1", "-i", &film]);
            command.args(["-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", &server.url(&name)]);
            let flood = Process::start(&mut command);
            server.wait_for_event("publisher began", &name);
            flood
        })
        .collect();
    let mut most = 0;
    for _ in 0..100 {
        most = most.max(server.process.resident_kib());
        std::thread::sleep(Duration::from_millis(100));
    }
    let grown = most.saturating_sub(before);
    assert!(grown < LIMIT_KIB + REST_KIB, "{grown} KiB more than before");
    let seen = frames(&viewer);
    wait_for_frames(&mut viewer, seen + 30);
}
