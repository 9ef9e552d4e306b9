//! A day in minutes: a camera over a lossy network that restarts, clocks that are set, timestamps and sequence numbers that wrap, and one who watches
//! through all of it. Everything but sockets, by a clock that is moved on.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fastrand::Rng;
use media::hub::{Entry, Event, Hub, Limits, Origin, Publisher, Publishing, Reader};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{Capture, CaptureSource, Clock as _, MediaTime, StreamName, Timescale, TrackIndex};
use protocol::hls::{self, Muxer};
use protocol::rtp::rtcp::{self, SenderInfo};
use protocol::rtp::{
    Arrival, Framing, Packetizer, PacketizerConfig, Payload, Receiver, ReceiverConfig, Reordering, Timeline,
};
use testkit::clock::SimClock;
use testkit::link::{Link, Quality};
use testkit::stream::{Settings, Video};

use super::from_variable;

const FRAMES_A_SECOND: u64 = 30;
const PAYLOAD_TYPE: u8 = 96;
/// How long a camera runs until it restarts, and how long that takes: less than its stream is held.
const RUN: Duration = Duration::from_secs(37 * 60);
const RESTART: Duration = Duration::from_secs(4);
/// How often it says what time it is, and how often the clock is set.
const REPORTS: Duration = Duration::from_secs(5);
const STEPS: Duration = Duration::from_secs(50 * 60);
/// After a step a sender says its new time, and is believed.
const SETTLING: Duration = Duration::from_secs(60);
/// Loss takes a picture with it, and all until the next keyframe.
const LEAST_SHARE: f64 = 0.97;
/// Memory that may come after the first hour.
const MAX_GROWTH_KIB: u64 = 4_096;

/// Better than most radio links.
const QUALITY: Quality = Quality {
    loss: 0.001,
    loss_burst: 2.0,
    duplication: 0.001,
    reorder: 0.002,
    reorder_by: Duration::from_millis(12),
    delay: Duration::from_millis(8),
    jitter: Duration::from_millis(6),
    rate_bps: None,
    queue_bytes: 0,
};

fn receiver(video: &Video, reordering: Option<Reordering>) -> Receiver {
    let config = ReceiverConfig {
        track: TrackIndex(0),
        payload: Payload::H264,
        payload_type: PAYLOAD_TYPE,
        format: Arc::clone(video.format()),
        clock: Timescale::VIDEO,
        reordering,
        abs_capture_time: None,
        ssrc: 1,
        cname: "day".into(),
        max_unit_bytes: 1 << 20,
    };
    Receiver::new(config, Timeline::default())
}

/// Somebody's packets, numbered on from frame to frame.
struct Sender {
    packetizer: Packetizer,
    sequence: u16,
    packets: u32,
}

impl Sender {
    fn new(video: &Video, first_sequence: u16, timestamp_offset: u32) -> Self {
        let config = PacketizerConfig {
            payload_type: PAYLOAD_TYPE,
            ssrc: timestamp_offset,
            first_sequence,
            timestamp_offset,
            max_packet_bytes: PacketizerConfig::DEFAULT_MAX_PACKET_BYTES,
        };
        Self {
            packetizer: Packetizer::new(video.format(), config),
            sequence: first_sequence,
            packets: 0,
        }
    }

    fn send(&mut self, frame: &media::Frame, mut each: impl FnMut(&[u8])) {
        let mut out = Vec::new();
        let timestamp = self.packetizer.timestamp(frame.time);
        let ranges = self
            .packetizer
            .render(frame, self.sequence, timestamp, Framing::Datagram, &mut out);
        self.sequence = self.sequence.wrapping_add(ranges.len());
        self.packets = self.packets.wrapping_add(u32::from(ranges.len()));
        for range in ranges.packets() {
            each(&out[range]);
        }
    }

