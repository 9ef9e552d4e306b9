//! Behind nginx and Caddy, with the very files of the guide: everything that a browser needs goes through one port of theirs, at the root and below a path, and
//! the client is who it is.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{PATIENCE, Process, free_port, test_tool};
use crate::{Server, curl, jar};

/// Where the client is: the proxy sees it so, and is itself at 127.0.0.1.
const CLIENT: &str = "127.0.0.7";
/// The name of the guide.
const NAME: &str = "cams.example.org";

/// Of somebody who wants a picture.
const OFFER: &str = "v=0\r\no=- 4 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:Yq7T\r\na=ice-pwd:8kZPcMVNBJLRNWKFRT0cFLtz\r\na=fingerprint:sha-256 \
    7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\na=setup:actpass\r\na=rtcp-mux\r\na=mid:0\r\n\
    a=recvonly\r\na=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack\r\n\
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";

/// A proxy that runs, and what it writes.
struct Proxy {
    port: u16,
    process: Process,
    _folder: tempfile::TempDir,
}

impl Proxy {
    fn nginx(server: &Server) -> Self {
        Self::start(server, |folder, port, origin| {
            let guide = filled(
                "proxy-nginx.conf",
                &[
                    ("127.0.0.1:8000", &format!("127.0.0.1:{origin}")),
                    ("listen 80;", &format!("listen 127.0.0.1:{port};")),
                    (
                        "listen 80 default_server;",
                        &format!("listen 127.0.0.1:{port} default_server;"),
                    ),
                ],
            );
            // Started by root, nginx would give its workers to somebody who cannot write here.
            let user = if rustix::process::geteuid().is_root() {
                "user root;"
            } else {
                ""
            };
            let folder_name = folder.display();
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .iter()
                .map(|kind| format!("{kind}_temp_path {folder_name}/{kind};\n"))
                .collect();
            let configuration = format!(
                "{user}\nworker_processes 1;\npid {folder_name}/pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\n{temporary}access_log off;\n{guide}}}\n"
            );
            let file = folder.join("nginx.conf");
            std::fs::write(&file, configuration).unwrap();
            let mut command = std::process::Command::new(test_tool("nginx"));
            command.arg("-c").arg(file).args(["-g", "daemon off;"]);
            command
        })
    }

    fn caddy(server: &Server) -> Self {
        Self::start(server, |folder, port, origin| {
            let guide = filled(
                "Caddyfile",
                &[
                    ("127.0.0.1:8000", &format!("127.0.0.1:{origin}")),
                    // By HTTP, since no authority gives a certificate for this machine.
                    (
                        "\ncams.example.org {\n",
                        &format!("\nhttp://:{port} {{\n\tbind 127.0.0.1\n"),
                    ),
                ],
            );
            let file = folder.join("Caddyfile");
            std::fs::write(&file, format!("{{\n\tadmin off\n\tauto_https off\n}}\n{guide}")).unwrap();
            let mut command = std::process::Command::new(test_tool("caddy"));
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
            command.env("HOME", folder);
            command
        })
    }

    fn start(server: &Server, command: impl FnOnce(&Path, u16, u64) -> std::process::Command) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let process = Process::start(&mut command(folder.path(), port, server.port("http")));
        let mut proxy = Self {
            port,
            process,
            _folder: folder,
        };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(
                proxy.process.is_running() && begun.elapsed() < PATIENCE,
                "it does not listen: {:?}",
                proxy.process.said()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        proxy
    }
}

impl Drop for Proxy {
    /// So that its workers end with it.
    fn drop(&mut self) {
        if self.process.is_running() {
            self.process.signal(Signal::TERM);
        }
        let begun = Instant::now();
        while self.process.is_running() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A file of the guide with other addresses in it.
fn filled(name: &str, replaced: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/guide")
        .join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (theirs, ours) in replaced {
        assert!(text.contains(theirs), "the guide's {name} has no {theirs}");
        text = text.replace(theirs, ours);
    }
    text
}

/// A server that believes the proxy, and lets in its users who show the secret.
fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    let settings = format!(
        "[proxy]\ntrusted = [\"127.0.0.1\"]\nroles = [\"staff = admin\"]\nsecret_file = \"{}\"\n",
        secret.display()
    );
    std::fs::write(folder.path().join("sightline.toml"), settings).unwrap();
    Server::start_in(folder, &[])
}

/// A browser behind the proxy that lies about itself as well as it can.
struct Client<'a> {
    base: String,
    port: u16,
    prefix: &'a str,
    jar: String,
}

