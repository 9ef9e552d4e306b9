//! Our own publishing, at our own server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{CaptureSource, Clock as _, Format, Frame, Kind, Timescale, Track, TrackIndex, audio};
use rstest::rstest;
use testkit::clock::{SimClock, SystemClock};
use testkit::link::{Link, Quality};
use testkit::stream::{Audio, Settings, Video};

use super::super::{Datagram, Event, Former, Moment, Offer, Outbox, Publisher, PushError, Pushing, Transport, Viewer};
use super::{CLIENT, IDENTITY, SERVER, config, numbers};
use crate::rtp::Received;

/// Who sends, a publisher's session at a server, and the way between them.
struct Ways {
    clock: SimClock,
    pusher: Viewer,
    publisher: Publisher,
    up: Link,
    down: Link,
    out: Outbox,
    came: Vec<Received>,
    told: Vec<Event>,
    /// The server's session has ended.
    left: bool,
}

fn offer(tracks: &[Track], seed: u64) -> Result<(Pushing, String), PushError> {
    Pushing::offer(&IDENTITY, CLIENT.parse().unwrap(), tracks, &mut numbers(seed))
}

/// The answer of a server of ours, changed on its way.
fn answered(tracks: &[Track], change: impl FnOnce(String) -> String) -> Result<Vec<String>, PushError> {
    let now = SimClock::new().now();
    let (pushing, sdp) = offer(tracks, 3)?;
    let offer = Offer::parse(sdp.as_bytes()).unwrap();
    let answer = Publisher::answer(&offer, &config(), &mut numbers(4), now).unwrap();
    let answer = change(answer.sdp);
    let pushed = pushing.answered(answer.as_bytes(), None, &mut numbers(5), now)?;
    Ok(pushed.left_out)
}

fn opus() -> Track {
    Track {
        index: TrackIndex(1),
        format: Arc::new(Format::Opus(audio::Opus { channels: 2 })),
        timescale: Timescale::OPUS,
    }
}

fn aac() -> Track {
    let format = audio::Aac::low_complexity(48_000, 2).unwrap();
    Track {
        format: Arc::new(Format::Aac(format)),
        ..opus()
    }
}

fn video() -> Video {
    Video::new(Settings {
        gop_frames: 60,
        ..Settings::default()
    })
}

impl Ways {
    /// As the server of ours answers, changed on its way.
    fn new(quality: Quality, tracks: &[Track], seed: u64, change: impl FnOnce(String) -> String) -> Self {
        Self::of(quality, tracks, seed, |sdp| sdp, change)
    }

    /// The offer is changed as well.
    fn of(
        quality: Quality,
        tracks: &[Track],
        seed: u64,
        change_offer: impl FnOnce(String) -> String,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let clock = SimClock::at(SystemClock.wall());
        let (pushing, sdp) = offer(tracks, seed).unwrap();
        let theirs = Offer::parse(change_offer(sdp).as_bytes()).unwrap();
        let answer = Publisher::answer(&theirs, &config(), &mut numbers(seed + 1), clock.now()).unwrap();
        let sdp = change(answer.sdp);
        let pushed = pushing
            .answered(sdp.as_bytes(), None, &mut numbers(seed + 2), clock.now())
            .unwrap();
        let mut ways = Self {
            pusher: pushed.session,
            publisher: answer.session,
            up: Link::new(quality, seed),
            down: Link::new(quality, seed + 1),
            out: Outbox::new(),
            came: Vec::new(),
            told: Vec::new(),
            left: false,
            clock,
        };
        ways.pusher.handle_timeout(ways.clock.now(), &mut ways.out);
        ways.carry(true);
        ways
    }

