//! Streams sent on over loopback, to servers of ours.

use std::net::Ipv4Addr;
use std::time::Instant;

use media::hub::{Limits, Publisher};
use testkit::ports::free as free_port;
use testkit::stream::{Settings as VideoSettings, Video};
use tokio::task::JoinHandle;

use super::*;
use crate::auth::Mode;
use crate::clock::SystemClock;
use crate::random;
use crate::secret::Secret;
use crate::shutdown::{self, Trigger};
use crate::source::tests::{Camera as Server, by_tls, clock, film, name, publisher, until};

/// Who sends on.
struct Sending {
    forwarder: Arc<Forwarder>,
    hub: Hub,
    stop: Trigger,
    running: JoinHandle<()>,
}

type Named<'a> = &'a [(&'a str, String)];

fn settings(tables: Named<'_>) -> BTreeMap<StreamKey, settings::Stream> {
    let table = |(key, text): &(&str, String)| (key.parse().unwrap(), toml::from_str(text).unwrap());
    tables.iter().map(table).collect()
}

impl Sending {
    fn start(tables: Named<'_>) -> Self {
        let hub = Hub::new(Limits {
            hold: Duration::from_millis(300),
            ..Limits::default()
        });
        let world = World {
            hub: hub.clone(),
            clock: clock(),
            random: random::bits,
        };
        let (stop, stopped) = shutdown::channel();
        let forwarder = Forwarder::new(world, stopped);
        forwarder.set(&settings(tables));
        let running = tokio::spawn(Arc::clone(&forwarder).run());
        let ticking = hub.clone();
        tokio::spawn(async move {
            loop {
                ticking.poll(SystemClock.now());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self {
            forwarder,
            hub,
            stop,
            running,
        }
    }

    fn publish(&self, stream: &str) -> JoinHandle<()> {
        let video = video();
        tokio::spawn(film(publisher(&self.hub, stream, &video), video))
    }

    fn report(&self, to: &str) -> Option<Report> {
        let reports = self.forwarder.reports();
        reports.into_iter().find(|report| report.to.ends_with(to))
    }

    fn runs(&self, to: &str) -> bool {
        let report = self.report(to);
        report.is_some_and(|report| matches!(report.state, State::Running { .. }))
    }

    /// Why the target waits.
    fn why(&self, to: &str) -> Option<Why> {
        match self.report(to)?.state {
            State::Waiting { why, .. } => Some(why),
            _ => None,
        }
    }
}

fn video() -> Video {
    Video::new(VideoSettings {
        gop_frames: 10,
        ..VideoSettings::default()
    })
}

fn forward(urls: &[String]) -> String {
    format!("forward = {urls:?}")
}

fn url(port: u16, path: &str) -> String {
    format!("rtsp://127.0.0.1:{port}/{path}")
}

/// Frames that a server has of a stream.
fn frames(server: &Server, stream: &str) -> u64 {
    let stream = server.hub.stream(&name(stream), SystemClock.now());
    let publisher = stream.ok().and_then(|stream| stream.publisher());
    publisher.map_or(0, |stats| stats.frames.get())
}

#[tokio::test]
async fn sends_while_the_stream_is_there() {
    let server = Server::start(0, Mode::Open);
    let sending = Sending::start(&[("garden", forward(&[url(server.port, "copy")]))]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(sending.report("/copy").unwrap().state, State::Idle);
    let filming = sending.publish("garden");
    until("sent on", || frames(&server, "copy") > 20).await;
    assert!(sending.runs("/copy"));
    let report = sending.report("/copy").unwrap();
    assert!(report.totals.frames > 20 && report.totals.bytes > 0 && report.at.is_some());
    // What is sent on is no viewer: a source on demand would never end.
    let stream = sending.hub.stream(&name("garden"), SystemClock.now()).unwrap();
    assert_eq!(stream.viewers(), 0);
    filming.abort();
    until("over", || sending.report("/copy").unwrap().state == State::Idle).await;
    until("the server was told", || {
        let copy = server.hub.stream(&name("copy"), SystemClock.now());
        copy.is_err() || copy.is_ok_and(|copy| copy.publisher().is_none())
    })
    .await;
    let _again = sending.publish("garden");
    until("back", || sending.runs("/copy")).await;
    let before = frames(&server, "copy");
    until("sent on", || frames(&server, "copy") > before + 10).await;
    sending.stop.request();
    sending.running.await.unwrap();
    until("left", || {
        let copy = server.hub.stream(&name("copy"), SystemClock.now());
        copy.is_err() || copy.is_ok_and(|copy| copy.publisher().is_none())
    })
    .await;
}

#[tokio::test]
async fn a_target_that_is_away_is_nobody_elses_trouble() {
    let server = Server::start(0, Mode::Open);
    let port = free_port();
    let urls = [url(server.port, "here"), url(port, "away")];
    let sending = Sending::start(&[("garden", forward(&urls))]);
    let _filming = sending.publish("garden");
    until("sent on", || frames(&server, "here") > 20).await;
    until("waits", || sending.why("/away").is_some()).await;
    let why = sending.why("/away").unwrap();
    assert!(
        why.detail.starts_with(&format!("cannot connect to 127.0.0.1:{port}")) && !why.lasting,
        "{why:?}"
    );
    let since = sending.report("/here").unwrap().state;
    let other = Server::start(port, Mode::Open);
    until("there", || frames(&other, "away") > 5).await;
    drop(other);
    until("away again", || sending.why("/away").is_some()).await;
    let _other = Server::start(port, Mode::Open);
    until("there again", || sending.runs("/away")).await;
    assert_eq!(sending.report("/here").unwrap().state, since, "untouched");
}

#[tokio::test]
async fn a_change_touches_the_targets_it_concerns() {
    let server = Server::start(0, Mode::Open);
    let to = |path: &str| url(server.port, path);
    let sending = Sending::start(&[
        ("garden", forward(&[to("kept"), to("dropped")])),
        ("yard", forward(&[to("shed")])),
    ]);
    let _filming = (sending.publish("garden"), sending.publish("yard"));
    for path in ["kept", "dropped", "shed"] {
        until(path, || sending.runs(path)).await;
    }
    let before = ["/kept", "/shed"].map(|path| sending.report(path).unwrap().state);
    sending.forwarder.set(&settings(&[
        ("garden", forward(&[to("new"), to("kept")])),
        ("yard", forward(&[to("shed")])),
    ]));
    until("new", || sending.runs("/new")).await;
    let after = ["/kept", "/shed"].map(|path| sending.report(path).unwrap().state);
    assert_eq!(before, after, "untouched");
    assert!(sending.report("/dropped").is_none());
    until("left", || {
        let dropped = server.hub.stream(&name("dropped"), SystemClock.now());
        dropped.map_or(true, |dropped| dropped.publisher().is_none())
    })
    .await;
}

#[tokio::test]
async fn an_expression_sends_on_what_it_finds() {
    let server = Server::start(0, Mode::Open);
    let sending = Sending::start(&[("~^floor(\\\\d+)$".replace("\\\\", "\\").as_str(), {
        forward(&[url(server.port, "house/$1")])
    })]);
    assert!(sending.forwarder.reports().is_empty());
    let filming = sending.publish("floor3");
    let _other = sending.publish("roof");
    until("sent on", || frames(&server, "house/3") > 5).await;
    assert_eq!(sending.forwarder.reports().len(), 1);
    filming.abort();
    until("forgotten", || sending.forwarder.reports().is_empty()).await;
}

#[tokio::test]
async fn by_tls_and_with_a_login_that_is_shown_nowhere() {
    let server = Server::start(0, Mode::Single(Secret::new("canary")));
    let (port, fingerprint) = by_tls(server.port).await;
    let secure = |path: &str| format!("rtsps://publisher:canary@127.0.0.1:{port}/{path}");
    let wrong = format!("rtsp://publisher:canarybird@127.0.0.1:{}/wrong", server.port);
    let right = format!(
        "{}\nforward_fingerprint = \"{fingerprint}\"",
        forward(&[secure("right")])
    );
    let sending = Sending::start(&[
        ("one", right),
        ("two", forward(&[secure("unknown")])),
        ("three", forward(&[wrong])),
    ]);
    let _filming = ["one", "two", "three"].map(|stream| sending.publish(stream));
    until("sent on", || frames(&server, "right") > 5).await;
    until("refused", || {
        sending.why("/unknown").is_some() && sending.why("/wrong").is_some()
    })
    .await;
    let why = sending.why("/unknown").unwrap();
    let plain = fingerprint.replace(':', "").to_lowercase();
    assert!(
        why.detail.ends_with(&format!("set forward_fingerprint = \"{plain}\"")) && why.lasting,
        "{why:?}"
    );
    let why = sending.why("/wrong").unwrap();
    assert!(
        why.detail.starts_with("wrong user or password") && why.lasting,
        "{why:?}"
    );
    assert!(!format!("{:?}", sending.forwarder.reports()).contains("canary"));
}

/// A server that takes the stream and then reads nothing more.
async fn stalling(behind: u16) -> u16 {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut plain = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, behind))
                    .await
                    .unwrap();
                let relay = tokio::io::copy_bidirectional(&mut socket, &mut plain);
                let _ = tokio::time::timeout(Duration::from_secs(1), relay).await;
                std::future::pending::<()>().await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_target_that_stalls_slows_nothing() {
    let server = Server::start(0, Mode::Open);
    let stalls = stalling(server.port).await;
    let urls = [url(server.port, "well"), url(stalls, "stalls")];
    let sending = Sending::start(&[("garden", forward(&urls))]);
    // 40 MB a second: what the sockets hold is full soon.
    let large = Video::new(VideoSettings {
        gop_frames: 10,
        idr_bytes: 2_000_000,
        frame_bytes: 400_000,
        ..VideoSettings::default()
    });
    let publisher: Publisher = publisher(&sending.hub, "garden", &large);
    let _filming = tokio::spawn(film(publisher, large));
    until("both", || sending.runs("/well") && sending.runs("/stalls")).await;
    let sent = |to: &str| sending.report(to).unwrap().totals.frames;
    let stuck = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let before = sent("/stalls");
            tokio::time::sleep(Duration::from_millis(500)).await;
            if sent("/stalls") == before {
                return;
            }
        }
    });
    assert!(stuck.await.is_ok(), "it stalls");
    let (begun, before) = (Instant::now(), sent("/well"));
    until("sent on", || sent("/well") >= before + 25).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "as fast as it comes");
}
