//! Somebody else decides about media: a server that is asked, and tokens that somebody signs; ffmpeg, LL-HLS and WHEP as people have them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Process, tool};
use crate::{Server, curl};

/// A server by HTTP: what it was asked, and where it is.
struct Authority {
    port: u16,
    asked: Arc<Mutex<Vec<Value>>>,
}

/// Status and body of an answer.
type Said = (u16, String);

impl Authority {
    /// One that answers as it is told, a request a connection.
    fn new(answer: impl Fn(&Value) -> Said + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                // Whoever asked may be gone.
                let _ = serve(&socket.unwrap(), &answer, &heard);
            }
        });
        Self { port, asked }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Questions of an action about a stream.
    fn about(&self, action: &str, path: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        let meant = asked
            .iter()
            .filter(|asked| asked["action"] == action && asked["path"] == path);
        meant.cloned().collect()
    }
}

fn serve(socket: &TcpStream, answer: &dyn Fn(&Value) -> Said, heard: &Mutex<Vec<Value>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let question = serde_json::from_slice(&body).unwrap_or_default();
    let (status, text) = answer(&question);
    heard.lock().unwrap().push(question);
    let length = text.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    (&*socket).write_all((head + &text).as_bytes())
}

fn ffmpeg(arguments: &str) -> Command {
    let mut command = tool("ffmpeg");
    command.args("-nostdin -v error".split(' ')).args(arguments.split(' '));
    command
}

