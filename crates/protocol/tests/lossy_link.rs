//! From packetizer to receiver over links that lose, repeat, reorder and delay, in simulated time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Capture, CaptureSource, Clock, Frame, Timescale, Track, TrackIndex, WallTime};
use protocol::rtp::{
    Arrival, Framing, Packetizer, PacketizerConfig, Payload, Received, Receiver, ReceiverConfig, Reordering, Timeline,
    clock, rtcp,
};
use testkit::clock::SimClock;
use testkit::link::{Link, Quality};
use testkit::stream::{Audio, Settings, Video};

/// The sender's clock is so far ahead of the receiver's.
const SENDER_AHEAD_MICROS: i64 = -2_000_000;

/// A track on its way: what sends it, its two links, what receives it.
struct Path {
    packetizer: Packetizer,
    sequence: u16,
    rtp: Link,
    rtcp: Link,
    receiver: Receiver,
    sent: Vec<Frame>,
    received: Vec<Received>,
}

impl Path {
    fn new(track: &Track, quality: Quality, seed: u64, timeline: &Timeline) -> Self {
        let config = PacketizerConfig {
            payload_type: 96 + track.index.0,
            ssrc: seed as u32 ^ 0x5555_0000,
            first_sequence: 65_400,
            timestamp_offset: 0xfff0_0000_u32.wrapping_add(seed as u32 * 77_777_777),
            max_packet_bytes: 500,
        };
        let receiver = ReceiverConfig {
            track: track.index,
            payload: Payload::of(track.format.codec()),
            payload_type: config.payload_type,
            format: Arc::clone(&track.format),
            clock: clock(&track.format),
            reordering: Some(Reordering::default()),
            abs_capture_time: None,
            ssrc: 1,
            cname: "test".into(),
            max_unit_bytes: 1 << 20,
        };
        let reports = Quality {
            delay: quality.delay,
            ..Quality::default()
        };
        Self {
            packetizer: Packetizer::new(&track.format, config),
            sequence: config.first_sequence,
            rtp: Link::new(quality, seed),
            rtcp: Link::new(reports, seed),
            receiver: Receiver::new(receiver, timeline.clone()),
            sent: Vec::new(),
            received: Vec::new(),
        }
    }

    fn send(&mut self, frame: Frame, now: Instant) {
        let mut out = Vec::new();
        let timestamp = self.packetizer.timestamp(frame.time);
        let ranges = self
            .packetizer
            .render(&frame, self.sequence, timestamp, Framing::Datagram, &mut out);
        self.sequence = self.sequence.wrapping_add(ranges.len());
        for range in ranges.packets() {
            self.rtp.send(out[range].to_vec(), now);
        }
        self.sent.push(frame);
    }

    /// Says that a picture captured at `wall`, in the sender's time, has the media time of `frame`.
    fn report(&mut self, frame: &Frame, wall: WallTime, now: Instant) {
        let info = rtcp::SenderInfo {
            ssrc: self.packetizer.config().ssrc,
            ntp: wall.to_ntp(),
            rtp_timestamp: self.packetizer.timestamp(frame.time),
            packets: 0,
            bytes: 0,
        };
        let mut out = Vec::new();
        rtcp::write_sender_report(info, &[], "sender", &mut out);
        self.rtcp.send(out, now);
    }

    fn next_event(&self) -> Option<Instant> {
        let events = [
            self.rtp.next_arrival(),
            self.rtcp.next_arrival(),
            self.receiver.poll_timeout(),
        ];
        events.into_iter().flatten().min()
    }

    fn receive(&mut self, arrival: Arrival) {
        while let Some(packet) = self.rtcp.poll(arrival.at) {
            self.receiver.receive_rtcp(&packet, arrival);
        }
        while let Some(packet) = self.rtp.poll(arrival.at) {
            self.receiver.receive_rtp(&packet, arrival);
        }
        self.receiver.handle_timeout(arrival.at);
        self.received.extend(std::iter::from_fn(|| self.receiver.poll()));
    }
}

