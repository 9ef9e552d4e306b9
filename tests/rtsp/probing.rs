//! Cameras that are tried out by the API: each error once, of a camera that is scripted here, and one that works; and that a camera's password is in no place
//! but its own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::{Value, json};

use super::oddities::{Login, Oddity, camera, film};
use super::support::{Server, free_port, publish_with_ffmpeg, tool};

const CANARY: &str = "canary-of-a-camera";

/// What the API says, and the status.
fn api(server: &Server, method: &str, path: &str, body: &Value) -> (u16, String) {
    let url = format!("http://127.0.0.1:{}/{path}", server.port_of("http_port"));
    let authorization = format!("Authorization: Bearer {}", server.token("admin"));
    let mut command = tool("curl");
    command.args(["--silent", "--max-time", "25", "--write-out", "\n%{http_code}"]);
    command.args(["--request", method, "--header", &authorization]);
    if !body.is_null() {
        let body = body.to_string();
        command.args(["--header", "Content-Type: application/json", "--data-binary", &body]);
    }
    let output = command.arg(&url).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

fn probe(server: &Server, question: &Value) -> Value {
    let (status, said) = api(server, "POST", "api/v1/probe", question);
    assert_eq!(status, 200, "{said}");
    assert!(!said.contains(CANARY), "{said}");
    serde_json::from_str(&said).unwrap()
}

fn scripted(oddity: &Oddity) -> String {
    let (_, media, sprop) = film(oddity);
    camera(oddity, media, &sprop)
}

/// One that gives this to whoever connects, and then nothing; and how many came.
fn mute(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("rtsp://127.0.0.1:{}/stream", listener.local_addr().unwrap().port());
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Relaxed);
            std::thread::spawn(move || {
                let _ = socket.write_all(answer.as_bytes());
                // Until the other end closes it.
                while socket.read(&mut [0; 1_024]).is_ok_and(|length| length > 0) {}
            });
        }
    });
    (url, came)
}

#[test]
fn each_error_has_its_cause() {
    let server = Server::start(&[]);
    let works = scripted(&Oddity::default());
    let locked = scripted(&Oddity {
        login: Login::Basic,
        ..Oddity::default()
    });
    let elsewhere = scripted(&Oddity {
        set_up: "/other",
        ..Oddity::default()
    });
    let jpeg =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:trackID=1\r\n";
    let no_video = scripted(&Oddity {
        sdp: jpeg.to_owned(),
        ..Oddity::default()
    });
    let no_media = {
        let oddity = Oddity::default();
        let (_, _, sprop) = film(&oddity);
        camera(&oddity, Vec::new(), &sprop)
    };
    let (silent, _) = mute("");
    let (page, _) = mute("SSH-2.0-OpenSSH_9.2\r\n\r\n");
    let closed = format!("rtsp://127.0.0.1:{}/stream", free_port());
    let tls = works.replace("rtsp://", "rtsps://");
    let account = json!({"user": "user", "password": CANARY});
    for (source, account, code) in [
        ("rtsp://camera.invalid/1", Value::Null, "name-unknown"),
        (&closed, Value::Null, "refused"),
        (&silent, Value::Null, "silent"),
        (&page, Value::Null, "not-rtsp"),
        (&tls, Value::Null, "no-tls"),
        (&locked, Value::Null, "login-needed"),
        (&locked, account, "login-wrong"),
        (&elsewhere, Value::Null, "no-such-path"),
        (&no_video, Value::Null, "no-video"),
        (&no_media, Value::Null, "no-keyframe"),
        ("v4l2:/dev/video-of-nobody", Value::Null, "device-missing"),
    ] {
        let told = probe(&server, &json!({"source": source, "account": account}));
        let failed = &told["failed"];
        assert_eq!(failed["code"], code, "{source}: {told}");
        assert!(
            failed["way_out"].as_str().unwrap().len() > 10 && told["found"].is_null(),
            "{told}"
        );
        assert!(told["took_ms"].as_u64().unwrap() < 13_500, "{told}");
    }
    // What works, works: also with a login that is shown.
    for (source, account) in [
        (&works, Value::Null),
        (&locked, json!({"user": "user", "password": "pass"})),
    ] {
        let told = probe(&server, &json!({"source": source, "account": account}));
        assert_eq!(told["found"]["video"]["codec"], "H.264", "{told}");
        assert!(told["found"]["keyframe_seconds"].as_f64().unwrap() > 0.0, "{told}");
    }
}

