//! How it ends, and what stands in a JSON log from the beginning to the end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::service_manager::ServiceManager;
use crate::support::{PATIENCE, Process, sightline};
use crate::{port, start, wait_for_event};

/// A second, and a quarter of one to deliver the signal, end a process and notice it.
const A_SECOND: Duration = Duration::from_millis(1_250);

/// Sends the signal and waits for the end, which must be clean and soon. What was said.
fn ends(process: Process, signal: Signal) -> Vec<String> {
    // As `timeout` does: to the process, and to its group.
    crate::signal(&process, signal);
    crate::signal(&process, signal);
    let (status, lines) = process.finish_within(A_SECOND);
    assert_eq!(status.code(), Some(0), "{lines:?}");
    for unwanted in ["not everything ended", "no longer publishes", "still busy"] {
        assert!(!lines.iter().any(|line| line.contains(unwanted)), "{lines:#?}");
    }
    lines
}

/// Runs until the signal, and checks what every end has in common.
fn ends_on(signal: Signal, arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), arguments, &[]);
    port(&mut process);
    for line in &ends(process, signal) {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        for field in ["timestamp", "level", "event"] {
            assert!(event[field].is_string(), "{field} is missing in {line}");
        }
        let time = event["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>();
        assert!(time.is_ok(), "{line}");
    }
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the process lives whose number a script wrote into `file`. One that is dead and not yet reaped does not.
fn is_alive(file: &Path) -> bool {
    let number = fs::read_to_string(file).unwrap();
    fs::read_to_string(format!("/proc/{}/stat", number.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until the script has written its number, whole.
fn wait_for_script(file: &Path) {
    wait_until("no script was started", || {
        fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n'))
    });
}

#[test]
fn the_service_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let manager = ServiceManager::new(folder.path());
    let mut process = start(folder.path(), &["serve", "--log", "json"], &manager.variables());
    let begun = loop {
        match manager.told().as_str() {
            "READY=1" => break Instant::now(),
            other => assert_eq!(other, "WATCHDOG=1"),
        }
    };
    // It is not told so before somebody may connect.
    let port = port(&mut process);
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    // Three seconds of them. Those of a second may lie there already when a busy machine lets this test go on.
    for _ in 0..30 {
        assert_eq!(manager.told(), "WATCHDOG=1");
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "more often than asked for");
    ends(process, Signal::TERM);
    while manager.told() != "STOPPING=1" {}
}

#[test]
fn ctrl_c_ends_it_within_a_second() {
    ends_on(Signal::INT, &["up", "--source", "test", "--log", "json"]);
}

#[test]
fn so_does_a_service_manager() {
    ends_on(Signal::TERM, &["serve", "--source", "test", "--log", "json"]);
}

#[test]
fn with_viewers_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["up", "--source", "test", "--log", "json"], &[]);
    let url = format!("rtsp://localhost:{}/zerolatency", port(&mut server));
    let mut receivers: Vec<_> = ["tcp", "udp"]
        .iter()
        .map(|transport| {
            let arguments = ["receive", &url, "--log", "json", "--transport", transport];
            let mut process = Process::start(sightline().args(arguments).current_dir(folder.path()));
            wait_for_event(&mut process, "receiving");
            process
        })
        .collect();
    ends(server, Signal::INT);
    for receiver in &mut receivers {
        // It waits for the server to come back, and ends when told to.
        assert!(receiver.is_running());
    }
    for receiver in receivers {
        ends(receiver, Signal::TERM);
    }
}

#[test]
fn programs_that_publish_and_save_end_as_soon() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["serve", "--log", "json"], &[]);
    let url = format!("rtsp://localhost:{}/door", port(&mut server));
    let run = |arguments: &[&str], event: &str| {
        let mut process = Process::start(sightline().args(arguments).current_dir(folder.path()));
        process.collect_stdout();
        wait_for_event(&mut process, event);
        process
    };
    let publisher = run(&["publish", &url, "--source", "test", "--log", "json"], "publishing");
    let save = [
        "receive",
        &url,
        "--display-mode",
        "save",
        "--output",
        "door.mp4",
        "--log",
        "json",
    ];
    let saver = run(&save, "receiving");
    let file = folder.path().join("door.mp4");
    wait_until("nothing is saved", || {
        fs::metadata(&file).is_ok_and(|file| file.len() > 10_000)
    });
    ends(saver, Signal::INT);
    ends(publisher, Signal::INT);
    ends(server, Signal::INT);
}

#[test]
fn a_benchmark_is_given_up_cleanly() {
    let mut command = sightline();
    let process = Process::start(command.args(["bench", "encode", "--seconds", "60"]));
    let status = format!("/proc/{}/status", process.pid());
    wait_until("it takes no signals", || {
        let status = fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        // Bit 1 is signal 2, SIGINT.
        u64::from_str_radix(caught.trim(), 16).unwrap() & 2 != 0
    });
    ends(process, Signal::INT);
}

#[test]
fn cameras_that_will_not_end_are_ended_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["one", "two", "three", "four", "five", "six"];
    let settings = names
        .map(|name| format!("[camera.{name}]\nsource = \"exec:trap '' TERM; echo $$ > {name}.pid; sleep 1000\"\n"));
    fs::write(folder.path().join("sightline.toml"), settings.concat()).unwrap();
    let mut server = start(folder.path(), &["serve", "--log", "json"], &[]);
    port(&mut server);
    let scripts = names.map(|name| folder.path().join(format!("{name}.pid")));
    for script in &scripts {
        wait_for_script(script);
    }
    ends(server, Signal::INT);
    for script in &scripts {
        wait_until(&format!("{} is left", script.display()), || !is_alive(script));
    }
}

/// A program for the Raspberry Pi's camera that does not answer, in a folder of its own; and a `PATH` that begins with it.
fn silent_pi(folder: &Path) -> String {
    let programs = folder.join("programs");
    fs::create_dir(&programs).unwrap();
    let program = programs.join("rpicam-vid");
    let script = format!(
        "#!/bin/sh\necho $$ > {}\nexec sleep 1000\n",
        folder.join("probe.pid").display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", programs.display(), std::env::var("PATH").unwrap())
}

#[test]
fn cameras_that_are_still_being_started_are_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = silent_pi(folder.path());
    let settings = "[camera.a]\nsource = \"exec:echo $$ > a.pid; sleep 1000\"\n[camera.b]\nsource = \"auto\"\n";
    fs::write(folder.path().join("sightline.toml"), settings).unwrap();
    let mut server = start(folder.path(), &["serve", "--log", "json"], &[("PATH", &path)]);
    port(&mut server);
    let scripts = ["a.pid", "probe.pid"].map(|file| folder.path().join(file));
    for script in &scripts {
        wait_for_script(script);
    }
    ends(server, Signal::INT);
    for script in &scripts {
        wait_until(&format!("{} is left", script.display()), || !is_alive(script));
    }
}

#[test]
fn a_publisher_that_looks_for_its_camera_ends_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = silent_pi(folder.path());
    let mut command = sightline();
    // Nothing listens there, and nothing is asked before there is a picture.
    command.args(["publish", "rtsp://127.0.0.1:9/door", "--log", "json"]);
    let process = Process::start(command.current_dir(folder.path()).env("PATH", &path));
    let script = folder.path().join("probe.pid");
    wait_for_script(&script);
    ends(process, Signal::INT);
    wait_until("its probing is left", || !is_alive(&script));
}
