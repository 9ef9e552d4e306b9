//! Webhooks as a server sees them that knows nothing of us, while viewers come and go and settings change.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::support::tool;
use crate::{Server, curl};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "whsec_YSBzZWNyZXQgb2YgMjQgYnl0ZXMhIG9r";

/// A request: its headers in small letters, and its body.
struct Seen {
    head: Vec<String>,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        let line = self
            .head
            .iter()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {:?}", self.head))
    }

    /// By Python's library, which signs nothing here.
    fn assert_signed(&self) {
        const SCRIPT: &str = "import base64,hashlib,hmac,sys; key=base64.b64decode(sys.argv[1][6:]); \
            print('v1,'+base64.b64encode(hmac.new(key, sys.argv[2].encode(), hashlib.sha256).digest()).decode())";
        let signed = format!(
            "{}.{}.{}",
            self.header("webhook-id"),
            self.header("webhook-timestamp"),
            self.body
        );
        let output = tool("python3").args(["-c", SCRIPT, SECRET, &signed]).output().unwrap();
        assert_eq!(
            self.header("webhook-signature"),
            String::from_utf8(output.stdout).unwrap().trim()
        );
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Answers the first request with a refusal, and hears all others. One thread, one request a connection.
fn receiver() -> (u16, mpsc::Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, seen) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, socket) in listener.incoming().enumerate() {
            let answer = if number == 0 { "500 Not yet" } else { "204 No Content" };
            let Ok(request) = hear(&socket.unwrap(), answer) else {
                continue;
            };
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    (port, seen)
}

fn hear(socket: &TcpStream, answer: &str) -> std::io::Result<Seen> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        head.push(format!("{}: {value}", name.to_ascii_lowercase()));
    }
    let mut seen = Seen {
        head,
        body: String::new(),
    };
    let length: u64 = seen.header("content-length").parse().unwrap();
    reader.take(length).read_to_string(&mut seen.body)?;
    write!(&*socket, "HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n")?;
    Ok(seen)
}

#[test]
fn who_comes_and_goes_is_told_signed_and_again_when_it_was_not_heard() {
    let (port, seen) = receiver();
    let next = || seen.recv_timeout(PATIENCE).expect("nobody was told anything");
    let folder = tempfile::tempdir().unwrap();
    let settings = format!(
        "[webhook.door]\nurl = \"http://127.0.0.1:{port}/canary\"\nsecret = \"{SECRET}\"\nallow_private = true\n\
         events = [\"viewer.*\"]\n"
    );
    std::fs::write(folder.path().join("sightline.toml"), settings).unwrap();
    let server = Server::start_in(folder, &[]);
    let mut ffmpeg = tool("ffmpeg");
    ffmpeg.args(["-v", "error", "-rtsp_transport", "tcp", "-i"]);
    ffmpeg.arg(format!("rtsp://127.0.0.1:{}/zerolatency", server.port("rtsp")));
    assert!(
        ffmpeg
            .args(["-frames:v", "3", "-f", "null", "-"])
            .status()
            .unwrap()
            .success()
    );

    let (refused, joined, left) = (next(), next(), next());
    for request in [&refused, &joined, &left] {
        request.assert_signed();
    }
    assert_eq!(refused.header("webhook-id"), joined.header("webhook-id"));
    assert_eq!(refused.body, joined.body);
    let (joined, left) = (joined.json(), left.json());
    assert_eq!(
        (&joined["kind"], &left["kind"]),
        (&"viewer.joined".into(), &"viewer.left".into())
    );
    assert_eq!(joined["session"], left["session"]);

    let state = |count| {
        for _ in 0..600 {
            let state = admin(&server, "GET", "/api/v1/webhooks", "");
            if state["webhooks"][0]["delivered"] == count {
                return state["webhooks"][0].clone();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it was not told {count}");
    };
    let told = state(2);
    assert_eq!(told["url"], format!("http://127.0.0.1:{port}/***"));
    assert_eq!(
        (&told["failures"], &told["lost"], &told["signed"]),
        (&1.into(), &0.into(), &true.into())
    );
    assert_eq!(told["why"], "it answers 500 Internal Server Error");

    // Other events from now on, by HTTP; what only the file may say is refused.
    admin(
        &server,
        "PATCH",
        "/api/v1/config",
        r#"{"webhook":{"door":{"events":["settings"]}}}"#,
    );
    let refused = admin(
        &server,
        "PATCH",
        "/api/v1/config",
        r#"{"webhook":{"door":{"url":"http://10.0.0.1/"}}}"#,
    );
    assert_eq!(refused["code"], "reach-refused", "{refused}");
    let refused = loop {
        let request = next();
        request.assert_signed();
        if request.json()["kind"] == "settings.refused" {
            break request;
        }
    };
    assert!(refused.body.contains("webhook.door.url"), "{}", refused.body);
    let log = server.process.said().join("\n");
    assert!(
        log.contains("a webhook is not heard") && !log.contains("canary") && !log.contains(SECRET),
        "{log}"
    );
}

fn admin(server: &Server, method: &str, path: &str, body: &str) -> Value {
    let bearer = format!("Authorization: Bearer {}", server.token("admin"));
    let url = server.url(path);
    let mut arguments = vec!["--request", method, "--header", &bearer];
    if !body.is_empty() {
        arguments.extend(["--header", "Content-Type: application/json", "--data", body]);
    }
    arguments.push(&url);
    serde_json::from_str(&curl(&arguments).1).unwrap()
}
