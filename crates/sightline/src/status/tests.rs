//! Sockets over pipes: what a client sees and what others see of it.

use std::net::Ipv4Addr;
use std::time::Instant;

use futures_util::{SinkExt as _, StreamExt as _};
use protocol::status::{CameraStatus, Config};
use serde_json::Value;
use testkit::clock::SimClock;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::*;
use crate::auth::Role as AuthRole;
use crate::auth::authority::{Allowed, Vouched};
use crate::clock::SystemClock;
use crate::config::socket_url::SocketUrl;
use crate::shutdown::{self, Trigger};

/// Longest wait for anything, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Until either side ends it.
async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, joined: Joined) {
    let stop = joined.stop();
    crate::websocket::serve(io, joined, SIZES, stop).await;
}

struct World {
    server: Arc<Server>,
    trigger: Trigger,
    running: tokio::task::JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        Self::with(Config::default(), Patience::default()).await
    }

    async fn with(config: Config, patience: Patience) -> Self {
        let server = Server::with(config, patience, Arc::new(SystemClock));
        let (trigger, stop) = shutdown::channel();
        let running = tokio::spawn(Arc::clone(&server).run(stop));
        // It lets nobody in before.
        while server.stop.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        Self {
            server,
            trigger,
            running,
        }
    }

    /// A client whose pipe holds so many bytes.
    fn client_with(&self, role: AuthRole, pipe_bytes: usize) -> (Joined, DuplexStream, DuplexStream) {
        let joined = self.server.join(Principal::Known(role), None).unwrap();
        let (ours, theirs) = tokio::io::duplex(pipe_bytes);
        (joined, ours, theirs)
    }

    async fn client(&self, role: AuthRole) -> Client<DuplexStream> {
        let (joined, ours, theirs) = self.client_with(role, 64 << 10);
        tokio::spawn(serve(ours, joined));
        Client::new(theirs).await
    }
}

