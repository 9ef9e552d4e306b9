//! Cameras are asked: stand-ins that answer as real ones do, with what is odd about each.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::onvif::discovery::{Answer, Found};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::discover::{Asking, MAX_CAMERAS, Search, ask_all, search};
use super::*;
use crate::clock::SystemClock;
use crate::random;

/// What is odd about a stand-in.
#[derive(Clone, Copy, Default)]
pub(crate) struct Odd {
    /// Its clock is so many seconds ahead, and it holds logins against that.
    ahead_s: i64,
    /// It knows `GetCapabilities` alone.
    old: bool,
    /// It has the second media service too.
    second: bool,
    /// It wants Digest by HTTP, and takes no login in the message.
    by_http: bool,
    /// It wants to be shown the password.
    basic: bool,
    /// All its streams are JPEG.
    jpeg: bool,
    /// Its answers are larger than anybody reads.
    huge: bool,
    /// It answers byte by byte and never to the end.
    slow: bool,
    /// It sends whoever asks to another host.
    redirects: bool,
    /// It wants a login for its clock, too.
    strict: bool,
    /// It says of its streams an address that is none of RTSP.
    no_rtsp: bool,
}

/// A camera at a free port of this machine, with the account `admin` and `pass&word`. It names another host than its own in all that it says.
#[derive(Clone)]
pub(crate) struct StandIn {
    port: u16,
    rtsp_port: Arc<Mutex<u16>>,
    odd: Odd,
    /// All that it was asked, heads and bodies.
    asked: Arc<Mutex<Vec<String>>>,
}

pub(crate) const USER: &str = "admin";
pub(crate) const PASSWORD: &str = "pass&word";