impl Client<'_> {
    /// Where curl finds the name.
    fn at(&self) -> String {
        format!("{NAME}:{}:127.0.0.1", self.port)
    }

    fn ask(&self, path: &str, more: &[&str]) -> (u16, String) {
        let url = format!("{}{path}", self.base);
        let at = self.at();
        let lies = [
            "--resolve",
            &at,
            "--interface",
            CLIENT,
            "--header",
            "X-Forwarded-For: 10.1.2.3",
            "--header",
            "X-Forwarded-User: root",
            "--header",
            "X-Forwarded-Groups: staff",
            "--header",
            "X-Forwarded-Prefix: /evil",
        ];
        curl(
            &[
                &lies[..],
                &["--cookie", &self.jar, "--cookie-jar", &self.jar],
                more,
                &[&url],
            ]
            .concat(),
        )
    }

    fn json(&self, path: &str) -> Value {
        let (status, text) = self.ask(path, &[]);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The value of the session's cookie.
    fn cookie(&self) -> String {
        let jar = std::fs::read_to_string(&self.jar).unwrap();
        let line = jar.lines().find(|line| line.contains("\tsightline\t"));
        let line = line.unwrap_or_else(|| panic!("{jar}"));
        let path = if self.prefix.is_empty() {
            "/".to_owned()
        } else {
            format!("{}/", self.prefix)
        };
        assert!(line.contains(&format!("\t{path}\t")), "{line}");
        line.rsplit('\t').next().unwrap().to_owned()
    }
}

fn everything_goes_through(proxy: &Proxy, server: &Server, prefix: &str) {
    let folder = tempfile::tempdir().unwrap();
    let client = Client {
        base: format!("http://{NAME}:{}{prefix}", proxy.port),
        port: proxy.port,
        prefix,
        jar: jar(folder.path()),
    };
    // Nobody, whatever it says of itself.
    assert_eq!(client.ask("/api/v1/me", &[]).0, 401);
    let (status, page) = client.ask("/wall", &[]);
    assert!(status == 200 && page.contains("action=\"./sign-in\""), "{page}");
    let (status, style) = client.ask("/assets/pages.css", &[]);
    assert!(status == 200 && style.contains("body"), "{style}");
    let token = format!("token={}", server.token("admin"));
    let origin = format!("Origin: http://{NAME}:{}", proxy.port);
    let (status, page) = client.ask(
        "/sign-in",
        &["--location", "--header", &origin, "--data-urlencode", &token],
    );
    assert!(status == 200 && page.contains("\"signed_in\":true"), "{status} {page}");
    let script = page
        .split("src=\"./")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(client.ask(&format!("/{script}"), &["--output", "/dev/null"]).0, 200);
    // Who it is, and from where.
    assert_eq!(client.json("/api/v1/me")["name"], "admin");
    let sessions = client.json("/api/v1/sessions");
    let newest = sessions
        .as_array()
        .unwrap()
        .iter()
        .filter(|session| session["current"] == true);
    let remotes: Vec<&Value> = newest.map(|session| &session["remote"]).collect();
    assert_eq!(remotes, [CLIENT], "{sessions}");
    let urls = client.json("/api/v1/streams/zerolatency")["urls"].clone();
    assert_eq!(urls["hls"], format!("{}/live/zerolatency/index.m3u8", client.base));
    socket(&client);
    webrtc(&client);
    hls(&client);
    long_and_large(&client, folder.path());
}

/// An answer that goes on, and a body that does.
fn long_and_large(client: &Client<'_>, folder: &Path) {
    // What goes on for long comes as it happens.
    let path = folder.join("events").display().to_string();
    let mut events = crate::support::tool("curl");
    events.args([
        "--silent",
        "--no-buffer",
        "--resolve",
        &client.at(),
        "--max-time",
        "2",
        "--cookie",
        &client.jar,
        "--header",
        "Last-Event-ID: 0",
        "--output",
        &path,
    ]);
    events.arg(format!("{}/api/v1/events", client.base));
    let ended = events.status().unwrap();
    let heard = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(ended.code() == Some(28) && !heard.is_empty(), "{ended}: {heard}");
    // A body as large as any that is taken is answered by us, and with our words.
    let large = folder.join("large");
    std::fs::write(&large, "x".repeat(1_500_000)).unwrap();
    let large = format!("@{}", large.display());
    let (status, problem) = client.ask(
        "/api/v1/qr",
        &[
            "--header",
            "Content-Type: application/json",
            "--header",
            "Expect:",
            "--data-binary",
            &large,
        ],
    );
    assert!(status == 413 && problem.contains("\"code\""), "{status} {problem}");
}

