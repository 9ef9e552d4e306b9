//! Processes under test: started, watched, ended.

use std::io::{BufRead as _, BufReader, Read};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use media::WallTime;
use media::stamp;
use serde_json::Value;

/// Longest wait for anything on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub(crate) fn sightline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    // The settings of whoever runs the tests are not theirs.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SIGHTLINE_")) {
        command.env_remove(name);
    }
    command
}

/// A tool that must be there. A test without it fails: nothing is skipped.
pub(crate) fn tool(program: &str) -> Command {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()));
    assert!(found, "{program} is missing; `scripts/setup test` installs it");
    Command::new(program)
}

/// A file that `scripts/setup test` makes.
pub(crate) fn test_tool(name: &str) -> PathBuf {
    let tools = std::env::var_os("SIGHTLINE_TEST_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools"),
        PathBuf::from,
    );
    let path = tools.join(name);
    assert!(
        path.exists(),
        "{} is missing; `scripts/setup test` makes it",
        path.display()
    );
    path
}

/// A process that ends with its value, and what it says.
pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    name: String,
}

impl Process {
    /// Starts it, collecting standard error; standard output too unless it is taken with [`Process::stdout`].
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().unwrap();
        collect(stderr, Arc::clone(&lines));
        Self { child, lines, name }
    }

    /// Its standard output.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Collects standard output among the lines.
    pub(crate) fn collect_stdout(&mut self) {
        let stdout = self.stdout();
        collect(stdout, Arc::clone(&self.lines));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a line that `wanted` makes something of.
    pub(crate) fn wait_for<T>(&mut self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = self.said().iter().find_map(|line| wanted(line)) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            // What it said last may be on its way.
            if ended.is_some() && begun.elapsed() > Duration::from_millis(200) || begun.elapsed() > PATIENCE {
                panic!(
                    "{} did not say: {what} (ended: {ended:?}). It said:\n{}",
                    self.name,
                    self.said().join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> (ExitStatus, Vec<String>) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                std::thread::sleep(Duration::from_millis(50));
                return (status, self.said());
            }
            assert!(
                begun.elapsed() < PATIENCE * 2,
                "{} does not end. It said:\n{}",
                self.name,
                self.said().join("\n")
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn collect(pipe: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        // Players end lines of progress with a carriage return.
        for part in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&part).replace('\r', "\n");
            lines.lock().unwrap().extend(text.lines().map(str::to_owned));
        }
    });
}

/// `sightline serve` on free ports, with state of its own.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
    _state: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub(crate) fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (rtp, rtcp) = free_pair();
        let mut command = sightline();
        command
            .args(["serve", "--log", "json", "--state-dir"])
            .arg(state.path())
            .args(arguments);
        command
            .env("SIGHTLINE_RTSP_PORT", "0")
            .env("SIGHTLINE_RTSP_RTP_PORT", rtp.to_string())
            .env("SIGHTLINE_RTSP_RTCP_PORT", rtcp.to_string());
        command.envs(variables.iter().copied()).current_dir(state.path());
        let mut process = Process::start(&mut command);
        process.collect_stdout();
        let port = process.wait_for("listening", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            u16::try_from(event.get("rtsp_port")?.as_u64()?).ok()
        });
        Self {
            process,
            port,
            _state: state,
        }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{name}", self.port)
    }

    /// Waits for a log line with this event text and stream.
    pub(crate) fn wait_for_event(&mut self, text: &str, stream: &str) {
        self.process.wait_for(text, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let said = event.get("event")?.as_str()?;
            (said.contains(text) && event.get("stream").and_then(Value::as_str) == Some(stream)).then_some(())
        });
    }
}

/// Two free UDP ports, even and odd, as players expect them.
pub(crate) fn free_pair() -> (u16, u16) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 2_000) as u16 * 10;
    for _ in 0..5_000 {
        let rtp = base.wrapping_add(NEXT.fetch_add(2, Relaxed)).clamp(10_000, 60_000) & !1;
        if UdpSocket::bind(("0.0.0.0", rtp)).is_ok() && UdpSocket::bind(("0.0.0.0", rtp + 1)).is_ok() {
            return (rtp, rtp + 1);
        }
    }
    panic!("no pair of UDP ports is free");
}

