//! Recordings of the program held against their index, and its state brought back, by its own commands.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::probe;
use super::server::{Server, files};
use super::support::{PATIENCE, sightline};

const RECORD: [(&str, &str); 2] = [("SIGHTLINE_RECORD_ENABLED", "true"), ("SIGHTLINE_RECORD_SEGMENT", "2s")];

fn run(state: &Path, arguments: &[&str]) -> Output {
    let mut command = sightline();
    command.args(arguments).arg("--state-dir").arg(state).current_dir(state);
    command.output().unwrap()
}

/// Its exit code, and how often it found what.
pub(crate) fn check(state: &Path, arguments: &[&str]) -> (i32, BTreeMap<String, u64>) {
    let output = run(state, &[&["record", "check", "--json"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text
        .lines()
        .last()
        .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let summary: Value = serde_json::from_str(last).unwrap();
    assert_eq!(summary["kind"], "summary", "{text}");
    let found = serde_json::from_value(summary["found"].clone()).unwrap();
    (output.status.code().unwrap(), found)
}

fn found(kinds: &[(&str, u64)]) -> BTreeMap<String, u64> {
    kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
}

/// Records for so long, and ends in order.
fn record(state: &Path, seconds: u32) {
    let server = Server::start(state, &RECORD);
    let (status, said) = server.publish("door", seconds).finish();
    assert!(status.success(), "{said:?}");
    server.end();
}

fn bytes_of(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    files(folder)
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// Until so many files of two seconds are finished, and another is begun.
fn wait_for_files(state: &Path, count: usize) {
    let begun = Instant::now();
    while files(&state.join("recordings")).len() <= count {
        assert!(begun.elapsed() < PATIENCE, "no {count} files");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_check_finds_what_differs_and_a_repair_mends_it() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let server = Server::start(state, &RECORD);
    let publisher = server.publish("door", 60);
    server.wait_for_state("door", "recording");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(check(state, &["--deep"]), (0, BTreeMap::new()), "beside the server");
    let refused = run(state, &["record", "check", "--repair", "--yes"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        refused.status.code() == Some(1) && said.contains("records with this state folder"),
        "{said}"
    );
    wait_for_files(state, 4);
    server.end();
    drop(publisher);
    assert_eq!(check(state, &["--deep"]), (0, BTreeMap::new()));

    let recorded = files(&state.join("recordings"));
    assert!(recorded.len() >= 4, "{recorded:?}");
    fs::remove_file(&recorded[0]).unwrap();
    fs::copy(&recorded[1], recorded[1].with_file_name("once more.mp4")).unwrap();
    let cut = fs::metadata(&recorded[1]).unwrap().len() - 1_000;
    fs::File::options()
        .write(true)
        .open(&recorded[1])
        .unwrap()
        .set_len(cut)
        .unwrap();
    let mut bytes = fs::read(&recorded[2]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&recorded[2], bytes).unwrap();
    fs::write(recorded[0].with_file_name("notes.txt"), "of somebody").unwrap();
    let differ = [("file_missing", 1), ("file_unknown", 1), ("length", 1)];
    assert_eq!(check(state, &[]), (1, found(&differ)));
    let all = [&differ[..], &[("file_damaged", 1)]].concat();
    assert_eq!(check(state, &["--deep"]), (1, found(&all)));

    // Nobody can be asked, and nothing is done.
    let asked = run(state, &["record", "check", "--repair"]);
    let said = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(asked.status.code(), Some(2));
    assert!(
        said.contains("rows are removed: their file is gone") && said.contains("No recording is removed."),
        "{said}"
    );
    let before = bytes_of(&state.join("recordings"));
    assert_eq!(check(state, &[]), (1, found(&differ)));
    let (code, left) = check(state, &["--repair", "--deep", "--yes"]);
    assert_eq!((code, left), (0, found(&[("known_damage", 1)])));
    assert!(
        bytes_of(&state.join("recordings")) == before,
        "no recording was touched"
    );
    assert_eq!(check(state, &["--deep"]), (0, found(&[("known_damage", 1)])));

    // The index is gone: it is made anew, by which nothing is lost either.
    for name in ["recordings.sqlite", "recordings.sqlite-wal", "recordings.sqlite-shm"] {
        let _ = fs::remove_file(state.join(name));
    }
    let nothing = run(state, &["record", "check"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&nothing.stderr).contains("--rebuild"),
        "{nothing:?}"
    );
    let (code, left) = check(state, &["--rebuild", "--yes"]);
    assert_eq!((code, left), (0, found(&[("known_damage", 1)])));
    // And the server records on.
    record(state, 3);
    assert_eq!(check(state, &["--deep"]).0, 0);
}

/// A machine dies with its state, not with its recordings.
#[test]
fn a_state_that_is_restored_finds_what_was_recorded_since() {
    let base = tempfile::tempdir().unwrap();
    let (state, tar) = (base.path().join("state"), base.path().join("backup.tar"));
    fs::create_dir(&state).unwrap();
    let server = Server::start(&state, &RECORD);
    let publisher = server.publish("door", 60);
    server.wait_for_state("door", "recording");
    std::thread::sleep(Duration::from_secs(5));
    let written = run(&state, &["state", "backup", tar.to_str().unwrap()]);
    assert!(written.status.success(), "{written:?}");
    let refused = run(&state, &["state", "restore", "--replace", tar.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("a server is running"),
        "{refused:?}"
    );
    std::thread::sleep(Duration::from_secs(5));
    let token = server.token.clone();
    server.end();
    drop(publisher);
    let recorded = files(&state.join("recordings"));
    assert_eq!(check(&state, &[]).0, 0);

    // Another machine: its own tokens, the recordings of this one.
    let other = base.path().join("other");
    fs::create_dir(&other).unwrap();
    Server::start(&other, &[]).end();
    fs::rename(state.join("recordings"), other.join("recordings")).unwrap();
    let refused = run(&other, &["state", "restore", tar.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("--replace"),
        "{refused:?}"
    );
    let restored = run(&other, &["state", "restore", "--replace", tar.to_str().unwrap()]);
    assert!(restored.status.success(), "{restored:?}");
    assert!(other.join("before-restore-1/tokens.json").is_file());
    let server = Server::start(&other, &RECORD);
    assert_eq!(server.token, token, "URLs that are in use hold");
    let begun = std::time::Instant::now();
    // Those of the backup are there at once, the others are looked for beside recording.
    loop {
        let (_, answer) = server.ask("GET", "/recordings?camera=door", "");
        if answer.to_string().len() > 2 && check(&other, &[]) == (0, BTreeMap::new()) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{answer}");
        std::thread::sleep(Duration::from_millis(200));
    }
    server.end();
    assert_eq!(check(&other, &["--deep"]), (0, BTreeMap::new()));
    let index = rusqlite::Connection::open(other.join("recordings.sqlite")).unwrap();
    let known = index.query_row("SELECT count(*) FROM segment WHERE state = 1", [], |row| {
        row.get::<_, i64>(0)
    });
    assert_eq!(known, Ok(recorded.len() as i64), "{recorded:?}");
    for file in files(&other.join("recordings")) {
        assert!(probe(&file).0 > 0, "{}", file.display());
    }
}
