//! Events as curl reads them, while FFmpeg comes and goes.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::Server;
use crate::support::tool;

#[test]
fn who_comes_and_goes_is_told_until_the_program_ends() {
    let server = Server::start(&[]);
    let mut curl = tool("curl");
    let bearer = format!("Authorization: Bearer {}", server.token("admin"));
    curl.args(["--silent", "--no-buffer", "--max-time", "60", "--header", &bearer]);
    curl.arg(server.url("/api/v1/events?kind=viewer&kind=program"));
    let mut curl = curl.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("retry: 2000"));

    let mut ffmpeg = tool("ffmpeg");
    ffmpeg.args(["-v", "error", "-rtsp_transport", "tcp", "-i"]);
    ffmpeg.arg(format!("rtsp://127.0.0.1:{}/zerolatency", server.port("rtsp")));
    assert!(ffmpeg.args(["-t", "3", "-f", "null", "-"]).status().unwrap().success());

    let mut events = lines.filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let joined = events.next().unwrap();
    assert_eq!(
        (&joined["kind"], &joined["stream"]),
        (&"viewer.joined".into(), &"zerolatency".into()),
        "{joined}"
    );
    assert!(joined["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{joined}");
    let left = events.next().unwrap();
    assert_eq!(
        (&left["kind"], &left["session"]),
        (&"viewer.left".into(), &joined["session"]),
        "{left}"
    );
    assert!(
        left["frames"].as_u64() >= Some(25) && left["bytes"].as_u64() > Some(10_000),
        "{left}"
    );
    assert!((800..10_000).contains(&left["duration_ms"].as_i64().unwrap()), "{left}");
    assert!(left["reason"].is_string(), "{left}");

    server.process.signal(Signal::TERM);
    let last: Vec<Value> = events.collect();
    assert_eq!(last[0]["kind"], "program.ending", "{last:?}");
    assert!(curl.wait().unwrap().success(), "the answer was not ended");
    server.process.finish();
}
