//! A camera that is found and asked by ONVIF: that of ipycam, which is neither ours nor does it know of us, on a machine of its own. Its pictures come from
//! a server there, under the names that it tells.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::killing::{frames, wait_for_frames};
use super::neighbour::Neighbour;
use super::support::{Process, Server, counting_ffmpeg, h264_of_ffmpeg, sightline, test_tool};

const HTTP_PORT: &str = "8080";
/// It is in URLs and in XML, and in neither as it is.
const PASSWORD: &str = "pass&word/1";
const ENCODED: &str = "pass%26word%2F1";

const ACCOUNT: &str = "[user.admin]\npassword = \"pass&word/1\"\nview = [\"*\"]\npublish = [\"*\"]\n";

/// What the camera is made of.
struct Camera {
    _onvif: Process,
    _publishers: Vec<Process>,
    rtsp: Server,
}

impl Camera {
    fn start(neighbour: &Neighbour, folder: &Path) -> Self {
        let settings = folder.join("camera.toml");
        std::fs::write(&settings, ACCOUNT).unwrap();
        let mut rtsp = Server::start_by(neighbour.sightline(), &["--config", settings.to_str().unwrap()], &[]);
        let mut publishers = Vec::new();
        for (name, size) in [("main", "640x480"), ("sub", "320x240")] {
            let mut command = neighbour.tool("ffmpeg");
            let source = format!("-nostdin -v error -re -f lavfi -i testsrc2=size={size}:rate=15");
            command.args(source.split_whitespace());
            command.args(h264_of_ffmpeg(15).split_whitespace());
            let url = format!("rtsp://admin:{ENCODED}@127.0.0.1:{}/{name}", rtsp.port);
            publishers.push(Process::start(command.args([
                "-f",
                "rtsp",
                "-rtsp_transport",
                "tcp",
                &url,
            ])));
            rtsp.wait_for_event("publisher began", name);
        }
        let python = test_tool("ipycam/bin/python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/onvif_camera.py");
        let mut command = neighbour.command(python.to_str().unwrap());
        command.arg(script);
        command.args(["10.78.11.2", HTTP_PORT, &rtsp.port.to_string(), "admin", PASSWORD]);
        let mut onvif = Process::start(&mut command);
        onvif.collect_stdout();
        onvif.wait_for("ready", |line| (line == "ready").then_some(()));
        Self {
            _onvif: onvif,
            _publishers: publishers,
            rtsp,
        }
    }
}

fn cameras(folder: &Path, arguments: &[&str], password: Option<&str>) -> Output {
    let mut command: Command = sightline();
    command.arg("cameras").args(arguments).current_dir(folder);
    command.env_remove("CAMERA_PASSWORD");
    command.envs(password.map(|password| ("CAMERA_PASSWORD", password)));
    command.stdin(std::process::Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

fn player(server: &Server, name: &str) -> Process {
    let mut command = counting_ffmpeg("tcp");
    command.args(["-i", &server.url(name), "-f", "null", "-"]);
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    process
}

#[test]
fn a_camera_is_found_told_of_and_played_and_asked_again_where_its_stream_has_moved() {
    let neighbour = Neighbour::new("o", "10.78.11");
    let folder = tempfile::tempdir().unwrap();
    let camera = Camera::start(&neighbour, folder.path());
    let interface = neighbour.interface();
    let search = ["--interface", &interface, "--wait", "1500ms"];

    // Whoever asks without a login is told that one is wanted, and how it is given.
    let (out, _, code) = text(&cameras(folder.path(), &search, None));
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains("# 10.78.11.2  Yard  http://10.78.11.2:8080/onvif/device_service"),
        "{out}"
    );
    assert!(
        out.contains("wants a user and password") && out.contains("--user NAME 10.78.11.2"),
        "{out}"
    );
    let as_admin = |more: &[&'static str]| [&search[..], &["--user", "admin"], more].concat();
    let (out, _, code) = text(&cameras(folder.path(), &as_admin(&[]), Some("canary")));
    assert_eq!(code, Some(1));
    assert!(
        out.contains("does not accept this user and password") && !out.contains("canary"),
        "{out}"
    );
    let (_, error, code) = text(&cameras(folder.path(), &as_admin(&[]), None));
    assert_eq!(code, Some(2), "standard input is empty");
    assert!(error.contains("CAMERA_PASSWORD"), "{error}");

    // Its streams, for programs.
    let (out, _, code) = text(&cameras(folder.path(), &as_admin(&["--json"]), Some(PASSWORD)));
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{out}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let field = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [field("address"), field("manufacturer"), field("model")],
        ["10.78.11.2", "Acme", "X1"]
    );
    let main = &told["profiles"][0];
    assert_eq!(main["url"], format!("rtsp://10.78.11.2:{}/main", camera.rtsp.port));
    assert_eq!(
        (&main["codec"], &main["width"], &main["fps"]),
        (&"H264".into(), &640.into(), &15.into())
    );
    assert!(!out.contains(PASSWORD) && !out.contains(ENCODED), "{out}");

    // What is printed is pasted, and played: the camera's own stream, and its lower one when somebody wants it.
    let pasted = as_admin(&["--with-password", "10.78.11.2:8080"]);
    let (out, _, _) = text(&cameras(folder.path(), &pasted, Some(PASSWORD)));
    let settings = folder.path().join("sightline.toml");
    std::fs::write(&settings, &out).unwrap();
    let name = out
        .lines()
        .find_map(|line| line.strip_prefix("[stream.")?.strip_suffix(']'))
        .unwrap();
    let mut server = Server::start_with(
        &["--config", settings.to_str().unwrap()],
        &[("SIGHTLINE_LIMITS_HOLD", "1min")],
    );
    let played = server.played(name, 1);
    assert!(played[0].contains("h264"), "{played:?}");
    let mut viewer = player(&server, name);
    wait_for_frames(&mut viewer, 30);
    let mut lower = player(&server, &format!("{name}/low"));
    wait_for_frames(&mut lower, 15);
    assert_eq!(camera.rtsp.events("RTSP viewer joined", "sub").len(), 1);
    for line in server.process.said() {
        assert!(!line.contains(PASSWORD) && !line.contains(ENCODED), "{line}");
    }

    // Another port, as after a change of its firmware: nobody has to change a setting.
    let before = camera.rtsp.port;
    drop(camera);
    server.wait_for_event("source failed", name);
    let seen = frames(&viewer);
    let camera = Camera::start(&neighbour, folder.path());
    assert_ne!(camera.rtsp.port, before);
    wait_for_frames(&mut viewer, seen + 30);
}

#[test]
fn where_no_camera_is_it_is_said_what_to_do() {
    let neighbour = Neighbour::new("n", "10.78.12");
    let folder = tempfile::tempdir().unwrap();
    let interface = neighbour.interface();
    let output = cameras(folder.path(), &["--interface", &interface, "--wait", "300ms"], None);
    let (out, error, code) = text(&output);
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(
        error.contains(&format!("within 300ms on {interface} (10.78.12.1)")),
        "{error}"
    );
    assert!(
        error.contains("firewall") && error.contains("sightline cameras 192.168.1.20"),
        "{error}"
    );
    let (out, _, code) = text(&cameras(folder.path(), &["10.78.12.2:9"], None));
    assert_eq!(code, Some(1));
    assert!(out.contains("cannot connect to 10.78.12.2:9"), "{out}");
}
