//! Our own viewing, at our own server.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{CaptureSource, Clock as _, Codec, Frame, Kind, Track, TrackIndex};
use testkit::clock::{SimClock, SystemClock};
use testkit::link::{Link, Quality};
use testkit::stream::{Audio, Settings, Video};

use super::super::viewer::View;
use super::super::{
    Asking, Client, Datagram, Event, Former, Moment, Offer, Outbox, Playout, Rendition, Transport, Viewer, Wanted,
};
use super::{CLIENT, IDENTITY, SERVER, config, numbers};
use crate::rtp::Received;

/// A client, a viewer's session, and the way between them.
struct Ways {
    clock: SimClock,
    client: Client,
    viewer: Viewer,
    up: Link,
    down: Link,
    out: Outbox,
    came: Vec<Received>,
}

impl Ways {
    fn new(quality: Quality, video: &Video, seed: u64) -> Self {
        Self::of(quality, &[video.track()], Wanted::Picture, seed)
    }

    fn of(quality: Quality, tracks: &[Track], wanted: Wanted, seed: u64) -> Self {
        let clock = SimClock::at(SystemClock.wall());
        let (asking, offer) = Asking::offer(&IDENTITY, CLIENT.parse().unwrap(), wanted, &mut numbers(seed));
        let view = View {
            tracks,
            reorders: false,
            playout: Playout::Smooth,
        };
        let offer = Offer::parse(offer.as_bytes()).unwrap();
        let answered = Viewer::answer(&offer, view, &config(), &mut numbers(seed + 1), clock.now()).unwrap();
        let mut out = Outbox::new();
        let client = asking.answered(answered.sdp.as_bytes(), None, &mut numbers(seed + 2), clock.now());
        let mut client = client.unwrap();
        let now = Moment {
            at: clock.now(),
            wall: clock.wall(),
        };
        client.handle_timeout(now, &mut out);
        let mut ways = Self {
            clock,
            client,
            viewer: answered.session,
            up: Link::new(quality, seed),
            down: Link::new(quality, seed + 1),
            out,
            came: Vec::new(),
        };
        ways.carry(true);
        ways
    }

    fn now(&self) -> Moment {
        Moment {
            at: self.clock.now(),
            wall: self.clock.wall(),
        }
    }

    /// What one of the two wants sent.
    fn carry(&mut self, up: bool) {
        let link = if up { &mut self.up } else { &mut self.down };
        for (_, packet) in self.out.datagrams() {
            link.send(Bytes::copy_from_slice(packet), self.clock.now());
        }
        self.out.clear();
    }

    fn run(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            let links = [self.up.next_arrival(), self.down.next_arrival()];
            let timers = [self.client.poll_timeout(), self.viewer.poll_timeout()];
            let next: Instant = links.into_iter().flatten().chain(timers).fold(end, Instant::min);
            self.clock.advance(next.saturating_duration_since(self.clock.now()));
            let now = self.now();
            let datagram =
                |from: &str, to: &str, bytes: &Bytes| (from.parse().unwrap(), to.parse().unwrap(), bytes.clone());
            while let Some(bytes) = self.up.poll(now.at) {
                let (from, to, bytes) = datagram(CLIENT, SERVER, &bytes);
                let datagram = Datagram {
                    transport: Transport::Udp,
                    from,
                    to,
                    bytes: &bytes,
                };
                self.viewer.receive(datagram, now.at, &mut self.out);
            }
            if self.viewer.poll_timeout() <= now.at {
                self.viewer.handle_timeout(now.at, &mut self.out);
            }
            self.carry(false);
            while let Some(bytes) = self.down.poll(now.at) {
                let (from, to, bytes) = datagram(SERVER, CLIENT, &bytes);
                let datagram = Datagram {
                    transport: Transport::Udp,
                    from,
                    to,
                    bytes: &bytes,
                };
                self.client.receive(datagram, now, &mut self.out);
            }
            if self.client.poll_timeout() <= now.at {
                self.client.handle_timeout(now, &mut self.out);
            }
            self.carry(true);
            while let Some(received) = self.client.poll_frame() {
                self.came.push(received);
            }
        }
    }

    fn send(&mut self, frame: &Frame, former: &Former) {
        let form = former.form(frame);
        let now = self.now();
        self.viewer.send(frame.track, &form, now, &mut self.out);
        self.carry(false);
    }
}

