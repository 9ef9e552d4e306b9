//! `publish` and `receive` at the edges: how they leave, what they do when nobody reads, what they leave behind.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{PATIENCE, Process, free_port, sightline, tool};
use crate::{port, run, signal, start, stderr, wait_for_event};

/// A way to the server at `port` that keeps what the client says.
fn overheard(port: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().port();
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let heard = Arc::clone(&heard);
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while let Ok(length @ 1..) = from_client.read(&mut buffer) {
                    heard.lock().unwrap().extend_from_slice(&buffer[..length]);
                    if to_server.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                let _ = to_server.shutdown(std::net::Shutdown::Write);
            });
            let (mut from_server, mut to_client) = (server, client);
            std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
        }
    });
    (here, said)
}

/// Ends a client that is at work, and finds that it told the server.
fn takes_leave(command: &mut Command, said: &Mutex<Vec<u8>>, at_work: &str) {
    let mut process = Process::start(command);
    process.collect_stdout();
    wait_for_event(&mut process, at_work);
    signal(&process, Signal::INT);
    let (status, lines) = process.finish_within(Duration::from_millis(1_500));
    assert_eq!(status.code(), Some(0), "{lines:?}");
    // It may not have been passed on yet.
    let begun = Instant::now();
    while !String::from_utf8_lossy(&said.lock().unwrap()).contains("TEARDOWN rtsp://") {
        assert!(begun.elapsed() < PATIENCE, "no TEARDOWN after {at_work}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn both_take_leave_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["up", "--source", "test", "--log", "json"], &[]);
    let port = port(&mut server);
    for transport in ["tcp", "udp"] {
        let (way, said) = overheard(port);
        let url = format!("rtsp://127.0.0.1:{way}/zerolatency");
        let mut receive = sightline();
        receive.args(["receive", &url, "--log", "json", "--transport", transport]);
        takes_leave(receive.current_dir(&folder), &said, "receiving");

        let (way, said) = overheard(port);
        let url = format!("rtsp://127.0.0.1:{way}/other");
        let mut publish = sightline();
        publish.args(["publish", &url, "--source", "test", "--log", "json"]);
        publish.args(["--transport", transport]);
        takes_leave(publish.current_dir(&folder), &said, "publishing");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["up", "--source", "test", "--log", "json"], &[]);
    let url = format!("rtsp://127.0.0.1:{}/zerolatency", port(&mut server));
    let mut command = sightline();
    command.args([
        "receive",
        &url,
        "--json",
        "--display-mode",
        "save",
        "--output",
        "film.mp4",
    ]);
    let mut process = Process::start(command.current_dir(&folder));
    let mut first = String::new();
    BufReader::new(process.stdout()).read_line(&mut first).unwrap();
    assert!(first.contains("\"fps\""), "{first}");
    // The pipe is closed by now.
    let (status, lines) = process.finish();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("panicked")), "{lines:?}");
    // The last second was written too.
    assert!(lines.iter().any(|line| line.contains("saved")), "{lines:?}");
}

#[test]
fn figures_that_cannot_be_written_are_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["up", "--source", "test", "--log", "json"], &[]);
    let url = format!("rtsp://127.0.0.1:{}/zerolatency", port(&mut server));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = sightline()
        .args(["receive", &url])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("cannot write to standard output: No space left") && said.contains("make room"),
        "{said}"
    );
}

/// `q` wants a terminal that hands over each key; whatever way the receiver ends, the shell gets its terminal back.
#[test]
fn the_terminal_is_as_it_was_after_an_impatient_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["up", "--source", "test", "--log", "json"], &[]);
    let url = format!("rtsp://127.0.0.1:{}/zerolatency", port(&mut server));
    // A pipe that nobody empties: the end of the file cannot be written, so the receiver does not come to its own end.
    let pipe = folder.path().join("pipe");
    assert!(tool("mkfifo").arg(&pipe).status().unwrap().success());
    let _holds = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let program = sightline();
    let script = format!(
        "sh -c 'echo pid $$; exec \"$@\"' sh {} receive {url} --display-mode save --output pipe; stty -a",
        program.get_program().to_str().unwrap()
    );
    std::fs::write(folder.path().join("script.sh"), script).unwrap();
    let mut command = tool("script");
    command
        .args(["-q", "-c", "sh script.sh", "/dev/null"])
        .current_dir(&folder);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SIGHTLINE_")) {
        command.env_remove(name);
    }
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    let pid = process.wait_for("its process", |line| {
        line.strip_prefix("pid ")?.trim().parse::<i32>().ok()
    });
    process.wait_for("figures", |line| line.contains("fps").then_some(()));
    wait_until_full(&pipe);
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    process.wait_for("the terminal", |line| line.contains("icanon").then_some(()));
    let (_, lines) = process.finish();
    let all = lines.join(" ");
    assert!(
        all.contains("not everything ended in time"),
        "it ended by itself: {all}"
    );
    let words: Vec<&str> = all.split_whitespace().collect();
    assert!(words.contains(&"icanon") && words.contains(&"echo"), "{all}");
}

