//! The receiver's window, on a display without a screen (Xvfb).

use std::process::Stdio;
use std::time::{Duration, Instant};

use media::stamp;

use super::support::{PATIENCE, Process, Server, sightline, tool, wall};

const SCREEN: (u32, u32) = (800, 600);

/// A display of its own, on a number that the server finds free.
fn display() -> (Process, String) {
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

#[test]
fn shows_the_picture_with_the_receivers_lines_until_q() {
    let server = Server::start(&["--source", "test"]);
    let (_display, name) = display();
    let mut command = sightline();
    command.args(["receive", &server.url("zerolatency"), "--display-mode", "display"]);
    command.env("DISPLAY", &name).env_remove("WAYLAND_DISPLAY");
    let mut receiver = Process::start(&mut command);
    receiver.collect_stdout();
    let begun = Instant::now();
    let (age_ms, red) = loop {
        assert!(receiver.is_running(), "{:?}", receiver.said());
        let pixels = screenshot(&name);
        let grey: Vec<u8> = pixels.chunks_exact(3).map(|pixel| pixel[1]).collect();
        let (width, height) = SCREEN;
        if let Some(reading) = stamp::read(&grey, width as usize, width, height, wall()) {
            let red = pixels
                .chunks_exact(3)
                .filter(|pixel| pixel[0] > 150 && pixel[1] < 90 && pixel[2] < 90)
                .count();
            break (wall().micros_since(reading.time) as f64 / 1_000.0, red);
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "no stamp on the screen: {:?}",
            receiver.said()
        );
        std::thread::sleep(Duration::from_millis(50));
    };
    // Sanity, not speed: the picture on the screen is a live one.
    assert!((0.0..5_000.0).contains(&age_ms), "{age_ms}");
    assert!(red > 100, "{red} red pixels: the receiver's lines are missing");
    press(&name, "q");
    let (status, said) = receiver.finish();
    assert!(status.success(), "{said:?}");
}