fn play(quality: Quality, seed: u64) -> (Ways, Vec<Frame>) {
    let mut video = Video::new(Settings {
        gop_frames: 60,
        ..Settings::default()
    });
    let mut ways = Ways::new(quality, &video, seed);
    ways.run(Duration::from_secs(1));
    assert!(ways.client.is_connected());
    let former = Former::new(video.format(), 77);
    let mut sent = Vec::new();
    for _ in 0..150 {
        let wanted = std::iter::from_fn(|| ways.viewer.poll_event()).any(|event| event == Event::KeyframeWanted);
        if wanted {
            video.request_keyframe();
        }
        let frame = video.next_frame(ways.clock.wall());
        ways.send(&frame, &former);
        ways.run(Duration::from_micros(video.interval_us()));
        sent.push(frame);
    }
    ways.run(Duration::from_millis(500));
    (ways, sent)
}

#[test]
fn every_frame_comes_with_its_capture_time() {
    let (ways, sent) = play(Quality::default(), 5);
    assert_eq!(ways.came.len(), sent.len());
    for (received, frame) in ways.came.iter().zip(&sent) {
        let capture = received.frame.capture;
        assert!(matches!(
            capture.source,
            CaptureSource::AbsCaptureTime | CaptureSource::Sei
        ));
        assert!(
            capture.at.micros_since(frame.capture.at).abs() <= 1,
            "{capture:?} {frame:?}"
        );
        assert_eq!(
            (received.frame.keyframe, &received.frame.data),
            (frame.keyframe, &frame.data)
        );
    }
    assert!(ways.client.stats().packets > 150);
}

#[test]
fn what_is_lost_comes_again() {
    let quality = Quality {
        loss: 0.05,
        ..Quality::default()
    };
    let (ways, sent) = play(quality, 6);
    let missing = sent.len() - ways.came.len();
    assert!(missing <= 5, "{missing} of {} pictures did not come", sent.len());
    assert!(ways.down.counts().lost > 20, "the link loses nothing");
}

#[test]
fn goodbye_is_said_once() {
    let (mut ways, _) = play(Quality::default(), 7);
    let now = ways.clock.now();
    ways.client.close(now, &mut ways.out);
    assert!(ways.client.has_ended());
    ways.carry(true);
    ways.run(Duration::from_millis(100));
    let ended = std::iter::from_fn(|| ways.viewer.poll_event()).any(|event| matches!(event, Event::Ended(_)));
    assert!(ended, "the server is told");
    ways.client.close(now, &mut ways.out);
    assert!(ways.out.is_empty());
}

/// Such as a first picture of which the first packet was overtaken: what comes before the first that is seen is nobody's.
#[test]
fn a_first_picture_that_is_lost_is_asked_for_again() {
    let mut video = Video::new(Settings {
        gop_frames: 600,
        ..Settings::default()
    });
    let mut ways = Ways::new(Quality::default(), &video, 8);
    ways.run(Duration::from_secs(1));
    let former = Former::new(video.format(), 77);
    let lost = video.next_frame(ways.clock.wall());
    assert!(lost.keyframe);
    ways.down.set_quality(Quality {
        loss: 1.0,
        ..Quality::default()
    });
    ways.send(&lost, &former);
    ways.down.set_quality(Quality::default());
    for _ in 0..30 {
        if std::iter::from_fn(|| ways.viewer.poll_event()).any(|event| event == Event::KeyframeWanted) {
            video.request_keyframe();
        }
        let frame = video.next_frame(ways.clock.wall());
        ways.send(&frame, &former);
        ways.run(Duration::from_micros(video.interval_us()));
    }
    let came = ways.came.iter().position(|received| received.frame.keyframe);
    assert!(came.is_some(), "a keyframe as number {came:?} of {}", ways.came.len());
    assert!(!ways.client.is_damaged());
}

