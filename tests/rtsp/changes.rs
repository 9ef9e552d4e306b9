//! Settings that change while FFmpeg plays: who is not concerned notices nothing.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::ChildStdout;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Process, Server, counting_ffmpeg, publish_with_ffmpeg, tool, wait_until};

/// When each frame is to be shown, in ticks of 90 kHz, as FFmpeg reads them.
fn times(pipe: ChildStdout) -> Arc<Mutex<Vec<i64>>> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&times);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // `stream, dts, pts, duration, size, hash`, below lines that begin with #.
            let time = line.split(',').nth(2).and_then(|time| time.trim().parse::<i64>().ok());
            to.lock().unwrap().extend(time.filter(|_| !line.starts_with('#')));
        }
    });
    times
}

/// As editors do: a new file in the place of the old one.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

/// Log lines of changed settings: the key and what it is now.
fn changes(server: &Server) -> Vec<(String, String)> {
    let said = server.process.said();
    let events = said.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    events
        .filter(|event| text(event, "event").starts_with("setting changed"))
        .map(|event| (text(&event, "key"), text(&event, "to")))
        .collect()
}

#[test]
fn who_plays_another_stream_sees_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sightline.toml");
    fs::write(&file, "# mine\n").unwrap();
    let mut server = Server::start(&["--config", file.to_str().unwrap()]);
    let _publisher = publish_with_ffmpeg(&mut server, "a", "tcp", 15);
    let mut command = tool("ffmpeg");
    command.args([
        "-nostdin",
        "-v",
        "error",
        "-rtsp_transport",
        "tcp",
        "-i",
        &server.url("a"),
    ]);
    let mut viewer = Process::start(command.args("-c copy -flush_packets 1 -f framecrc -".split(' ')));
    let seen = times(viewer.stdout());
    wait_until("no frames", &server.process, || seen.lock().unwrap().len() > 10);
    // Before, it was given a burst.
    let (begun, first) = (Instant::now(), seen.lock().unwrap().len());

    fs::write(&file, "# mine\n[stream.b]\nalways_available = true\n").unwrap();
    server.wait_for_event("viewers see a slate", "b");
    let mut other = Process::start(counting_ffmpeg("tcp").args(["-i", &server.url("b"), "-f", "null", "-"]));
    other.collect_stdout();
    other.wait_for("frames", |line| {
        line.strip_prefix("frame=")?
            .parse::<u32>()
            .ok()
            .filter(|frames| *frames > 2)
    });

    replace(
        &file,
        "# mine\n[stream.b]\nalways_available = true\n[log]\nlevel = \"loud\"\n",
    );
    let problem = server.process.wait_for("what is wrong", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        Some(event.get("problem")?.as_str()?.to_owned())
    });
    assert!(
        problem.contains("sightline.toml:5:9: log.level: \"loud\" is not a log level"),
        "{problem}"
    );
    assert!(other.is_running(), "what is wrong changes nothing");

    let source = server.url("a");
    let fetched = format!("[stream.c]\nsource = \"{source}\"\n");
    let text = format!("# mine\n[stream.b]\nalways_available = true\n[log]\nlevel = \"debug\"\n{fetched}");
    replace(&file, &text);
    wait_until("no other level", &server.process, || changes(&server).len() == 5);
    server.wait_for_event("source runs", "c");
    replace(
        &file,
        "# mine\n[log]\nlevel = \"debug\"\n[server]\nadvertise = [\"x\"]\n",
    );
    wait_until("the table is still there", &server.process, || {
        changes(&server).len() == 10
    });
    // Nobody publishes it and no slate is shown: its viewer is let go.
    let (status, said) = other.finish();
    assert!(status.success(), "{said:?}");

    // Not in place: for a moment the file would be empty, and may be read.
    replace(&file, "# mine\n[limits]\nstreams = 1\n");
    server.process.signal(Signal::HUP);
    wait_until("not read", &server.process, || changes(&server).len() == 13);
    let mut one_more = tool("ffmpeg");
    one_more.args("-nostdin -v error -f lavfi -i testsrc -c:v libx264 -t 1 -f rtsp".split(' '));
    let (status, said) = Process::start(one_more.arg(server.url("d"))).finish();
    assert!(!status.success(), "the limit holds at once: {said:?}");

    let told = changes(&server);
    let told: Vec<_> = told.iter().map(|(key, to)| (key.as_str(), to.as_str())).collect();
    let expected = [
        ("stream.b", "{}"),
        ("stream.b.always_available", "true"),
        ("log.level", "\"debug\""),
        ("stream.c", "{}"),
        ("stream.c.source", &format!("\"{source}\"")),
        ("server.advertise", "[\"x\"]"),
        ("stream.b", "not set"),
        ("stream.b.always_available", "false"),
        ("stream.c", "not set"),
        ("stream.c.source", "not set"),
        ("limits.streams", "1"),
        ("log.level", "\"info\""),
        ("server.advertise", "[]"),
    ];
    assert_eq!(told, expected);

    // Long enough for anything that had been held up to come late.
    while begun.elapsed() < Duration::from_secs(8) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let times = seen.lock().unwrap().clone();
    assert!(viewer.is_running());
    let steps: Vec<i64> = times[first..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.len() > 150, "{}", steps.len());
    assert!(steps.iter().all(|step| *step == 3_000), "{steps:?}");
    let joined = server.process.said();
    let joined = joined
        .iter()
        .filter(|line| line.contains("RTSP viewer joined") && line.contains("\"a\""));
    assert_eq!(joined.count(), 2, "FFmpeg and the source of c, each once");
}