impl StandIn {
    pub(crate) async fn start(odd: Odd, rtsp_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stand_in = Self {
            port: listener.local_addr().unwrap().port(),
            rtsp_port: Arc::new(Mutex::new(rtsp_port)),
            odd,
            asked: Arc::default(),
        };
        let camera = stand_in.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(camera.clone().serve(socket));
            }
        });
        stand_in
    }

    async fn serve(self, mut socket: tokio::net::TcpStream) {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    self.asked.lock().unwrap().push(text.clone());
                    let answer = self.answer(head, body);
                    if !self.odd.slow {
                        let _ = socket.write_all(answer.as_bytes()).await;
                        return;
                    }
                    for byte in answer.bytes() {
                        if socket.write_all(&[byte]).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(300)).await;
                    }
                }
            }
            match socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(size) => bytes.extend_from_slice(&buffer[..size]),
            }
        }
    }

    pub(crate) fn device(&self) -> Url {
        format!("http://127.0.0.1:{}/", self.port).parse().unwrap()
    }

    /// Its streams are at another port from now on.
    pub(crate) fn moves(&self, rtsp_port: u16) {
        *self.rtsp_port.lock().unwrap() = rtsp_port;
    }

    pub(crate) fn questions(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn answer(&self, head: &str, body: &str) -> String {
        let envelope = |body: &str| {
            format!(
                "<?xml version=\"1.0\"?><env:Envelope xmlns:env=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:d=\"http://www.onvif.org/ver10/device/wsdl\" \
                 xmlns:m=\"http://www.onvif.org/ver10/media/wsdl\" xmlns:n=\"http://www.onvif.org/ver20/media/wsdl\" xmlns:s=\"http://www.onvif.org/ver10/schema\">\
                 <env:Body>{body}</env:Body></env:Envelope>"
            )
        };
        let written = |status: &str, more: &str, body: &str| {
            let length = body.len();
            format!(
                "HTTP/1.1 {status}\r\n{more}Content-Type: application/soap+xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        };
        let fault = |status: &str, code: &str| {
            let body = format!(
                "<env:Fault><env:Code><env:Value>env:Sender</env:Value><env:Subcode><env:Value>ter:{code}</env:Value></env:Subcode></env:Code>\
                 <env:Reason><env:Text>no</env:Text></env:Reason></env:Fault>"
            );
            written(status, "", &envelope(&body))
        };
        if self.odd.huge {
            return written("200 OK", "", &envelope(&"<x/>".repeat(400_000)));
        }
        if self.odd.redirects {
            return written("302 Found", "Location: http://127.0.0.2:9/evil\r\n", "");
        }
        if body.contains("GetSystemDateAndTime") && !self.odd.strict {
            return written("200 OK", "", &envelope(&self.time()));
        }
        if self.odd.basic {
            return written("401 Unauthorized", "WWW-Authenticate: Basic realm=\"cam\"\r\n", "");
        }
        if self.odd.by_http {
            if !digest_fits(head) {
                let challenge = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\", qop=\"auth\"\r\n";
                return written("401 Unauthorized", challenge, "<html>no</html>");
            }
        } else if !self.token_fits(body) {
            return fault("400 Bad Request", "NotAuthorized");
        }
        match self.says(body) {
            Some(body) => written("200 OK", "", &envelope(&body)),
            None => fault("500 Internal Server Error", "ActionNotSupported"),
        }
    }

    fn now(&self) -> media::WallTime {
        SystemClock.wall().offset_micros(self.odd.ahead_s * 1_000_000)
    }

    fn time(&self) -> String {
        let text = self.now().to_rfc3339();
        let number = |range: std::ops::Range<usize>| text[range].to_owned();
        format!(
            "<d:GetSystemDateAndTimeResponse><d:SystemDateAndTime><s:UTCDateTime><s:Time><s:Hour>{}</s:Hour><s:Minute>{}</s:Minute><s:Second>{}</s:Second>\
             </s:Time><s:Date><s:Year>{}</s:Year><s:Month>{}</s:Month><s:Day>{}</s:Day></s:Date></s:UTCDateTime></d:SystemDateAndTime>\
             </d:GetSystemDateAndTimeResponse>",
            number(11..13),
            number(14..16),
            number(17..19),
            number(0..4),
            number(5..7),
            number(8..10)
        )
    }

    /// A login in the message: right, and within ten seconds of the clock of the camera.
    fn token_fits(&self, body: &str) -> bool {
        if !body.contains("Username>admin<") {
            return false;
        }
        let nonce = STANDARD.decode(between(body, "#Base64Binary\">", "<")).unwrap();
        let created = between(body, "<u:Created>", "<");
        let near = |seconds: i64| self.now().offset_micros(seconds * 1_000_000).to_rfc3339()[..19] == created[..19];
        let mut sum = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        for part in [nonce.as_slice(), created.as_bytes(), PASSWORD.as_bytes()] {
            sum.update(part);
        }
        let is_right = STANDARD.encode(sum.finish()) == between(body, "#PasswordDigest\">", "<");
        (-10..=10).any(near) && is_right
    }

    fn says(&self, body: &str) -> Option<String> {
        // Behind a router: neither host nor port are its own.
        let service = |namespace: &str, path: &str| {
            format!(
                "<d:Service><d:Namespace>http://www.onvif.org/{namespace}/media/wsdl</d:Namespace><d:XAddr>http://192.168.1.108{path}</d:XAddr></d:Service>"
            )
        };
        let size =
            |width: u32| format!("<s:Resolution><s:Width>{width}</s:Width><s:Height>480</s:Height></s:Resolution>");
        let scheme = if self.odd.no_rtsp { "http" } else { "rtsp" };
        let port = *self.rtsp_port.lock().unwrap();
        let uri = |name: &str| format!("{scheme}://u:p@192.168.1.108:{port}/{name}");
        let second = body.contains("ver20/media");
        Some(if body.contains("GetServices") && !self.odd.old {
            let second = if self.odd.second {
                service("ver20", "/media2?a=b")
            } else {
                String::new()
            };
            format!(
                "<d:GetServicesResponse>{}{second}</d:GetServicesResponse>",
                service("ver10", "/media")
            )
        } else if body.contains("GetCapabilities") {
            "<d:GetCapabilitiesResponse><d:Capabilities><s:Media><s:XAddr>http://192.168.1.108/media</s:XAddr></s:Media></d:Capabilities></d:GetCapabilitiesResponse>".to_owned()
        } else if body.contains("GetDeviceInformation") {
            "<d:GetDeviceInformationResponse><d:Manufacturer>Acme</d:Manufacturer><d:Model>X1</d:Model></d:GetDeviceInformationResponse>".to_owned()
        } else if body.contains("GetProfiles") && second {
            format!(
                "<n:GetProfilesResponse><n:Profiles token=\"t2\"><n:Name>main</n:Name><n:Configurations><n:VideoEncoder><s:Encoding>H265</s:Encoding>{}</n:VideoEncoder></n:Configurations></n:Profiles></n:GetProfilesResponse>",
                size(640)
            )
        } else if body.contains("GetProfiles") {
            let profile = |token: &str, encoding: &str, width| {
                let encoding = if self.odd.jpeg { "JPEG" } else { encoding };
                format!(
                    "<m:Profiles token=\"{token}\"><s:Name>{token} name</s:Name><s:VideoEncoderConfiguration><s:Encoding>{encoding}</s:Encoding>{}</s:VideoEncoderConfiguration></m:Profiles>",
                    size(width)
                )
            };
            let all = [
                profile("still", "JPEG", 1_920),
                profile("sub", "H264", 320),
                profile("cam", "H264", 640),
            ];
            format!("<m:GetProfilesResponse>{}</m:GetProfilesResponse>", all.concat())
        } else if body.contains("GetStreamUri") && second {
            format!(
                "<n:GetStreamUriResponse><n:Uri>{}</n:Uri></n:GetStreamUriResponse>",
                uri("second")
            )
        } else if body.contains("GetStreamUri") {
            let token = between(body, "<ProfileToken>", "<");
            format!(
                "<m:GetStreamUriResponse><m:MediaUri><s:Uri>{}</s:Uri></m:MediaUri></m:GetStreamUriResponse>",
                uri(token)
            )
        } else {
            return None;
        })
    }
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).unwrap_or_default().1;
    rest.split_once(to).unwrap_or_default().0
}

/// The answer to its challenge with the right password.
fn digest_fits(head: &str) -> bool {
    let line = head.lines().find_map(|line| line.strip_prefix("authorization: "));
    let uri = between(head, "POST ", " HTTP");
    let challenge = ["Digest realm=\"cam\", nonce=\"n1\", qop=\"auth\""].into_iter();
    let cnonce = between(line.unwrap_or_default(), "cnonce=\"", "\"");
    let right = rtsp::auth::digest(challenge, (USER, PASSWORD), ("POST", uri), cnonce);
    line == right.as_deref() && line.is_some()
}

fn account(password: &str) -> Option<Account> {
    Some(Account {
        user: USER.to_owned(),
        password: Secret::new(password),
    })
}

fn camera(stand_in: &StandIn, account: Option<Account>) -> Camera {
    Camera::new(
        stand_in.device(),
        account,
        Trust::System,
        Arc::new(SystemClock),
        random::bits,
    )
}

fn profile(name: &str) -> Wanted {
    Wanted {
        profile: Some(name.to_owned()),
        lower: false,
    }
}

const MAIN: Wanted = Wanted {
    profile: None,
    lower: false,
};

#[tokio::test]
async fn the_stream_is_found_whatever_is_odd_about_the_camera() {
    let plain = Odd::default();
    for (odd, path) in [
        (plain, "/cam"),
        (
            Odd {
                ahead_s: 86_400 * 400,
                ..plain
            },
            "/cam",
        ),
        (
            Odd {
                ahead_s: -3_600,
                ..plain
            },
            "/cam",
        ),
        (Odd { old: true, ..plain }, "/cam"),
        (Odd { second: true, ..plain }, "/second"),
        (Odd { by_http: true, ..plain }, "/cam"),
        (
            Odd {
                by_http: true,
                second: true,
                ..plain
            },
            "/second",
        ),
        (Odd { strict: true, ..plain }, "/cam"),
    ] {
        let stand_in = StandIn::start(odd, 5_540).await;
        let place = camera(&stand_in, account(PASSWORD)).resolve(&MAIN).await.unwrap();
        let url = place.url;
        assert_eq!(
            (url.host.as_str(), url.port, url.path.as_str()),
            ("127.0.0.1", 5_540, path)
        );
        let login = (url.user.as_deref(), url.password.as_deref());
        assert_eq!(login, (Some(USER), Some(PASSWORD)), "ours, not that in its URL");
        assert_eq!(place.has_lower, !odd.second);
        for asked in stand_in.asked.lock().unwrap().iter() {
            assert!(!asked.contains(PASSWORD) && !asked.contains("pass&amp;word"), "{asked}");
        }
    }
}

#[tokio::test]
async fn profiles_are_chosen_by_token_name_and_size() {
    let stand_in = StandIn::start(Odd::default(), 5_540).await;
    for (wanted, path) in [
        (profile("still"), "/still"),
        (profile("sub name"), "/sub"),
        (Wanted { lower: true, ..MAIN }, "/sub"),
    ] {
        let place = camera(&stand_in, account(PASSWORD)).resolve(&wanted).await.unwrap();
        assert_eq!(place.url.path, path);
        assert!(!place.has_lower, "{path}");
    }
    let refused = |wanted| {
        let mut camera = camera(&stand_in, account(PASSWORD));
        async move { camera.resolve(&wanted).await.unwrap_err().to_string() }
    };
    let error = refused(profile("other")).await;
    assert!(
        error.contains("127.0.0.1 has no profile \"other\"; it has still (JPEG), sub (H264), cam (H264)"),
        "{error}"
    );
    let lowest = Wanted {
        lower: true,
        ..profile("sub")
    };
    let error = refused(lowest).await;
    assert!(error.contains("with smaller pictures than that"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let plain = Odd::default();
    let stand_in = StandIn::start(plain, 5_540).await;
    let refused = async |odd: Odd, account: Option<Account>| {
        let stand_in = StandIn::start(odd, 5_540).await;
        camera(&stand_in, account).resolve(&MAIN).await.unwrap_err()
    };
    let error = camera(&stand_in, account("canary")).resolve(&MAIN).await.unwrap_err();
    assert!(matches!(error, Failed::Login(LoginRefused::Wrong(_))), "{error}");
    assert!(!error.to_string().contains("canary") && !format!("{error:?}").contains("canary"));
    assert_eq!(
        stand_in.questions(),
        2,
        "clock and one guess: cameras lock accounts that guess"
    );
    let error = refused(plain, None).await;
    assert!(matches!(error, Failed::Login(LoginRefused::Needed(_))), "{error}");
    let by_http = Odd { by_http: true, ..plain };
    assert!(matches!(
        refused(by_http, account("canary")).await,
        Failed::Login(LoginRefused::Wrong(_))
    ));
    assert!(matches!(
        refused(by_http, None).await,
        Failed::Login(LoginRefused::Needed(_))
    ));
    let error = refused(Odd { basic: true, ..plain }, account(PASSWORD)).await;
    assert!(matches!(error, Failed::Login(LoginRefused::InTheClear(_))), "{error}");
    let error = refused(Odd { jpeg: true, ..plain }, account(PASSWORD))
        .await
        .to_string();
    assert!(
        error.contains("no profile in H.264 or H.265; it has still (JPEG), sub (JPEG)"),
        "{error}"
    );
    let error = refused(Odd { huge: true, ..plain }, None).await;
    assert!(matches!(error, Failed::Fetch(FetchError::TooLarge { .. })), "{error}");
    let error = refused(
        Odd {
            redirects: true,
            ..plain
        },
        account(PASSWORD),
    )
    .await;
    assert!(
        matches!(error, Failed::Status { .. }),
        "nobody is sent elsewhere: {error}"
    );
    let error = refused(Odd { no_rtsp: true, ..plain }, account(PASSWORD)).await;
    assert!(matches!(error, Failed::NoUrl(_)), "{error}");
}

#[tokio::test]
async fn one_that_never_ends_is_given_up() {
    let begun = std::time::Instant::now();
    let stand_in = StandIn::start(
        Odd {
            slow: true,
            ..Odd::default()
        },
        5_540,
    )
    .await;
    let error = camera(&stand_in, None).resolve(&MAIN).await.unwrap_err();
    assert!(matches!(error, Failed::Fetch(FetchError::Slow { .. })), "{error}");
    assert!(begun.elapsed() < 3 * ANSWER_WITHIN);
}

/// A camera of a maker, of whom all cameras are called the same.
fn found(endpoint: &str, address: &str) -> Answer {
    Answer {
        relates_to: None,
        found: vec![Found {
            endpoint: endpoint.to_owned(),
            addresses: vec![address.to_owned()],
            name: None,
            hardware: None,
        }],
    }
}

#[test]
fn a_thousand_answers_are_some_cameras() {
    let mut heard = discover::Heard::default();
    let from = |n: u32| std::net::IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
    // One that floods, each time as another.
    for n in 0..1_000 {
        heard.note(
            from(1),
            found(&format!("urn:uuid:{n}"), &format!("http://10.0.0.1/{n}")),
        );
    }
    let flood = heard.seen().len();
    assert_eq!(flood, 64);
    // A house full of cameras, and then many more.
    for n in 2..2_000 {
        heard.note(from(n), found("urn:uuid:same", &format!("http://{}/x", from(n))));
    }
    assert_eq!(heard.seen().len(), MAX_CAMERAS);
    assert!(
        heard.seen()[flood..].iter().all(|seen| seen.address != Some(from(1))),
        "the others are there"
    );
}

#[test]
fn one_camera_by_two_ways_is_told_once_and_strangers_not_at_all() {
    let mut heard = discover::Heard::default();
    let from = |text: &str| text.parse().unwrap();
    let both = Answer {
        found: vec![Found {
            addresses: vec!["http://10.0.0.4/x".into(), "http://10.1.0.4/x".into()],
            ..found("urn:uuid:1", "").found.remove(0)
        }],
        ..Answer::default()
    };
    heard.note(from("10.0.0.4"), both.clone());
    heard.note(from("10.1.0.4"), both);
    heard.note(from("10.0.0.4"), found("urn:uuid:other", "http://10.0.0.4/x"));
    let seen: Vec<String> = heard.seen().iter().map(|seen| seen.device.to_string()).collect();
    assert_eq!(seen, ["http://10.0.0.4/x"]);
    let stray = Answer {
        relates_to: Some("urn:uuid:another-question".into()),
        ..found("urn:uuid:2", "http://10.0.0.5/x")
    };
    heard.note(from("10.0.0.5"), stray);
    heard.note(from("10.0.0.6"), found("urn:uuid:3", "file:///etc/passwd"));
    assert_eq!(heard.seen().len(), 1);
}

/// Answers questions to all, as often and as oddly as cameras do.
async fn answering(port: u16) -> std::net::SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        while let Ok((size, from)) = socket.recv_from(&mut buffer).await {
            let probe = String::from_utf8_lossy(&buffer[..size]).into_owned();
            let id = between(&probe, "<a:MessageID>", "<").to_owned();
            let found = |endpoint: &str, port: u16, id: &str| {
                format!(
                    "<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:w=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
                     xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\"><e:Header><w:RelatesTo>{id}</w:RelatesTo></e:Header><e:Body><d:ProbeMatches>\
                     <d:ProbeMatch><w:EndpointReference><w:Address>{endpoint}</w:Address></w:EndpointReference><d:Scopes>onvif://www.onvif.org/name/Yard</d:Scopes>\
                     <d:XAddrs>http://192.168.1.108:{port}/onvif/device_service</d:XAddrs></d:ProbeMatch></d:ProbeMatches></e:Body></e:Envelope>"
                )
            };
            let stray = found("urn:uuid:stray", 2, "urn:uuid:0");
            let gone = found("urn:uuid:2", 1, &id);
            let here = found("urn:uuid:1", port, &id);
            for answer in ["nonsense", &here, &here, &gone, &stray] {
                socket.send_to(answer.as_bytes(), from).await.unwrap();
            }
        }
    });
    at
}

