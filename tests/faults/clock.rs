//! The clock of a whole machine is set while everything runs: a server and those who play are on that machine, and see the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::killing::{frames, wait_for_frames};
use super::support::{PATIENCE, Process, Server, reports, sightline, tool};

const STREAM: &str = "zerolatency";
const COPY: &str = "door";
const SOURCE: &str = "SIGHTLINE_STREAM_DOOR_SOURCE";
/// Reports in which there may be pictures of both times.
const PASSING: usize = 2;
/// What a slow machine may take; each step is more than a hundred times that.
const MAX_AGE_MS: f64 = 30_000.0;

/// The clock of the programs that were started by it.
struct WallClock {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl WallClock {
    fn new() -> Self {
        let library = fs::read_dir("/usr/lib").unwrap().find_map(|entry| {
            let path = entry.ok()?.path().join("faketime/libfaketimeMT.so.1");
            path.exists().then_some(path)
        });
        let clock = Self {
            folder: tempfile::tempdir().unwrap(),
            library: library.expect("libfaketime is there; `scripts/setup test` installs it"),
        };
        clock.set("+0");
        clock
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("now")
    }

    /// By so much away from the machine's own, as in "+3600".
    fn set(&self, offset: &str) {
        let new: &Path = &self.folder.path().join("new");
        fs::write(new, offset).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    /// A program that lives by it. Only the time of day is another: what is measured in between stays true, as on a machine.
    fn rules(&self, mut command: Command) -> Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.file())
            .envs(["FAKETIME_DONT_FAKE_MONOTONIC", "FAKETIME_NO_CACHE", "NO_FAKE_STAT"].map(|name| (name, "1")));
        command
    }
}

/// Waits until what a receiver said after so many reports ends with a second whose pictures are as old as they look.
fn wait_for_the_truth(who: &str, receiver: &mut Process, after: usize) {
    let begun = Instant::now();
    loop {
        let reports = reports(&receiver.said());
        let newest = reports.iter().skip(after).next_back();
        let age = newest.and_then(|report| report["latency"]["p50_ms"].as_f64());
        if age.is_some_and(|age| (0.0..MAX_AGE_MS).contains(&age)) {
            return;
        }
        assert!(
            receiver.is_running() && begun.elapsed() < PATIENCE,
            "{who}: {age:?} ms, {:#?}",
            receiver.said()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Date and hour by such a clock, as logs have them.
fn hour_at(offset: &str) -> String {
    let mut command = tool("date");
    let output = command
        .args(["-u", "+%FT%H:", "-d", &format!("{offset} seconds")])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn setting_the_clock_moves_nobody() {
    let clock = WallClock::new();
    let start = |arguments: &[&str], variables: &[(&str, &str)]| {
        Server::start_by(clock.rules(sightline()), arguments, variables)
    };
    let mut camera = start(&["--source", "test", "--open"], &[]);
    camera.wait_for_event("camera runs", STREAM);
    let whep = format!("whep://127.0.0.1:{}/{STREAM}/whep", camera.port_of("webrtc_port"));
    let hls = format!("http://127.0.0.1:{}/{STREAM}/index.m3u8", camera.port_of("hls_port"));
    let by_whep = start(&[], &[(SOURCE, &whep)]);
    let by_hls = start(&[], &[(SOURCE, &hls)]);
    let receive = |url: String, transport: &str| {
        let mut command = clock.rules(sightline());
        command.args(["receive", &url, "--json", "--transport", transport]);
        let mut process = Process::start(&mut command);
        process.collect_stdout();
        process
    };
    let mut receivers = [
        ("RTSP over TCP", receive(camera.url(STREAM), "tcp")),
        ("RTSP over UDP", receive(camera.url(STREAM), "udp")),
        ("fetched by WHEP", receive(by_whep.url(COPY), "tcp")),
        ("fetched by HLS", receive(by_hls.url(COPY), "tcp")),
    ];
    let mut player = tool("ffmpeg");
    player.args("-nostdin -v error -progress pipe:1 -i".split(' '));
    let mut player = Process::start(player.args([&hls, "-f", "null", "-"]));
    player.collect_stdout();
    wait_for_frames(&mut player, 30);
    for offset in ["+0", "+3600", "-86400", "+0"] {
        clock.set(offset);
        let seen = frames(&player);
        let before = receivers
            .each_ref()
            .map(|(_, receiver)| reports(&receiver.said()).len());
        for ((who, receiver), before) in receivers.iter_mut().zip(before) {
            wait_for_the_truth(&format!("{who} at {offset}"), receiver, before + PASSING);
        }
        wait_for_frames(&mut player, seen + 30);
        // Who is new is well served too, and the log has the time that was set.
        let hour = hour_at(offset);
        camera.played(STREAM, 1);
        let hours = [hour, hour_at(offset)];
        let said = camera.process.said();
        let line = said.last().unwrap();
        assert!(
            hours.iter().any(|hour| line.contains(hour)),
            "{offset}: {hours:?} {line}"
        );
    }
    for (who, receiver) in &receivers {
        for report in reports(&receiver.said()).iter().skip(PASSING) {
            assert!(report["fps"].as_f64() > Some(1.0), "{who} stands still: {report}");
            assert_eq!(report["reconnections"], Value::from(0), "{who}: {report}");
        }
    }
    for server in [&camera, &by_whep, &by_hls] {
        let said = server.process.said();
        let wrong = said
            .iter()
            .find(|line| line.contains("panic") || line.contains("failed"));
        assert_eq!(wrong, None);
    }
}
