//! The program as people and scripts meet it: how it starts, what it says, how it ends.
//!
//! Real processes on free ports, each with a working directory and a state folder of its own. Does not belong here: what goes over RTSP
//! (`tests/rtsp`).

#[path = "../rtsp/support.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod support;

mod clients;
mod commands;
mod credentials;
mod lifetime;
mod restart;
mod service_manager;
mod settings;
mod start;

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use support::{Process, all_settings_known, sightline};

/// Runs a command to its end in `folder`.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = sightline();
    let command = command
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env_remove("XDG_STATE_HOME");
    command.output().unwrap()
}

/// Text of standard output.
fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Text of standard error.
fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// `sightline serve` or `up` on free ports in `folder`, with both outputs collected.
fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
    let mut command = sightline();
    command
        .args(arguments)
        .args(["--rtsp-port", "0"])
        .current_dir(folder)
        .env("HOME", folder);
    command.env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
    command
        .env("SIGHTLINE_RTSP_RTP_PORT", "0")
        .env("SIGHTLINE_RTSP_RTCP_PORT", "0");
    command.envs(variables.iter().copied());
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    process
}

/// Waits for the event of that text and gives it.
fn wait_for_event(process: &mut Process, text: &str) -> Value {
    process.wait_for(text, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event.get("event")?.as_str()? == text).then_some(event)
    })
}

/// The port that it says it listens on, in JSON.
fn port(process: &mut Process) -> u16 {
    let event = wait_for_event(process, "listening");
    all_settings_known(process);
    u16::try_from(event["rtsp_port"].as_u64().unwrap()).unwrap()
}

/// Sends a signal.
fn signal(process: &Process, signal: rustix::process::Signal) {
    let pid = i32::try_from(process.pid())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.unwrap(), signal).unwrap();
}
