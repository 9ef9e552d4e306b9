//! The restart that refuses nobody: what the two processes do, with each other and with the service manager. Who connects and plays
//! meanwhile: [`clients`].

mod clients;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::service_manager::ServiceManager;
use crate::support::{
    PATIENCE, Process, all_settings_known, counting_ffmpeg, free_port, sightline, tool, with_settings_of_its_own,
};

/// A program in a folder of its own, and those that took its place.
struct Line {
    folder: TempDir,
    first: Process,
}

impl Line {
    /// `sightline serve`, started by the name `sightline` in its folder, which is a link as of one version among others.
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_sightline"), folder.path().join("sightline")).unwrap();
        let command = std::process::Command::new(folder.path().join("sightline"));
        Self::start_by(folder, with_settings_of_its_own(command), arguments, variables)
    }

    fn start_by(
        folder: TempDir,
        mut command: std::process::Command,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        command.args(["serve", "--log", "json", "--state-dir"]);
        command.arg(folder.path().join("state")).args(arguments);
        command.current_dir(folder.path()).env("HOME", folder.path());
        for port in ["PORT", "RTP_PORT", "RTCP_PORT"] {
            command.env(format!("SIGHTLINE_RTSP_{port}"), "0");
        }
        command.envs(variables.iter().copied());
        let mut first = Process::start(&mut command);
        first.collect_stdout();
        let mut line = Self { folder, first };
        line.wait_for("listening", 1);
        all_settings_known(&line.first);
        line
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.place(name), text).unwrap();
    }

    /// What all of them have said with this event text.
    fn events(&self, text: &str) -> Vec<Value> {
        let said = self.first.said();
        let events = said.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == text).collect()
    }

    /// Waits until there are so many of them, and gives the last.
    fn wait_for(&mut self, text: &str, count: usize) -> Value {
        let begun = Instant::now();
        loop {
            let mut events = self.events(text);
            if events.len() >= count {
                return events.swap_remove(count - 1);
            }
            assert!(begun.elapsed() < PATIENCE, "{text}: {:#?}", self.first.said());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Processes that were prepared.
    fn successors(&self) -> Vec<u32> {
        let events = self.events("the new process is prepared");
        let pids = events
            .iter()
            .map(|event| u32::try_from(event["pid"].as_u64().unwrap()).unwrap());
        pids.collect()
    }

    /// The newest.
    fn pid(&self) -> u32 {
        self.successors().last().copied().unwrap_or(self.first.pid())
    }

    fn ask(&self) {
        send(self.pid(), Signal::USR2);
    }

    /// From beginning to end. Where the new one listens, as it says.
    fn restart(&mut self) -> Value {
        let (before, listening) = (self.pid(), self.events("listening").len());
        self.ask();
        let said = self.wait_for("listening", listening + 1);
        let begun = Instant::now();
        while is_alive(before) {
            assert!(begun.elapsed() < PATIENCE, "{before} does not end");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(is_alive(self.pid()));
        said
    }

    fn port(&self, name: &str) -> u16 {
        let listening = self.events("listening");
        u16::try_from(listening.last().unwrap()[name].as_u64().unwrap()).unwrap()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for pid in self.successors() {
            if is_alive(pid) {
                send(pid, Signal::KILL);
            }
        }
    }
}

fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until a script has written its number there, whole.
fn number_in(file: &Path) -> u32 {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') {
            return text.trim().parse().unwrap();
        }
        assert!(begun.elapsed() < PATIENCE, "no number in {}", file.display());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Another program takes the place of the link: as an upgrade does, in one step.
fn replace(line: &Line, script: &str) {
    let new = line.place("new");
    fs::write(&new, script).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, line.place("sightline")).unwrap();
}

const NOT: &str = "not restarted: this process goes on serving; mend the reason and send SIGUSR2 again";

#[test]
fn one_that_fails_on_its_settings_leaves_the_session_playing() {
    let mut line = Line::start(&["--open", "--source", "test"], &[]);
    let mut command = counting_ffmpeg("tcp");
    let url = format!("rtsp://127.0.0.1:{}/zerolatency", line.port("rtsp_port"));
    let mut player = Process::start(command.args(["-i", &url, "-f", "null", "-"]));
    player.collect_stdout();
    let frames = |player: &Process| {
        let said = player.said();
        let newest = said
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix("frame=")?.trim().parse().ok());
        newest.unwrap_or(0_u64)
    };
    let goes_on = |player: &mut Process| {
        let (seen, begun) = (frames(player), Instant::now());
        while frames(player) < seen + 15 {
            assert!(player.is_running() && begun.elapsed() < PATIENCE, "{:?}", player.said());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    goes_on(&mut player);
    line.write("sightline.toml", "[log]\nlevel = \"loud\"\n");
    line.ask();
    let reason = line.wait_for(NOT, 1)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("sightline.toml:2"), "{reason}");
    goes_on(&mut player);
    // Settings that are right, and an address that is not to be had.
    line.write("sightline.toml", "[server]\nhost = \"192.0.2.1\"\n");
    line.ask();
    let reason = line.wait_for(NOT, 2)["reason"].as_str().unwrap().to_owned();
    assert_eq!(
        reason,
        "192.0.2.1 is not an address of this machine; correct server.host"
    );
    goes_on(&mut player);
    // Mended.
    line.write("sightline.toml", "");
    line.restart();
    let (_, said) = player.finish();
    assert!(said.iter().any(|line| line.starts_with("frame=")), "{said:?}");
}

#[test]
fn one_that_is_silent_is_killed_and_nothing_else_happens_meanwhile() {
    let mut line = Line::start(&["--open"], &[]);
    let port = line.port("rtsp_port");
    replace(&line, "#!/bin/sh\necho $$ > silent.pid\nexec sleep 1000\n");
    line.ask();
    let silent = number_in(&line.place("silent.pid"));
    line.ask();
    line.wait_for("a restart is under way; this SIGUSR2 is not another one", 1);
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    let event = line.wait_for(NOT, 1);
    assert_eq!(event["reason"], "the new process was not prepared within 10 s");
    assert!(!is_alive(silent));
    // One that ends at once, and one that is not there at all.
    replace(&line, "#!/bin/sh\nexit 7\n");
    line.ask();
    let reason = line.wait_for(NOT, 2)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("exit status: 7"), "{reason}");
    fs::remove_file(line.place("sightline")).unwrap();
    line.ask();
    let reason = line.wait_for(NOT, 3)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("/sightline cannot be started: "), "{reason}");
    assert!(line.successors().is_empty());
    // What stands there now is what is started.
    let program = env!("CARGO_BIN_EXE_sightline");
    replace(
        &line,
        &format!("#!/bin/sh\necho $$ > version-2\nexec '{program}' \"$@\"\n"),
    );
    line.restart();
    assert_eq!(number_in(&line.place("version-2")), line.pid());
    assert_eq!(line.port("rtsp_port"), port);
}

