//! End to end: the real program's HTTP ports, asked as people's programs ask them: with curl, and by hand over plain sockets.
//!
//! Does not belong here: every rule of access and limits (`sightline::http`, beside the code), how the program starts and ends
//! (`tests/program`).

#[path = "../rtsp/support.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod support;

mod acme;
mod api;
mod authority;
mod doctor;
mod ends;
mod events;
mod https;
mod proxies;
mod top;
mod webhooks;

use std::path::Path;

use serde_json::Value;
use support::{Process, all_settings_known, sightline, tool};

/// `sightline up` with a test picture on free ports, with a state folder of its own.
struct Server {
    process: Process,
    folder: tempfile::TempDir,
    listening: Value,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    fn start_in(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, &[])
    }

    fn start_with(folder: tempfile::TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = sightline();
        command.args(["up", "--source", "test", "--log", "json", "--state-dir"]);
        command
            .arg(folder.path().join("state"))
            .args(arguments)
            .current_dir(folder.path())
            .envs(variables.iter().copied());
        for port in ["RTSP_PORT", "RTSP_RTP_PORT", "RTSP_RTCP_PORT"] {
            command.env(format!("SIGHTLINE_{port}"), "0");
        }
        let mut process = Process::start(&mut command);
        process.collect_stdout();
        let listening = wait_for_event(&mut process, "listening");
        wait_for_event(&mut process, "camera runs");
        all_settings_known(&process);
        Self {
            process,
            folder,
            listening,
        }
    }

    fn port(&self, name: &str) -> u64 {
        self.listening[format!("{name}_port")].as_u64().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port("http"))
    }

    fn token(&self, role: &str) -> String {
        let tokens = std::fs::read(self.state().join("tokens.json")).unwrap();
        let tokens: Value = serde_json::from_slice(&tokens).unwrap();
        tokens[role].as_str().unwrap().to_owned()
    }

    fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }
}

fn wait_for_event(process: &mut Process, text: &str) -> Value {
    process.wait_for(text, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event.get("event")?.as_str()? == text).then_some(event)
    })
}

/// What curl says, and the status.
fn curl(arguments: &[&str]) -> (u16, String) {
    let mut command = tool("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--write-out",
        "\n%{http_code}",
    ]);
    let output = command.args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}{text}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (text, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), text.to_owned())
}

/// A cookie jar in this folder.
fn jar(folder: &Path) -> String {
    folder.join("cookies").display().to_string()
}
