//! Cameras that refuse, and settings that are wrong.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::Signal;

use super::{events, relay, wait_until};

/// A camera that takes no login. Counts those it was shown.
fn refusing() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let logins = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&logins);
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let mut answers = socket.try_clone().unwrap();
            let mut cseq = String::new();
            for line in BufReader::new(socket).lines().map_while(Result::ok) {
                if line.starts_with("CSeq") {
                    cseq = line;
                } else if line.starts_with("Authorization") {
                    counted.fetch_add(1, Relaxed);
                } else if line.is_empty() {
                    let answer = format!(
                        "RTSP/1.0 401 Unauthorized\r\n{cseq}\r\nWWW-Authenticate: Digest realm=\"camera\", nonce=\"0123\"\r\n\r\n"
                    );
                    if answers.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        }
    });
    (port, logins)
}

#[test]
fn a_wrong_password_is_told_shown_once_and_never_printed() {
    let (port, logins) = refusing();
    let folder = tempfile::tempdir().unwrap();
    // Without a path: there are eight places to ask.
    let words = format!(
        "CAMERA_IP=127.0.0.1:{port}\nCAMERA_USERNAME=admin\nCAMERA_PASSWORD=canary\nSTREAM_MODE=record\nOUTPUT_DIR=x\n"
    );
    let process = relay(folder.path(), &words);
    wait_until("why", &process, || {
        !events(&process, "does not take CAMERA_USERNAME and CAMERA_PASSWORD").is_empty()
    });
    let told = events(&process, "does not take").remove(0);
    assert!(told["retry_s"].as_u64().unwrap() >= 50, "{told}");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(logins.load(Relaxed), 1, "cameras lock accounts");
    process.signal(Signal::TERM);
    let (status, said) = process.finish();
    assert_eq!(status.code(), Some(0));
    assert!(!said.join("\n").contains("canary"), "{said:#?}");
}

#[test]
fn without_an_account_it_is_said_what_to_set() {
    let (port, logins) = refusing();
    let folder = tempfile::tempdir().unwrap();
    let process = relay(
        folder.path(),
        &format!("CAMERA_IP=127.0.0.1:{port}\nSTREAM_MODE=record\nOUTPUT_DIR=x\n"),
    );
    wait_until("what", &process, || {
        !events(&process, "set CAMERA_USERNAME and CAMERA_PASSWORD").is_empty()
    });
    assert_eq!(logins.load(Relaxed), 0);
}

#[test]
fn wrong_settings_end_it_at_once_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (words, named) in [
        ("", "set CAMERA_IP, STREAM_MODE"),
        ("CAMERA_IP=10.0.0.4\n", "STREAM_MODE: not set"),
        (
            "CAMERA_IP=10.0.0.4\nSTREAM_MODE=film\n",
            ".env:2: STREAM_MODE: \"film\" is none",
        ),
        ("CAMERA_IP=10.0.0.4\nSTREAM_MODE=hls\n", "OUTPUT_DIR: not set"),
        (
            "CAMERA_IP=10.0.0.4\nSTREAM_MODE=hls\nOUTPUT_DIR=file/x\n",
            ".env:3: OUTPUT_DIR: cannot write into file/x",
        ),
        (
            "CAMERA_IP=10.0.0.4\nSTREAM_MODE=republish\n",
            "OUTPUT_RTSP_URL: not set",
        ),
        (
            "CAMERA_IP=10.0.0.4\nSTREAM_MODE=hls\nOUTPUT_DIR=x\nSEGMENT_TIME=soon\n",
            ".env:4: SEGMENT_TIME: \"soon\" is not a time",
        ),
    ] {
        let (status, said) = relay(folder.path(), words).finish();
        assert_eq!(status.code(), Some(2), "{said:?}");
        assert!(said.join("\n").contains(named), "{named}: {said:?}");
    }
    let (status, said) = super::start(folder.path(), &["relay", "--env-file", "nothing.env"]).finish();
    assert_eq!(status.code(), Some(2), "{said:?}");
}
