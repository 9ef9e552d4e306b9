//! Sessions over loopback against str0m's client side: what one that is slow, gone or wrong costs the others.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use media::hub::{Limits, Publisher};
use media::stats::{Role, SessionStats};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use testkit::publishing::publish;
use testkit::stream::{Settings as VideoSettings, Video};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use super::*;
use crate::clock::SystemClock;
use crate::net;
use crate::shutdown;
use crate::source::Supervisor;

/// Longest wait for anything, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    service: Arc<Service>,
    hub: Hub,
    publisher: Publisher,
    video: Video,
    _stop: shutdown::Trigger,
}

impl World {
    /// A stream of 60 pictures a second, so large that the buffers of a connection are full in a moment.
    fn new(video: VideoSettings) -> Self {
        let hub = Hub::new(Limits {
            lag: Duration::from_millis(500),
            ..Limits::default()
        });
        let host = Some(Ipv4Addr::LOCALHOST.into());
        let sockets = Sockets {
            udp: net::bind_udp(host, 0, "--ice-port").unwrap(),
            tcp: net::listen_tcp(host, 0, "--ice-port").unwrap(),
        };
        let settings = Settings {
            host,
            shards: 1,
            ..Settings::default()
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let streams = Supervisor::without_sources(&hub, &clock);
        let service = Service::new(sockets, settings, streams, clock, crate::random::bits).unwrap();
        let (stop, requested) = shutdown::channel();
        tokio::spawn(Arc::clone(&service).run(requested));
        let video = Video::new(video);
        let publisher = publish(&hub, &"cam".parse().unwrap(), vec![video.track()], &SystemClock);
        Self {
            service,
            hub,
            publisher,
            video,
            _stop: stop,
        }
    }

    async fn play(&mut self, frames: usize) {
        for _ in 0..frames {
            let frame = self.video.next_frame(SystemClock.wall());
            self.publisher.publish(frame, SystemClock.now()).unwrap();
            tokio::time::sleep(Duration::from_micros(self.video.interval_us())).await;
        }
    }

    /// A client's offer, answered: our name and theirs in ICE.
    async fn answered(&self, rtc: &mut Rtc, keep: &str) -> String {
        let mut api = rtc.sdp_api();
        api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        let asked = Asked {
            stream: "cam".parse().unwrap(),
            offer: offer.to_sdp_string().into(),
            remote: Ipv4Addr::LOCALHOST.into(),
            agent: Some("test".into()),
            query: None,
            grant: None,
            at_once: false,
            came_through: Vec::new(),
        };
        let Ok(created) = self.service.view(asked).await else {
            panic!("no session")
        };
        let kept = |line: &&str| !line.starts_with("a=candidate:") || line.contains(keep);
        let sdp: String = created
            .sdp
            .lines()
            .filter(kept)
            .map(|line| format!("{line}\r\n"))
            .collect();
        let answer = SdpAnswer::from_sdp_string(&sdp).unwrap();
        rtc.sdp_api().accept_answer(pending, answer).unwrap();
        let ours = (sdp.lines()).find_map(|line| line.strip_prefix("a=ice-ufrag:"));
        format!("{}:{}", ours.unwrap(), rtc.direct_api().local_ice_credentials().ufrag)
    }

    fn viewers(&self) -> Vec<Arc<SessionStats>> {
        let stream = self.hub.stream(&"cam".parse().unwrap(), SystemClock.now()).unwrap();
        let sessions = stream.sessions().into_iter();
        sessions.filter(|session| session.info.role == Role::Viewer).collect()
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !wanted(self) {
            assert!(begun.elapsed() < PATIENCE, "never {what}");
            self.play(1).await;
        }
    }
}

/// What a client tells, and is told.
#[derive(Default)]
struct Shared {
    /// RTP packets that came.
    packets: AtomicUsize,
    /// It takes nothing out of its socket.
    paused: AtomicBool,
}

struct Client {
    shared: Arc<Shared>,
    /// What a request of this session is named.
    ice_name: String,
    task: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    fn packets(&self) -> usize {
        self.shared.packets.load(Relaxed)
    }

