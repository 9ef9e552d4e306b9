//! Sources over loopback: a server of ours is the camera, with all that a supervisor does about it.

use std::net::{IpAddr, Ipv4Addr};

use media::hub::{Limits, Publisher};
use testkit::publishing::publish;
use testkit::stream::{Settings as VideoSettings, Video};
use tokio::task::JoinHandle;

use super::*;
use crate::auth::{Auth, Mode};
use crate::camera::{Cameras, Lowers};
use crate::clock::SystemClock;
use crate::secret::Secret;
use crate::shutdown::{self, Trigger};
use crate::{net, random, rtsp as server};

const LOCALHOST: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
/// Longest wait for anything, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

pub(crate) fn name(text: &str) -> StreamName {
    text.parse().unwrap()
}

/// A camera: a server with one stream of 25 pictures a second, `cam`.
pub(crate) struct Camera {
    pub(crate) port: u16,
    pub(crate) hub: Hub,
    _stop: Trigger,
    filming: JoinHandle<()>,
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.filming.abort();
    }
}

pub(crate) fn publisher(hub: &Hub, stream: &str, video: &Video) -> Publisher {
    publish(hub, &name(stream), vec![video.track()], &SystemClock)
}

pub(crate) async fn film(mut publisher: Publisher, mut video: Video) {
    loop {
        let now = SystemClock.now();
        if publisher.publish(video.next_frame(SystemClock.wall()), now).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

impl Camera {
    pub(crate) fn start(port: u16, mode: Mode) -> Self {
        let listener = net::listen_tcp(LOCALHOST, port, "--rtsp-port").unwrap();
        let sockets = server::Sockets {
            tcp: listener,
            tls: None,
            rtp: Some(net::bind_rtp_pair(LOCALHOST, [0, 0], "").unwrap()),
        };
        let hub = Hub::new(Limits::default());
        let auth = Arc::new(Auth::new(mode, Vec::new()));
        let streams = Supervisor::without_sources(&hub, &clock());
        let settings = server::Settings::default();
        let server = server::Server::new(sockets, settings, streams, auth, clock(), random::bits).unwrap();
        let port = server.local_addr().unwrap().port();
        let (stop, stopped) = shutdown::channel();
        tokio::spawn(server.run(stopped.receiver()));
        let video = Video::new(VideoSettings {
            gop_frames: 10,
            ..VideoSettings::default()
        });
        let filming = tokio::spawn(film(publisher(&hub, "cam", &video), video));
        Self {
            port,
            hub,
            _stop: stop,
            filming,
        }
    }

    fn viewers(&self) -> usize {
        let stream = self.hub.stream(&name("cam"), SystemClock.now());
        stream.map_or(0, |stream| stream.viewers())
    }
}

/// Who fetches.
struct Fetching {
    supervisor: Arc<Supervisor>,
    hub: Hub,
    _stop: Trigger,
}

impl Fetching {
    fn start(tables: &[(&str, String)], limits: Limits) -> Self {
        Self::beside(tables, limits, Arc::default())
    }

    /// With cameras of this machine.
    fn beside(tables: &[(&str, String)], limits: Limits, lowers: Arc<Lowers>) -> Self {
        let hub = Hub::new(limits);
        let world = World {
            hub: hub.clone(),
            events: Events::new(&hub, clock()),
            clock: clock(),
            random: random::bits,
            soon: Vec::new(),
            lowers,
        };
        let (stop, stopped) = shutdown::channel();
        let supervisor = Supervisor::new(world, stopped);
        supervisor.set(&settings(tables));
        Self {
            supervisor,
            hub,
            _stop: stop,
        }
    }

    fn state(&self, stream: &str) -> Option<State> {
        let reports = self.supervisor.reports();
        let report = reports.into_iter().find(|report| report.stream == name(stream))?;
        Some(report.state)
    }

    /// Frames that its publisher gave so far.
    fn frames(&self, stream: &str) -> u64 {
        let stream = self.hub.stream(&name(stream), SystemClock.now());
        stream
            .ok()
            .and_then(|stream| stream.publisher())
            .map_or(0, |stats| stats.frames.get())
    }
}

fn settings(tables: &[(&str, String)]) -> BTreeMap<StreamKey, settings::Stream> {
    let table = |(key, text): &(&str, String)| (key.parse().unwrap(), toml::from_str(text).unwrap());
    tables.iter().map(table).collect()
}

pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "never: {what}");
}

fn source(port: u16) -> String {
    format!("source = \"rtsp://127.0.0.1:{port}/cam\"")
}

