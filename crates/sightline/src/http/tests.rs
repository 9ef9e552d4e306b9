//! The HTTP ports as their clients see them: without them where no socket matters, else over loopback.

mod api;
mod cameras;
mod config;
mod entrance;
mod events;
mod exports;
mod floods;
mod history;
mod hls;
mod limits;
mod live;
mod metrics;
mod pages;
mod people;
mod proxies;
mod recordings;
mod routes;
mod socket;
mod stills;
mod v3;
mod webrtc;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use axum_core::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use media::hub::{Limits, Origin, Publisher, Publishing};
use media::stats::{Role as SessionRole, SessionInfo, SessionStats};
use media::{StreamName, TrackIndex, WallTime};
use serde_json::Value;
use testkit::clock::SimClock;
use testkit::publishing::publish;
use testkit::stream::{Audio, Video};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::peer::Peer;
use super::*;
use crate::auth::people::{Change, SESSION_US, Session, Sum, UserId};
use crate::auth::{Identity, Role as AuthRole, secrets};
use crate::auth::{Mode, Tokens};
use crate::clock::SystemClock;
use crate::config::{Environment, Wanted, load};
use crate::forward;
use crate::record::export::Exports;
use crate::record::recorder::{self, Clocks, Recorder};
use crate::record::service as record;
use crate::secret::Secret;
use crate::shutdown::{self, Trigger};
use crate::source::Supervisor;
use crate::state::credentials::Credentials;
use crate::webhooks;
use crate::{net, source, state};

/// Longest wait for anything, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
/// No program runs there.
const ELSEWHERE: &str = "192.0.2.7:5000";
/// Of users that tests make.
const PASSWORD: &str = "correct horse battery";
const TRUSTED: &str = "10.9.0.2:5000";

fn tokens() -> Mode {
    Mode::Tokens(Tokens {
        viewer: Secret::new("v-token"),
        publisher: Secret::new("p-token"),
        admin: Secret::new("a-token"),
    })
}

/// What a test may want otherwise.
struct Wishes {
    mode: Mode,
    clock: Arc<dyn Clock>,
    connections: usize,
    /// Proxies in front.
    trusted: Trusted,
    /// How many a second of one principal.
    requests: u32,
    webrtc_sessions: usize,
    status_clients: usize,
    patience: Patience,
    /// Streams that this machine is about to give.
    soon: Vec<StreamName>,
    library: Option<Arc<Library>>,
    exports: Option<Arc<Exports>>,
    history: Option<History>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            mode: tokens(),
            clock: Arc::new(SystemClock),
            connections: 100,
            trusted: Trusted::default(),
            requests: 100_000,
            webrtc_sessions: 10,
            status_clients: 100,
            patience: Patience::default(),
            soon: Vec::new(),
            library: None,
            exports: None,
            history: None,
        }
    }
}

/// Settings without a file, which would be made in this folder.
fn live(folder: &tempfile::TempDir, requests: u32) -> Arc<Live> {
    let requests = requests.to_string();
    let wanted = Wanted {
        search_path: Some(vec![folder.path().join("sightline.toml")]),
        environment: Environment::of([
            ("SIGHTLINE_RTSP_PORT", "9554"),
            ("SIGHTLINE_LIMITS_REQUESTS", &requests),
        ]),
        ..Wanted::default()
    };
    Live::new(load(&wanted).unwrap())
}