/// An FFmpeg that publishes a test picture with a GOP of `gop` frames until it is dropped.
pub(crate) fn publish_with_ffmpeg(server: &mut Server, name: &str, transport: &str, gop: u32) -> Process {
    let mut command = tool("ffmpeg");
    command.args([
        "-nostdin",
        "-loglevel",
        "warning",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=320x240:rate=30",
    ]);
    command.args([
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
    ]);
    command.args([
        "-profile:v",
        "baseline",
        "-g",
        &gop.to_string(),
        "-f",
        "rtsp",
        "-rtsp_transport",
        transport,
    ]);
    let process = Process::start(command.arg(server.url(name)));
    server.wait_for_event("publisher began", name);
    process
}

/// Our own publisher with the stamp in its pictures and a long GOP: what a camera elsewhere would send.
pub(crate) fn publish_stamped(server: &mut Server, name: &str, gop: u32) -> Process {
    let mut command = sightline();
    command.args([
        "publish",
        &server.url(name),
        "--source",
        "test",
        "--gop",
        &gop.to_string(),
        "--log",
        "json",
    ]);
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    server.wait_for_event("publisher began", name);
    process
}

/// Ages in milliseconds of grey pictures of one size that a player writes, by the stamp in them, with the time since the first picture.
pub(crate) struct Ages {
    pub(crate) samples: Vec<(Duration, f64)>,
    /// Pictures without a readable stamp.
    pub(crate) unread: usize,
}

impl Ages {
    /// Reads pictures until the pipe ends or `duration` after the first has passed.
    pub(crate) fn read(mut pipe: impl Read, (width, height): (u32, u32), duration: Duration) -> Self {
        let mut picture = vec![0; (width * height) as usize];
        let mut ages = Self {
            samples: Vec::new(),
            unread: 0,
        };
        let mut first = None;
        while pipe.read_exact(&mut picture).is_ok() {
            let now = wall();
            let since = first.get_or_insert_with(Instant::now).elapsed();
            match stamp::read(&picture, width as usize, width, height, now) {
                Some(reading) => ages
                    .samples
                    .push((since, now.micros_since(reading.time) as f64 / 1_000.0)),
                None => ages.unread += 1,
            }
            if since > duration {
                break;
            }
        }
        ages
    }

    /// Median age in a window after the first picture.
    pub(crate) fn median(&self, from: Duration, to: Duration) -> f64 {
        let window = self.samples.iter().filter(|(since, _)| (from..to).contains(since));
        let mut ages: Vec<_> = window.map(|&(_, age)| age).collect();
        assert!(
            !ages.is_empty(),
            "no picture with a stamp between {from:?} and {to:?}: {} unread",
            self.unread
        );
        ages.sort_by(f64::total_cmp);
        ages[ages.len() / 2]
    }
}

pub(crate) fn wall() -> WallTime {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    WallTime::from_unix_micros(i64::try_from(since.as_micros()).unwrap())
}

/// The delay of a player must not depend on whether it was given a burst to begin with. Plays the same long-GOP stream from a server
/// that gives bursts and from one that does not (`limits.burst_time` of nothing), joining in the middle of a GOP, and compares the
/// age of pictures five seconds after the first. `play` starts the player and returns it with the pipe of grey pictures.
pub(crate) fn no_standing_delay(size: (u32, u32), play: impl Fn(&str) -> Process) {
    const GOP: u32 = 60;
    let delay = |variables: &[(&str, &str)]| {
        let mut server = Server::start_with(&[], variables);
        let _publisher = publish_stamped(&mut server, "cam", GOP);
        // Into the middle of a GOP of two seconds.
        std::thread::sleep(Duration::from_millis(3_000));
        let mut player = play(&server.url("cam"));
        let ages = Ages::read(player.stdout(), size, Duration::from_millis(6_500));
        ages.median(Duration::from_secs(5), Duration::from_millis(6_500))
    };
    let with_burst = delay(&[]);
    let without = delay(&[("SIGHTLINE_LIMITS_BURST_TIME", "0s")]);
    // A burst that is played at its own pace leaves a delay of a second on average. What is allowed is noise.
    assert!(
        (with_burst - without).abs() < 150.0,
        "five seconds after joining: {with_burst:.0} ms behind with a burst, {without:.0} ms without"
    );
}