#[tokio::test]
async fn a_stream_is_fetched_whether_anybody_watches_or_not() {
    let camera = Camera::start(0, Mode::Open);
    let fetching = Fetching::start(&[("door", source(camera.port))], Limits::default());
    let stream = fetching.supervisor.find(&name("door")).await.unwrap();
    assert!(stream.newest_keyframe().is_some());
    until("frames", || fetching.frames("door") > 20).await;
    assert!(matches!(fetching.state("door"), Some(State::Running { .. })));
    let stats = stream.publisher().unwrap();
    assert_eq!(stats.info.protocol, "RTSP/TCP");
    assert_eq!(stats.info.remote.unwrap().port(), camera.port);
    assert!(stats.bytes.get() > 0 && stats.packets.get() > 20);
    assert_eq!(
        fetching.supervisor.source_of(&name("door")),
        Some(format!("rtsp://127.0.0.1:{}/cam", camera.port))
    );
}

#[tokio::test]
async fn by_udp_where_that_is_set() {
    let camera = Camera::start(0, Mode::Open);
    let table = format!("{}\nsource_transport = \"udp\"", source(camera.port));
    let fetching = Fetching::start(&[("door", table)], Limits::default());
    let stream = fetching.supervisor.find(&name("door")).await.unwrap();
    assert_eq!(stream.publisher().unwrap().info.protocol, "RTSP/UDP");
    until("frames", || fetching.frames("door") > 20).await;
}

#[tokio::test]
async fn a_camera_says_where_its_streams_are_each_time_anew() {
    use crate::onvif::tests::{Odd, StandIn};
    let camera = Camera::start(0, Mode::Open);
    let video = Video::new(VideoSettings::default());
    let filming = tokio::spawn(film(publisher(&camera.hub, "sub", &video), video));
    let stand_in = StandIn::start(Odd::default(), camera.port).await;
    let port = stand_in.device().port().unwrap();
    let source = |password: &str| format!("source = \"onvif://admin:{password}@127.0.0.1:{port}/\"");
    let tables = [("door", source("pass%26word")), ("locked", source("canary"))];
    let fetching = Fetching::start(&tables, Limits::default());
    let (door, low) = (name("door"), name("door/low"));
    fetching.supervisor.find(&door).await.unwrap();
    let place = fetching.supervisor.source_of(&door).unwrap();
    assert_eq!(place, format!("onvif://***@127.0.0.1:{port}/"));
    // It has said so; of the other nobody knows, since it says nothing.
    assert!(fetching.supervisor.could_have(&low) && !fetching.supervisor.could_have(&name("locked/low")));
    fetching.supervisor.find(&low).await.unwrap();
    until("frames", || fetching.frames("door/low") > 5).await;
    until("it is refused", || {
        matches!(fetching.state("locked"), Some(State::Waiting { .. }))
    })
    .await;
    let Some(State::Waiting { why, .. }) = fetching.state("locked") else {
        panic!("{:?}", fetching.state("locked"))
    };
    assert_eq!(why.trouble, Trouble::Login, "{}", why.detail);
    assert!(!why.detail.contains("canary"), "{}", why.detail);
    // The camera starts anew, and its streams are elsewhere.
    let asked = stand_in.questions();
    let other = Camera::start(0, Mode::Open);
    stand_in.moves(other.port);
    filming.abort();
    drop(camera);
    until("it is there", || {
        let stream = fetching.hub.stream(&door, SystemClock.now()).ok();
        let remote = stream.and_then(|stream| stream.publisher()?.info.remote);
        remote.is_some_and(|remote| remote.port() == other.port)
    })
    .await;
    assert!(stand_in.questions() > asked);
}

/// TLS in front of a port, with a certificate of its own making; its fingerprint in hexadecimal.
pub(crate) async fn by_tls(behind: u16) -> (u16, String) {
    use sha2::{Digest as _, Sha256};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};

    let made = rcgen::generate_simple_self_signed(vec!["camera".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let fingerprint: Vec<String> = Sha256::digest(&certificate)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut secure = acceptor.accept(socket).await.ok()?;
                let mut plain = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, behind))
                    .await
                    .ok()?;
                tokio::io::copy_bidirectional(&mut secure, &mut plain).await.ok()
            });
        }
    });
    (port, fingerprint.join(":"))
}

