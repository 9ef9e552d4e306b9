//! MediaMTX, to which streams are sent on by RTSP and WHIP, and from which FFmpeg plays them.

use std::process::Command;

use super::forward::{CODECS, sending};
use super::support::{Process, free_port, test_tool, tool};

/// Its ports, and the file that says them.
struct MediaMtx {
    rtsp: u16,
    webrtc: u16,
    folder: tempfile::TempDir,
}

impl MediaMtx {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [rtsp, webrtc, ice] = [(); 3].map(|()| free_port());
        let settings = format!(
            "rtmp: no
srt: no
hls: no
moq: no
rtspTransports: [tcp]
rtspAddress: 127.0.0.1:{rtsp}
webrtcAddress: 127.0.0.1:{webrtc}
webrtcLocalUDPAddress: 127.0.0.1:{ice}
webrtcIPsFromInterfaces: no
webrtcAdditionalHosts: [127.0.0.1]
paths:
  all_others:
"
        );
        std::fs::write(folder.path().join("mediamtx.yml"), settings).unwrap();
        Self { rtsp, webrtc, folder }
    }

    fn start(&self) -> Process {
        let mut command = Command::new(test_tool("mediamtx"));
        let mut process = Process::start(command.arg("mediamtx.yml").current_dir(self.folder.path()));
        process.collect_stdout();
        process
    }

    /// FFmpeg plays what is sent there. A line for each track.
    fn played(&self, seconds: u32) -> Vec<String> {
        let mut command = tool("ffmpeg");
        command.args("-nostdin -v info -rtsp_transport tcp -i".split(' '));
        command.arg(format!("rtsp://127.0.0.1:{}/copy", self.rtsp));
        command.args(format!("-t {seconds} -f null -").split(' '));
        let (status, said) = Process::start(&mut command).finish();
        assert!(status.success(), "{said:#?}");
        let tracks = said.into_iter();
        tracks
            .filter(|line| line.contains("Stream #0") && line.contains(" -> "))
            .collect()
    }
}

/// Through its restart, of which the server here is told by nobody.
fn takes_what_is_sent(url: impl Fn(&MediaMtx) -> String) {
    let theirs = MediaMtx::new();
    let mut taking = theirs.start();
    taking.wait_for("listening", |line| {
        line.contains("[WebRTC] started with listeners").then_some(())
    });
    let (mut server, _publisher) = sending(&url(&theirs), CODECS);
    for run in 1..=2 {
        server.wait_for_events("stream is sent on", "door", run);
        taking.wait_for("a publisher", |line| {
            line.contains("is publishing to path 'copy'").then_some(())
        });
        let tracks = theirs.played(2);
        assert!(
            tracks.len() == 2 && tracks.iter().any(|line| line.contains("opus")),
            "{tracks:#?}"
        );
        if run == 1 {
            taking.kill();
            server.wait_for_event("stream is not sent on", "door");
            taking = theirs.start();
        }
    }
}

#[test]
fn takes_streams_by_rtsp_and_again_after_a_restart() {
    takes_what_is_sent(|theirs| format!("rtsp://127.0.0.1:{}/copy", theirs.rtsp));
}

#[test]
fn takes_streams_by_whip_and_again_after_a_restart() {
    takes_what_is_sent(|theirs| format!("whip://127.0.0.1:{}/copy/whip", theirs.webrtc));
}