/// Of those that are asked for again a tenth is lost once more, and str0m, which does not know the round trip, waits 105 ms before it asks again.
#[test]
fn what_is_lost_twice_comes_again() {
    let way = Quality {
        delay: Duration::from_millis(10),
        loss: 0.05,
        ..Quality::default()
    };
    let mut video = Video::new(Settings {
        gop_frames: 600,
        idr_bytes: 20_000,
        frame_bytes: 8_000,
        ..Settings::default()
    });
    let mut ways = Ways::new(way, &video, 21);
    ways.run(Duration::from_secs(3));
    let former = Former::new(video.format(), 77);
    for _ in 0..450 {
        let frame = video.next_frame(ways.clock.wall());
        ways.send(&frame, &former);
        ways.run(Duration::from_micros(video.interval_us()));
    }
    let broken = ways.came.iter().filter(|received| received.discontinuity).count();
    let lost = ways.down.counts().lost;
    assert!(lost > 100 && broken <= 2, "{broken} breaks, {lost} packets lost");
}

/// By str0m's transport-wide feedback.
#[test]
fn what_the_way_carries_is_told() {
    let mut video = Video::new(Settings {
        gop_frames: 60,
        idr_bytes: 20_000,
        frame_bytes: 8_000,
        ..Settings::default()
    });
    let wide = Quality {
        delay: Duration::from_millis(20),
        rate_bps: Some(10_000_000),
        ..Quality::default()
    };
    let mut ways = Ways::new(wide, &video, 31);
    ways.run(Duration::from_secs(1));
    let former = Former::new(video.format(), 77);
    let mut play = |ways: &mut Ways| {
        let mut newest = None;
        for _ in 0..120 {
            let frame = video.next_frame(ways.clock.wall());
            ways.send(&frame, &former);
            ways.run(Duration::from_micros(video.interval_us()));
            while let Some(event) = ways.viewer.poll_event() {
                if let Event::Estimate { bits_per_second } = event {
                    newest = Some(bits_per_second);
                }
            }
        }
        newest.expect("an estimate")
    };
    let estimate = play(&mut ways);
    assert!((2_500_000..12_000_000).contains(&estimate), "{estimate}");
    ways.down.set_quality(Quality {
        rate_bps: Some(1_000_000),
        queue_bytes: 64 << 10,
        ..wide
    });
    let estimate = play(&mut ways);
    assert!((300_000..1_100_000).contains(&estimate), "{estimate}");
}

/// A picture and G.711, with as much of the sound as is wanted; what came of either.
fn play_both(quality: Quality, seed: u64, sound: bool) -> (Ways, usize, usize) {
    let mut video = Video::new(Settings {
        gop_frames: 30,
        ..Settings::default()
    });
    let mut audio = Audio::new(TrackIndex(1), 800);
    let mut ways = Ways::of(quality, &[video.track(), audio.track()], Wanted::Everything, seed);
    ways.run(Duration::from_secs(1));
    assert!(ways.client.is_connected() && ways.client.tracks().is_none());
    let (pictures, sounds) = (Former::new(video.format(), 77), Former::new(&audio.track().format, 78));
    for _ in 0..150 {
        if std::iter::from_fn(|| ways.viewer.poll_event()).any(|event| event == Event::KeyframeWanted) {
            video.request_keyframe();
        }
        let frame = video.next_frame(ways.clock.wall());
        ways.send(&frame, &pictures);
        if sound {
            let frame = audio.next_frame(ways.clock.wall());
            ways.send(&frame, &sounds);
        }
        ways.run(Duration::from_micros(video.interval_us()));
    }
    ways.run(Duration::from_millis(500));
    let of = |kind| {
        let came = ways.came.iter();
        came.filter(|received| received.frame.format.codec().kind() == kind)
            .count()
    };
    let counts = (of(Kind::Video), of(Kind::Audio));
    (ways, counts.0, counts.1)
}

