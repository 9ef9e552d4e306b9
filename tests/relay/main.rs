//! End to end: `sightline relay` and `record` between a camera, which is a server of ours with an account, and other people's programs.
//!
//! Does not belong here: every rule of lists, files and words (`sightline::relay`, beside the code).

#[path = "../rtsp/support.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod support;

mod accounts;
mod hls;
mod record;
mod republish;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Process, Server, h264_of_ffmpeg, sightline, tool};
pub(crate) use support::{events, wait_until};

/// As cameras have them: in a URL, in a shell and in a `.env` file it is another each time.
pub(crate) const PASSWORD: &str = "p@ss w#rd/1$%";
const ENCODED: &str = "p%40ss%20w%23rd%2F1%24%25";

/// A camera: `cam` on a server that asks for its password by Digest, a keyframe every half second.
pub(crate) struct Camera {
    pub(crate) server: Server,
    publisher: Option<Process>,
}

impl Camera {
    /// On a free port or on this one, with pictures of this size.
    pub(crate) fn start(port: Option<u16>, size: &str) -> Self {
        let port = port.map(|port| port.to_string());
        let mut arguments = vec!["--token", PASSWORD];
        arguments.extend(port.iter().flat_map(|port| ["--rtsp-port", port]));
        // As long as FFmpeg takes to come back with another picture.
        let server = Server::start_with(&arguments, &[("SIGHTLINE_LIMITS_HOLD", "1min")]);
        let mut camera = Self {
            server,
            publisher: None,
        };
        camera.film(size);
        camera
    }

    /// Pictures of this size from now on; filters may stand behind it.
    pub(crate) fn film(&mut self, size: &str) {
        let before = self.server.events("publisher began", "cam").len();
        self.publisher = None;
        let mut command = tool("ffmpeg");
        let source = format!("-nostdin -v warning -re -f lavfi -i testsrc=rate=30:size={size} -pix_fmt yuv420p");
        command.args(source.split(' ')).args(h264_of_ffmpeg(15).split(' '));
        command.args(["-f", "rtsp", "-rtsp_transport", "tcp"]);
        let url = self
            .server
            .url("cam")
            .replace("rtsp://", &format!("rtsp://publisher:{ENCODED}@"));
        self.publisher = Some(Process::start(command.arg(url)));
        self.server.wait_for_events("publisher began", "cam", before + 1);
    }

    /// The words of `.env` for it.
    pub(crate) fn words(&self) -> String {
        let port = self.server.port;
        format!(
            "# the camera\nCAMERA_IP=127.0.0.1:{port}   # with its port\nCAMERA_USERNAME=viewer\nCAMERA_PASSWORD='{PASSWORD}'\nCAMERA_PATH=cam\n"
        )
    }

    pub(crate) fn url(&self) -> String {
        self.server
            .url("cam")
            .replace("rtsp://", &format!("rtsp://viewer:{ENCODED}@"))
    }
}

/// `sightline` in a folder, with a log for programs.
pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Process {
    let mut command = sightline();
    command.args(arguments).args(["--log", "json"]).current_dir(folder);
    for word in [
        "CAMERA_IP",
        "CAMERA_RTSP_URL",
        "STREAM_MODE",
        "OUTPUT_DIR",
        "OUTPUT_RTSP_URL",
    ] {
        command.env_remove(word);
    }
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    process
}

/// `sightline relay` in a folder with this `.env`.
pub(crate) fn relay(folder: &Path, words: &str) -> Process {
    fs::write(folder.join(".env"), words).unwrap();
    start(folder, &["relay"])
}

/// The files of a folder whose name ends so, by name.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.retain(|path| name(path).ends_with(ending) && !name(path).starts_with('.') && path.is_file());
    files.sort_unstable();
    files
}

/// Times at which ffprobe finds pictures to be shown in a file, in microseconds, in their order; and whether each is a keyframe.
pub(crate) fn pictures(file: &Path) -> Vec<(i64, bool)> {
    let mut command = tool("ffprobe");
    command.args("-v error -select_streams v -show_entries packet=pts_time,flags -of csv=p=0".split(' '));
    let output = command.arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{}: {said}", file.display());
    let text = String::from_utf8(output.stdout).unwrap();
    let picture = |line: &str| {
        let mut fields = line.split(',');
        let seconds: f64 = fields.next()?.parse().ok()?;
        Some(((seconds * 1e6).round() as i64, fields.next()?.starts_with('K')))
    };
    text.lines().filter_map(picture).collect()
}

/// No picture is missing: they are 30 a second, as the camera gives them; but for the first ones of a session, which a server of ours sends at once, with times
/// that let no player wait.
pub(crate) fn assert_gapless(pictures: &[(i64, bool)]) {
    let steps = pictures.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let wrong: Vec<i64> = steps
        .skip_while(|step| *step <= 2_000)
        .filter(|step| !(30_000..=37_000).contains(step))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?} among {}", pictures.len());
}

/// FFmpeg decodes all of it, and finds nothing wrong.
pub(crate) fn decodes(input: &str) {
    let mut command = tool("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-xerror", "-i", input, "-f", "null", "-"]);
    let (status, said) = Process::start(&mut command).finish();
    assert!(status.success() && said.is_empty(), "{input}: {said:#?}");
}
