//! OpenCV, as people's scripts use it.

use std::path::Path;

use super::delay::no_standing_delay;
use super::support::{Ages, Process, Server, tool};

fn play(url: &str, transport: &str) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/opencv.py");
    let mut command = tool("/usr/bin/python3");
    command
        .arg(script)
        .args(["--transport", transport, "--frames", "100000", url]);
    Process::start(&mut command)
}

#[test]
fn plays_and_sees_the_green_lines() {
    let server = Server::start(&["--source", "test"]);
    for transport in ["tcp", "udp"] {
        let mut player = play(&server.url("zerolatency"), transport);
        let ages = Ages::read_many(player.stdout(), (640, 480), 60);
        assert!(
            ages.samples.len() == 60 && ages.every_ms() < 67.0,
            "over {transport}: {} stamps, {:.0} ms from one to the next",
            ages.samples.len(),
            ages.every_ms()
        );
        let green = player.wait_for("the first frame", |line| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            event.get("green")?.as_f64()
        });
        // 2,900 pixels are looked at; receivers of old want more than 10 green ones.
        assert!(
            green * 2_900.0 > 10.0,
            "over {transport}: {:.0} green pixels",
            green * 2_900.0
        );
    }
}

#[test]
fn joining_in_the_middle_of_a_gop_leaves_no_standing_delay() {
    no_standing_delay(|url| play(url, "tcp"));
}
