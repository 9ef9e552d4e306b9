//! The windows of receiver and publisher, on a display without a screen (Xvfb).

use std::process::Stdio;
use std::time::{Duration, Instant};

use media::stamp;
use rustix::process::Signal;
use serde_json::Value;

use super::support::{PATIENCE, Process, Server, mean_fps, reports, sightline, tool, wall};

const SCREEN: (u32, u32) = (800, 600);

/// A display of its own, on a number that the server finds free.
pub(crate) fn display() -> (Process, String) {
    let mut command = tool("Xvfb");
    let (width, height) = SCREEN;
    command.args([
        "-displayfd",
        "2",
        "-nolisten",
        "tcp",
        "-screen",
        "0",
        &format!("{width}x{height}x24"),
    ]);
    let mut process = Process::start(&mut command);
    let number = process.wait_for("its display number", |line| line.trim().parse::<u32>().ok());
    (process, format!(":{number}"))
}

/// What is on the screen: red, green and blue of each pixel.
fn screenshot(display: &str) -> Vec<u8> {
    let mut command = tool("import");
    command
        .args(["-window", "root", "-depth", "8", "rgb:-"])
        .env("DISPLAY", display);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Presses a key on the display's keyboard while our window has the focus, which without a window manager nobody else gives it.
/// Not sent to the window itself: the key's release would come when the window is gone already, which is an error.
fn press(display: &str, key: &str) {
    let focus: &[&str] = &[
        "search",
        "--onlyvisible",
        "--name",
        "Sightline",
        "windowfocus",
        "--sync",
    ];
    for arguments in [focus, &["key", key]] {
        let output = tool("xdotool")
            .args(arguments)
            .env("DISPLAY", display)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Waits for a picture with a stamp on the screen. Gives its age and the number of red pixels.
fn wait_for_stamp(process: &mut Process, display: &str) -> (f64, usize) {
    let begun = Instant::now();
    loop {
        assert!(process.is_running(), "{:?}", process.said());
        let pixels = screenshot(display);
        let grey: Vec<u8> = pixels.chunks_exact(3).map(|pixel| pixel[1]).collect();
        let (width, height) = SCREEN;
        if let Some(reading) = stamp::read(&grey, width as usize, width, height, wall()) {
            let red = pixels
                .chunks_exact(3)
                .filter(|pixel| pixel[0] > 150 && pixel[1] < 90 && pixel[2] < 90)
                .count();
            return (wall().micros_since(reading.time) as f64 / 1_000.0, red);
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "no stamp on the screen: {:?}",
            process.said()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What our receiver measures, second by second.
fn receive_for_a_moment(url: &str) -> Vec<Value> {
    let mut command = sightline();
    command.args(["receive", url, "--seconds", "2.5", "--json"]);
    let mut receiver = Process::start(&mut command);
    receiver.collect_stdout();
    let (status, said) = receiver.finish();
    assert!(status.success(), "{said:?}");
    let seconds = reports(&said);
    assert!(!seconds.is_empty(), "{said:?}");
    seconds
}

#[test]
fn shows_the_picture_with_the_receivers_lines_until_q() {
    let server = Server::start(&["--source", "test"]);
    let (_display, name) = display();
    let mut command = sightline();
    command.args(["receive", &server.url("zerolatency"), "--display-mode", "display"]);
    command.env("DISPLAY", &name).env_remove("WAYLAND_DISPLAY");
    let mut receiver = Process::start(&mut command);
    receiver.collect_stdout();
    let (age_ms, red) = wait_for_stamp(&mut receiver, &name);
    // Sanity, not speed: the picture on the screen is a live one.
    assert!((0.0..5_000.0).contains(&age_ms), "{age_ms}");
    assert!(red > 100, "{red} red pixels: the receiver's lines are missing");
    press(&name, "q");
    let (status, said) = receiver.finish();
    assert!(status.success(), "{said:?}");
}

#[test]
fn the_preview_shows_what_is_sent_until_q() {
    let mut server = Server::start(&[]);
    let (_display, name) = display();
    let mut command = sightline();
    command.args(["publish", &server.url("cam"), "--source", "test", "--preview"]);
    command.env("DISPLAY", &name).env_remove("WAYLAND_DISPLAY");
    let mut publisher = Process::start(&mut command);
    publisher.collect_stdout();
    server.wait_for_event("publisher began", "cam");
    let (age_ms, red) = wait_for_stamp(&mut publisher, &name);
    assert!((0.0..5_000.0).contains(&age_ms), "{age_ms}");
    assert!(red < 100, "{red} red pixels: nobody receives here");
    // Meanwhile the server has the stream as it should be.
    let seconds = receive_for_a_moment(&server.url("cam"));
    assert_eq!(seconds.last().unwrap()["measured_by"], "stamp", "{seconds:?}");
    assert!(mean_fps(&seconds) > 15.0, "{seconds:?}");
    press(&name, "q");
    let (status, said) = publisher.finish();
    assert!(status.success(), "{said:?}");
}

/// A screen shared over a network that stalls, a compositor that hangs.
#[test]
fn a_display_that_hangs_does_not_disturb_the_sending() {
    let mut server = Server::start(&[]);
    let (display, name) = display();
    let mut command = sightline();
    command.args(["publish", &server.url("cam"), "--source", "test", "--preview"]);
    command.env("DISPLAY", &name).env_remove("WAYLAND_DISPLAY");
    let mut publisher = Process::start(&mut command);
    server.wait_for_event("publisher began", "cam");
    wait_for_stamp(&mut publisher, &name);
    display.signal(Signal::STOP);
    // The socket to the display is full after some pictures.
    std::thread::sleep(Duration::from_secs(1));
    let seconds = receive_for_a_moment(&server.url("cam"));
    assert!(mean_fps(&seconds) > 15.0, "{seconds:?}");
    let memory_kib = publisher.resident_kib();
    std::thread::sleep(Duration::from_secs(1));
    let more_kib = publisher.resident_kib().saturating_sub(memory_kib);
    assert!(more_kib < 10_000, "{more_kib} KiB in a second");
    // Ctrl-C ends it all the same, if not properly.
    publisher.signal(Signal::INT);
    let (status, said) = publisher.finish_within(Duration::from_millis(1_500));
    assert_eq!(status.code(), Some(1), "{said:?}");
}

#[test]
fn the_preview_ends_with_the_publisher() {
    let server = Server::start_with(&[], &[("SIGHTLINE_TOKEN", "right")]);
    let (_display, name) = display();
    let mut command = sightline();
    command.args(["publish", &server.url("cam"), "--source", "test", "--preview"]);
    command.args(["--token", "wrong"]);
    command.env("DISPLAY", &name).env_remove("WAYLAND_DISPLAY");
    let (status, said) = Process::start(&mut command).finish();
    assert_eq!(status.code(), Some(1), "{said:?}");
    assert!(
        said.iter().any(|line| line.contains("wrong user or password")),
        "{said:?}"
    );
}
