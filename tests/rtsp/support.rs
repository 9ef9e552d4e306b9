//! Processes under test: started, watched, ended.

#[path = "machine.rs"]
mod machine;

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use media::WallTime;
use media::stamp;

pub(crate) use machine::Machine;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longest wait for anything on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub(crate) fn sightline() -> Command {
    with_settings_of_its_own(Command::new(env!("CARGO_BIN_EXE_sightline")))
}

/// A command that ends in the program under test, prepared as [`sightline`] is.
pub(crate) fn with_settings_of_its_own(mut command: Command) -> Command {
    // The settings of whoever runs the tests are not theirs.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SIGHTLINE_")) {
        command.env_remove(name);
    }
    // Each server of each test takes what is free.
    for port in [
        "RTSP_RTSPS_PORT",
        "HTTP_PORT",
        "HTTP_HTTPS_PORT",
        "HLS_PORT",
        "WEBRTC_PORT",
        "WEBRTC_ICE_PORT",
    ] {
        command.env(format!("SIGHTLINE_{port}"), "0");
    }
    // They ask as fast as they can.
    command.env("SIGHTLINE_LIMITS_REQUESTS", "100000");
    command
}

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    testkit::ports::free()
}

/// A tool that must be there. A test without it fails: nothing is skipped.
pub(crate) fn tool(program: &str) -> Command {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()));
    assert!(found, "{program} is missing; `scripts/setup test` installs it");
    Command::new(program)
}

