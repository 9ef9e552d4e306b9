//! One shard and viewers whose connections take no more, with a clock that stands still.

use std::sync::atomic::AtomicBool;

use media::StreamName;
use media::hub::{Hub, Limits, Origin, Publisher, Publishing};
use media::stats::{Role, SessionInfo, SessionStats};
use testkit::clock::SimClock;
use testkit::stream::{Settings, Video};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::super::viewer::{Outlet, Route, Tcp};
use super::super::wire::Wire;
use super::*;

/// Small, so that it is soon full.
const SOCKET_BYTES: usize = 4_096;
/// A connection that is not writable for this long is full: nobody reads it meanwhile.
const FULL_AFTER: Duration = Duration::from_millis(100);

/// Longest wait for anything, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream of small pictures, and a shard of its viewers.
struct World {
    clock: SimClock,
    stream: Arc<Stream>,
    forms: Arc<Forms>,
    publisher: Publisher,
    video: Video,
    _hub: Hub,
}

fn stats(role: Role) -> Arc<SessionStats> {
    Arc::new(SessionStats::new(SessionInfo {
        stream: StreamName::default_stream(),
        role,
        protocol: "test",
        remote: None,
        agent: None,
        since: SimClock::START,
    }))
}

impl World {
    fn new() -> Self {
        let clock = SimClock::new();
        let hub = Hub::new(Limits::default());
        let video = Video::new(Settings {
            idr_bytes: 64,
            frame_bytes: 32,
            ..Settings::default()
        });
        let publishing = Publishing {
            stats: stats(Role::Publisher),
            origin: Origin::Remote,
            keyframe_requests: None,
        };
        let name = StreamName::default_stream();
        let publisher = hub
            .publish(&name, vec![video.track()], publishing, clock.now())
            .unwrap();
        let stream = hub.stream(&name, clock.now()).unwrap();
        let forms = Arc::new(Forms::new(&stream, || 7));
        Self {
            clock,
            stream,
            forms,
            publisher,
            video,
            _hub: hub,
        }
    }

    fn publish(&mut self) {
        let frame = self.video.next_frame(self.clock.wall());
        self.publisher.publish(frame, self.clock.advance_ms(33)).unwrap();
    }

    fn task(&self) -> (Task, mpsc::UnboundedSender<Message>) {
        let (inbox, messages) = mpsc::unbounded_channel();
        let reader = self.stream.join(self.clock.now()).unwrap();
        let clock = Arc::new(self.clock.clone());
        (Task::new(reader, self.forms.clone(), messages, clock), inbox)
    }

    fn viewer(&self, wire: &Arc<Wire>) -> (Box<Viewer>, oneshot::Receiver<End>) {
        let (end, ended) = oneshot::channel();
        let outlet = Outlet {
            track: TrackIndex(0),
            route: Route::Channels { rtp: 0, rtcp: 1 },
            sequence: None,
            packets: 0,
            bytes: 0,
        };
        let viewer = Viewer {
            transport: Transport::Tcp(Tcp::new(wire.clone())),
            outlets: vec![outlet],
            burst: None,
            place: Place::InStep,
            stats: stats(Role::Viewer),
            blocked_since: None,
            end: Some(end),
            next_report: self.clock.now() + REPORT_INTERVAL,
            cname: Arc::from("test"),
        };
        (Box::new(viewer), ended)
    }
}

fn seated(id: u64, viewer: Box<Viewer>, viewers: &Arc<AtomicUsize>) -> Message {
    Message::Join(Seated {
        id,
        viewer,
        _counted: Counted::new(viewers),
    })
}

/// Our side of a connection with small buffers, and the peer's.
async fn connection() -> (Arc<Wire>, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let small = |socket: socket2::SockRef<'_>| {
        socket.set_send_buffer_size(SOCKET_BYTES).unwrap();
        socket.set_recv_buffer_size(SOCKET_BYTES).unwrap();
    };
    small(socket2::SockRef::from(&listener));
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    small(socket2::SockRef::from(&peer));
    let (ours, _) = listener.accept().await.unwrap();
    (Arc::new(Wire::plain(ours)), peer)
}

/// Writes until the connection takes nothing more. Returns how many bytes it took.
async fn fill(wire: &Wire) -> usize {
    let mut filled = 0;
    while tokio::time::timeout(FULL_AFTER, wire.writable()).await.is_ok() {
        filled += wire.try_write(&[0; 1_024]).unwrap_or(0);
    }
    filled
}

