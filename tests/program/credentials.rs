//! Tokens are made once, kept, asked for, and never logged.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Process, sightline};
use crate::{port, run, start, stderr, wait_for_event};

fn token_file(folder: &Path) -> PathBuf {
    folder.join(".local/state/sightline/tokens.json")
}

#[test]
fn tokens_are_made_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut texts = Vec::new();
    for _ in 0..2 {
        let mut process = start(folder.path(), &["serve", "--log", "json"], &[]);
        port(&mut process);
        texts.push(std::fs::read_to_string(token_file(folder.path())).unwrap());
    }
    assert_eq!(texts[0], texts[1]);
    let rights = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = token_file(folder.path());
    assert_eq!((rights(&file), rights(file.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_damaged_file_is_reported_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = token_file(folder.path());
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{\"version\":1,\"viewer\":\"canary").unwrap();
    let output = run(folder.path(), &["serve", "--rtsp-port", "0"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("is damaged") && said.contains("delete it to get new tokens"),
        "{said}"
    );
    assert!(!said.contains("canary"), "{said}");
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "{\"version\":1,\"viewer\":\"canary"
    );
}

/// Receives with these arguments to the end; `None` when it had a picture.
fn refusal(folder: &Path, url: &str, more: &[&str]) -> Option<String> {
    let output = run(folder, &[&["receive", url, "--test-connection"], more].concat());
    (!output.status.success()).then(|| stderr(&output))
}

#[test]
fn a_token_of_ones_own_is_asked_for_everywhere_and_stays_out_of_every_log() {
    const CANARY: &str = "canary-7f3a9c";
    const WRONG: &str = "wronged-canary-55";
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "up",
        "--source",
        "test",
        "--log",
        "json",
        "--log-level",
        "trace",
        "--token",
        CANARY,
    ];
    let mut server = start(folder.path(), &arguments, &[("SIGHTLINE_OPEN", "1")]);
    let port = port(&mut server);
    wait_for_event(&mut server, "camera runs");
    let url = |login: &str| format!("rtsp://{login}localhost:{port}/zerolatency");
    let path = folder.path();
    let trace = ["--log", "json", "--log-level", "trace"];

    let refused = refusal(path, &url(""), &trace).expect("no credential is enough");
    assert!(refused.contains("wants a user and password"), "{refused}");
    let wrong = refusal(path, &url(&format!("viewer:{WRONG}@")), &trace).expect("a wrong password is enough");
    assert!(wrong.contains("wrong user or password"), "{wrong}");
    assert_eq!(refusal(path, &url(&format!("viewer:{CANARY}@")), &trace), None);
    assert_eq!(refusal(path, &url(""), &["--token", CANARY]), None);

    let mut publisher = sightline();
    publisher
        .args(["publish", &url("").replace("zerolatency", "other"), "--source", "test"])
        .args(trace);
    let mut publisher = Process::start(publisher.env("SIGHTLINE_TOKEN", CANARY).current_dir(path));
    wait_for_event(&mut publisher, "publishing");

    crate::signal(&server, Signal::INT);
    let (_, lines) = server.finish();
    let everything = [lines.join("\n"), publisher.said().join("\n"), refused, wrong].join("\n");
    assert!(
        everything.contains("\"level\":\"debug\""),
        "nothing was logged in detail"
    );
    for secret in [CANARY, WRONG] {
        assert!(!everything.contains(secret), "{secret} is in\n{everything}");
    }
}

#[test]
fn the_generated_tokens_work_as_printed() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["up", "--source", "test", "--log", "json"], &[]);
    let port = port(&mut server);
    let tokens: Value = serde_json::from_slice(&std::fs::read(token_file(folder.path())).unwrap()).unwrap();
    let token = tokens["viewer"].as_str().unwrap();
    // On this machine none is needed, and one is no harm.
    for login in ["", &format!("viewer:{token}@")] {
        let url = format!("rtsp://{login}localhost:{port}/zerolatency");
        assert_eq!(refusal(folder.path(), &url, &[]), None);
    }
    let log = server.said().join("\n");
    for user in ["viewer", "publisher", "admin"] {
        assert!(
            !log.contains(tokens[user].as_str().unwrap()),
            "{user}'s token is in\n{log}"
        );
    }
}