/// It has what it needs, and the old one can neither let it begin nor end its own sessions.
#[test]
fn one_that_is_prepared_begins_when_the_old_one_is_killed() {
    let mut line = Line::start(&["--open"], &[]);
    let port = line.port("rtsp_port");
    line.ask();
    line.wait_for("the new process is prepared", 1);
    line.first.kill();
    line.wait_for("listening", 2);
    assert_eq!(line.port("rtsp_port"), port);
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(
        line.events("the process before has ended without a word; this one takes its place")
            .len(),
        1
    );
}

/// Settings that take a restart take effect: those of the file, and those that came by the API, which writes them there. A port that is no
/// longer wanted is closed, and all others stay.
#[test]
fn settings_take_effect() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after] = [free_port(), free_port()];
    let file = folder.path().join("sightline.toml");
    fs::write(&file, format!("[hls]\nport = {before}\n")).unwrap();
    let mut command = sightline();
    command.env_remove("SIGHTLINE_HLS_PORT");
    let mut line = Line::start_by(folder, command, &["--token", "secret"], &[]);
    let others = [
        "rtsp_port",
        "rtsps_port",
        "http_port",
        "https_port",
        "webrtc_port",
        "ice_port",
    ];
    let ports = others.map(|name| line.port(name));
    let url = format!("http://127.0.0.1:{}/api/v1/config", line.port("http_port"));
    let ask = |more: &[&str]| {
        let mut command = tool("curl");
        command.args(["--fail", "--silent", "--header", "authorization: Bearer secret", &url]);
        let output = command.args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let change = format!("{{\"limits\":{{\"connections\":17}},\"hls\":{{\"port\":{after}}}}}");
    ask(&[
        "--request",
        "PATCH",
        "--data",
        &change,
        "--header",
        "content-type: application/json",
    ]);
    assert_eq!(line.port("hls_port"), before);
    line.restart();
    let shown = ask(&[]);
    assert_eq!(shown["settings"]["limits"]["connections"], 17, "{shown}");
    assert_eq!(line.port("hls_port"), after);
    assert_eq!(others.map(|name| line.port(name)), ports);
    TcpStream::connect(("127.0.0.1", after)).unwrap();
    TcpStream::connect(("127.0.0.1", before)).unwrap_err();
}

