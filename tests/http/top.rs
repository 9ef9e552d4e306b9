//! `sightline top`: what it prints for scripts, and on a terminal.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use crate::support::{PATIENCE, sightline, tool};
use crate::{Server, curl};

#[test]
fn it_shows_streams_and_says_what_is_wrong() {
    let server = Server::start(&[]);
    let url = server.url("/");
    let top = |token: &str, url: &str| {
        let mut command = sightline();
        let command = command.args(["top", url, "--token", token, "--once", "--every", "200ms"]);
        let output = command.current_dir(server.folder.path()).output().unwrap();
        let [said, complaint] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), said, complaint)
    };
    let begun = std::time::Instant::now();
    while curl(&[&server.url("/readyz")]).0 != 200 {
        assert!(begun.elapsed() < PATIENCE);
    }
    let (code, said, _) = top(&server.token("admin"), &url);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("zerolatency") && said.contains("640x480") && said.contains("VIEWER"),
        "{said}"
    );
    let (_, said, _) = top(&server.token("viewer"), &url);
    assert!(
        said.contains("zerolatency") && said.contains("told to admins"),
        "{said}"
    );
    let (code, _, complaint) = top("wrong", &url);
    assert!(code == Some(1) && complaint.contains("--token"), "{complaint}");
    let rtsp = format!("http://127.0.0.1:{}", server.port("rtsp"));
    let (code, _, complaint) = top("wrong", &rtsp);
    assert!(code == Some(1) && !complaint.is_empty(), "{complaint}");
}

/// On a terminal it draws over what was there, and gives the terminal back as it was.
#[test]
fn q_ends_it_and_the_terminal_is_as_before() {
    let server = Server::start(&[]);
    let program = format!(
        "stty cols 100 rows 30; {} top {} --token {}",
        env!("CARGO_BIN_EXE_sightline"),
        server.url("/"),
        server.token("admin")
    );
    let mut command = tool("timeout");
    command
        .args(["60", "script", "-qec", &program, "/dev/null"])
        .current_dir(server.folder.path());
    let mut top = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (top.stdin.take().unwrap(), top.stdout.take().unwrap());
    // The key is pressed when there is something to see.
    let mut said = Vec::new();
    let mut is_pressed = false;
    loop {
        let mut bytes = [0; 4_096];
        let length = screen.read(&mut bytes).unwrap();
        if length == 0 {
            break;
        }
        said.extend_from_slice(&bytes[..length]);
        if !is_pressed && String::from_utf8_lossy(&said).contains("zerolatency") {
            keys.write_all(b"q").unwrap();
            is_pressed = true;
        }
    }
    let said = String::from_utf8_lossy(&said);
    assert!(top.wait().unwrap().success(), "{said}");
    let (before, after) = said.split_once("\u{1b}[?1049h\u{1b}[?25l").expect("another screen");
    assert!(!before.contains("Sightline") && after.contains("zerolatency"), "{said}");
    assert!(after.trim_end().ends_with("\u{1b}[?25h\u{1b}[?1049l"), "{said:?}");
}