/// FFmpeg that plays RTSP over `transport` and says on its standard output how far it is. What it plays is still to be added.
pub(crate) fn counting_ffmpeg(transport: &str) -> Command {
    let mut command = tool("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-progress", "pipe:1"]);
    command.args(["-rtsp_transport", transport]);
    command
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
    collecting: Vec<JoinHandle<()>>,
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
        let collecting = vec![collect(stderr, Arc::clone(&lines))];
        Self {
            child,
            lines,
            collecting,
            name,
        }
    }

    /// Its standard output.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Collects standard output among the lines.
    pub(crate) fn collect_stdout(&mut self) {
        let stdout = self.stdout();
        self.collecting.push(collect(stdout, Arc::clone(&self.lines)));
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
            // What it said last may have come since the look above.
            let silent = ended.is_some() && self.is_silent();
            if begun.elapsed() > PATIENCE || silent && !self.said().iter().any(|line| wanted(line).is_some()) {
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
    pub(crate) fn finish(self) -> (ExitStatus, Vec<String>) {
        self.finish_under(|| {})
    }

    /// Waits for its end, which is to come within `limit` of the time that the machine leaves to it.
    pub(crate) fn finish_within(self, limit: Duration) -> (ExitStatus, Vec<String>) {
        let begun = Instant::now();
        let (status, said, kept) = self.finish_kept();
        let took = begun.elapsed();
        assert!(
            took.saturating_sub(kept) < limit,
            "it ended after {took:?}, of which the machine kept {kept:?}. It said:\n{}",
            said.join("\n")
        );
        (status, said)
    }

    /// Waits for its end. What the machine kept from it until then is the last.
    pub(crate) fn finish_kept(self) -> (ExitStatus, Vec<String>, Duration) {
        let (machine, mut waited) = (Machine::watch(), machine::Waited::of(self.pid()));
        let (status, said) = self.finish_under(|| waited.look());
        (status, said, machine.kept() + waited.all())
    }

    /// Waits for its end, and looks again and again meanwhile.
    fn finish_under(mut self, mut look: impl FnMut()) -> (ExitStatus, Vec<String>) {
        let begun = Instant::now();
        loop {
            look();
            if let Some(status) = self.child.try_wait().unwrap()
                && self.is_silent()
            {
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

    /// Everything that it said has been collected: nobody has its outputs open any more.
    fn is_silent(&self) -> bool {
        self.collecting.iter().all(JoinHandle::is_finished)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
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

fn collect(pipe: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        // Players end lines of progress with a carriage return.
        for part in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&part).replace('\r', "\n");
            lines.lock().unwrap().extend(text.lines().map(str::to_owned));
        }
    })
}

/// The seconds that `sightline receive --json` has reported, among whatever else it said.
pub(crate) fn reports(said: &[String]) -> Vec<Value> {
    let values = said.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let reports: Vec<_> = values.filter(|value| value.get("fps").is_some()).collect();
    assert!(reports.iter().all(|report| report["fps"].is_f64()), "{reports:?}");
    reports
}

/// Pictures a second in all these seconds: in one of them, a busy machine may have shown what belongs into the next.
pub(crate) fn mean_fps(reports: &[Value]) -> f64 {
    let number = |report: &Value, name: &str| report[name].as_f64().unwrap();
    let seconds: f64 = reports.iter().map(|report| number(report, "seconds")).sum();
    let pictures: f64 = reports
        .iter()
        .map(|report| number(report, "fps") * number(report, "seconds"))
        .sum();
    pictures / seconds.max(f64::MIN_POSITIVE)
}

/// `sightline serve` on free ports, with state of its own.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
    state: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub(crate) fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_by(sightline(), arguments, variables)
    }

    /// By a command that runs the program somewhere else.
    pub(crate) fn start_by(mut command: Command, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let state = tempfile::tempdir().unwrap();
        command
            .args(["serve", "--log", "json", "--state-dir"])
            .arg(state.path())
            .args(arguments);
        command
            .env("SIGHTLINE_RTSP_PORT", "0")
            .env("SIGHTLINE_RTSP_RTP_PORT", "0")
            .env("SIGHTLINE_RTSP_RTCP_PORT", "0");
        command.envs(variables.iter().copied()).current_dir(state.path());
        let mut process = Process::start(&mut command);
        process.collect_stdout();
        let port = process.wait_for("listening", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            u16::try_from(event.get("rtsp_port")?.as_u64()?).ok()
        });
        all_settings_known(&process);
        Self { process, port, state }
    }

    /// Its state folder, where it works too.
    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    /// One of the tokens that it made for itself.
    pub(crate) fn token(&self, role: &str) -> String {
        let tokens = std::fs::read(self.state.path().join("tokens.json")).unwrap();
        let tokens: Value = serde_json::from_slice(&tokens).unwrap();
        tokens[role].as_str().unwrap().to_owned()
    }

    /// Where it listens, by its name in the log: `http_port`.
    pub(crate) fn port_of(&self, name: &str) -> u16 {
        let said = self.process.said();
        let mut events = said.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let port = events.find_map(|event| event.get(name)?.as_u64());
        u16::try_from(port.unwrap_or_else(|| panic!("it does not tell its {name}"))).unwrap()
    }

    /// What FFmpeg decodes of so many seconds of a stream: a line for each track.
    pub(crate) fn played(&self, name: &str, seconds: u32) -> Vec<String> {
        let mut command = tool("ffmpeg");
        command
            .args("-nostdin -v info -rtsp_transport tcp -i".split(' '))
            .arg(self.url(name));
        command.args(format!("-t {seconds} -f null -").split(' '));
        let (status, said) = Process::start(&mut command).finish();
        assert!(status.success(), "{said:#?}");
        said.into_iter()
            .filter(|line| line.contains("Stream #0") && line.contains(" -> "))
            .collect()
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{name}", self.port)
    }

    /// Waits for a log line with this event text and stream.
    pub(crate) fn wait_for_event(&mut self, text: &str, stream: &str) {
        self.wait_for_events(text, stream, 1);
    }

    /// Waits until there are so many of them, and gives the last.
    pub(crate) fn wait_for_events(&mut self, text: &str, stream: &str, count: usize) -> Value {
        let begun = Instant::now();
        loop {
            let mut events = self.events(text, stream);
            if events.len() >= count {
                return events.swap_remove(count - 1);
            }
            assert!(
                self.process.is_running() && begun.elapsed() < PATIENCE,
                "{} of {count} times {text:?}: {:#?}",
                events.len(),
                self.process.said()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The log's lines with this event text and stream, oldest first.
    pub(crate) fn events(&self, text: &str, stream: &str) -> Vec<Value> {
        let of_stream = |event: &Value| event["stream"] == stream;
        events(&self.process, text).into_iter().filter(of_stream).collect()
    }
}

/// A test that misspells a variable tests something else than it says.
pub(crate) fn all_settings_known(process: &Process) {
    let said = process.said();
    let unknown = said.iter().find(|line| line.contains("sets nothing here"));
    assert_eq!(unknown, None, "a variable of the test is no setting");
}

/// A baseline H.264 encoder of FFmpeg's that delays nothing, with a GOP of `gop` frames.
pub(crate) fn h264_of_ffmpeg(gop: u32) -> String {
    format!("-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -g {gop}")
}

/// Waits until it is so; shows what the process said where it does not come.
pub(crate) fn wait_until(what: &str, process: &Process, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < 2 * PATIENCE, "{what}: {:#?}", process.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The log's lines with this event text, oldest first.
pub(crate) fn events(process: &Process, text: &str) -> Vec<Value> {
    let said = process.said();
    let events = said.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let has = |event: &Value| event["event"].as_str().is_some_and(|said| said.contains(text));
    events.filter(has).collect()
}

/// An FFmpeg that publishes a test picture with a GOP of `gop` frames until it is dropped.
pub(crate) fn publish_with_ffmpeg(server: &mut Server, name: &str, transport: &str, gop: u32) -> Process {
    let codecs = h264_of_ffmpeg(gop);
    publish_encoded_with_ffmpeg(server, name, transport, &codecs)
}

/// The same with other options behind the test picture: encoders, more inputs in front of them.
pub(crate) fn publish_encoded_with_ffmpeg(server: &mut Server, name: &str, transport: &str, options: &str) -> Process {
    let mut command = tool("ffmpeg");
    command.args("-nostdin -v warning -re -f lavfi -i testsrc=size=320x240:rate=30".split(' '));
    command.args(options.split(' ')).args(["-pix_fmt", "yuv420p"]);
    command.args(["-f", "rtsp", "-rtsp_transport", transport]);
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

/// Ages in milliseconds of grey pictures of one size that a player writes, by the stamp in them, with the time since the first that has one.
pub(crate) struct Ages {
    pub(crate) samples: Vec<(Duration, f64)>,
    /// When they were taken.
    taken: Vec<WallTime>,
    /// Pictures without a readable stamp.
    pub(crate) unread: usize,
}

impl Ages {
    /// Reads pictures until the pipe ends or `duration` after the first with a stamp has passed.
    pub(crate) fn read(pipe: impl Read, size: (u32, u32), duration: Duration) -> Self {
        Self::read_until(pipe, size, |_, since| since > duration)
    }

    /// Reads so many pictures with a stamp, however long a busy machine takes for them.
    pub(crate) fn read_many(pipe: impl Read, size: (u32, u32), pictures: usize) -> Self {
        Self::read_until(pipe, size, |ages, since| {
            ages.samples.len() >= pictures || since > PATIENCE
        })
    }

    /// Reads pictures until the pipe ends or `over` says so, which is told the time since the first with a stamp.
    fn read_until(mut pipe: impl Read, (width, height): (u32, u32), over: impl Fn(&Self, Duration) -> bool) -> Self {
        let mut picture = vec![0; (width * height) as usize];
        let mut ages = Self {
            samples: Vec::new(),
            taken: Vec::new(),
            unread: 0,
        };
        let begun = Instant::now();
        let mut first = None;
        while pipe.read_exact(&mut picture).is_ok() {
            let now = wall();
            match stamp::read(&picture, width as usize, width, height, now) {
                Some(reading) => {
                    let since = first.get_or_insert_with(Instant::now).elapsed();
                    let age = now.micros_since(reading.time) as f64 / 1_000.0;
                    ages.samples.push((since, age));
                    ages.taken.push(reading.time);
                }
                None => ages.unread += 1,
            }
            let is_over = match first {
                Some(first) => over(&ages, first.elapsed()),
                None => begun.elapsed() > PATIENCE,
            };
            if is_over {
                break;
            }
        }
        ages
    }

    /// Milliseconds from one picture to the next as they were taken: the median, which is that of the camera unless pictures are left out again and
    /// again.
    pub(crate) fn every_ms(&self) -> f64 {
        let pairs = self.taken.windows(2);
        let mut steps: Vec<_> = pairs.map(|pair| pair[1].micros_since(pair[0])).collect();
        steps.sort_unstable();
        steps
            .get(steps.len() / 2)
            .map_or(f64::INFINITY, |&us| us as f64 / 1_000.0)
    }

    /// Age of the youngest tenth in a window after the first picture. A delay that stands is that of all pictures; what a busy machine adds now and
    /// then is not.
    pub(crate) fn standing(&self, from: Duration, to: Duration) -> f64 {
        let window = self.samples.iter().filter(|(since, _)| (from..to).contains(since));
        let mut ages: Vec<_> = window.map(|&(_, age)| age).collect();
        assert!(
            !ages.is_empty(),
            "no picture with a stamp between {from:?} and {to:?}: {} unread",
            self.unread
        );
        ages.sort_by(f64::total_cmp);
        ages[ages.len() / 10]
    }
}

/// Datagrams that came to this machine and that nobody took in time: they are not lost on the way.
pub(crate) fn not_taken() -> u64 {
    not_taken_by(&std::fs::read_to_string("/proc/net/snmp").unwrap())
}

/// The same by `/proc/net/snmp` of another network.
pub(crate) fn not_taken_by(snmp: &str) -> u64 {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut fields = names.split(' ').zip(values.split(' '));
    let (_, count) = fields.find(|(name, _)| *name == "RcvbufErrors").unwrap();
    count.parse().unwrap()
}

pub(crate) fn wall() -> WallTime {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    WallTime::from_unix_micros(i64::try_from(since.as_micros()).unwrap())
}