    fn now(&self) -> Moment {
        Moment {
            at: self.clock.now(),
            wall: self.clock.wall(),
        }
    }

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
            // What has ended has nothing to do any more, and no time at which that would be due.
            let publisher = self
                .publisher
                .poll_timeout()
                .max(if self.left { end } else { self.clock.now() });
            let timers = [self.pusher.poll_timeout(), publisher];
            let next: Instant = links.into_iter().flatten().chain(timers).fold(end, Instant::min);
            self.clock.advance(next.saturating_duration_since(self.clock.now()));
            let now = self.now();
            while let Some(bytes) = self.up.poll(now.at) {
                self.publisher
                    .receive(datagram(&bytes, CLIENT, SERVER), now, &mut self.out);
            }
            if self.publisher.poll_timeout() <= now.at {
                self.publisher.handle_timeout(now, &mut self.out);
            }
            self.carry(false);
            while let Some(bytes) = self.down.poll(now.at) {
                self.pusher
                    .receive(datagram(&bytes, SERVER, CLIENT), now.at, &mut self.out);
            }
            if self.pusher.poll_timeout() <= now.at {
                self.pusher.handle_timeout(now.at, &mut self.out);
            }
            self.carry(true);
            self.came.extend(std::iter::from_fn(|| self.publisher.poll_frame()));
            self.told.extend(std::iter::from_fn(|| self.pusher.poll_event()));
            let mut events = std::iter::from_fn(|| self.publisher.poll_event());
            self.left |= events.any(|event| matches!(event, Event::Ended(_)));
        }
    }

    fn send(&mut self, frame: &Frame, former: &Former) {
        let now = self.now();
        self.pusher.send(frame.track, &former.form(frame), now, &mut self.out);
        self.carry(true);
    }

    /// Five seconds of pictures; how many were sent.
    fn film(&mut self, video: &mut Video) -> Vec<Frame> {
        let former = Former::new(video.format(), 77);
        let mut sent = Vec::new();
        for _ in 0..150 {
            let wanted = |event: &Event| *event == Event::KeyframeWanted;
            if self.told.iter().any(wanted) {
                video.request_keyframe();
            }
            self.told.retain(|event| !wanted(event));
            let frame = video.next_frame(self.clock.wall());
            self.send(&frame, &former);
            self.run(Duration::from_micros(video.interval_us()));
            sent.push(frame);
        }
        self.run(Duration::from_millis(500));
        sent
    }
}

fn datagram<'a>(bytes: &'a Bytes, from: &str, to: &str) -> Datagram<'a> {
    Datagram {
        transport: Transport::Udp,
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        bytes,
    }
}

#[rstest]
// The server leaves the handshake to us, as those do that have the choice and want AES-GCM, or opens it.
#[case("actpass", "passive")]
#[case("passive", "active")]
fn every_frame_comes_with_its_capture_time(#[case] offered: &str, #[case] answered: &str) {
    let mut video = video();
    let offer = |sdp: String| sdp.replace("actpass", offered);
    let mut ways = Ways::of(Quality::default(), &[video.track()], 5, offer, |sdp| {
        assert!(sdp.contains(&format!("a=setup:{answered}")), "{sdp}");
        sdp
    });
    ways.run(Duration::from_secs(1));
    assert_eq!(ways.told.remove(0), Event::Connected);
    let sent = ways.film(&mut video);
    assert_eq!(ways.came.len(), sent.len());
    for (received, frame) in ways.came.iter().zip(&sent) {
        assert_eq!(received.frame.capture.source, CaptureSource::AbsCaptureTime);
        assert!(received.frame.capture.at.micros_since(frame.capture.at).abs() <= 1);
        assert_eq!(
            (received.frame.keyframe, &received.frame.data),
            (frame.keyframe, &frame.data)
        );
    }
}

#[test]
fn what_is_lost_comes_again() {
    let quality = Quality {
        loss: 0.05,
        delay: Duration::from_millis(5),
        ..Quality::default()
    };
    let mut video = video();
    let mut ways = Ways::new(quality, &[video.track()], 6, |sdp| sdp);
    ways.run(Duration::from_secs(3));
    let sent = ways.film(&mut video);
    let missing = sent.len() - ways.came.len();
    assert!(missing <= 5, "{missing} of {} pictures did not come", sent.len());
    assert!(ways.up.counts().lost > 10, "the link loses nothing");
}

/// A server that takes no repeated packets: a keyframe is asked for instead.
#[test]
fn without_repetition_a_keyframe_helps() {
    let quality = Quality {
        loss: 0.02,
        delay: Duration::from_millis(5),
        ..Quality::default()
    };
    let mut video = video();
    let without = |sdp: String| {
        let lines = sdp
            .lines()
            .filter(|line| !line.contains("rtx/") && !line.contains("apt="));
        lines
            .map(|line| format!("{}\r\n", line.replace(" 96 97", " 96")))
            .collect()
    };
    let mut ways = Ways::new(quality, &[video.track()], 9, without);
    ways.run(Duration::from_secs(3));
    let sent = ways.film(&mut video);
    let asked = sent.iter().filter(|frame| frame.keyframe).count();
    assert!(asked > 4, "{asked} keyframes, three of which come by themselves");
    assert!(ways.came.len() > sent.len() / 2);
}