/// A pipe takes 64 KiB.
fn wait_until_full(pipe: &Path) {
    let begun = Instant::now();
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
    let writer = rustix::fs::open(pipe, flags, rustix::fs::Mode::empty()).unwrap();
    loop {
        let mut polled = [rustix::event::PollFd::new(&writer, rustix::event::PollFlags::OUT)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        if rustix::event::poll(&mut polled, Some(&now)).unwrap() == 0 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "the pipe does not fill");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn recordings_are_not_written_over_and_empty_ones_do_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.mp4");
    std::fs::write(&film, "holiday").unwrap();
    let save = |output: &str, url: &str| {
        let arguments = ["receive", url, "--display-mode", "save", "--output", output];
        run(folder.path(), &[&arguments[..], &["--seconds", "0.3"]].concat())
    };
    let nobody = format!("rtsp://127.0.0.1:{}/a", free_port());
    let refused = save("film.mp4", &nobody);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(
        said.contains("film.mp4 exists already and is left as it is; choose another name with --output"),
        "{said}"
    );
    assert_eq!(std::fs::read(&film).unwrap(), b"holiday");

    let nothing = save("empty.mp4", &nobody);
    assert_eq!(nothing.status.code(), Some(1), "{}", stderr(&nothing));
    assert!(!folder.path().join("empty.mp4").exists());
}

#[test]
fn without_a_display_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, remedy) in [
        (
            &["publish", "--source", "test", "--preview"][..],
            "or leave out --preview",
        ),
        (
            &["receive", "--display-mode", "display"],
            "or use --display-mode headless or save",
        ),
    ] {
        for display in [None, Some(":4711")] {
            let mut command = sightline();
            command.args(arguments).current_dir(&folder);
            for name in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
                command.env_remove(name);
            }
            command.envs(display.map(|display| ("DISPLAY", display)));
            let output = command.output().unwrap();
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(
                said.contains("cannot open a window: ") && said.contains("within a desktop") && said.contains(remedy),
                "{said}"
            );
            assert!(!said.contains(".rs:"), "{said}");
        }
    }
}

/// `publish` to a URL without a path, as people write it who say the name beside it.
#[test]
fn the_name_stands_for_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["serve", "--log", "json"], &[]);
    let port = port(&mut server);
    for (path, name, expected) in [
        ("", Some("garden"), "garden"),
        ("/", Some("yard"), "yard"),
        ("/", None, "zerolatency"),
    ] {
        let mut command = sightline();
        command.args(["publish", &format!("rtsp://127.0.0.1:{port}{path}"), "--source", "test"]);
        command.args(name.into_iter().flat_map(|name| ["--name", name]));
        let _publisher = Process::start(command.current_dir(&folder));
        server.wait_for(expected, |line| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            (event["event"] == "RTSP publisher began" && event["stream"] == expected).then_some(())
        });
    }
}

/// Nothing is tried again that cannot become better, and both sides say why.
#[test]
fn a_name_that_is_refused_ends_the_publisher() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["serve", "--log", "json"], &[]);
    let port = port(&mut server);
    let publish = |path: &str| {
        let url = format!("rtsp://127.0.0.1:{port}/{path}");
        run(folder.path(), &["publish", &url, "--source", "test"])
    };
    let output = publish("live/cam");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("cannot start or end with \"live\"") && !said.contains("the log of that server"),
        "{said}"
    );
    let refused = wait_for_event(&mut server, "RTSP publisher refused");
    assert_eq!(
        (&refused["path"], &refused["status"]),
        (&"live/cam".into(), &400.into())
    );
    assert!(refused["reason"].as_str().unwrap().contains("live"), "{refused}");
    let output = publish("a%20b");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("the stream name holds ' '"),
        "{}",
        stderr(&output)
    );
    let url = format!("rtsp://127.0.0.1:{port}/nobody");
    assert_eq!(
        run(folder.path(), &["receive", &url, "--test-connection"])
            .status
            .code(),
        Some(1)
    );
    let refused = wait_for_event(&mut server, "RTSP viewer refused");
    assert_eq!((&refused["path"], &refused["status"]), (&"nobody".into(), &404.into()));
}

#[test]
fn who_joined_is_said_to_leave() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["up", "--source", "test", "--log", "json"], &[]);
    let port = port(&mut server);
    let url = format!("rtsp://127.0.0.1:{port}/zerolatency");
    for transport in ["tcp", "udp"] {
        let output = run(
            folder.path(),
            &["receive", &url, "--seconds", "1", "--transport", transport],
        );
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let other = format!("rtsp://127.0.0.1:{port}/other");
    let mut publish = sightline();
    publish.args(["publish", &other, "--source", "test", "--log", "json"]);
    let mut publish = Process::start(publish.current_dir(&folder));
    wait_for_event(&mut publish, "publishing");
    signal(&publish, Signal::INT);
    assert!(publish.finish().0.success());
    wait_for_event(&mut server, "RTSP publisher left");
    signal(&server, Signal::INT);
    let (_, lines) = server.finish();
    let events = |text: &str| -> Vec<serde_json::Value> {
        let all = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
        all.filter(|event: &serde_json::Value| event["event"] == text).collect()
    };
    for (came, went, times) in [
        ("RTSP viewer joined", "RTSP viewer left", 2),
        ("RTSP publisher began", "RTSP publisher left", 1),
    ] {
        assert_eq!((events(came).len(), events(went).len()), (times, times), "{lines:#?}");
        for event in events(went) {
            assert_eq!(event["reason"], "the peer ended the session (TEARDOWN)");
        }
    }
}
