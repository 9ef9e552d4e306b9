//! A server on loopback and peers that talk RTSP by hand.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Instant;

use media::hub::{Limits, Publisher};
use media::stats::{Role, SessionStats};
use media::{StreamName, TrackIndex};
use protocol::rtp::rtcp;
use testkit::publishing::publish;
use testkit::stream::Video;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::auth::Mode;
use crate::clock::SystemClock;
use crate::{net, random, tls};

const LOCALHOST: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
/// Longest wait for anything, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
/// Small, so that it is soon full.
const SOCKET_BYTES: usize = 4_096;

/// A server with a stream of two H.264 tracks.
struct World {
    port: u16,
    secure_port: u16,
    hub: Hub,
    publisher: Publisher,
    video: Video,
    _stop: watch::Sender<bool>,
}

impl World {
    fn start(session: server::Config) -> Self {
        let listener = small_listener();
        let folder: tls::OpenFolder = Arc::new(|| Err(crate::state::Error::NoPlace));
        let certificates = Certificates::own(folder, Vec::new, Arc::new(SystemClock));
        let sockets = Sockets {
            tcp: listener,
            tls: Some((small_listener(), certificates)),
            rtp: Some(net::bind_rtp_pair(LOCALHOST, [0, 0], "rtsp.rtp_port").unwrap()),
        };
        let hub = Hub::new(Limits::default());
        let auth = Arc::new(Auth::new(Mode::Open, Vec::new()));
        let settings = Settings {
            session,
            ..Settings::default()
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let streams = Supervisor::without_sources(&hub, &clock);
        let server = Server::new(sockets, settings, streams, auth, clock, random::bits).unwrap();
        let (port, secure_port) = (server.local_addr().unwrap().port(), server.secure_port().unwrap());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(server.run(stopped));
        let track = |index| {
            Video::new(testkit::stream::Settings {
                track: TrackIndex(index),
                ..Default::default()
            })
        };
        let (mut first, second) = (track(0), track(1));
        let tracks = vec![first.track(), second.track()];
        let mut publisher = publish(&hub, &StreamName::default_stream(), tracks, &SystemClock);
        publisher
            .publish(first.next_frame(SystemClock.wall()), SystemClock.now())
            .unwrap();
        Self {
            port,
            secure_port,
            hub,
            publisher,
            video: first,
            _stop: stop,
        }
    }

    fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/zerolatency", self.port)
    }

    fn viewers(&self) -> Vec<Arc<SessionStats>> {
        let stream = self
            .hub
            .stream(&StreamName::default_stream(), SystemClock.now())
            .unwrap();
        let sessions = stream.sessions().into_iter();
        sessions.filter(|stats| stats.info.role == Role::Viewer).collect()
    }

    async fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Its connections inherit small buffers.
fn small_listener() -> std::net::TcpListener {
    let listener = net::listen_tcp(LOCALHOST, 0, "--rtsp-port").unwrap();
    let options = socket2::SockRef::from(&listener);
    options.set_send_buffer_size(SOCKET_BYTES).unwrap();
    listener
}

trait Connected: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connected for T {}

async fn small_socket(port: u16) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SOCKET_BYTES as u32).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap()
}

/// A peer that writes requests and reads answers.
struct Peer {
    socket: Box<dyn Connected>,
    /// Numbers of the packets of channel 0, as they came.
    numbers: Vec<u16>,
    url: String,
    requests: u32,
    session: Option<String>,
    read: Vec<u8>,
}

impl Peer {
    async fn connect(world: &World) -> Self {
        let socket = small_socket(world.port).await;
        Self::new(Box::new(socket), world.url())
    }

    async fn connect_by_tls(world: &World) -> Self {
        let socket = tls::tests::connect(small_socket(world.secure_port).await, &[]).await;
        let url = format!("rtsps://127.0.0.1:{}/zerolatency", world.secure_port);
        Self::new(Box::new(socket), url)
    }

    fn new(socket: Box<dyn Connected>, url: String) -> Self {
        Self {
            socket,
            numbers: Vec::new(),
            url,
            requests: 0,
            session: None,
            read: Vec::new(),
        }
    }

    fn request(&mut self, method: &str, control: &str, headers: &str) -> String {
        self.requests += 1;
        let session = self.session.iter().map(|id| format!("Session: {id}\r\n"));
        let session: String = session.collect();
        let (url, number) = (&self.url, self.requests);
        format!("{method} {url}{control} RTSP/1.0\r\nCSeq: {number}\r\n{session}{headers}\r\n")
    }

