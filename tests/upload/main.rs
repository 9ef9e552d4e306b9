//! End to end: `sightline upload` and a server's uploads and archive, against a server of S3 (moto) that runs beside them.
//!
//! Does not belong here: every rule of names, spools and lifecycles (`sightline::upload`, beside the code).

#[path = "../rtsp/support.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod support;

mod archive;
mod s3;
mod snapshots;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Process, Server, sightline};
pub(crate) use support::{events, wait_until};

pub(crate) use s3::S3;

/// A server with a camera, `cam`, a keyframe a second, and these settings besides.
pub(crate) fn server(settings: &str, variables: &[(&str, &str)]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sightline.toml");
    let camera = "[camera.cam]\nsource = \"test\"\nsize = \"320x240\"\nfps = 10\ngop = 10\n";
    fs::write(&file, format!("{camera}{settings}")).unwrap();
    Server::start_with(&[file.to_str().unwrap()], variables)
}

/// `sightline serve` with a state of its own, free to everybody on this machine, to be started again in the same folder.
pub(crate) struct Own {
    pub(crate) process: Process,
    pub(crate) rtsp_port: u16,
    http_port: u16,
    /// Where the admin's token lies.
    tokens: PathBuf,
}

impl Own {
    pub(crate) fn start(folder: &Path, settings: &str, variables: &[(&str, &str)]) -> Self {
        let file = folder.join("sightline.toml");
        fs::write(&file, settings).unwrap();
        let mut command = sightline();
        command.arg("serve").arg(&file).args(["--log", "json", "--state-dir"]);
        command.arg(folder.join("state")).current_dir(folder);
        for port in ["PORT", "RTP_PORT", "RTCP_PORT"] {
            command.env(format!("SIGHTLINE_RTSP_{port}"), "0");
        }
        let mut process = Process::start(command.envs(variables.iter().copied()));
        process.collect_stdout();
        let port = |process: &mut Process, name: &str| {
            process.wait_for("listening", |line| {
                let event: Value = serde_json::from_str(line).ok()?;
                u16::try_from(event.get(name)?.as_u64()?).ok()
            })
        };
        Self {
            rtsp_port: port(&mut process, "rtsp_port"),
            http_port: port(&mut process, "http_port"),
            tokens: folder.join("state/tokens.json"),
            process,
        }
    }

    /// What it answers to a question of its API.
    pub(crate) fn get(&self, target: &str) -> Value {
        let (head, body) = self.ask("GET", target, "");
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {head}"))
    }

    /// Head and body of an answer to its admin.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> (String, Vec<u8>) {
        let token = self.token();
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut all = Vec::new();
        // One that is broken off is seen by what came until then.
        let _ = stream.read_to_end(&mut all);
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (
            String::from_utf8_lossy(&all[..end]).into_owned(),
            all[end + 4..].to_vec(),
        )
    }

    /// The URL of something of its API, for its admin.
    pub(crate) fn url(&self, target: &str) -> String {
        let mark = if target.contains('?') { '&' } else { '?' };
        format!(
            "http://127.0.0.1:{}{target}{mark}token={}",
            self.http_port,
            self.token()
        )
    }

    fn token(&self) -> String {
        let tokens: Value = serde_json::from_slice(&fs::read(&self.tokens).unwrap()).unwrap();
        tokens["admin"].as_str().unwrap().to_owned()
    }
}

/// `sightline upload` in a folder, with a log for programs.
pub(crate) fn upload(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
    let mut command = sightline();
    command
        .args(["upload", "--log", "json", "--state-dir"])
        .arg(folder.join("state"));
    command.args(arguments).current_dir(folder);
    for word in [
        "CAMERA_IP",
        "CAMERA_RTSP_URL",
        "STORAGE_BACKEND",
        "S3_BUCKET",
        "OUTPUT_DIR",
    ] {
        command.env_remove(word);
    }
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    let mut process = Process::start(command.envs(variables.iter().copied()));
    process.collect_stdout();
    process
}

/// All files below a folder, from there on.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path.strip_prefix(folder).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}