#[tokio::test]
async fn cameras_are_found_once_each_and_asked_for_their_streams() {
    let stand_in = StandIn::start(Odd::default(), 5_540).await;
    let looking = Search {
        to: answering(stand_in.port).await,
        from: vec![Ipv4Addr::LOCALHOST],
        wait: Duration::from_millis(800),
        random: random::bits,
    };
    let seen = search(&looking).await.unwrap();
    let ports: Vec<_> = seen
        .iter()
        .map(|seen| seen.device.port_or_known_default().unwrap())
        .collect();
    assert_eq!(
        (seen.len(), ports.contains(&stand_in.port), ports.contains(&1)),
        (2, true, true)
    );
    let asking = Asking {
        account: account(PASSWORD),
        trust: Trust::System,
        clock: Arc::new(SystemClock),
        random: random::bits,
    };
    let told = ask_all(&asking, &seen).await;
    for (seen, told) in seen.iter().zip(told) {
        assert_eq!(seen.name.as_deref(), Some("Yard"));
        if seen.device.port_or_known_default() == Some(1) {
            assert!(
                matches!(told, Err(Failed::Fetch(FetchError::Connect { .. }))),
                "one that is gone again"
            );
            continue;
        }
        let told = told.unwrap();
        let model = (
            told.information.manufacturer.as_deref(),
            told.information.model.as_deref(),
        );
        assert_eq!(model, (Some("Acme"), Some("X1")));
        let paths: Vec<_> = told
            .streams
            .iter()
            .map(|stream| stream.url.as_ref().unwrap().path.as_str())
            .collect();
        assert_eq!(paths, ["/still", "/sub", "/cam"]);
    }
}