#[test]
fn picture_and_sound_come_over_a_poor_way() {
    let quality = Quality {
        delay: Duration::from_millis(20),
        loss: 0.02,
        ..Quality::default()
    };
    let (ways, pictures, sounds) = play_both(quality, 21, true);
    let tracks = ways.client.tracks().unwrap();
    let codecs: Vec<_> = tracks.iter().map(|track| track.format.codec()).collect();
    assert!(
        codecs.contains(&Codec::H264) && codecs.contains(&Codec::G711),
        "{codecs:?}"
    );
    for (track, index) in tracks.iter().zip(0..) {
        assert_eq!(track.index, TrackIndex(index));
    }
    for received in &ways.came {
        let track = &tracks[usize::from(received.frame.track.0)];
        assert_eq!(track.format.codec(), received.frame.format.codec());
    }
    // Sound is not asked for again.
    assert!(pictures >= 145 && sounds >= 135, "{pictures} pictures, {sounds} sounds");
    assert!(ways.down.counts().lost > 5, "the link loses nothing");
}

#[test]
fn sound_that_is_promised_and_never_comes_is_no_track() {
    let (ways, pictures, sounds) = play_both(Quality::default(), 22, false);
    let tracks = ways.client.tracks().unwrap();
    assert_eq!((tracks.len(), tracks[0].format.codec()), (1, Codec::H264));
    assert!(pictures >= 149 && sounds == 0, "{pictures}");
}

#[test]
fn answers_that_give_nothing_are_refused() {
    let ask = |answer: &str| {
        let (asking, _) = Asking::offer(&IDENTITY, CLIENT.parse().unwrap(), Wanted::Everything, &mut numbers(1));
        let answered = asking.answered(
            answer.as_bytes(),
            None,
            &mut numbers(2),
            SimClock::at(SystemClock.wall()).now(),
        );
        answered.map(|_| ()).map_err(|error| error.to_string())
    };
    let session = "v=0\r\na=ice-ufrag:Yq7T\r\na=ice-pwd:8kZPcMVNBJLRNWKFRT0cFLtz\r\na=fingerprint:sha-256 \
                   7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\na=setup:passive\r\n";
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=rtcp-mux\r\na=sendonly\r\na=rtpmap:96 H264/90000\r\n";
    assert_eq!(ask(&format!("{session}{video}")), Ok(()));
    // In another codec than was offered under that number, in none of ours, refused, the other way round, in a section of nobody.
    for (from, to) in [
        ("H264", "VP8"),
        ("96", "97"),
        ("video 9", "video 0"),
        ("sendonly", "recvonly"),
        ("mid:0", "mid:7"),
        ("mid:0", "mid:1"),
    ] {
        let error = ask(&format!("{session}{}", video.replace(from, to))).unwrap_err();
        assert!(error.contains("nothing that was asked for"), "{error}");
    }
    for unreadable in ["", "<html>", session, video] {
        let error = ask(unreadable).unwrap_err();
        assert!(error.contains("cannot be used"), "{error}");
    }
}

