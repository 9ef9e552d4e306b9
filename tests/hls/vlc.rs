//! VLC plays it: it takes whole segments, three of them behind.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::origin::url;
use crate::support::{PATIENCE, Process, Server, publish_with_ffmpeg, tool};

/// Pictures that are to be shown, a third of a second from one to the next.
const ENOUGH: usize = 12;

/// VLC without windows and sound, every tenth picture of which becomes a file.
fn vlc(url: &str, pictures: &Path) -> Command {
    // It refuses to be root.
    let mut command = if rustix::process::geteuid().is_root() {
        std::fs::set_permissions(pictures, std::fs::Permissions::from_mode(0o777)).unwrap();
        let mut command = tool("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cvlc"]);
        command
    } else {
        tool("cvlc")
    };
    command.env("HOME", pictures);
    // Whatever graphics there may be, it decodes by itself.
    command.args([
        "--no-audio",
        "--vout=dummy",
        "--avcodec-hw=none",
        "--video-filter=scene",
    ]);
    command.args(["--scene-format=png", "--scene-ratio=10", "--scene-prefix=scene"]);
    command.arg("--scene-path").arg(pictures).arg(url);
    command
}

/// The pictures that are whole: all but the newest.
fn files(pictures: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(pictures).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "png"))
        .collect();
    files.sort();
    files.pop();
    files
}

/// The picture in grey, if it is one of the publisher's, with black and white in it. VLC that is late, on a busy machine, begins anew in the middle
/// of a GOP and shows what it makes of that, which is mostly grey.
fn picture(file: &Path) -> Option<Vec<u8>> {
    let mut command = tool("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i"]).arg(file);
    let output = command
        .args(["-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .output()
        .unwrap();
    let pixels = output.stdout;
    assert!(!pixels.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let (darkest, brightest) = (pixels.iter().min()?, pixels.iter().max()?);
    (brightest - darkest > 200).then_some(pixels)
}

/// Published by FFmpeg, which drops no picture however busy the machine: where so many are missing that the list has a discontinuity, VLC 3 stops.
#[test]
fn plays_a_publisher_from_elsewhere() {
    let mut server = Server::start(&["--open"]);
    let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 10);
    let pictures = tempfile::tempdir().unwrap();
    let mut player = Process::start(&mut vlc(&url(&server, "cam"), pictures.path()));
    player.collect_stdout();
    let begun = Instant::now();
    let mut looked_at = 0;
    // One that stands still counts once.
    let mut shown = Vec::<Vec<u8>>::new();
    while shown.len() < ENOUGH {
        assert!(
            begun.elapsed() < 2 * PATIENCE && player.is_running(),
            "{} of {looked_at} pictures: {:?}",
            shown.len(),
            player.said()
        );
        let all = files(pictures.path());
        for file in all.iter().skip(looked_at) {
            shown.extend(picture(file));
            shown.dedup();
        }
        looked_at = all.len();
        std::thread::sleep(Duration::from_millis(100));
    }
}