#[tokio::test]
async fn by_tls_with_the_certificate_that_is_named_and_no_other() {
    let camera = Camera::start(0, Mode::Open);
    let (port, fingerprint) = by_tls(camera.port).await;
    // UDP is not asked for: it would not be encrypted.
    let source = format!("source = \"rtsps://127.0.0.1:{port}/cam\"\nsource_transport = \"udp\"");
    let right = format!("{source}\nsource_fingerprint = \"{fingerprint}\"");
    let wrong = format!("{source}\nsource_fingerprint = \"{}\"", "00".repeat(32));
    let clear = format!("source = \"rtsps://127.0.0.1:{}/cam\"", camera.port);
    let tables = [
        ("right", right),
        ("wrong", wrong),
        ("unnamed", source),
        ("clear", clear),
    ];
    let fetching = Fetching::start(&tables, Limits::default());
    let stream = fetching.supervisor.find(&name("right")).await.unwrap();
    assert_eq!(stream.publisher().unwrap().info.protocol, "RTSP/TCP");
    until("frames", || fetching.frames("right") > 20).await;
    let plain = fingerprint.replace(':', "").to_lowercase();
    for stream in ["wrong", "unnamed"] {
        let missing = fetching.supervisor.find(&name(stream)).await.unwrap_err();
        assert!(
            missing.to_string().contains("a certificate that is not believed"),
            "{missing}"
        );
        let Some(State::Waiting { why, .. }) = fetching.state(stream) else {
            panic!("{stream}: {:?}", fetching.state(stream))
        };
        assert!(
            why.detail.ends_with(&format!("set source_fingerprint = \"{plain}\"")),
            "{why:?}"
        );
    }
    until("no TLS", || match fetching.state("clear") {
        Some(State::Waiting { why, .. }) => why.detail.contains("cannot be asked by TLS"),
        _ => false,
    })
    .await;
}

#[tokio::test]
async fn viewers_stay_when_a_camera_restarts() {
    let camera = Camera::start(0, Mode::Open);
    let port = camera.port;
    let limits = Limits {
        hold: PATIENCE,
        ..Limits::default()
    };
    let fetching = Fetching::start(&[("door", source(port))], limits);
    let stream = fetching.supervisor.find(&name("door")).await.unwrap();
    let mut reader = stream.join(SystemClock.now()).unwrap();
    drop(camera);
    until("waiting", || {
        matches!(fetching.state("door"), Some(State::Waiting { .. }))
    })
    .await;
    let _camera = Camera::start(port, Mode::Open);
    let back = SystemClock.now();
    until("running", || {
        matches!(fetching.state("door"), Some(State::Running { .. }))
    })
    .await;
    let mut frames = Vec::new();
    loop {
        frames.clear();
        let event = tokio::time::timeout(PATIENCE, reader.next(&mut frames)).await.unwrap();
        assert!(!matches!(event, media::hub::Event::Ended(_)), "{event:?}");
        if frames.iter().any(|entry| entry.published > back) {
            break;
        }
    }
}

#[tokio::test]
async fn on_demand_only_while_somebody_wants_it() {
    let camera = Camera::start(0, Mode::Open);
    let table = format!("{}\non_demand = true", source(camera.port));
    let fetching = Fetching::start(&[("door", table)], Limits::default());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((fetching.state("door"), camera.viewers()), (Some(State::Idle), 0));
    let stream = fetching.supervisor.find(&name("door")).await.unwrap();
    assert_eq!(camera.viewers(), 1);
    drop(stream);
    let begun = SystemClock.now();
    until("idle", || fetching.state("door") == Some(State::Idle)).await;
    assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
    until("gone", || camera.viewers() == 0).await;
    // Nobody is given pictures of old.
    assert!(fetching.hub.stream(&name("door"), SystemClock.now()).is_err());
}

