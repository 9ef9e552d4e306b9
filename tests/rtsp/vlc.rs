//! VLC.

use super::support::{Process, Server, tool};

#[test]
fn plays() {
    let server = Server::start(&["--source", "test"]);
    let folder = tempfile::tempdir().unwrap();
    let mut command = tool("cvlc");
    // As root it refuses to start; the check is in its launcher alone.
    command.args([
        "-I",
        "dummy",
        "--play-and-exit",
        "--run-time=4",
        "--no-audio",
        "--rtsp-tcp",
        "--vout=dummy",
    ]);
    command.args([
        "--video-filter=scene",
        "--scene-format=png",
        "--scene-ratio=10",
        "--scene-prefix=shot",
    ]);
    command
        .arg(format!("--scene-path={}", folder.path().display()))
        .arg(server.url("zerolatency"))
        .arg("vlc://quit");
    let (_, said) = Process::start(&mut command).finish();
    let shots = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(shots >= 3, "VLC drew {shots} pictures. It said:\n{}", said.join("\n"));
}
