//! End to end: the real program's WebRTC against other people's clients, Chromium and aiortc, and over networks that lose and delay.
//!
//! Does not belong here: what is answered to which request (`sightline::http`, beside the code), sessions over simulated links
//! (`protocol::webrtc`).

#[path = "../rtsp/support.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod support;

mod aiortc;
mod browser;
mod chromium;
mod disturbances;
mod forward;
mod mediamtx;
mod network;
mod pull;

use serde_json::Value;
use support::Server;

/// Where sessions of a stream are asked for: `whep` or `whip`.
fn endpoint(server: &Server, stream: &str, which: &str) -> String {
    format!("http://127.0.0.1:{}/{stream}/{which}", server.port_of("webrtc_port"))
}

/// What the API tells of a stream; null when it is not there.
fn described(server: &Server, stream: &str) -> Value {
    let path = stream.replace('/', "%2F");
    let url = format!("http://127.0.0.1:{}/api/v1/streams/{path}", server.port_of("http_port"));
    let output = support::tool("curl")
        .args(["--silent", "--max-time", "20", &url])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}
