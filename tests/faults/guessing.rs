//! Somebody guesses passwords: whoever knows theirs notices nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::support::{Server, tool};

/// One request to the API from this address of the machine: its status.
fn ask(url: &str, from: &str, token: &str) -> String {
    let output = tool("curl")
        .args([
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
            "--max-time",
            "10",
        ])
        .args(["--interface", from, "--user", &format!("viewer:{token}"), url])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn who_guesses_waits_and_nobody_else_does() {
    let server = Server::start(&[]);
    let url = format!("http://127.0.0.1:{}/api/v1/streams", server.port_of("http_port"));
    let token = server.token("viewer");
    let (done, braked, wrong) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for guesser in 2..8 {
            let (url, done, braked, wrong) = (&url, &done, &braked, &wrong);
            scope.spawn(move || {
                let from = format!("127.0.0.{guesser}");
                while !done.load(Relaxed) {
                    match ask(url, &from, "guessed").as_str() {
                        "429" => braked.fetch_add(1, Relaxed),
                        "401" => wrong.fetch_add(1, Relaxed),
                        other => panic!("{other}"),
                    };
                }
            });
        }
        for _ in 0..40 {
            assert_eq!(ask(&url, "127.0.0.1", &token), "200");
        }
        done.store(true, Relaxed);
    });
    let (braked, wrong) = (braked.into_inner(), wrong.into_inner());
    // Five guesses each, and one now and then.
    assert!(braked > wrong, "{braked} were told to wait, {wrong} were answered");
}