async fn turn(task: &mut Task) {
    poll_fn(|cx| {
        assert!(task.turn(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Channel and payload of the first `$` frame in `bytes`, which is cut off; `None` when it is not whole yet.
fn cut_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let &[dollar, channel, high, low, ..] = bytes.as_slice() else {
        return None;
    };
    assert_eq!(dollar, b'$', "not a frame: {bytes:02x?}");
    let end = 4 + usize::from(u16::from_be_bytes([high, low]));
    (bytes.len() >= end).then(|| (channel, bytes.drain(..end).skip(4).collect()))
}

#[tokio::test]
async fn a_report_that_had_to_wait_goes_out_whole_and_before_the_next_frame() {
    let mut world = World::new();
    let (mut task, inbox) = world.task();
    let (ours, mut peer) = connection().await;
    let (viewer, _ended) = world.viewer(&ours);
    let stats = viewer.stats.clone();
    inbox.send(seated(1, viewer, &Arc::default())).unwrap();
    world.publish();
    turn(&mut task).await;
    let before = usize::try_from(stats.bytes.get()).unwrap() + fill(&ours).await;
    world.clock.advance(REPORT_INTERVAL);
    task.tick();
    for _ in 0..3 {
        world.publish();
        turn(&mut task).await;
    }
    let begun = Instant::now();
    let mut skipped = 0;
    let mut read = Vec::new();
    let mut frames = Vec::new();
    while frames.len() < 4 {
        turn(&mut task).await;
        assert!(begun.elapsed() < PATIENCE, "after {frames:?}");
        let mut buffer = [0; 65_536];
        // Room in the connection wakes nobody here: turns are the test's.
        let read_now = tokio::time::timeout(Duration::from_millis(5), peer.read(&mut buffer));
        let Ok(length) = read_now.await else { continue };
        let length = length.unwrap();
        let skip = length.min(before - skipped);
        skipped += skip;
        read.extend_from_slice(&buffer[skip..length]);
        frames.extend(std::iter::from_fn(|| cut_frame(&mut read)));
    }
    let channels: Vec<_> = frames.iter().map(|(channel, _)| *channel).collect();
    assert_eq!(channels, [1, 0, 0, 0], "the report, then the frames");
    assert!(protocol::rtp::rtcp::parse(&frames[0].1).is_ok_and(|packets| !packets.is_empty()));
    let sequence = |frame: &(u8, Vec<u8>)| protocol::rtp::Packet::parse(&frame.1).unwrap().header.sequence;
    let numbers: Vec<_> = frames[1..].iter().map(sequence).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)),
        "{numbers:?}"
    );
}

#[tokio::test]
async fn a_viewer_that_does_not_take_an_answer_is_ended_as_one_that_takes_no_frame() {
    let mut world = World::new();
    let (mut task, inbox) = world.task();
    let (ours, _peer) = connection().await;
    let (viewer, mut ended) = world.viewer(&ours);
    inbox.send(seated(1, viewer, &Arc::default())).unwrap();
    world.publish();
    turn(&mut task).await;
    fill(&ours).await;
    inbox
        .send(Message::Answer(1, Bytes::from_static(b"RTSP/1.0 200 OK\r\n\r\n")))
        .unwrap();
    turn(&mut task).await;
    world.clock.advance(STALL_LIMIT / 2);
    turn(&mut task).await;
    task.tick();
    assert!(ended.try_recv().is_err(), "too early");
    world.clock.advance(STALL_LIMIT);
    task.tick();
    assert_eq!(ended.try_recv(), Ok(End::Stalled));
}

/// Panics when told to.
struct Trap {
    clock: SimClock,
    armed: AtomicBool,
}

impl Clock for Trap {
    fn now(&self) -> Instant {
        assert!(!self.armed.load(Relaxed), "as the test wants it");
        self.clock.now()
    }

    fn wall(&self) -> WallTime {
        self.clock.wall()
    }
}

#[tokio::test]
async fn a_shard_that_panicked_is_empty_and_takes_viewers_again() {
    let mut world = World::new();
    let trap = Arc::new(Trap {
        clock: world.clock.clone(),
        armed: AtomicBool::new(false),
    });
    let fanout = Fanout::new(Forms::new(&world.stream, || 7), 1, trap.clone());
    let (ours, _peer) = connection().await;
    let (viewer, ended) = world.viewer(&ours);
    let _seat = fanout.join(&world.stream, &world.forms, 1, viewer).unwrap();
    assert_eq!(fanout.shards[0].viewers.load(Relaxed), 1);
    trap.armed.store(true, Relaxed);
    assert!(ended.await.is_err(), "the task is gone without a word");
    trap.armed.store(false, Relaxed);
    assert_eq!(fanout.shards[0].viewers.load(Relaxed), 0);

    let (viewer, _ended) = world.viewer(&ours);
    let stats = viewer.stats.clone();
    let seat = fanout.join(&world.stream, &world.forms, 2, viewer).unwrap();
    while stats.frames.get() == 0 {
        world.publish();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(seat.leave().await.is_some());
    assert_eq!(fanout.shards[0].viewers.load(Relaxed), 0);
}

#[tokio::test]
async fn a_panic_in_a_viewers_turn_ends_that_viewer() {
    let world = World::new();
    let (ours, _peer) = connection().await;
    let (mut viewer, _ended) = world.viewer(&ours);
    let turned = turn_of(&mut viewer, |_| -> Result<Sent, End> { panic!("as the test wants it") });
    assert_eq!(turned, Err(End::Panicked));
}
