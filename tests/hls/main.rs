//! End to end: the real program's LL-HLS, played by other people's programs and held against the rules of the draft.
//!
//! Does not belong here: every rule of lists and requests (`protocol::hls`, `sightline::http`, beside the code).

#[path = "../rtsp/support.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod support;

mod client;
mod ffmpeg;
mod rules;

use std::time::{Duration, Instant};

use client::Connection;
use serde_json::Value;
use support::{PATIENCE, Server};

/// A server with a test picture, open to all.
fn camera(variables: &[(&str, &str)]) -> Server {
    let mut server = Server::start_with(&["--source", "test", "--open"], variables);
    server.wait_for_event("camera runs", "zerolatency");
    // Its first picture is still being encoded.
    let mut connection = Connection::new(port(&server));
    let begun = Instant::now();
    while connection.get("/zerolatency/index.m3u8").status == 404 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    server
}

/// Its HLS port.
fn port(server: &Server) -> u16 {
    let said = server.process.said();
    let events = said.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut ports = events.filter_map(|event| event.get("hls_port")?.as_u64());
    u16::try_from(ports.next().expect("it listens")).unwrap()
}

fn url(server: &Server, name: &str) -> String {
    format!("http://127.0.0.1:{}/{name}/index.m3u8", port(server))
}