/// Lets everything happen up to `until`.
fn run(paths: &mut [&mut Path], clock: &SimClock, until: Instant) {
    loop {
        let next = paths.iter().filter_map(|path| path.next_event()).min();
        let at = next.map_or(until, |next| next.min(until));
        clock.advance(at.saturating_duration_since(clock.now()));
        let arrival = Arrival {
            at: clock.now(),
            wall: clock.wall(),
        };
        for path in paths.iter_mut() {
            path.receive(arrival);
        }
        if at >= until {
            return;
        }
    }
}

fn video(settings: Settings, quality: Quality, seed: u64, frames: usize, reports: bool) -> Path {
    let clock = SimClock::new();
    let mut video = Video::new(settings);
    let mut path = Path::new(&video.track(), quality, seed, &Timeline::default());
    for number in 0..frames {
        if number == frames / 2 {
            video.resize(320, 240);
        }
        let captured = clock.wall().offset_micros(SENDER_AHEAD_MICROS);
        let frame = video.next_frame(captured);
        let now = clock.now();
        if reports && number % 30 == 0 {
            path.report(&frame, captured, now);
        }
        path.send(frame, now);
        run(
            &mut [&mut path],
            &clock,
            now + Duration::from_micros(video.interval_us()),
        );
    }
    let end = clock.now() + Duration::from_secs(1);
    run(&mut [&mut path], &clock, end);
    path
}

fn rough() -> Quality {
    Quality {
        duplication: 0.05,
        reorder: 0.1,
        // Less than the first packets wait, too.
        reorder_by: Duration::from_millis(8),
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(10),
        ..Quality::default()
    }
}

#[test]
fn a_link_that_loses_nothing_costs_nothing() {
    for seed in 0..20 {
        let settings = Settings {
            sei: true,
            slices: 3,
            first_ticks: -5_000,
            ..Settings::default()
        };
        let path = video(settings, rough(), seed, 90, false);
        assert_eq!(path.received.len(), path.sent.len(), "seed {seed}");
        let zero = path.received[0].frame.time.ticks() - path.sent[0].time.ticks();
        for (received, sent) in path.received.iter().zip(&path.sent) {
            assert_eq!(received.frame.data, sent.data);
            assert_eq!(received.frame.keyframe, sent.keyframe);
            assert_eq!(received.frame.format.dimensions(), sent.format.dimensions());
            assert_eq!(received.frame.time.ticks(), sent.time.ticks() + zero);
            let expected = Capture {
                at: sent.capture.at,
                source: CaptureSource::Sei,
            };
            assert_eq!(received.frame.capture, expected);
            assert!(!received.discontinuity);
        }
        let (stats, counts) = (path.receiver.stats(), path.rtp.counts());
        assert_eq!((stats.packets, stats.duplicates), (counts.sent, counts.duplicated));
        assert_eq!((stats.lost, stats.late, stats.malformed, stats.restarts), (0, 0, 0, 0));
        assert!(stats.reordered >= counts.reordered, "{stats:?}, {counts:?}");
    }
}

#[test]
fn losses_are_counted_and_nothing_damaged_is_handed_on() {
    let mut handed_on = 0;
    for seed in 0..20 {
        let quality = Quality {
            loss: 0.02,
            loss_burst: 3.0,
            ..rough()
        };
        let path = video(Settings::default(), quality, seed, 300, false);
        let mut next = 0;
        for received in &path.received {
            let found = path.sent[next..]
                .iter()
                .position(|sent| sent.data == received.frame.data);
            let skipped = found.expect("a whole access unit that was sent, in order");
            assert!(
                skipped == 0 || next == 0 || received.discontinuity,
                "seed {seed}: a gap that is not flagged"
            );
            next += skipped + 1;
        }
        handed_on += path.received.len();
        // What is lost at the very beginning and the very end cannot be known.
        let (stats, counts) = (path.receiver.stats(), path.rtp.counts());
        let unknown = i64::try_from(counts.lost).unwrap() - stats.lost;
        assert!((0..20).contains(&unknown), "seed {seed}: {stats:?}, {counts:?}");
        assert_eq!(
            (stats.malformed, stats.foreign, stats.restarts),
            (0, 0, 0),
            "seed {seed}"
        );
    }
    // About 8 packets a frame, lost three at a time: one frame in fifteen is hit.
    assert!((5_400..5_900).contains(&handed_on), "{handed_on} of 6,000");
}