    /// The answer to a request, past `$` frames.
    async fn ask(&mut self, method: &str, control: &str, headers: &str) -> String {
        let request = self.request(method, control, headers);
        self.socket.write_all(request.as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, self.answer()).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {method}"));
        if let Some(line) = answer.lines().find_map(|line| line.strip_prefix("Session: ")) {
            self.session = line.split(';').next().map(str::to_owned);
        }
        answer
    }

    async fn answer(&mut self) -> String {
        loop {
            if let [b'$', channel, high, low, ..] = self.read[..] {
                let end = 4 + usize::from(u16::from_be_bytes([high, low]));
                if self.read.len() >= end {
                    if channel == 0 {
                        assert!(end > 16 && self.read[4] == 0x80, "an RTP packet");
                        self.numbers.push(u16::from_be_bytes([self.read[6], self.read[7]]));
                    }
                    self.read.drain(..end);
                    continue;
                }
            } else if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let answer = self.read.drain(..end + 4).collect();
                return String::from_utf8(answer).unwrap();
            }
            let mut buffer = [0; 4_096];
            let length = self.socket.read(&mut buffer).await.unwrap();
            assert!(length > 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&buffer[..length]);
        }
    }

    async fn set_up(&mut self, track: usize, transport: &str) -> String {
        let transport = format!("Transport: {transport}\r\n");
        let answer = self.ask("SETUP", &format!("/trackID={track}"), &transport).await;
        assert!(answer.starts_with("RTSP/1.0 200"), "{answer}");
        answer
    }
}

#[tokio::test]
async fn a_viewer_over_udp_is_answered_while_it_plays() {
    let world = World::start(server::Config::default());
    let mut peer = Peer::connect(&world).await;
    let media = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let port = media.local_addr().unwrap().port();
    peer.set_up(0, &format!("RTP/AVP;unicast;client_port={port}-{}", port ^ 1))
        .await;
    for method in [
        "PLAY",
        "GET_PARAMETER",
        "OPTIONS",
        "SET_PARAMETER",
        "PLAY",
        "PAUSE",
        "PLAY",
        "GET_PARAMETER",
    ] {
        let answer = peer.ask(method, "", "").await;
        assert!(answer.starts_with("RTSP/1.0 200"), "{method}: {answer}");
        assert!(
            answer.contains(&format!("CSeq: {}\r\n", peer.requests)),
            "{method}: {answer}"
        );
    }
    let mut packet = [0; 2_048];
    media.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(media.recv(&mut packet).unwrap() > 12, "media came too");
}

/// Whoever asks and does not read is given up like one who asks too slowly, also when the last answer is to PLAY.
#[tokio::test]
async fn a_peer_that_does_not_read_its_answers_is_given_up_at_play() {
    let world = World::start(server::Config {
        request_timeout: Duration::from_secs(1),
        ..server::Config::default()
    });
    let mut peer = Peer::connect(&world).await;
    peer.set_up(0, "RTP/AVP/TCP;unicast;interleaved=0-1").await;
    let mut requests = peer.request("PLAY", "", "");
    for _ in 0..200 {
        requests += "OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n";
    }
    peer.socket.write_all(requests.as_bytes()).await.unwrap();
    world.wait_until("it plays", |world| !world.viewers().is_empty()).await;
    world.wait_until("it is gone", |world| world.viewers().is_empty()).await;
}

#[tokio::test]
async fn losses_of_all_tracks_are_counted() {
    let world = World::start(server::Config::default());
    let mut peer = Peer::connect(&world).await;
    let mut sources = Vec::new();
    for track in 0..2_u8 {
        let channels = format!("RTP/AVP/TCP;unicast;interleaved={}-{}", 2 * track, 2 * track + 1);
        let answer = peer.set_up(usize::from(track), &channels).await;
        let ssrc = answer.split("ssrc=").nth(1).unwrap();
        let ssrc = ssrc.split([';', '\r']).next().unwrap();
        sources.push((2 * track + 1, u32::from_str_radix(ssrc, 16).unwrap()));
    }
    peer.ask("PLAY", "", "").await;
    for (losses, sum) in [([5, 2], 7), ([5, 4], 9), ([8, 3], 12), ([8, 6], 14)] {
        for (&(channel, ssrc), lost) in sources.iter().zip(losses) {
            let block = rtcp::ReportBlock {
                ssrc,
                lost,
                ..rtcp::ReportBlock::default()
            };
            let mut report = vec![b'$', channel, 0, 0];
            rtcp::write_receiver_report(1, &[block], "peer", &mut report);
            let length = u16::try_from(report.len() - 4).unwrap();
            report[2..4].copy_from_slice(&length.to_be_bytes());
            peer.socket.write_all(&report).await.unwrap();
        }
        // Answered behind the reports.
        peer.ask("OPTIONS", "", "").await;
        assert_eq!(world.viewers()[0].packets_lost.get(), sum, "{losses:?}");
    }
}

