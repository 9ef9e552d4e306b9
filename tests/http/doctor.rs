//! `sightline doctor` beside a server that runs.

use serde_json::Value;

use crate::Server;
use crate::support::{PATIENCE, sightline};

/// Its findings, and its exit code.
fn doctor(server: &Server) -> (Vec<Value>, Option<i32>) {
    let mut command = sightline();
    command.args(["doctor", "--json"]).current_dir(server.folder.path());
    for (name, port) in [
        ("RTSP_PORT", "rtsp"),
        ("RTSP_RTSPS_PORT", "rtsps"),
        ("HTTP_PORT", "http"),
        ("HTTP_HTTPS_PORT", "https"),
        ("HLS_PORT", "hls"),
        ("WEBRTC_PORT", "webrtc"),
        ("WEBRTC_ICE_PORT", "ice"),
    ] {
        command.env(format!("SIGHTLINE_{name}"), server.port(port).to_string());
    }
    command.env("SIGHTLINE_RTSP_UDP", "false");
    command.env("SIGHTLINE_SERVER_STATE_DIR", server.state());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let findings = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (findings.collect(), output.status.code())
}

fn wrong(findings: &[Value], about: &str) -> Vec<String> {
    let wrong = findings
        .iter()
        .filter(|one| one["level"] == "wrong" && one["about"] == about);
    wrong.map(|one| one["what"].as_str().unwrap().to_owned()).collect()
}

/// Ports that our own server has are as they should be, and it is asked how its sources are.
#[test]
fn it_asks_the_server_what_is_wrong_with_its_sources() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sightline.toml");
    let server = Server::start_in(folder, &[]);
    let (findings, _) = doctor(&server);
    assert_eq!(wrong(&findings, "ports"), [""; 0]);
    assert_eq!(wrong(&findings, "server"), [""; 0]);

    // Nobody listens there: refused at once, and said while it waits to ask again.
    std::fs::write(
        file,
        "[stream.door]\nsource = \"rtsp://user:secret@127.0.0.1:1/door\"\n",
    )
    .unwrap();
    let begun = std::time::Instant::now();
    loop {
        let (findings, code) = doctor(&server);
        let said = wrong(&findings, "server");
        if let [said] = &said[..] {
            assert!(
                said.contains("the source of \"door\", rtsp://127.0.0.1:1/door"),
                "{said}"
            );
            assert_eq!(code, Some(1));
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{findings:?}");
    }
}
