//! MediaMTX's own settings file in place of ours.

use std::fs;

use super::sources::{camera, plays};
use super::support::Server;

#[test]
fn its_file_is_served_and_followed() {
    let (camera, _publisher) = camera(None, &[]);
    let origin = camera.url("$G1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mediamtx.yml");
    let yaml = format!("hlsVariant: mpegts\nrtmp: no\npaths:\n  '~^(.+)/again$':\n    source: {origin}\n");
    fs::write(&file, &yaml).unwrap();
    let mut server = Server::start(&["--config", file.to_str().unwrap()]);
    let said = server.process.said().join("\n");
    assert!(
        said.contains("mediamtx.yml:1:1: hlsVariant: mpegts is not honoured"),
        "{said}"
    );
    plays(&server.url("cam/again")).unwrap();

    let copy = format!("  copy:\n    source: {}\n", camera.url("cam"));
    fs::write(&file, yaml + &copy).unwrap();
    server.wait_for_event("source runs", "copy");
    plays(&server.url("copy")).unwrap();
}

#[test]
fn its_commands_are_run() {
    let folder = tempfile::tempdir().unwrap();
    let (file, heard) = (folder.path().join("mediamtx.yml"), folder.path().join("heard"));
    let yaml = format!(
        "paths:\n  '~^(.+)$':\n    runOnReady: sh -c 'echo ready $MTX_PATH $G1 >> {0}; exec sleep 1000'\n    runOnNotReady: sh -c 'echo gone $MTX_PATH >> {0}'\n    runOnRead: sh -c 'echo read $MTX_READER_TYPE >> {0}'\n",
        heard.display()
    );
    fs::write(&file, yaml).unwrap();
    let mut server = Server::start(&["--config", file.to_str().unwrap()]);
    // Each is a process of its own: the next thing happens when the one before was heard.
    let wait_for = |wanted: &str| {
        let begun = std::time::Instant::now();
        loop {
            let said = fs::read_to_string(&heard).unwrap_or_default();
            if said.contains(wanted) {
                return said;
            }
            assert!(begun.elapsed() < super::support::PATIENCE, "{said}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let mut ffmpeg = super::support::publish_with_ffmpeg(&mut server, "cam", "tcp", 30);
    wait_for("ready cam cam\n");
    plays(&server.url("cam")).unwrap();
    wait_for("read rtspSession\n");
    ffmpeg.kill();
    server.wait_for_event("command ended", "cam");
    let said = wait_for("gone cam\n");
    assert_eq!(said, "ready cam cam\nread rtspSession\ngone cam\n");
}

/// By FFmpeg, whose command says where it publishes, and by a script that knows it.
#[test]
fn its_commands_give_streams_on_demand_and_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (file, script, over) = (
        folder.path().join("mediamtx.yml"),
        folder.path().join("start.sh"),
        folder.path().join("over"),
    );
    let picture = "ffmpeg -nostdin -v error -re -f lavfi -i testsrc2=size=320x240:rate=15 -c:v libx264 -preset ultrafast \
        -tune zerolatency -g 15 -f rtsp -rtsp_transport tcp";
    fs::write(
        &script,
        format!("exec {picture} rtsp://127.0.0.1:$RTSP_PORT/$MTX_PATH\n"),
    )
    .unwrap();
    let yaml = format!(
        "paths:\n  said:\n    runOnDemand: {picture} rtsp://localhost:$RTSP_PORT/$MTX_PATH\n    runOnUnDemand: sh -c 'echo $MTX_PATH >> {0}'\n  \
           '~^known/.$':\n    runOnDemand: sh {1}\n  first:\n    runOnInit: {picture} rtsp://localhost:$RTSP_PORT/$MTX_PATH\n",
        over.display(),
        script.display()
    );
    fs::write(&file, yaml).unwrap();
    let mut server = Server::start(&["--config", file.to_str().unwrap()]);
    plays(&server.url("said")).unwrap();
    plays(&server.url("known/x")).unwrap();
    server.wait_for_event("source stopped", "said");
    server.wait_for_event("source stopped", "known/x");
    let begun = std::time::Instant::now();
    while fs::read_to_string(&over).unwrap_or_default() != "said\n" {
        assert!(
            begun.elapsed() < super::support::PATIENCE,
            "{:?}",
            fs::read_to_string(&over)
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // Nobody asked for this one before.
    plays(&server.url("first")).unwrap();
}