/// The lower rendition has timestamps, sizes and a clock of its own; the viewer sees one stream, in which the captured times go on.
#[test]
fn renditions_follow_each_other_in_one_stream() {
    let settings = Settings {
        gop_frames: 600,
        ..Settings::default()
    };
    let (mut full, mut low) = (Video::new(settings), Video::new(settings));
    let quality = Quality {
        delay: Duration::from_millis(10),
        loss: 0.02,
        ..Quality::default()
    };
    let mut ways = Ways::new(quality, &full, 41);
    ways.run(Duration::from_secs(1));
    let formers = [Former::new(full.format(), 77), Former::new(low.format(), 0xffff_0000)];
    // Its publisher came earlier.
    (0..500).for_each(|_| drop(low.next_frame(ways.clock.wall())));
    for turn in 0..6 {
        let rendition = [Rendition::Full, Rendition::Low, Rendition::Fewer][turn % 3];
        [&mut full, &mut low].into_iter().for_each(Video::request_keyframe);
        for at in 0..30 {
            let wall = ways.clock.wall();
            let frames = [full.next_frame(wall), low.next_frame(wall)];
            let from = usize::from(rendition == Rendition::Low);
            if rendition != Rendition::Fewer || at == 0 {
                let form = formers[from].form(&frames[from]);
                let now = ways.now();
                ways.viewer
                    .send_of(rendition, frames[0].track, &form, now, &mut ways.out);
                ways.carry(false);
            }
            ways.run(Duration::from_micros(full.interval_us()));
        }
    }
    ways.run(Duration::from_millis(500));
    assert!(ways.came.len() >= 120, "{} of 122", ways.came.len());
    assert!(ways.came.iter().all(|received| !received.discontinuity));
    for pair in ways.came.windows(2) {
        let [first, second] = [&pair[0].frame, &pair[1].frame];
        let by_time = second.time.micros_since(first.time);
        let by_capture = second.capture.at.micros_since(first.capture.at);
        assert!(
            by_time > 0 && (by_time - by_capture).abs() < 1_000,
            "{by_time} and {by_capture} µs"
        );
    }
}

/// Pictures that wait for their turn, of each group as many as get through: timestamps are of when they were sent, also of those that are sent again, and
/// capture times stay what they are.
#[test]
fn pictures_that_lag_say_when_they_were_sent() {
    let mut video = Video::new(Settings {
        gop_frames: 60,
        ..Settings::default()
    });
    let quality = Quality {
        delay: Duration::from_millis(10),
        loss: 0.02,
        ..Quality::default()
    };
    let mut ways = Ways::new(quality, &video, 43);
    ways.run(Duration::from_secs(1));
    let former = Former::new(video.format(), 0xffff_f000);
    let interval = Duration::from_micros(video.interval_us());
    let mut sent = Vec::new();
    for group in 0..4 {
        let frames: Vec<_> = (0..60_u32)
            .map(|at| video.next_frame(ways.clock.wall().offset_micros(i64::from(at) * 33_333)))
            .collect();
        // Twice as long for each; of the last group more and more at once, until nothing waits.
        let pace = |at: u32| if group < 3 { 2 * at } else { 10 + at.saturating_sub(10) };
        let mut passed = 0;
        for (frame, at) in frames.iter().zip(0..if group < 3 { 30 } else { 60 }) {
            let due = pace(at).max(at);
            ways.run(interval * (due - passed));
            passed = due;
            let (late, now) = (interval * (due - at), ways.now());
            ways.viewer
                .send_late(late, frame.track, &former.form(frame), now, &mut ways.out);
            ways.carry(false);
            sent.push((frame.data.clone(), now.wall));
        }
        ways.run(interval * (60 - passed));
    }
    ways.run(Duration::from_millis(500));
    assert_eq!(ways.came.len(), sent.len());
    assert!(ways.came.iter().all(|received| !received.discontinuity));
    for (pair, times) in ways.came.windows(2).zip(sent.windows(2)) {
        let [first, second] = [&pair[0].frame, &pair[1].frame];
        assert!(first.data == times[0].0, "another picture");
        let by_time = second.time.micros_since(first.time);
        let by_sending = times[1].1.micros_since(times[0].1).max(1_000);
        assert!((by_time - by_sending).abs() < 12_000, "{by_time} and {by_sending} µs");
        assert!(by_time >= 1_000, "{by_time} µs");
    }
    let last = &ways.came.last().unwrap().frame;
    let age = ways.clock.wall().micros_since(last.capture.at);
    assert!((500_000..600_000).contains(&age), "{age} µs since it was captured");
}