#[test]
fn picture_and_sound_and_goodbye() {
    let (mut video, mut audio) = (video(), Audio::new(TrackIndex(1), 800));
    let mut ways = Ways::new(Quality::default(), &[video.track(), audio.track()], 7, |sdp| sdp);
    ways.run(Duration::from_secs(1));
    let former = Former::new(&audio.track().format, 3);
    for _ in 0..20 {
        let frame = audio.next_frame(ways.clock.wall());
        ways.send(&frame, &former);
        ways.run(Duration::from_millis(20));
    }
    ways.film(&mut video);
    let of = |kind| {
        ways.came
            .iter()
            .filter(|received| received.frame.format.codec().kind() == kind)
            .count()
    };
    assert_eq!((of(Kind::Audio), of(Kind::Video)), (20, 150));
    let reports = |event: &Event| matches!(event, Event::Report(report) if report.round_trip_us.is_some());
    assert!(ways.told.iter().any(reports), "the server reports what came");
    let now = ways.clock.now();
    ways.pusher.close(now, &mut ways.out);
    ways.carry(true);
    ways.run(Duration::from_millis(100));
    assert!(ways.left, "the server is told");
}

#[test]
fn a_server_that_is_silent_is_lost_and_one_that_never_answers_is_not_found() {
    let mut video = video();
    let mut ways = Ways::new(Quality::default(), &[video.track()], 8, |sdp| sdp);
    ways.run(Duration::from_secs(1));
    let silent = Quality {
        loss: 1.0,
        ..Quality::default()
    };
    ways.down.set_quality(silent);
    ways.run(Duration::from_secs(16));
    assert!(
        matches!(ways.told.last(), Some(Event::Ended(super::super::Ended::Lost))),
        "{:?}",
        ways.told
    );

    let mut ways = Ways::new(silent, &[video.track()], 9, |sdp| sdp);
    ways.run(Duration::from_secs(16));
    assert!(matches!(
        ways.told.last(),
        Some(Event::Ended(super::super::Ended::NotConnected))
    ));
    let _ = video.next_frame(ways.clock.wall());
}

#[test]
fn what_is_offered_is_what_the_stream_has() {
    let (video, audio) = (video(), Audio::new(TrackIndex(1), 0));
    let (_, sdp) = offer(&[video.track(), opus()], 1).unwrap();
    let [profile, constraints, level] = match &**video.format() {
        Format::H264(format) => format.profile_level_id().unwrap(),
        other => panic!("{other:?}"),
    };
    let own = format!(
        "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile:02x}{constraints:02x}{level:02x}"
    );
    for line in [
        &own,
        "a=rtpmap:111 opus/48000/2",
        "a=setup:actpass",
        "a=sendonly",
        "a=fmtp:97 apt=96",
    ] {
        assert!(sdp.lines().any(|has| has == line), "{line} in {sdp}");
    }
    assert!(!sdp.contains("ice-lite"));
    let (_, sdp) = offer(&[video.track(), audio.track()], 1).unwrap();
    assert!(sdp.contains("m=audio 50000 UDP/TLS/RTP/SAVPF 0\r\n"), "{sdp}");
}

#[test]
fn what_cannot_go_or_is_not_taken_is_said() {
    let picture = video().track();
    assert_eq!(answered(&[picture.clone(), opus()], |sdp| sdp), Ok(Vec::new()));
    let left_out = answered(&[picture.clone(), aac()], |sdp| sdp).unwrap();
    assert!(left_out[0].starts_with("AAC: "), "{left_out:?}");
    let error = answered(&[aac()], |sdp| sdp).unwrap_err().to_string();
    assert!(
        error.starts_with("the stream has nothing that can be sent by WebRTC: AAC"),
        "{error}"
    );
    let both = [picture.clone(), opus()];
    let left_out = answered(&both, |sdp| sdp.replace("opus/48000", "speex/48000")).unwrap();
    assert_eq!(left_out, ["Opus: the server does not take it"]);
    let error = answered(&both, |sdp| sdp.replace("H264/90000", "VP8/90000")).unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("the server does not take H.264 (avc1.") && error.contains("VP8"),
        "{error}"
    );
    let inactive = answered(&both, |sdp| sdp.replace("a=recvonly", "a=inactive"));
    assert!(matches!(inactive, Err(PushError::NotTaken { .. })));
    let garbage = answered(&both, |_| "nothing".to_owned());
    assert!(matches!(garbage, Err(PushError::Unreadable(_))));
    let more = [
        picture.clone(),
        Track {
            index: TrackIndex(2),
            ..picture
        },
    ];
    assert_eq!(answered(&more, |sdp| sdp).unwrap(), ["H.264: one of each kind is sent"]);
}