/// A certificate of its own making is shown, and believed by its fingerprint.
#[test]
fn a_certificate_is_offered_to_be_believed() {
    let mut from = Server::start(&[]);
    let _publisher = publish_with_ffmpeg(&mut from, "cam", "tcp", 15);
    let server = Server::start(&[]);
    let source = format!("rtsps://127.0.0.1:{}/cam", from.port_of("rtsps_port"));
    let told = probe(&server, &json!({"source": source}));
    assert_eq!(told["failed"]["code"], "certificate", "{told}");
    let fingerprint = told["failed"]["fingerprint"].as_str().unwrap();
    let told = probe(&server, &json!({"source": source, "source_fingerprint": fingerprint}));
    assert_eq!(told["failed"], Value::Null, "{told}");
    let picture = told["found"]["picture"].as_str().unwrap_or_else(|| panic!("{told}"));
    let mut command = tool("curl");
    let url = format!(
        "http://127.0.0.1:{}/api/v1/{picture}?token={}",
        server.port_of("http_port"),
        server.token("admin")
    );
    let jpeg = command.args(["--silent", &url]).output().unwrap().stdout;
    assert!(jpeg.starts_with(&[0xff, 0xd8]), "{} bytes", jpeg.len());
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

#[test]
fn a_password_is_in_no_place_but_its_own() {
    let mut server = Server::start(&[]);
    let (source, came) = mute("");
    let wanted = scripted(&Oddity {
        login: Login::Basic,
        ..Oddity::default()
    });
    let login = |source: &str| json!({"name": "garden", "user": "user", "password": CANARY, "source": source});
    let (status, said) = api(&server, "POST", "api/v1/credentials", &login(&wanted));
    assert_eq!(status, 201, "{said}");
    let table = |source: &str| json!({"stream": {"garden": {"source": source, "credential": "garden"}}});
    let (status, said) = api(&server, "PATCH", "api/v1/config", &table(&wanted));
    assert_eq!(status, 200, "{said}");
    // It is refused there, which is told in many places.
    server.wait_for_event("source failed", "garden");
    let refused = probe(&server, &json!({"source": wanted, "credential": "garden"}));
    assert_eq!(refused["failed"]["code"], "login-wrong", "{refused}");
    // Moved, nobody there is even asked.
    api(&server, "PATCH", "api/v1/config", &table(&source));
    server.wait_for_events("source failed", "garden", 2);
    let moved = probe(&server, &json!({"source": source, "credential": "garden"}));
    assert_eq!(
        (&moved["failed"]["code"], came.load(Relaxed)),
        (&"credential-elsewhere".into(), 0),
        "{moved}"
    );

    for path in [
        "api/v1/config",
        "api/v1/credentials",
        "api/v1/sources",
        "api/v1/log?limit=1000",
        "api/v1/audit",
        "metrics",
    ] {
        let (status, said) = api(&server, "GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {said}");
        assert!(!said.contains(CANARY), "{path}: {said}");
    }
    assert!(!server.process.said().iter().any(|line| line.contains(CANARY)));
    let kept = files(server.state());
    let holds = |path: &&std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
    };
    let with: Vec<_> = kept.iter().filter(holds).collect();
    assert_eq!(with.len(), 1, "{with:?}");
    assert!(with[0].ends_with("credentials.json"), "{with:?}");
}