#[tokio::test]
async fn the_next_in_the_list_when_one_fails() {
    let camera = Camera::start(0, Mode::Open);
    // Bound and not listened to by anybody who speaks RTSP.
    let closed = net::listen_tcp(LOCALHOST, 0, "").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let table = format!(
        "source = [\"rtsp://127.0.0.1:{port}/a\", \"rtsp://127.0.0.1:{}/cam\"]",
        camera.port
    );
    let fetching = Fetching::start(&[("door", table)], Limits::default());
    let begun = SystemClock.now();
    fetching.supervisor.find(&name("door")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3));
    let reports = fetching.supervisor.reports();
    assert_eq!((reports[0].place, reports[0].places.len()), (1, 2));
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_leaks_nowhere() {
    let camera = Camera::start(0, Mode::Single(Secret::new("right")));
    let url = |password: &str| format!("source = \"rtsp://admin:{password}@127.0.0.1:{}/cam\"", camera.port);
    let tables = [("wrong", url("canary")), ("right", url("right"))];
    let fetching = Fetching::start(&tables, Limits::default());
    let begun = SystemClock.now();
    let missing = fetching.supervisor.find(&name("wrong")).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let text = missing.to_string();
    assert!(
        text.contains("does not accept the login") && !text.contains("127.0.0.1"),
        "{text}"
    );
    let Some(State::Waiting { until, why }) = fetching.state("wrong") else {
        panic!("{:?}", fetching.state("wrong"))
    };
    assert!(until > SystemClock.now() + Duration::from_secs(15), "as long as can be");
    assert!(
        why.detail.starts_with("wrong user or password for 127.0.0.1"),
        "{why:?}"
    );
    assert!(!format!("{:?}", fetching.supervisor.reports()).contains("canary"));
    assert!(fetching.supervisor.find(&name("right")).await.is_ok());
}

#[tokio::test]
async fn whoever_publishes_by_hand_keeps_the_stream() {
    let camera = Camera::start(0, Mode::Open);
    let fetching = Fetching::start(&[("door", source(camera.port))], Limits::default());
    fetching.supervisor.find(&name("door")).await.unwrap();
    let video = Video::new(VideoSettings::default());
    let by_hand = publisher(&fetching.hub, "door", &video);
    let by_hand = tokio::spawn(film(by_hand, video));
    let is_occupied = |state| matches!(state, Some(State::Waiting { why, .. }) if why.trouble == Trouble::Occupied);
    until("occupied", || is_occupied(fetching.state("door"))).await;
    until("still occupied", || camera.viewers() == 0).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(is_occupied(fetching.state("door")));
    by_hand.abort();
    until("back", || matches!(fetching.state("door"), Some(State::Running { .. }))).await;
}

#[tokio::test]
async fn an_expression_starts_what_is_asked_for_and_is_bounded() {
    let camera = Camera::start(0, Mode::Open);
    let table = format!("source = \"rtsp://127.0.0.1:{}/$1\"", camera.port);
    let limits = Limits {
        streams: 2,
        ..Limits::default()
    };
    let fetching = Fetching::start(&[("~^house/(.+)$", table)], limits);
    assert!(fetching.supervisor.reports().is_empty());
    fetching.supervisor.find(&name("house/cam")).await.unwrap();
    let missing = fetching.supervisor.find(&name("house/other")).await.unwrap_err();
    let (stream, trouble) = (name("house/other"), Trouble::NotThere);
    assert_eq!(missing, Missing::Failed { stream, trouble });
    let missing = fetching.supervisor.find(&name("house/third")).await.unwrap_err();
    assert!(matches!(missing, Missing::Full { limit: 2, .. }), "{missing}");
    assert!(matches!(
        fetching.supervisor.find(&name("yard")).await,
        Err(Missing::NotFound(_))
    ));
    // What nobody asks for any more makes room.
    until("forgotten", || fetching.state("house/other").is_none()).await;
}

#[tokio::test]
async fn a_login_that_was_refused_is_remembered_when_nobody_asks_for_the_stream() {
    let camera = Camera::start(0, Mode::Single(Secret::new("right")));
    let table = format!("source = \"rtsp://viewer:wrong@127.0.0.1:{}/$1\"", camera.port);
    let fetching = Fetching::start(&[("~^house/(.+)$", table)], Limits::default());
    let missing = fetching.supervisor.find(&name("house/cam")).await.unwrap_err();
    let (stream, trouble) = (name("house/cam"), Trouble::Login);
    assert_eq!(missing, Missing::Failed { stream, trouble });
    let is_failed = || matches!(fetching.state("house/cam"), Some(State::Failed(_)));
    until("nobody asks for it", is_failed).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Forgotten, it would be asked at once, with the same login.
    assert!(is_failed(), "{:?}", fetching.state("house/cam"));
    fetching.supervisor.need(&name("house/cam"));
    assert!(matches!(fetching.state("house/cam"), Some(State::Waiting { .. })));
}