/// Programs that it runs have no descriptor of its ports: those of the first process, and those of the second.
#[test]
fn programs_that_it_runs_get_no_sockets() {
    let settings = "[camera.a]\nsource = \"exec:echo $$ > a.pid; exec sleep 1000\"\n\
                    [stream.b]\nsource = \"exec:sh b.sh\"\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sightline.toml"), settings).unwrap();
    fs::write(folder.path().join("b.sh"), "echo $$ > b.pid; exec sleep 1000\n").unwrap();
    let mut line = Line::start_by(folder, sightline(), &["--open"], &[]);
    for _ in 0..2 {
        for file in ["a.pid", "b.pid"].map(|name| line.place(name)) {
            let pid = number_in(&file);
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
            // What it opens and closes itself while it begins, its libraries, may be gone by now; what it was given is not.
            let open: Vec<_> = descriptors
                .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
                .collect();
            let sockets = open.iter().filter(|link| link.to_string_lossy().starts_with("socket:"));
            assert_eq!(sockets.count(), 0, "{open:?}");
            assert!(open.len() >= 3, "{open:?}");
            fs::remove_file(file).unwrap();
        }
        line.restart();
    }
}

#[test]
fn the_service_manager_is_told_who_it_is_now() {
    let folder = tempfile::tempdir().unwrap();
    let manager = ServiceManager::new(folder.path());
    // It is for this process alone, as systemd has it.
    let program = env!("CARGO_BIN_EXE_sightline");
    let mut command = with_settings_of_its_own(std::process::Command::new("sh"));
    command.args(["-c", &format!("WATCHDOG_PID=$$ exec '{program}' \"$@\""), "sh"]);
    let mut line = Line::start_by(folder, command, &["--open"], &manager.variables());
    while manager.told() != "READY=1" {}
    assert_eq!(manager.told(), "WATCHDOG=1");
    line.ask();
    let main = loop {
        match manager.told() {
            alive if alive == "WATCHDOG=1" => {}
            main => break main,
        }
    };
    line.wait_for("listening", 2);
    assert_eq!(main, format!("WATCHDOG=1\nMAINPID={}", line.pid()));
    // Its first sign of life may come before.
    loop {
        match manager.told().as_str() {
            "READY=1" => break,
            other => assert_eq!(other, "WATCHDOG=1"),
        }
    }
    for _ in 0..5 {
        assert_eq!(manager.told(), "WATCHDOG=1");
    }
    send(line.pid(), Signal::TERM);
    while manager.told() != "STOPPING=1" {}
}

/// A container ends with its process 1.
#[test]
fn process_1_goes_on_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_sightline");
    let mut command = with_settings_of_its_own(tool("unshare"));
    command.args(["--pid", "--fork", "--kill-child", program]);
    let mut line = Line::start_by(folder, command, &["--open"], &[]);
    let children = format!("/proc/{0}/task/{0}/children", line.first.pid());
    let inside: u32 = fs::read_to_string(children).unwrap().trim().parse().unwrap();
    send(inside, Signal::USR2);
    line.wait_for(
        "not restarted: this is process 1 of a container, which ends with it; start the container anew instead",
        1,
    );
    TcpStream::connect(("127.0.0.1", line.port("rtsp_port"))).unwrap();
}