/// Nothing else tells that a peer is gone when all it gets are datagrams.
#[tokio::test]
async fn a_viewer_over_udp_lives_as_long_as_it_reports() {
    let world = World::start(server::Config {
        session_timeout: Duration::from_secs(1),
        ..server::Config::default()
    });
    let reports = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let port = reports.local_addr().unwrap().port();
    let mut peer = Peer::connect(&world).await;
    let answer = peer
        .set_up(0, &format!("RTP/AVP;unicast;client_port={}-{port}", port ^ 1))
        .await;
    let to = answer.split("server_port=").nth(1).unwrap();
    let to = to.split([';', '\r']).next().unwrap().split('-').nth(1).unwrap();
    let to = (Ipv4Addr::LOCALHOST, to.parse::<u16>().unwrap());
    peer.ask("PLAY", "", "").await;
    let mut report = Vec::new();
    rtcp::write_receiver_report(1, &[], "peer", &mut report);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        reports.send_to(&report, to).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.viewers().len(), 1, "after {:?}", begun.elapsed());
    }
    world.wait_until("it is gone", |world| world.viewers().is_empty()).await;
}

/// By TLS there is one stream of bytes more between a frame and its packets: what waits sealed must go out before anything else, and a viewer
/// that reads slowly must be moved on like any other.
#[tokio::test]
async fn who_reads_slowly_by_tls_gets_whole_packets_and_its_answers() {
    let mut world = World::start(server::Config::default());
    let mut peer = Peer::connect_by_tls(&world).await;
    let refused = "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n";
    let answer = peer.ask("SETUP", "/trackID=0", refused).await;
    assert!(
        answer.starts_with("RTSP/1.0 461"),
        "beside the connection nothing is encrypted: {answer}"
    );
    peer.set_up(0, "RTP/AVP/TCP;unicast;interleaved=0-1").await;
    peer.ask("PLAY", "", "").await;
    assert_eq!(world.viewers()[0].info.protocol, "RTSPS");
    // Far more than all buffers take.
    for _ in 0..3 {
        for _ in 0..60 {
            let frame = world.video.next_frame(SystemClock.wall());
            world.publisher.publish(frame, SystemClock.now()).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world
            .wait_until("it is blocked", |world| world.viewers()[0].waiting_bytes.get() > 0)
            .await;
        let answer = peer.ask("OPTIONS", "", "").await;
        assert!(answer.contains(&format!("CSeq: {}\r\n", peer.requests)), "{answer}");
    }
    let numbers = &peer.numbers;
    assert!(numbers.len() > 30, "{} packets", numbers.len());
    for pair in numbers.windows(2) {
        assert_eq!(pair[0].wrapping_add(1), pair[1], "none is lost between");
    }
    let answer = peer.ask("TEARDOWN", "", "").await;
    assert!(answer.starts_with("RTSP/1.0 200"), "{answer}");
}

/// Whoever connects to the port of RTSPS and does not speak TLS, or stops in the middle, costs nothing but its connection.
#[tokio::test]
async fn no_tls_on_the_port_of_rtsps_is_the_end() {
    let world = World::start(server::Config::default());
    for said in [
        &b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"[..],
        &[0; 64],
        &[22, 3, 1, 255, 255, 1],
    ] {
        let mut socket = small_socket(world.secure_port).await;
        socket.write_all(said).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let reading = socket.read_to_end(&mut answer);
        let _ = tokio::time::timeout(PATIENCE, reading).await.expect("it is closed");
        assert!(!answer.starts_with(b"RTSP"));
    }
    let mut peer = Peer::connect_by_tls(&world).await;
    let answer = peer.ask("OPTIONS", "", "").await;
    assert!(answer.starts_with("RTSP/1.0 200"), "others are served: {answer}");
}

/// What every connection holds, besides what its role needs: on it a viewer's memory hangs, and one line that waits for something large doubles it.
#[test]
fn a_connection_is_small() {
    fn size<A, B, C, D, E, F>(_: fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }
    let bytes = size(connected);
    assert!(bytes <= 4_096, "{bytes} bytes a connection");
}
