//! A server whose state outlives it, started again and again on the same folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::support::{self, PATIENCE, Process, h264_of_ffmpeg, sightline, tool};

/// A server with a state folder that outlives it.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) rtsp_port: u64,
    pub(crate) http_port: u64,
    pub(crate) token: String,
}

impl Server {
    pub(crate) fn start(state: &Path, record: &[(&str, &str)]) -> Self {
        let mut process = Self::begin(state, record);
        let (rtsp_port, http_port) = process.wait_for("listening", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            Some((event.get("rtsp_port")?.as_u64()?, event.get("http_port")?.as_u64()?))
        });
        support::all_settings_known(&process);
        let tokens = std::fs::read(state.join("tokens.json")).unwrap();
        let tokens: Value = serde_json::from_slice(&tokens).unwrap();
        Self {
            process,
            rtsp_port,
            http_port,
            token: tokens["admin"].as_str().unwrap().to_owned(),
        }
    }

    /// The process alone, however far it is.
    pub(crate) fn begin(state: &Path, record: &[(&str, &str)]) -> Process {
        let mut command = sightline();
        command.args(["serve", "--log", "json", "--state-dir"]).arg(state);
        for name in ["RTSP_PORT", "RTSP_RTP_PORT", "RTSP_RTCP_PORT"] {
            command.env(format!("SIGHTLINE_{name}"), "0");
        }
        command.envs(record.iter().copied()).current_dir(state);
        let mut process = Process::start(&mut command);
        process.collect_stdout();
        process
    }

    /// FFmpeg, which publishes a picture and a tone for so many seconds.
    pub(crate) fn publish(&self, name: &str, seconds: u32) -> Process {
        self.publish_from("testsrc=size=320x240:rate=30", name, seconds)
    }

    pub(crate) fn publish_from(&self, picture: &str, name: &str, seconds: u32) -> Process {
        let mut command = tool("ffmpeg");
        command
            .args("-nostdin -v warning -re -f lavfi -i".split(' '))
            .arg(picture);
        command.args("-re -f lavfi -i sine=frequency=440:sample_rate=48000".split(' '));
        command.args(h264_of_ffmpeg(30).split(' '));
        command.args(format!("-c:a aac -ac 1 -pix_fmt yuv420p -t {seconds}").split(' '));
        command.args("-f rtsp -rtsp_transport tcp".split(' '));
        Process::start(command.arg(format!("rtsp://127.0.0.1:{}/{name}", self.rtsp_port)))
    }

    /// What the API answers: status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut command = tool("curl");
        command.args(["-s", "-w", "\n%{http_code}", "-X", method]);
        command.arg("-H").arg(format!("Authorization: Bearer {}", self.token));
        if !body.is_empty() {
            command.args(["-H", "Content-Type: application/json", "-d", body]);
        }
        let url = format!("http://127.0.0.1:{}/api/v1{path}", self.http_port);
        let output = command.arg(url).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
    }

    /// Waits until a stream is recorded so.
    pub(crate) fn wait_for_state(&self, stream: &str, state: &str) {
        let begun = Instant::now();
        loop {
            let (_, answer) = self.ask("GET", &format!("/streams/{stream}"), "");
            if answer["recording"]["state"] == state {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "not {state}: {answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGTERM, and what it takes.
    pub(crate) fn end(self) {
        self.process.signal(Signal::TERM);
        let (status, said) = self.process.finish();
        assert!(status.success(), "{said:#?}");
        let late = said.iter().find(|line| line.contains("not on the disk in time"));
        assert_eq!(late, None);
    }
}

/// All files of recordings below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    files_called(folder, "mp4")
}

pub(crate) fn files_called(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files_called(&path, extension));
        } else if path.extension().is_some_and(|known| known == extension) {
            all.push(path);
        }
    }
    all.sort();
    all
}
