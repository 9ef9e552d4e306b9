//! What old scripts type goes on working.

use crate::{port, start, wait_for_event};

#[test]
fn flags_of_the_old_publisher_are_answered_with_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "up",
        "--source",
        "test",
        "--log",
        "json",
        "--mediamtx-path",
        "/opt/mediamtx",
        "--ffmpeg-path",
        "ffmpeg",
    ];
    let mut process = start(folder.path(), &arguments, &[]);
    wait_for_event(
        &mut process,
        "--mediamtx-path is no longer needed: MediaMTX is not used",
    );
    wait_for_event(&mut process, "--ffmpeg-path is no longer needed: FFmpeg is not used");
    port(&mut process);
}

#[test]
fn ports_of_what_is_not_served_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["serve", "--log", "json", "--hls-port", "8888", "--http-port", "8000"];
    let mut process = start(folder.path(), &arguments, &[]);
    wait_for_event(
        &mut process,
        "--hls-port has no effect: this version does not serve HLS",
    );
    port(&mut process);
}