    async fn by_udp(world: &World) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let local = socket.local_addr().unwrap();
        let mut rtc = client();
        rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        let ice_name = world.answered(&mut rtc, " udp ").await;
        let shared = Arc::new(Shared::default());
        let counting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 2_000];
            loop {
                let until = step(&mut rtc, &counting, |to, bytes| drop(socket.try_send_to(bytes, to)));
                tokio::select! {
                    came = socket.recv_from(&mut buffer) => {
                        let (length, from) = came.unwrap();
                        take(&mut rtc, Protocol::Udp, from, local, &buffer[..length]);
                    }
                    () = tokio::time::sleep_until(until.into()) => rtc.handle_input(Input::Timeout(Instant::now())).unwrap(),
                }
            }
        });
        Self { shared, ice_name, task }
    }

    async fn by_tcp(world: &World) -> Self {
        let to = world.service.tcp.local_addr().unwrap();
        let mut socket = TcpStream::connect(to).await.unwrap();
        let local = socket.local_addr().unwrap();
        let mut rtc = client();
        let candidate = Candidate::builder().tcp().host(local).tcptype(TcpType::Active).build();
        rtc.add_local_candidate(candidate.unwrap());
        let ice_name = world.answered(&mut rtc, " tcp ").await;
        let shared = Arc::new(Shared::default());
        let counting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let (mut buffer, mut waiting) = (vec![0; 65_536], Vec::new());
            loop {
                let until = step(&mut rtc, &counting, |_, bytes| {
                    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                    // Little is sent, so it always fits.
                    drop(socket.try_write(&[&length[..], bytes].concat()));
                });
                let paused = counting.paused.load(Relaxed);
                tokio::select! {
                    came = socket.read(&mut buffer), if !paused => {
                        waiting.extend_from_slice(&buffer[..came.unwrap()]);
                        while let Some(&[high, low]) = waiting.first_chunk::<2>() {
                            let end = 2 + usize::from(u16::from_be_bytes([high, low]));
                            if waiting.len() < end { break }
                            take(&mut rtc, Protocol::Tcp, to, local, &waiting[2..end]);
                            waiting.drain(..end);
                        }
                    }
                    () = tokio::time::sleep_until(until.min(Instant::now() + Duration::from_millis(20)).into()) => {
                        rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
                    }
                }
            }
        });
        Self { shared, ice_name, task }
    }
}

fn client() -> Rtc {
    let crypto = Arc::new(str0m::crypto::from_feature_flags());
    RtcConfig::new()
        .set_crypto_provider(crypto)
        .set_rtp_mode(true)
        .build(Instant::now())
}

fn take(rtc: &mut Rtc, protocol: Protocol, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
    let received = Receive::new(protocol, from, to, bytes).unwrap();
    rtc.handle_input(Input::Receive(Instant::now(), received)).unwrap();
}

/// Sends what is to be sent, counts what came, and says until when nothing is to be done.
fn step(rtc: &mut Rtc, shared: &Shared, mut send: impl FnMut(SocketAddr, &[u8])) -> Instant {
    loop {
        match rtc.poll_output().unwrap() {
            Output::Timeout(at) => return at.min(Instant::now() + Duration::from_secs(1)),
            Output::Transmit(transmit) => send(transmit.destination, &transmit.contents),
            Output::Event(Event::RtpPacket(_)) => {
                shared.packets.fetch_add(1, Relaxed);
            }
            Output::Event(_) => {}
        }
    }
}

/// 60 pictures a second of 30 KB: 14 Mb/s, a keyframe every half second.
fn large() -> VideoSettings {
    VideoSettings {
        fps: 60,
        gop_frames: 30,
        idr_bytes: 60_000,
        frame_bytes: 30_000,
        ..VideoSettings::default()
    }
}

#[tokio::test]
async fn a_viewer_that_takes_nothing_jumps_and_disturbs_nobody() {
    let mut world = World::new(large());
    world.play(1).await;
    let (slow, quick) = (Client::by_tcp(&world).await, Client::by_udp(&world).await);
    world
        .until("connected", |_| slow.packets() > 0 && quick.packets() > 0)
        .await;
    let stats = |world: &World, protocol: &str| {
        let viewers = world.viewers();
        viewers
            .into_iter()
            .find(|viewer| viewer.info.protocol == protocol)
            .unwrap()
    };
    let (slows, quicks) = (stats(&world, "WebRTC/TCP"), stats(&world, "WebRTC"));
    slow.shared.paused.store(true, Relaxed);
    // Until its buffers and the kernel's are full, and then for longer than a viewer may be behind.
    let sent = |stats: &SessionStats| stats.frames.get();
    let mut before = sent(&slows);
    loop {
        world.play(30).await;
        let now = sent(&slows);
        if now == before {
            break;
        }
        before = now;
    }
    let (at, came) = (sent(&quicks), quick.packets());
    world.play(90).await;
    assert_eq!(sent(&slows), before, "nothing is sent to who takes nothing");
    assert!(sent(&quicks) >= at + 85, "{} of 90 frames", sent(&quicks) - at);
    assert!(quick.packets() > came + 1_500, "{} packets", quick.packets() - came);
    slow.shared.paused.store(false, Relaxed);
    world.until("going on", |_| sent(&slows) > before + 60).await;
    assert!(slows.jumps.get() >= 1 && slows.frames_dropped.get() > 30, "{slows:?}");
    assert_eq!((quicks.jumps.get(), quicks.frames_dropped.get()), (0, 0));
}