/// Whether FFmpeg gets three pictures of it, and what it says.
fn plays(url: &str) -> (bool, String) {
    let transport = if url.starts_with("rtsp") {
        "-rtsp_transport tcp "
    } else {
        ""
    };
    let output = ffmpeg(&format!("{transport}-i {url} -map 0:v -frames:v 3 -f null -"))
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn publishes(url: &str) -> Process {
    let encoded = "-re -f lavfi -i testsrc=size=160x120:rate=15 -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 15";
    Process::start(&mut ffmpeg(&format!("{encoded} -f rtsp -rtsp_transport tcp {url}")))
}

/// Until curl is answered so.
fn until(status: u16, arguments: &[&str]) -> String {
    let begun = Instant::now();
    loop {
        let (said, text) = curl(arguments);
        if said == status {
            return text;
        }
        assert!(begun.elapsed() < PATIENCE, "{said} and not {status}: {text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_server_is_asked() {
    let is_away = Arc::new(Mutex::new(false));
    let away = Arc::clone(&is_away);
    let authority = Authority::new(move |asked| match (*away.lock().unwrap(), &asked["password"]) {
        (true, _) => (503, String::new()),
        (false, password) if password == "right" && asked["user"] == "anna" => (204, String::new()),
        (false, _) => (401, "canary".to_owned()),
    });
    let variables = [
        ("SIGHTLINE_AUTH_METHOD", "http"),
        ("SIGHTLINE_AUTH_HTTP_URL", &authority.url()),
    ];
    let server = Server::start_with(tempfile::tempdir().unwrap(), &[], &variables);
    let rtsp = |account: &str, name: &str| format!("rtsp://{account}127.0.0.1:{}/{name}", server.port("rtsp"));

    // By RTSP: publishing and playing, each asked about, on this machine too.
    let mut publisher = publishes(&rtsp("anna:right@", "yard/cam"));
    let admin = format!("Authorization: Bearer {}", server.token("admin"));
    until(200, &["--header", &admin, &server.url("/api/v1/streams/yard%2Fcam")]);
    assert!(publisher.is_running());
    let (played, said) = plays(&rtsp("anna:right@", "yard/cam?x=1"));
    assert!(played, "{said}");
    for (account, name) in [("anna:wrong@", "yard/cam"), ("", "zerolatency")] {
        let (played, said) = plays(&rtsp(account, name));
        assert!(!played && said.contains("401"), "{said}");
    }
    let published = &authority.about("publish", "yard/cam");
    let published = published.iter().find(|asked| asked["password"] == "right").unwrap();
    assert_eq!(
        (&published["user"], &published["protocol"], &published["ip"]),
        (&json!("anna"), &json!("rtsp"), &json!("127.0.0.1"))
    );
    assert!(published["userAgent"].as_str().unwrap().starts_with("Lavf"));
    let read = authority.about("read", "yard/cam");
    assert!(
        read.iter()
            .any(|asked| asked["query"] == "x=1" && asked["password"] == "right"),
        "{read:?}"
    );

    // A token of this server goes by its own.
    let viewer = format!("viewer:{}@", server.token("viewer"));
    let before = authority.asked.lock().unwrap().len();
    // FFmpeg asks without a credential first, which is a question.
    let (played, said) = plays(&rtsp(&viewer, "zerolatency"));
    assert!(played, "{said}");
    let new = authority.asked.lock().unwrap().split_off(before);
    assert!(new.iter().all(|asked| asked["password"] == ""), "{new:?}");

    // LL-HLS: once for all lists and parts.
    let list = format!(
        "http://anna:right@127.0.0.1:{}/zerolatency/index.m3u8",
        server.port("hls")
    );
    let (played, said) = plays(&list);
    assert!(played, "{said}");
    let asked = authority.about("read", "zerolatency");
    let of_hls = asked
        .iter()
        .filter(|asked| asked["protocol"] == "hls" && asked["password"] == "right");
    // It holds for ten seconds: as many as those that it took.
    assert!((1..=3).contains(&of_hls.count()), "{asked:?}");

    // WHEP: no offer, but whoever may is told so.
    let whep = format!("http://127.0.0.1:{}/zerolatency/whep", server.port("webrtc"));
    let offer = |credential: &str| {
        let sdp = ["--header", "Content-Type: application/sdp", "--data", "v=0", &whep];
        curl(&[&["--user", credential], &sdp[..]].concat())
    };
    assert_eq!((offer("anna:right").0, offer("anna:wrong").0), (400, 401));
    assert!(
        authority
            .about("read", "zerolatency")
            .iter()
            .any(|asked| asked["protocol"] == "webrtc")
    );

    // While it is away nobody is let in by it, and nobody is told that their password is wrong.
    *is_away.lock().unwrap() = true;
    let (status, text) = offer("anna:right");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, problem["code"].as_str()),
        (503, Some("authority-away")),
        "{text}"
    );
    let (played, said) = plays(&rtsp("anna:right@", "yard/cam"));
    assert!(!played && said.contains("503"), "{said}");
    assert!(publisher.is_running(), "what goes on goes on");
    assert_eq!(curl(&["--header", &admin, &server.url("/api/v1/streams")]).0, 200);
    let log = server.process.said().join("\n");
    for secret in ["right", "canary"] {
        assert!(!log.contains(secret), "{log}");
    }
}

struct Signer(EcdsaKeyPair);

impl Signer {
    fn set(&self) -> String {
        let key = self.0.public_key().as_ref();
        let [x, y] = [1..33, 33..65].map(|range| URL_SAFE_NO_PAD.encode(&key[range]));
        json!({ "keys": [{ "kty": "EC", "kid": "1", "crv": "P-256", "x": x, "y": y }] }).to_string()
    }

    fn token(&self, permissions: &Value, ends_in_s: i64) -> String {
        let now_s = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        let claims = json!({ "sub": "anna", "exp": now_s + ends_in_s, "mediamtx_permissions": permissions });
        let head = json!({ "alg": "ES256", "kid": "1" });
        let [head, claims] = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signature = self
            .0
            .sign(&SystemRandom::new(), format!("{head}.{claims}").as_bytes())
            .unwrap();
        format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

#[test]
fn tokens_of_others_are_believed() {
    let signer = Signer(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    let set = signer.set();
    let authority = Authority::new(move |_| (200, set.clone()));
    let variables = [
        ("SIGHTLINE_AUTH_METHOD", "jwt"),
        ("SIGHTLINE_AUTH_JWT_JWKS", &authority.url()),
    ];
    let server = Server::start_with(tempfile::tempdir().unwrap(), &[], &variables);
    let read = json!([{ "action": "read", "path": "zerolatency" }, { "action": "publish", "path": "~^yard/" }]);
    let token = signer.token(&read, 3_600);
    let ended = signer.token(&read, -3_600);
    let rtsp = |name: &str, query: &str| format!("rtsp://127.0.0.1:{}/{name}{query}", server.port("rtsp"));

    for query in [format!("?token={token}"), format!("?jwt={token}")] {
        let (played, said) = plays(&rtsp("zerolatency", &query));
        assert!(played, "{said}");
    }
    for (query, status) in [(String::new(), "401"), (format!("?token={ended}"), "401")] {
        let (played, said) = plays(&rtsp("zerolatency", &query));
        assert!(!played && said.contains(status), "{said}");
    }
    let publisher = publishes(&rtsp("yard/cam", &format!("?token={token}")));
    let admin = format!("Authorization: Bearer {}", server.token("admin"));
    until(200, &["--header", &admin, &server.url("/api/v1/streams/yard%2Fcam")]);
    let (played, said) = plays(&rtsp("yard/cam", &format!("?token={token}")));
    assert!(
        !played && said.contains("403"),
        "it may publish that, not watch it: {said}"
    );

    let list = format!(
        "http://127.0.0.1:{}/zerolatency/index.m3u8?jwt={token}",
        server.port("hls")
    );
    let (played, said) = plays(&list);
    assert!(played, "its lists and parts carry the token: {said}");
    let bearer = format!("Authorization: Bearer {token}");
    let whep = format!("http://127.0.0.1:{}/zerolatency/whep", server.port("webrtc"));
    let sdp = ["--header", "Content-Type: application/sdp", "--data", "v=0"];
    let as_password = format!("x:{token}");
    for shown in [["--header", &bearer], ["--user", &as_password]] {
        assert_eq!(curl(&[&shown[..], &sdp, &[&whep]].concat()).0, 400);
    }
    assert_eq!(curl(&[&sdp[..], &[&whep]].concat()).0, 401);
    // It sees what it may, and nothing else.
    let (status, text) = curl(&["--header", &bearer, &server.url("/api/v1/streams")]);
    assert!(
        status == 200 && text.contains("\"zerolatency\"") && !text.contains("yard/cam"),
        "{status} {text}"
    );
    assert_eq!(curl(&["--header", &bearer, &server.url("/api/v1/config")]).0, 403);
    let api = signer.token(&json!([{ "action": "api" }]), 3_600);
    assert_eq!(
        curl(&[
            "--header",
            &format!("Authorization: Bearer {api}"),
            &server.url("/api/v1/config")
        ])
        .0,
        200
    );
    assert_eq!(authority.asked.lock().unwrap().len(), 1, "the keys are fetched once");
    drop(publisher);
    let log = server.process.said().join("\n");
    for secret in [&token, &ended, &api] {
        assert!(!log.contains(secret.as_str()), "{log}");
    }
}