#[tokio::test]
async fn a_change_touches_the_sources_it_concerns() {
    let (camera, other) = (Camera::start(0, Mode::Open), Camera::start(0, Mode::Open));
    let tables = [
        ("door", source(camera.port)),
        ("yard", source(camera.port)),
        ("gone", source(camera.port)),
    ];
    let fetching = Fetching::start(&tables, Limits::default());
    for stream in ["door", "yard", "gone"] {
        fetching.supervisor.find(&name(stream)).await.unwrap();
    }
    let since = |stream: &str| fetching.state(stream);
    let before = since("door");
    fetching.supervisor.set(&settings(&[
        ("door", source(camera.port)),
        ("yard", source(other.port)),
        ("new", source(other.port)),
    ]));
    until("moved", || other.viewers() == 2).await;
    until("left", || camera.viewers() == 1).await;
    assert_eq!(since("door"), before, "untouched");
    assert!(fetching.state("gone").is_none());
    until("running", || {
        matches!(fetching.state("yard"), Some(State::Running { .. }))
    })
    .await;
}

/// A camera with a second stream.
fn with_low() -> Vec<(StreamName, settings::Camera)> {
    let table = "source = \"test\"\nlow = true\nlow_size = \"176x144\"";
    vec![(name("cam"), toml::from_str(table).unwrap())]
}

#[tokio::test]
async fn the_lower_stream_of_a_camera_is_made_while_somebody_wants_it() {
    let wanted = with_low();
    let lowers = Arc::new(Lowers::new(&wanted));
    // An expression that takes every name is not asked for it.
    let tables = [("~^(.+)$", "source = \"rtsp://127.0.0.1:1/$1\"".to_owned())];
    let fetching = Fetching::beside(&tables, Limits::default(), Arc::clone(&lowers));
    let supervisor = &fetching.supervisor;
    let low = name("cam/low");
    assert!(supervisor.could_have(&low) && !supervisor.could_have(&name("other/low")));
    let early = fetching.supervisor.find(&low);
    let cameras = Cameras::start(wanted, lowers, fetching.hub.clone(), clock());
    let stream = early.await.unwrap();
    let video = stream.tracks()[0].clone();
    assert_eq!(video.format.dimensions(), Some((176, 144)));
    let first = fetching.hub.stream(&name("cam"), SystemClock.now()).unwrap();
    let full = first.tracks()[0].clone();
    assert!(lower::fits(&full, &video));
    assert!(matches!(fetching.state("cam/low"), Some(State::Running { .. })));
    // The publisher can be asked for keyframes, and is as one of a camera.
    let before = stream.publisher().unwrap();
    assert_eq!(before.info.protocol, "camera");
    let keyframes = before.keyframes.get();
    until("a keyframe", || {
        stream.request_keyframe(SystemClock.now());
        before.keyframes.get() > keyframes
    })
    .await;
    drop(stream);
    until("not made any more", || fetching.state("cam/low").is_none()).await;
    assert!(fetching.hub.stream(&low, SystemClock.now()).is_err());
    assert!(fetching.hub.stream(&name("cam"), SystemClock.now()).is_ok());
    // Somebody who only says so is enough.
    assert!(supervisor.want(&low));
    until("made again", || fetching.hub.stream(&low, SystemClock.now()).is_ok()).await;
    cameras.end().await;
}

#[tokio::test]
async fn what_is_wanted_without_being_waited_for_is_fetched_where_it_has_a_table() {
    let camera = Camera::start(0, Mode::Open);
    let on_demand = format!("{}\non_demand = true", source(camera.port));
    let expression = format!("{}\non_demand = true", source(camera.port));
    let fetching = Fetching::start(
        &[("door/low", on_demand), ("~^yard/.+$", expression)],
        Limits::default(),
    );
    let supervisor = &fetching.supervisor;
    assert!(!supervisor.want(&name("yard/low")), "an expression is not asked");
    assert!(!supervisor.want(&name("garden/low")));
    assert!(supervisor.want(&name("door/low")));
    until("fetched", || {
        matches!(fetching.state("door/low"), Some(State::Running { .. }))
    })
    .await;
    assert!(fetching.state("yard/low").is_none());
}

/// A slate takes a moment to its first picture, also in a stream that is to be always available from now on.
#[tokio::test]
async fn a_slate_that_was_just_wished_for_is_waited_for() {
    let world = Fetching::start(&[], Limits::default());
    let before = world.supervisor.find(&name("hall")).await;
    assert!(before.is_err(), "nobody is to be waited for");
    world
        .supervisor
        .set(&settings(&[("hall", "always_available = true".to_owned())]));
    let showing = async {
        // Later than whoever asks looks for the first time.
        tokio::time::sleep(Duration::from_millis(50)).await;
        publisher(&world.hub, "hall", &Video::new(VideoSettings::default()))
    };
    let hall = name("hall");
    let (found, _slate) = tokio::join!(world.supervisor.find(&hall), showing);
    assert!(found.is_ok(), "{:?}", found.err());
}