#[tokio::test]
async fn viewers_are_counted_while_they_are_there() {
    let mut world = World::new(VideoSettings::default());
    world.play(1).await;
    let clients = [Client::by_udp(&world).await, Client::by_udp(&world).await];
    world.until("two viewers", |world| world.viewers().len() == 2).await;
    world
        .until("pictures", |_| clients.iter().all(|client| client.packets() > 20))
        .await;
    assert!(
        world
            .viewers()
            .iter()
            .all(|viewer| viewer.info.agent.as_deref() == Some("test"))
    );
    let [first, second] = clients;
    // Killed: it says nothing, and is not heard of again.
    drop(first);
    world.hub.end(&"cam".parse().unwrap());
    let begun = Instant::now();
    while world.service.sessions.len() > 0 {
        assert!(begun.elapsed() < PATIENCE, "sessions outlive their stream");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(second);
}

#[tokio::test]
async fn noise_on_the_port_is_nobodys() {
    let mut world = World::new(VideoSettings::default());
    world.play(1).await;
    let client = Client::by_udp(&world).await;
    world.until("pictures", |_| client.packets() > 5).await;
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, world.service.port()));
    let mut rng = fastrand::Rng::with_seed(1);
    for number in 0..2_000_usize {
        let mut bytes: Vec<u8> = (0..rng.usize(0..1_400)).map(|_| rng.u8(..)).collect();
        // Such as STUN, DTLS and RTP begin with.
        if let Some(first) = bytes.first_mut() {
            *first = [0, 1, 20, 22, 128, 144][number % 6];
        }
        let _ = stranger.send_to(&bytes, to).await;
    }
    let came = client.packets();
    world
        .until("pictures after the noise", |_| client.packets() > came + 20)
        .await;
    let mut answer = [0; 100];
    assert!(stranger.try_recv_from(&mut answer).is_err(), "a stranger is answered");
    // By TCP a stranger has to name its session first, and at once.
    let mut connection = TcpStream::connect(world.service.tcp.local_addr().unwrap())
        .await
        .unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut connection, &[0, 3, 1, 2, 3])
        .await
        .unwrap();
    let closed = tokio::time::timeout(PATIENCE, connection.read(&mut answer))
        .await
        .unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

/// A request of STUN under this name, whose integrity nobody could have made without the password (RFC 8489 §5, §14; RFC 8445 §7.1).
fn forged_check(name: &str) -> Vec<u8> {
    let mut padded = name.as_bytes().to_vec();
    padded.resize(name.len().next_multiple_of(4), 0);
    let attribute = |kind: u16, length: usize, value: &[u8]| {
        [&kind.to_be_bytes()[..], &(length as u16).to_be_bytes(), value].concat()
    };
    let attributes = [
        attribute(0x0006, name.len(), &padded),
        attribute(0x0025, 0, &[]),
        attribute(0x0024, 4, &[0x7f; 4]),
        attribute(0x0008, 20, &[5; 20]),
    ]
    .concat();
    let mut check = vec![0, 1];
    check.extend((attributes.len() as u16).to_be_bytes());
    check.extend([0x21, 0x12, 0xa4, 0x42]);
    check.extend([9; 12]);
    check.extend(attributes);
    check
}

/// A `ClientHello` of DTLS 1.2 (RFC 6347 §4.2), which any server answers that takes it.
fn client_hello() -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend([3; 32]);
    // No session, no cookie, one suite, no compression.
    body.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let length = (body.len() as u32).to_be_bytes();
    let mut message = vec![1, length[1], length[2], length[3], 0, 0, 0, 0, 0];
    message.extend(&length[1..]);
    message.extend(body);
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    record
}

/// Somebody who saw the name of a session begins its handshake before its own client does. He is not heard, and the client notices nothing.
#[tokio::test]
async fn who_begins_somebody_elses_handshake_is_not_heard() {
    let mut world = World::new(VideoSettings::default());
    world.play(1).await;
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, world.service.port()));
    stranger.writable().await.unwrap();
    let client = Client::by_udp(&world).await;
    // The client's task has not run yet: all of this is there before its first word.
    for _ in 0..20 {
        for datagram in [client_hello(), forged_check(&client.ice_name), client_hello()] {
            stranger.try_send_to(&datagram, to).unwrap();
        }
    }
    assert_eq!(client.packets(), 0);
    world.until("pictures", |_| client.packets() > 20).await;
    let mut answer = [0; 1_500];
    while let Ok((length, _)) = stranger.try_recv_from(&mut answer) {
        // An error of STUN (RFC 8489 §6.3.1) tells him nothing.
        assert_eq!(answer[..2], [1, 0x11], "{:?}", &answer[..length]);
    }
}