/// The feed, as a browser opens it.
fn socket(client: &Client<'_>) {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, client.port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        socket,
        "GET {}/api/v1/live HTTP/1.1\r\nHost: {NAME}:{port}\r\nOrigin: http://{NAME}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: sightline={}\r\n\r\n",
        client.prefix,
        client.cookie(),
        port = client.port,
    )
    .unwrap();
    let (mut said, mut buffer) = (Vec::new(), [0; 4_096]);
    let text = |said: &[u8]| String::from_utf8_lossy(said).into_owned();
    while !text(&said).contains("\"stream/zerolatency\"") {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "{}", text(&said));
        said.extend_from_slice(&buffer[..count]);
    }
    let said = text(&said);
    assert!(said.starts_with("HTTP/1.1 101 "), "{said}");
    assert!(
        said.contains(&format!("{}/live/zerolatency/whep", client.base)),
        "{said}"
    );
}

/// A session of WHEP is asked for and ended; its media goes its own way.
fn webrtc(client: &Client<'_>) {
    let (status, answer) = client.ask(
        "/live/zerolatency/whep",
        &[
            "--include",
            "--header",
            "Content-Type: application/sdp",
            "--data-binary",
            OFFER,
        ],
    );
    assert!(status == 201 && answer.contains("a=candidate:"), "{status} {answer}");
    let location = answer.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .starts_with("location:")
            .then(|| line[9..].trim())
    });
    let location = location.unwrap();
    let session = location
        .strip_prefix(client.prefix)
        .unwrap_or_else(|| panic!("{location}"));
    assert!(session.starts_with("/live/zerolatency/whep/"), "{location}");
    assert_eq!(client.ask(session, &["--request", "DELETE"]).0, 200);
    assert_eq!(client.ask(session, &["--request", "DELETE"]).0, 404);
}

/// A list that is held back until it has the part that is asked for, and that part.
fn hls(client: &Client<'_>) {
    let list = |query: &str| client.ask(&format!("/live/zerolatency/stream.m3u8{query}"), &[]);
    let (status, text) = client.ask("/live/zerolatency/index.m3u8", &[]);
    assert!(status == 200 && text.contains("stream.m3u8"), "{status} {text}");
    let (status, text) = list("");
    assert_eq!(status, 200, "{text}");
    let first: u64 = text
        .split("#EXT-X-MEDIA-SEQUENCE:")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let next = first + text.matches("#EXTINF:").count() as u64 + 1;
    let begun = Instant::now();
    let (status, held) = list(&format!("?_HLS_msn={next}&_HLS_part=0"));
    assert!(status == 200 && begun.elapsed() < PATIENCE, "{status} {held}");
    let part = held.lines().rfind(|line| line.starts_with("#EXT-X-PART:"));
    let part = part.unwrap_or_else(|| panic!("{held}")).split("URI=\"").nth(1).unwrap();
    let part = part.split('"').next().unwrap();
    let (status, _) = client.ask(&format!("/live/zerolatency/{part}"), &["--output", "/dev/null"]);
    assert_eq!(status, 200, "{part}");
}

#[test]
fn all_of_the_page_goes_through_nginx() {
    let server = server();
    let proxy = Proxy::nginx(&server);
    everything_goes_through(&proxy, &server, "");
    everything_goes_through(&proxy, &server, "/cams");
    // By another name nobody is answered.
    let mut curl = crate::support::tool("curl");
    curl.args(["--silent", "--max-time", "20"]);
    let ended = curl.arg(format!("http://127.0.0.1:{}/healthz", proxy.port)).status();
    assert_eq!(ended.unwrap().code(), Some(52), "an empty reply");
}

#[test]
fn all_of_the_page_goes_through_caddy() {
    let server = server();
    let proxy = Proxy::caddy(&server);
    everything_goes_through(&proxy, &server, "");
    everything_goes_through(&proxy, &server, "/cams");
}