    /// What time it is, and which timestamp that is.
    fn report(&self, time: MediaTime, clock: &SimClock) -> Vec<u8> {
        let info = SenderInfo {
            ssrc: self.packetizer.config().ssrc,
            ntp: clock.wall().to_ntp(),
            rtp_timestamp: self.packetizer.timestamp(time),
            packets: self.packets,
            bytes: 0,
        };
        let mut out = Vec::new();
        rtcp::write_sender_report(info, &[], "camera", &mut out);
        out
    }
}

/// A camera, the network from it, and its end in the server.
struct Run {
    video: Video,
    sender: Sender,
    link: Link,
    receiver: Receiver,
    publisher: Publisher,
    until: Instant,
    reported: Option<Instant>,
    sent: u64,
}

impl Run {
    fn begin(hub: &Hub, name: &StreamName, number: u64, rng: &mut Rng, now: Instant) -> Self {
        let wide = number.is_multiple_of(2);
        let settings = Settings {
            width: if wide { 640 } else { 320 },
            gop_frames: 30,
            idr_bytes: 3_000,
            frame_bytes: 600,
            seed: number,
            ..Settings::default()
        };
        let video = Video::new(settings);
        // Each run wraps both: timestamps after ten minutes, sequence numbers many times.
        let sender = Sender::new(&video, rng.u16(..), u32::MAX - 600 * 90_000 - rng.u32(..90_000));
        let info = SessionInfo {
            role: Role::Publisher,
            stream: name.clone(),
            protocol: "RTSP/UDP",
            remote: None,
            agent: None,
            since: SimClock::START,
        };
        let publishing = Publishing {
            stats: Arc::new(SessionStats::new(info)),
            origin: Origin::Remote,
            keyframe_requests: None,
        };
        let publisher = hub.publish(name, vec![video.track()], publishing, now).unwrap();
        Self {
            receiver: receiver(&video, Some(Reordering::default())),
            video,
            sender,
            link: Link::new(QUALITY, number),
            publisher,
            until: now + RUN,
            reported: None,
            sent: 0,
        }
    }

    /// The next picture goes out.
    fn send(&mut self, clock: &SimClock) {
        let now = clock.now();
        let frame = self.video.next_frame(clock.wall());
        self.sent += 1;
        self.sender.send(&frame, |packet| self.link.send(packet.to_vec(), now));
        if self.reported.is_none_or(|at| now - at >= REPORTS) {
            self.reported = Some(now);
            let arrival = Arrival {
                at: now,
                wall: clock.wall(),
            };
            self.receiver
                .receive_rtcp(&self.sender.report(frame.time, clock), arrival);
        }
    }

    /// What has arrived is published.
    fn receive(&mut self, clock: &SimClock) {
        let (at, wall) = (clock.now(), clock.wall());
        while let Some(packet) = self.link.poll(at) {
            self.receiver.receive_rtp(&packet, Arrival { at, wall });
        }
        if self.receiver.poll_timeout().is_some_and(|due| due <= at) {
            self.receiver.handle_timeout(at);
        }
        while let Some(received) = self.receiver.poll() {
            self.publisher.publish(received.frame, at).unwrap();
        }
    }
}

/// Who watches from the first minute to the last, over a connection that loses nothing, and what it was given before.
struct Watcher {
    reader: Reader,
    sender: Sender,
    receiver: Receiver,
    last: Option<MediaTime>,
    given: u64,
    seen: u64,
    entries: Vec<Arc<Entry>>,
}

