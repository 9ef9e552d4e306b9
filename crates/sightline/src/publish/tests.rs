//! Against our own server on loopback: it restarts, it refuses.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use media::hub::{Limits, Origin, Publisher, Publishing};
use testkit::stream::Video;

use super::*;
use crate::auth::{Auth, Mode};
use crate::clock::SystemClock;
use crate::secret::Secret;
use crate::shutdown::{Trigger, channel};
use crate::source::Supervisor;
use crate::{net, random, rtsp};

const LOCALHOST: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// A server on `port` (0: a free one) and what it holds.
struct Server {
    port: u16,
    hub: Hub,
    stop: Trigger,
    running: tokio::task::JoinHandle<()>,
}

impl Server {
    fn start(port: u16, mode: Mode) -> Self {
        let sockets = rtsp::Sockets {
            tcp: net::listen_tcp(LOCALHOST, port, "--rtsp-port").unwrap(),
            tls: None,
            rtp: None,
        };
        let hub = Hub::new(Limits::default());
        let auth = Arc::new(Auth::new(mode, Vec::new()));
        let settings = rtsp::Settings::default();
        let streams = Supervisor::without_sources(&hub, &clock());
        let server = rtsp::Server::new(sockets, settings, streams, auth, clock(), random::bits).unwrap();
        let port = server.local_addr().unwrap().port();
        let (stop, shutdown) = channel();
        let running = tokio::spawn(server.run(shutdown.receiver()));
        Self {
            port,
            hub,
            stop,
            running,
        }
    }

    async fn stop(self) {
        self.stop.request();
        self.running.await.unwrap();
    }

    /// Waits until the stream has a frame.
    async fn sees_the_stream(&self) -> bool {
        let name = StreamName::default_stream();
        for _ in 0..500 {
            let stream = self.hub.stream(&name, Instant::now());
            if stream.is_ok_and(|stream| stream.newest_keyframe().is_some()) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

/// A hub with a stream of 30 frames a second, as a camera would make.
fn local_stream() -> (Hub, tokio::task::JoinHandle<()>) {
    let hub = Hub::new(Limits::default());
    let mut video = Video::new(testkit::stream::Settings::default());
    let stats = SessionStats::new(SessionInfo {
        stream: StreamName::default_stream(),
        role: Role::Publisher,
        protocol: "camera",
        remote: None,
        agent: None,
        since: SystemClock.wall(),
    });
    let publishing = Publishing {
        stats: Arc::new(stats),
        origin: Origin::Local { takeover: false },
        keyframe_requests: None,
    };
    let tracks = vec![video.track()];
    let mut publisher: Publisher = hub
        .publish(&StreamName::default_stream(), tracks, publishing, Instant::now())
        .unwrap();
    let frames = tokio::spawn(async move {
        let mut interval = tokio::time::interval(Duration::from_millis(33));
        loop {
            interval.tick().await;
            publisher
                .publish(video.next_frame(SystemClock.wall()), Instant::now())
                .unwrap();
        }
    });
    (hub, frames)
}

fn plan(port: u16, login: Option<&str>) -> Plan {
    let login = login.map(|token| crate::rtsp::client::Login {
        user: "publisher".to_owned(),
        password: token.to_owned(),
    });
    Plan {
        stream: StreamName::default_stream(),
        url: format!("rtsp://127.0.0.1:{port}/zerolatency").parse().unwrap(),
        settings: Settings {
            transport: crate::rtsp::client::Transport::Tcp,
            login,
            trust: crate::rtsp::client::Trust::default(),
            fingerprint_setting: "publish.fingerprint",
            connect_timeout: Duration::from_secs(2),
            clock: clock(),
            random: random::bits,
        },
        via: None,
    }
}

#[tokio::test]
async fn survives_the_server() {
    let (hub, _frames) = local_stream();
    let first = Server::start(0, Mode::Open);
    let port = first.port;
    let (stop, shutdown) = channel();
    let publishing = tokio::spawn(async move { keep_sending(&plan(port, None), &hub, &shutdown).await });
    assert!(first.sees_the_stream().await);
    first.stop().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!publishing.is_finished());
    let second = Server::start(port, Mode::Open);
    assert!(second.sees_the_stream().await);
    stop.request();
    assert!(publishing.await.unwrap().is_ok());
    second.stop().await;
}

#[tokio::test]
async fn waits_for_a_server_that_starts_later() {
    let (hub, _frames) = local_stream();
    let port = {
        let free = net::listen_tcp(LOCALHOST, 0, "--rtsp-port").unwrap();
        free.local_addr().unwrap().port()
    };
    let (_stop, shutdown) = channel();
    let publishing = tokio::spawn(async move { keep_sending(&plan(port, None), &hub, &shutdown).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let server = Server::start(port, Mode::Open);
    assert!(server.sees_the_stream().await);
    assert!(!publishing.is_finished());
    publishing.abort();
}

#[tokio::test]
async fn a_wrong_password_is_final_and_a_right_one_is_not() {
    let (hub, _frames) = local_stream();
    let server = Server::start(0, Mode::Single(Secret::new("right-one")));
    let (_stop, shutdown) = channel();
    for (login, says) in [
        (None, "wants a user and password"),
        (Some("wrong-one"), "wrong user or password"),
    ] {
        let error = keep_sending(&plan(server.port, login), &hub, &shutdown)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    let port = server.port;
    let publishing = tokio::spawn(async move { keep_sending(&plan(port, Some("right-one")), &hub, &shutdown).await });
    assert!(server.sees_the_stream().await);
    publishing.abort();
}

#[tokio::test]
async fn a_name_that_the_server_does_not_take_is_final() {
    let (hub, _frames) = local_stream();
    let server = Server::start(0, Mode::Open);
    let (_stop, shutdown) = channel();
    for (path, says) in [
        ("live/cam", "400 a stream name cannot start"),
        ("", "404 The URL names no stream"),
    ] {
        let mut plan = plan(server.port, None);
        plan.url = format!("rtsp://127.0.0.1:{}/{path}", server.port).parse().unwrap();
        let error = keep_sending(&plan, &hub, &shutdown).await.unwrap_err().to_string();
        assert!(
            error.contains(says) && !error.contains("the log of that server"),
            "{error}"
        );
    }
}