struct Client<S>(WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn new(io: S) -> Self {
        Self(WebSocketStream::from_raw_socket(io, Role::Client, Some(WebSocketConfig::default())).await)
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::Text(text.into())).await.unwrap();
    }

    async fn report(&mut self, status: &CameraStatus) {
        self.0.send(Message::Binary(status.write().into())).await.unwrap();
    }

    async fn message(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.0.next());
        next.await.expect("nothing came").and_then(Result::ok)
    }

    /// The next text, pings left out.
    async fn text(&mut self) -> Value {
        loop {
            match self.message().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn closed(&mut self) -> Option<CloseCode> {
        loop {
            match self.message().await {
                Some(Message::Close(frame)) => return frame.map(|frame| frame.code),
                Some(_) => {}
                None => return None,
            }
        }
    }
}

fn running(fps: f32) -> CameraStatus {
    CameraStatus {
        is_connected: true,
        fps,
        ..CameraStatus::default()
    }
}

#[tokio::test]
async fn a_status_reaches_a_dashboard() {
    let world = World::new().await;
    let mut dashboard = world.client(AuthRole::Viewer).await;
    let mut publisher = world.client(AuthRole::Publisher).await;
    publisher
        .0
        .send(Message::Binary(Bytes::from_static(b"\x08\x01")))
        .await
        .unwrap();
    let text = dashboard.text().await;
    let expected = serde_json::json!({"type": "connection_status", "camera": "zerolatency", "isConnected": true});
    assert_eq!(text, expected);
    publisher.report(&running(29.5)).await;
    assert_eq!(dashboard.text().await["type"], "connection_status");
    assert_eq!(dashboard.text().await["fps"], 29.5);
    // It is told to whoever comes later.
    let mut late = world.client(AuthRole::Viewer).await;
    assert_eq!(late.text().await["type"], "connection_status");
    assert_eq!(late.text().await["type"], "camera_metrics");
}

#[tokio::test]
async fn a_ping_is_answered_with_the_time() {
    let world = World::new().await;
    let mut page = world.client(AuthRole::Viewer).await;
    let before = SystemClock.wall().unix_micros();
    page.say(r#"{"type":"ping","client":17.25}"#).await;
    let pong = page.text().await;
    let after = SystemClock.wall().unix_micros();
    assert_eq!(
        (pong["type"].as_str(), pong["client"].as_f64()),
        (Some("pong"), Some(17.25))
    );
    let server = pong["server_us"].as_i64().unwrap();
    assert!((before..=after).contains(&server), "{before} {server} {after}");
}

/// The camera's socket is lost in each of the ways in which that happens.
#[tokio::test]
async fn a_camera_whose_socket_is_lost_is_reported_within_five_seconds() {
    let world = World::new().await;
    let mut dashboard = world.client(AuthRole::Viewer).await;
    for way in ["closed", "dropped", "silent"] {
        let mut publisher = world.client(AuthRole::Publisher).await;
        publisher.report(&running(1.0)).await;
        assert_eq!(dashboard.text().await["isConnected"], true, "{way}");
        assert_eq!(dashboard.text().await["type"], "camera_metrics", "{way}");
        let lost = Instant::now();
        // One that is silent still has a socket, and answers no ping.
        let kept = match way {
            "closed" => {
                publisher.0.close(None).await.unwrap();
                None
            }
            "dropped" => None,
            _ => Some(publisher),
        };
        let text = dashboard.text().await;
        assert_eq!(
            (text["type"].as_str(), text["isConnected"].as_bool()),
            (Some("connection_status"), Some(false)),
            "{way}"
        );
        assert!(lost.elapsed() < Duration::from_secs(5), "{way}: {:?}", lost.elapsed());
        drop(kept);
    }
}

/// It reads nothing, and says something all the time.
#[tokio::test]
async fn a_publisher_that_never_reads_is_heard() {
    let world = World::new().await;
    let mut dashboard = world.client(AuthRole::Admin).await;
    let (joined, ours, theirs) = world.client_with(AuthRole::Admin, 256);
    tokio::spawn(serve(ours, joined));
    let mut deaf = Client::new(theirs).await;
    let other = tokio::spawn({
        let mut other = world.client(AuthRole::Publisher).await;
        async move {
            for _ in 0..200 {
                let status = CameraStatus {
                    camera_name: "other".to_owned(),
                    ..running(1.0)
                };
                other.report(&status).await;
                tokio::time::sleep(Duration::from_millis(11)).await;
            }
        }
    });
    let mut heard = 0;
    for number in 1..=20 {
        deaf.report(&running(number as f32)).await;
        while heard < number {
            let text = dashboard.text().await;
            if text["camera"] == "zerolatency" && text["type"] == "camera_metrics" {
                heard = text["fps"].as_f64().unwrap() as i32;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    other.await.unwrap();
    assert!(world.server.totals().dropped > 0, "what it did not read is lost to it");
}

#[tokio::test]
async fn one_that_never_reads_disturbs_nobody_and_is_let_go() {
    let patience = Patience {
        listener: [Duration::from_millis(300), Duration::from_millis(900)],
        ..Patience::default()
    };
    let world = World::with(Config::default(), patience).await;
    let (joined, ours, theirs) = world.client_with(AuthRole::Viewer, 64);
    let stuck = tokio::spawn(serve(ours, joined));
    let mut quick = world.client(AuthRole::Viewer).await;
    let mut publisher = world.client(AuthRole::Publisher).await;
    for number in 1..=60 {
        publisher.report(&running(number as f32)).await;
        loop {
            let text = quick.text().await;
            if text["fps"].as_f64() == Some(f64::from(number)) {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    tokio::time::timeout(PATIENCE, stuck)
        .await
        .expect("it is let go")
        .unwrap();
    drop(theirs);
    assert_eq!(world.server.totals().clients, 2);
}

#[tokio::test]
async fn rubbish_is_answered_and_disturbs_nobody() {
    let world = World::new().await;
    let mut other = world.client(AuthRole::Viewer).await;
    let mut odd = world.client(AuthRole::Admin).await;
    for text in ["", "{}", "\u{0}", r#"{"type":"dance"}"#] {
        odd.say(text).await;
        assert_eq!(odd.text().await["type"], "error", "{text:?}");
    }
    odd.0
        .send(Message::Binary(Bytes::from_static(b"\xff\xff")))
        .await
        .unwrap();
    assert_eq!(odd.text().await["of"], "status");
    // What is no WebSocket frame, too long, or not UTF-8 ends its own connection.
    for (bytes, code) in [
        (&b"\xf1\x80\0\0\0\0"[..], CloseCode::Protocol),
        (b"\x81\xff\0\0\0\0\0\xff\xff\xff\0\0\0\0", CloseCode::Size),
        (b"\x81\x81\0\0\0\0\xff", CloseCode::Invalid),
        (b"\x01\x00", CloseCode::Protocol),
    ] {
        let (joined, ours, mut theirs) = world.client_with(AuthRole::Viewer, 4 << 10);
        let serving = tokio::spawn(serve(ours, joined));
        theirs.write_all(bytes).await.unwrap();
        let mut client = Client::new(theirs).await;
        assert_eq!(client.closed().await, Some(code), "{bytes:x?}");
        drop(client);
        tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap();
    }
    other.say(r#"{"type":"ping"}"#).await;
    assert_eq!(other.text().await["type"], "pong", "the first it hears");
}

#[tokio::test]
async fn there_are_as_many_clients_as_may_be() {
    let config = Config {
        clients: 2,
        ..Config::default()
    };
    let world = World::with(config, Patience::default()).await;
    let _one = world.client(AuthRole::Viewer).await;
    let two = world.client(AuthRole::Viewer).await;
    assert!(world.server.join(Principal::Anyone { replays: false }, None).is_err());
    drop(two);
    let free = async {
        while world.server.join(Principal::Anyone { replays: false }, None).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, free).await.expect("its place is free");
}

#[tokio::test]
async fn the_end_is_told_and_waited_for() {
    let world = World::new().await;
    let mut reading = world.client(AuthRole::Viewer).await;
    let (joined, ours, _stuck) = world.client_with(AuthRole::Viewer, 64);
    tokio::spawn(serve(ours, joined));
    let began = Instant::now();
    world.trigger.request();
    assert_eq!(reading.closed().await, Some(CloseCode::Away));
    tokio::time::timeout(PATIENCE, world.running).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(
        world.server.join(Principal::Anyone { replays: false }, None).is_err(),
        "nobody comes in any more"
    );
}

/// A socket stays open for as long as somebody likes; a token does not.
#[test]
fn nobody_steers_with_a_credential_that_has_ended() {
    let clock = Arc::new(SimClock::default());
    let door = "door".parse::<StreamName>().unwrap();
    let vouched = |until| {
        let allowed = Allowed::by(&["api".parse().unwrap()]);
        Principal::Vouched(Arc::new(Vouched {
            name: "anna".into(),
            allowed,
            until,
            has_shown: true,
            by: 0,
        }))
    };
    let beside = |until| Principal::Beside {
        known: Arc::new(vouched(until)),
        replays: false,
    };
    let soon = clock.wall().offset_micros(1_000_000);
    let permits = [vouched(Some(soon)), beside(Some(soon)), vouched(None)]
        .map(|who| permit(who, Arc::clone(&clock) as Arc<dyn Clock>));
    let steers = || [0, 1, 2].map(|n| permits[n](Right::Operate, Some(&door)));
    assert_eq!(steers(), [true; 3]);
    clock.advance(Duration::from_secs(1));
    assert_eq!(steers(), [false, false, true]);
}

/// A server for the publisher's side.
struct Peer(TcpListener);

impl Peer {
    async fn new() -> (Self, SocketUrl) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (Self(listener), SocketUrl::on("127.0.0.1", port).unwrap())
    }

    async fn accept(&self) -> WebSocketStream<TcpStream> {
        let (socket, _) = self.0.accept().await.unwrap();
        tokio_tungstenite::accept_async(socket).await.unwrap()
    }
}

#[tokio::test]
async fn the_publisher_comes_back_with_what_is_true_now() {
    let (peer, url) = Peer::new().await;
    let target = client::Target {
        url,
        token: None,
        named: true,
        per_second: 1,
    };
    let queue = Arc::new(client::Queue::default());
    let reporting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { client::run(&target, &queue, None).await }
    });
    for round in 0..3 {
        (0..100).for_each(|number| queue.push(running((round * 1_000 + number) as f32)));
        let mut socket = peer.accept().await;
        let message = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let status = CameraStatus::read(&message.into_data()).unwrap();
        assert_eq!(
            status.fps,
            (round * 1_000 + 99) as f32,
            "the newest, and none of those before"
        );
        queue.push(running(7.0));
        let message = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(CameraStatus::read(&message.into_data()).unwrap().fps, 7.0);
    }
    reporting.abort();
}