/// The HTTP ports of a program with a hub.
struct World {
    shared: Arc<Shared>,
    dashboard: Arc<Entrance>,
    players: Arc<Entrance>,
    hub: Hub,
    clock: Arc<dyn Clock>,
    trigger: Trigger,
    running: Mutex<Option<tokio::task::JoinHandle<()>>>,
    state: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(Wishes::default())
    }

    fn with(mut wishes: Wishes) -> Self {
        let listen = || net::listen_tcp(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0, "--http-port").unwrap();
        let sockets = Sockets {
            http: listen(),
            https: listen(),
            hls: listen(),
            webrtc: listen(),
            websocket: Some(listen()),
        };
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("state");
        let status = status::Server::new(wishes.status_clients, Arc::clone(&wishes.clock));
        let hub = Hub::new(Limits::default());
        let (trigger, stop) = shutdown::channel();
        let world = forward::World {
            hub: hub.clone(),
            clock: Arc::clone(&wishes.clock),
            random: crate::random::bits,
        };
        let forwards = forward::Forwarder::new(world, stop.clone());
        let events = crate::events::Events::new(&hub, Arc::clone(&wishes.clock));
        let world = webhooks::World {
            events: Arc::clone(&events),
            clock: Arc::clone(&wishes.clock),
            random: crate::random::bits,
            pace: webhooks::Pace::default(),
        };
        let webhooks = Webhooks::new(world, stop.clone());
        let trusted = vec!["10.9.0.0/24".parse().unwrap()];
        let streams = Supervisor::new(
            source::World {
                hub: hub.clone(),
                events: Arc::clone(&events),
                clock: Arc::clone(&wishes.clock),
                random: crate::random::bits,
                lowers: Arc::default(),
                soon: wishes.soon.clone(),
            },
            stop.clone(),
        );
        let credentials = Credentials::open(state::Folder::open(state.path().join("state")).unwrap());
        streams.keep_credentials(Arc::new(credentials.unwrap()));
        let told = Arc::clone(&events);
        let recordings = recordings(&streams, events, &wishes, state.path(), stop.clone());
        let motion = crate::motion::Detector::new(
            crate::motion::World {
                hub: streams.hub().clone(),
                streams: Arc::clone(&streams),
                recordings: Arc::clone(&recordings),
                events: Arc::clone(streams.events()),
                clock: Arc::clone(&wishes.clock),
                ffmpeg: crate::stills::ffmpeg,
            },
            stop.clone(),
        );
        let settings = Settings {
            connections: Adjustable::new(wishes.connections),
            patience: wishes.patience,
            trusted: Adjustable::new(Arc::new(std::mem::take(&mut wishes.trusted))),
            hosts: Adjustable::new(Arc::new(Hosts::new(["cams.example".to_owned()], None))),
            host: None,
            rtsp_port: 8_554,
            hls: Adjustable::default(),
            certificates: Certificates::own(
                Arc::new(move || state::Folder::open(path.clone())),
                Vec::new,
                Arc::clone(&wishes.clock),
            ),
            status: Arc::clone(&status),
            forwards: Arc::clone(&forwards),
            webhooks: Arc::clone(&webhooks),
            recordings: Arc::clone(&recordings),
            uploads: None,
            motion,
            live: live(&state, wishes.requests),
            gate: net::Gate::default(),
            library: wishes.library.clone().unwrap_or_else(|| {
                let recordings = Arc::clone(&recordings);
                Library::new(move || recordings.recorder(), None)
            }),
            exports: wishes.exports.clone().unwrap_or_else(|| {
                let recordings = Arc::clone(&recordings);
                Exports::new(
                    move || recordings.recorder(),
                    None,
                    Arc::clone(&told),
                    Arc::clone(&wishes.clock),
                    crate::clock::zone,
                )
            }),
            control: Arc::new(Control::open(state.path(), Arc::clone(&wishes.clock)).unwrap()),
            stills: Stills::new(Arc::clone(&wishes.clock)),
            log: Arc::default(),
            history: wishes.history.clone(),
        };
        let sessions = sessions(&streams, &wishes);
        let auth = Arc::new(Auth::new(wishes.mode, trusted));
        auth.heed(settings.control.people(), Arc::clone(&wishes.clock));
        let server = Server::new(sockets, settings, streams, auth, sessions, Arc::clone(&wishes.clock)).unwrap();
        let entrance = |listener: usize| Arc::clone(&server.listeners[listener].entrance);
        let (shared, dashboard, players) = (Arc::clone(&server.shared), entrance(0), entrance(2));
        tokio::spawn(status.run(stop.clone()));
        let running = tokio::spawn(server.run(stop));
        Self {
            shared,
            dashboard,
            players,
            hub,
            clock: wishes.clock,
            trigger,
            running: Mutex::new(Some(running)),
            state,
        }
    }

    /// The cookie of somebody who signed in with the token of a role.
    fn cookie(&self, role: AuthRole) -> String {
        self.cookie_of(&Identity::Role(role)).0
    }

    /// The cookie of somebody, and its session.
    fn cookie_of(&self, identity: &Identity) -> (String, Sum) {
        let (value, sum) = secrets::session().unwrap();
        let now = self.clock.wall();
        let session = Session {
            sum,
            owner: self.shared.auth.owner(identity, sum).unwrap(),
            made_at: now,
            seen_us: now.unix_micros().into(),
            ends_at: now.offset_micros(SESSION_US),
            remote: [192, 0, 2, 7].into(),
            agent: "test".into(),
            kept: true,
        };
        self.change(Change::Begin(Arc::new(session)));
        (format!("sightline={}", value.expose()), sum)
    }

    /// Changes something about the people of the page.
    fn change(&self, change: Change) {
        let control = &self.shared.settings.control;
        std::thread::scope(|scope| scope.spawn(|| control.change_now(change)).join())
            .unwrap()
            .unwrap();
    }

    /// Somebody with an account of the page, whose password is [`PASSWORD`].
    fn user(&self, name: &str, role: &str, streams: &str) -> UserId {
        let id = self.shared.settings.control.now().next_user();
        self.change(Change::AddUser {
            name: name.into(),
            hash: Some(Arc::new(secrets::hash(PASSWORD).unwrap())),
            role: role.into(),
            streams: streams.split(' ').map(|word| word.parse().unwrap()).collect(),
            at: self.clock.wall(),
        });
        id
    }

    /// An account that may view and publish one stream.
    fn with_account(&self, name: &str, password: &str, stream: &str) {
        let mut rules = (*self.shared.auth.rules()).clone();
        rules.accounts = vec![crate::auth::Account {
            name: name.into(),
            password: Some(password.parse().unwrap()),
            networks: Vec::new(),
            rights: format!("view,replay,publish {stream}").parse().unwrap(),
        }];
        self.shared.auth.set_rules(rules);
    }

    /// Publishes a second of picture and a little sound, with a publisher and a viewer in their books.
    fn publish(&self, name: &str, clock: Option<&SimClock>) -> Publisher {
        let name: StreamName = name.parse().unwrap();
        let info = |role, protocol, port: u16| SessionInfo {
            stream: name.clone(),
            role,
            protocol,
            remote: Some(SocketAddr::from(([192, 0, 2, 9], port))),
            agent: Some("Lavf61".into()),
            since: self.clock.wall(),
        };
        let (mut video, mut audio) = (
            Video::new(testkit::stream::Settings::default()),
            Audio::new(TrackIndex(1), 0),
        );
        let stats = Arc::new(SessionStats::new(info(SessionRole::Publisher, "RTSP/TCP", 6_000)));
        let publishing = Publishing {
            stats: Arc::clone(&stats),
            origin: Origin::Remote,
            keyframe_requests: None,
        };
        let tracks = vec![video.track(), audio.track()];
        let mut publisher = self.hub.publish(&name, tracks, publishing, self.clock.now()).unwrap();
        stats.bytes.add(123_456);
        stats.jitter_us.set(1_234);
        for _ in 0..30 {
            let captured: WallTime = self.clock.wall().offset_micros(-3_200);
            publisher.publish(video.next_frame(captured), self.clock.now()).unwrap();
            if let Some(clock) = clock {
                clock.advance(Duration::from_micros(video.interval_us()));
            }
        }
        publisher
            .publish(audio.next_frame(self.clock.wall()), self.clock.now())
            .unwrap();
        let viewer = Arc::new(SessionStats::new(info(SessionRole::Viewer, "RTSP/UDP", 6_001)));
        let stream = self.hub.stream(&name, self.clock.now()).unwrap();
        // It stays for as long as the test.
        std::mem::forget(stream.add_viewer(viewer).unwrap());
        publisher
    }

    /// Asks the dashboard's port as somebody at `remote`.
    async fn ask(&self, remote: &str, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
        ask(&self.dashboard, remote, method, path, headers, "").await
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.ask(ELSEWHERE, Method::GET, path, headers).await
    }

    async fn connect(&self) -> TcpStream {
        connect(self.shared.ports.http).await
    }

    /// Tells it to end, and waits until it has.
    async fn end(&self) {
        self.trigger.request();
        let running = self.running.lock().unwrap().take().unwrap();
        tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
    }
}

