//! Motion in streams that others publish: FFmpeg publishes a clip in which something moves, and what comes of it is asked of everybody who is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{PATIENCE, Process, tool};
use super::{Server, files, probe};

/// When something moves in the clip, in seconds; and how long it is.
const MOVES: (u32, u32) = (6, 11);
const SECONDS: u32 = 20;

impl Server {
    /// FFmpeg, which publishes a noisy wall, in front of which a box passes from left to right.
    fn publish_motion(&self, name: &str, encoder: &str) -> Process {
        let (from, to) = MOVES;
        let mut command = tool("ffmpeg");
        command.args("-nostdin -v warning -re -f lavfi -i color=c=0x606468:s=320x240:r=25".split(' '));
        command.args("-f lavfi -i color=c=0xd8d4d0:s=40x80:r=25".split(' '));
        command.arg("-filter_complex").arg(format!(
            "[0]noise=alls=8:allf=t[wall];[wall][1]overlay=x='20+(t-{from})*48':y=100:enable='between(t,{from},{to})':eval=frame"
        ));
        command.args(format!("{encoder} -pix_fmt yuv420p -t {SECONDS} -f rtsp -rtsp_transport tcp").split(' '));
        Process::start(command.arg(format!("rtsp://127.0.0.1:{}/{name}", self.rtsp_port)))
    }

    /// What was told of a stream.
    fn motions(&self, stream: &str) -> Vec<Value> {
        let (status, answer) = self.ask("GET", &format!("/recordings/events?camera={stream}&kind=motion"), "");
        assert_eq!(status, 200, "{answer}");
        answer["events"].as_array().unwrap().clone()
    }

    /// How motion is looked for in a stream.
    fn looking(&self, stream: &str) -> Value {
        let (_, answer) = self.ask("GET", "/motion", "");
        let all = answer["motion"].as_array().unwrap();
        let found = all.iter().find(|motion| motion["stream"] == stream);
        found.cloned().unwrap_or_default()
    }
}

/// Lines of `/api/v1/events`, as they come.
struct Events {
    curl: Child,
    told: mpsc::Receiver<Value>,
}

impl Events {
    fn listen(server: &Server) -> Self {
        let mut curl = tool("curl");
        curl.args(["-s", "-N", "-H"])
            .arg(format!("Authorization: Bearer {}", server.token));
        let url = format!("http://127.0.0.1:{}/api/v1/events?kind=motion", server.http_port);
        let mut curl = curl.arg(url).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(curl.stdout.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = line
                    .strip_prefix("data: ")
                    .and_then(|json| serde_json::from_str(json).ok());
                if event.is_some_and(|event: Value| tell.send(event).is_err()) {
                    return;
                }
            }
        });
        Self { curl, told }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

/// A server of webhooks: what it is told.
fn receiver() -> (u16, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            if let Some(event) = hear(&socket)
                && tell.send(event).is_err()
            {
                return;
            }
        }
    });
    (port, told)
}

fn hear(socket: &TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.parse().ok()?;
        }
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body).ok()?;
    write!(&*socket, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").ok()?;
    serde_json::from_str(&body).ok()
}

fn seconds_between(from: &Value, to: &Value) -> f64 {
    let at = |text: &Value| {
        text.as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_microsecond()
    };
    (at(to) - at(from)) as f64 / 1e6
}