impl Watcher {
    fn watch(&mut self, clock: &SimClock, settled: bool, muxer: &mut Muxer) {
        let arrival = Arrival {
            at: clock.now(),
            wall: clock.wall(),
        };
        let mut context = Context::from_waker(Waker::noop());
        loop {
            self.entries.clear();
            match self.reader.poll_next(&mut context, &mut self.entries) {
                Poll::Ready(Event::Frames(_)) => {}
                Poll::Ready(Event::Tracks(tracks)) => drop(muxer.restart(&tracks).unwrap()),
                Poll::Ready(other) => panic!("{other:?} after {:?}", clock.elapsed()),
                Poll::Pending => break,
            }
            for entry in &self.entries {
                self.given += 1;
                muxer.push(&entry.frame, entry.publisher);
                self.sender
                    .send(&entry.frame, |packet| self.receiver.receive_rtp(packet, arrival));
                is_true(entry.frame.capture, clock, settled);
            }
            while let Some(received) = self.receiver.poll() {
                self.seen += 1;
                let time = received.frame.time;
                let step = self.last.map(|last| time.as_micros() - last.as_micros());
                assert!(
                    step.is_none_or(|step| (1..20_000_000).contains(&step)),
                    "{step:?} µs from one picture to the next after {:?}",
                    clock.elapsed()
                );
                self.last = Some(time);
            }
        }
    }
}

/// Where everybody has the same time, a picture is as old as the way takes.
fn is_true(capture: Capture, clock: &SimClock, settled: bool) {
    let age_us = clock.wall().micros_since(capture.at);
    assert!(
        !settled || capture.source == CaptureSource::Arrival || (-50_000..1_000_000).contains(&age_us),
        "{age_us} µs old by {:?} after {:?}",
        capture.source,
        clock.elapsed()
    );
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_day_of_restarts_wraps_and_clocks_that_are_set() {
    let hours = from_variable("DAY_HOURS", 24);
    let clock = SimClock::new();
    let mut rng = Rng::with_seed(24);
    let hub = Hub::new(Limits::default());
    let name: StreamName = "cam".parse().unwrap();
    let config = hls::Config::default();
    let mut run = Run::begin(&hub, &name, 0, &mut rng, clock.now());
    let mut muxer = Muxer::new(
        &[run.video.track()],
        None,
        hls::Identity::at(clock.wall(), &config),
        config,
    )
    .unwrap();
    let mut watcher = Watcher {
        reader: hub.stream(&name, clock.now()).unwrap().join(clock.now()).unwrap(),
        sender: Sender::new(&run.video, u16::MAX, u32::MAX),
        receiver: receiver(&run.video, None),
        last: None,
        given: 0,
        seen: 0,
        entries: Vec::new(),
    };
    let interval = Duration::from_secs(1) / FRAMES_A_SECOND as u32;
    let (mut runs, mut sent, mut stepped, mut warm_kib) = (1, 0, clock.now(), None);
    while clock.elapsed() < Duration::from_secs(u64::from(hours) * 3_600) {
        run.send(&clock);
        for _ in 0..2 {
            clock.advance(interval / 2);
            run.receive(&clock);
        }
        let now = clock.now();
        watcher.watch(&clock, now - stepped > SETTLING, &mut muxer);
        assert!(muxer.bytes() <= config.memory_bytes);
        if now - stepped > STEPS {
            // Up to two hours ahead or back, for the camera too.
            clock.step_wall(rng.i64(-7_200_000_000..7_200_000_000));
            stepped = now;
        }
        if now >= run.until {
            sent += run.sent;
            run.publisher.close(now);
            clock.advance(RESTART);
            hub.poll(clock.now());
            run = Run::begin(&hub, &name, runs, &mut rng, clock.now());
            runs += 1;
        }
        if warm_kib.is_none() && clock.elapsed() > Duration::from_secs(3_600) {
            warm_kib = Some(resident_kib());
        }
    }
    sent += run.sent;
    let share = watcher.given as f64 / sent as f64;
    assert!(
        share > LEAST_SHARE,
        "{} of {sent} pictures in {runs} runs",
        watcher.given
    );
    // The last one waits for the one behind it.
    assert!(
        watcher.given - watcher.seen <= 1,
        "{} of {}",
        watcher.seen,
        watcher.given
    );
    assert_eq!(watcher.receiver.stats().lost, 0);
    let grown = resident_kib().saturating_sub(warm_kib.unwrap_or(u64::MAX));
    assert!(grown < MAX_GROWTH_KIB, "memory grew by {grown} KiB in {hours} hours");
}