/// Into this folder.
fn recordings(
    streams: &Arc<Supervisor>,
    events: Arc<crate::events::Events>,
    wishes: &Wishes,
    folder: &std::path::Path,
    stop: shutdown::Shutdown,
) -> Arc<Recordings> {
    let world = record::World {
        hub: streams.hub().clone(),
        streams: Arc::clone(streams),
        events,
        clock: Arc::clone(&wishes.clock),
        zone: crate::clock::zone,
    };
    let folder = folder.to_owned();
    let clocks = Clocks {
        clock: Arc::clone(&wishes.clock),
        zone: crate::clock::zone,
        is_synchronised: || false,
    };
    let start = move || {
        let settings = recorder::Settings::new(folder.join("recordings"), folder.join("index"));
        Recorder::start(settings, clocks.clone()).map_err(|error| error.to_string())
    };
    Recordings::new(world, Arc::new(start), stop)
}

/// WebRTC on loopback.
fn sessions(streams: &Arc<Supervisor>, wishes: &Wishes) -> Arc<crate::webrtc::Service> {
    let host = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let sockets = crate::webrtc::Sockets {
        udp: net::bind_udp(host, 0, "--ice-port").unwrap(),
        tcp: net::listen_tcp(host, 0, "--ice-port").unwrap(),
    };
    let settings = crate::webrtc::Settings {
        sessions: wishes.webrtc_sessions,
        host,
        ..crate::webrtc::Settings::default()
    };
    let clock = Arc::clone(&wishes.clock);
    crate::webrtc::Service::new(sockets, settings, Arc::clone(streams), clock, crate::random::bits).unwrap()
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap()
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

async fn ask(
    entrance: &Entrance,
    remote: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "pi.local:8000");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let local = "192.0.2.1:8000".parse().unwrap();
    let peer = Peer::new(remote.parse().unwrap(), local, false);
    let response = entrance.answer(peer, request).await;
    let (parts, mut body) = response.into_parts();
    let endless = parts
        .headers
        .get("content-type")
        .is_some_and(|kind| kind == "text/event-stream");
    let bytes = match endless {
        true => (body.frame().await).map_or_else(Bytes::new, |frame| frame.unwrap().into_data().unwrap()),
        false => body.collect().await.unwrap().to_bytes(),
    };
    Reply {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

fn bearer(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

/// Sends these bytes and reads until the other end closes.
async fn exchange(socket: &mut TcpStream, request: &[u8]) -> String {
    socket.write_all(request).await.unwrap();
    until_closed(socket).await
}

/// What comes until the other end closes, however it does so.
async fn until_closed(socket: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let mut buffer = [0; 4_096];
    let reading = async {
        while let Ok(count @ 1..) = socket.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("it is not closed");
    String::from_utf8_lossy(&said).into_owned()
}