#[test]
fn what_moves_is_told_kept_and_recorded_from_before_it_on() {
    let state = tempfile::tempdir().unwrap();
    let (port, hooked) = receiver();
    let settings = format!(
        "[record]\nenabled = true\nmode = \"events\"\npre_roll = \"2s\"\npost_roll = \"1s\"\n[motion]\nenabled = true\n\
         [stream.masked.motion]\nmask = [[[0, 0], [1, 0], [1, 1], [0, 1]]]\n[stream.thrifty.motion]\nmode = \"thrifty\"\n\
         [stream.off.motion]\nenabled = false\n\
         [webhook.guard]\nurl = \"http://127.0.0.1:{port}/guard\"\nallow_private = true\nevents = [\"motion.*\"]\n"
    );
    std::fs::write(state.path().join("sightline.toml"), settings).unwrap();
    let server = Server::start(state.path(), &[]);
    let events = Events::listen(&server);
    // B-frames, which come in another order than they are shown in; and keyframes twice a second for the thrifty one.
    let full = "-c:v libx264 -preset ultrafast -profile:v high -bf 2 -g 50";
    let often = "-c:v libx264 -preset ultrafast -profile:v main -bf 0 -g 12";
    let publishers = [("door", full), ("masked", full), ("thrifty", often), ("off", full)]
        .map(|(name, encoder)| server.publish_motion(name, encoder));
    for publisher in publishers {
        assert!(publisher.finish().0.success());
    }

    let told: Vec<Value> = events.told.try_iter().collect();
    let of = |stream: &str| {
        told.iter()
            .filter(|event| event["stream"] == stream)
            .collect::<Vec<_>>()
    };
    assert!(of("masked").is_empty() && of("off").is_empty(), "{told:#?}");
    for stream in ["door", "thrifty"] {
        let [began, ended] = &of(stream)[..] else {
            panic!("{stream}: {told:#?}")
        };
        assert_eq!(
            (&began["kind"], &ended["kind"]),
            (&"motion.began".into(), &"motion.ended".into())
        );
        assert_eq!(began["by"], "server");
        let ms = ended["duration_ms"].as_i64().unwrap();
        assert!((3_500..7_000).contains(&ms), "{stream}: {ended}");
        // From the left to the right, in the middle and below.
        let area = |side: &str| ended["area"][side].as_f64().unwrap();
        assert!(area("left") < 0.35 && area("right") > 0.7, "{ended}");
        assert!(area("top") > 0.3 && area("bottom") < 0.85, "{ended}");
        assert!((25..=100).contains(&ended["score"].as_i64().unwrap()), "{ended}");
    }

    let begun = Instant::now();
    let mut heard: Vec<Value> = Vec::new();
    while heard.len() < 4 {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        heard.push(hooked.recv_timeout(left).expect("four events are told"));
    }
    assert_eq!(
        heard.iter().filter(|event| event["stream"] == "door").count(),
        2,
        "{heard:#?}"
    );

    // In the index: one event for each, as soon as it is written, which is every ten seconds.
    let begun = Instant::now();
    let (event, lasted) = loop {
        let motions = server.motions("door");
        assert!(motions.len() <= 1 && begun.elapsed() < PATIENCE, "{motions:#?}");
        if let [event] = &motions[..] {
            let lasted = seconds_between(&event["start"], &event["end"]);
            if lasted > 3.5 {
                break (event.clone(), lasted);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(lasted < 7.0 && event["data"]["by"] == "server", "{event}");
    assert_eq!(server.motions("thrifty").len(), 1);

    // And second by second, which is written with the rest.
    let path = format!(
        "/recordings/door/motion?start={}&end={}&resolution_ms=1000",
        event["start"].as_str().unwrap().replace('+', "%2B"),
        event["end"].as_str().unwrap().replace('+', "%2B")
    );
    let (status, answer) = server.ask("GET", &path, "");
    assert_eq!(status, 200, "{answer}");
    let steps = answer["intensity"].as_array().unwrap();
    let moved = steps.iter().filter(|step| step.as_i64().unwrap() > 10).count();
    assert!(moved >= 3 && moved + 3 >= steps.len(), "{answer}");

    server.end();
    // What is recorded begins before it and ends behind it.
    for (stream, is_recorded) in [("door", true), ("thrifty", true), ("masked", false), ("off", false)] {
        let files = files(&state.path().join("recordings").join(stream));
        assert_eq!(!files.is_empty(), is_recorded, "{stream}: {files:?}");
    }
    let recorded: f64 = files(&state.path().join("recordings/door"))
        .iter()
        .map(|file| probe(file).2)
        .sum();
    assert!(
        recorded > lasted + 2.5 && recorded < lasted + 10.0,
        "{recorded} s for {lasted} s"
    );
}

/// By an FFmpeg that stays: what moves is told, and nothing is left behind when the stream ends.
#[test]
fn what_moves_in_h265_is_told() {
    let state = tempfile::tempdir().unwrap();
    let settings = "[motion]\nenabled = true\n[stream.thrifty.motion]\nmode = \"thrifty\"\n";
    std::fs::write(state.path().join("sightline.toml"), settings).unwrap();
    let server = Server::start(state.path(), &[]);
    let events = Events::listen(&server);
    let full = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=50:bframes=0";
    let often = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=12:min-keyint=12:bframes=0";
    let publishers = [("door", full), ("thrifty", often)].map(|(name, encoder)| server.publish_motion(name, encoder));
    for publisher in publishers {
        assert!(publisher.finish().0.success());
    }
    let told: Vec<Value> = events.told.try_iter().collect();
    for stream in ["door", "thrifty"] {
        let of: Vec<&Value> = told.iter().filter(|event| event["stream"] == stream).collect();
        let [began, ended] = &of[..] else {
            panic!("{stream}: {told:#?}")
        };
        assert_eq!(
            (&began["kind"], &began["by"]),
            (&"motion.began".into(), &"server".into())
        );
        let ms = ended["duration_ms"].as_i64().unwrap();
        assert!((3_500..7_000).contains(&ms), "{stream}: {ended}");
        let area = |side: &str| ended["area"][side].as_f64().unwrap();
        assert!(area("left") < 0.35 && area("right") > 0.7, "{ended}");
    }
    server.end();
}

#[test]
fn what_cannot_be_decoded_is_said() {
    let state = tempfile::tempdir().unwrap();
    let nowhere = state.path().to_str().unwrap();
    let server = Server::start(state.path(), &[("SIGHTLINE_MOTION_ENABLED", "true"), ("PATH", nowhere)]);
    let publisher = server.publish_motion("door", "-c:v libx265 -preset ultrafast -x265-params log-level=none");
    let begun = Instant::now();
    let looking = loop {
        let looking = server.looking("door");
        if looking["state"] == "unable" {
            break looking;
        }
        assert!(begun.elapsed() < PATIENCE, "{looking}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let why = looking["why"].as_str().unwrap();
    assert!(
        why.starts_with("it is H.265") && why.contains("apt install ffmpeg"),
        "{looking}"
    );
    drop(publisher);
    server.end();
}

/// A camera of this machine looks at its own pictures; one that is published from another process says what it sees with its status.
#[test]
fn cameras_look_themselves() {
    let state = tempfile::tempdir().unwrap();
    let settings = "[camera.desk]\nsource = \"test\"\nsize = \"320x240\"\n[motion]\nenabled = true\nsensitivity = 80\nmin_size = \"0.1%\"\n";
    std::fs::write(state.path().join("sightline.toml"), settings).unwrap();
    let server = Server::start(state.path(), &[]);
    let mut publish = super::support::sightline();
    publish.args(["publish", "--source", "test", "--size", "320x240", "--log", "json"]);
    publish.arg(format!("rtsp://127.0.0.1:{}/door", server.rtsp_port));
    publish
        .arg("--ws-url")
        .arg(format!("ws://127.0.0.1:{}/ws/camera/", server.http_port));
    publish.args(["--token", &server.token]);
    publish
        .env("SIGHTLINE_MOTION_ENABLED", "true")
        .current_dir(state.path());
    publish.env("SIGHTLINE_CONFIG", "/dev/null");
    let publisher = Process::start(&mut publish);
    for (stream, by) in [("desk", "camera"), ("door", "publisher")] {
        let begun = Instant::now();
        loop {
            let looking = server.looking(stream);
            if looking["by"] == by && looking["state"] == "looking" {
                // A publisher says it a moment after it began to publish; from then on nothing is decoded here.
                std::thread::sleep(Duration::from_secs(2));
                let later = server.looking(stream);
                assert_eq!(
                    (&later["decoded"], &later["by"]),
                    (&looking["decoded"], &looking["by"]),
                    "{later}"
                );
                assert!(stream == "door" || later["decoded"] == 0, "{later}");
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{stream}: {looking}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    drop(publisher);
    server.end();
}