#[test]
fn sender_reports_tell_when_a_picture_was_taken() {
    let path = video(Settings::default(), rough(), 1, 90, true);
    for (received, sent) in path.received.iter().zip(&path.sent).skip(1) {
        assert_eq!(received.frame.capture.source, CaptureSource::SenderReport);
        let error_micros = received.frame.capture.at.micros_since(sent.capture.at);
        assert!(error_micros.abs() <= 50, "{error_micros} µs");
    }
}

/// Sound takes 300 ms longer than pictures; reports come every five seconds. Returns how far the two are apart at the end.
fn apart_micros(audio_delay_ms: u64, seconds: u64) -> (i64, usize) {
    let sim = SimClock::new();
    let timeline = Timeline::default();
    let quality = |ms| Quality {
        delay: Duration::from_millis(ms),
        ..rough()
    };
    let mut pictures = Video::new(Settings::default());
    let mut sound = Audio::new(TrackIndex(1), 123_456);
    let mut video = Path::new(&pictures.track(), quality(30), 1, &timeline);
    let mut audio = Path::new(&sound.track(), quality(30 + audio_delay_ms), 2, &timeline);
    let start = sim.now();
    for step in 0..seconds * 300 {
        let now = sim.now();
        let captured = sim.wall().offset_micros(SENDER_AHEAD_MICROS);
        if step % 10 == 0 {
            let frame = pictures.next_frame(captured);
            if step % 1_500 == 0 {
                video.report(&frame, captured, now);
            }
            video.send(frame, now);
        }
        if step % 6 == 0 {
            let frame = sound.next_frame(captured);
            if step % 1_500 == 0 {
                audio.report(&frame, captured, now);
            }
            audio.send(frame, now);
        }
        let until = start + Duration::from_nanos((step + 1) * 1_000_000_000 / 300);
        run(&mut [&mut video, &mut audio], &sim, until);
    }
    let shift = |path: &Path| {
        let received = path.received.last().unwrap();
        let sent = path
            .sent
            .iter()
            .rev()
            .find(|sent| sent.data == received.frame.data)
            .unwrap();
        received.frame.time.as_micros() - sent.capture.at.micros_since(SimClock::START)
    };
    let monotonic = |path: &Path| {
        path.received
            .windows(2)
            .all(|pair| pair[0].frame.time.ticks() < pair[1].frame.time.ticks())
    };
    assert!(monotonic(&video) && monotonic(&audio));
    let jumps = [&video, &audio]
        .iter()
        .flat_map(|path| &path.received)
        .filter(|received| received.discontinuity)
        .count();
    (shift(&video) - shift(&audio), jumps)
}

#[test]
fn sound_and_pictures_are_brought_into_step() {
    // Slowly when it is little: 100 ms at 2 % take five seconds from the first report that comes late.
    let (apart, jumps) = apart_micros(100, 14);
    assert!(apart.abs() <= 4_000 && jumps == 0, "{apart} µs, {jumps} jumps");
    // At once when it is much.
    let (apart, jumps) = apart_micros(900, 3);
    assert!(apart.abs() <= 4_000 && jumps <= 1, "{apart} µs, {jumps} jumps");
}

#[test]
fn the_clock_of_each_codec_is_known() {
    let video = Video::new(Settings::default());
    assert_eq!(clock(video.format()), Timescale::VIDEO);
    assert_eq!(clock(&Audio::new(TrackIndex(0), 0).track().format), Timescale::G711);
}
