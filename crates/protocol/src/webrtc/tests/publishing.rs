//! What a publisher gives.

use std::time::{Duration, Instant};

use media::{CaptureSource, Clock as _, Frame};
use rstest::rstest;
use str0m::Event;
use str0m::media::{Direction, Mid};
use str0m::rtp::RtpWrite;
use testkit::clock::SimClock;
use testkit::link::Quality;
use testkit::stream::{Settings, Video};

use super::super::{Datagram, Event as Told, Former, Moment, Offer, Outbox, Publisher};
use super::client::{Ours, World};
use super::{config, numbers};

fn moment(clock: &SimClock) -> Moment {
    Moment {
        at: clock.now(),
        wall: clock.wall(),
    }
}

impl Ours for Publisher {
    fn receive(&mut self, datagram: Datagram<'_>, clock: &SimClock, out: &mut Outbox) {
        Self::receive(self, datagram, moment(clock), out);
    }

    fn handle_timeout(&mut self, clock: &SimClock, out: &mut Outbox) {
        Self::handle_timeout(self, moment(clock), out);
    }

    fn poll_timeout(&self) -> Instant {
        Self::poll_timeout(self)
    }
}

/// A browser that publishes pictures.
struct Publishing {
    world: World,
    publisher: Publisher,
    video: Video,
    former: Former,
    /// Section and payload type of the picture, as the answer has them.
    section: (Mid, u8),
    sequence: u64,
    came: Vec<Frame>,
    sent: Vec<Frame>,
}

impl Publishing {
    fn new(seed: u64) -> Self {
        Self::with_offer(seed, |offer| offer)
    }

    fn with_offer(seed: u64, change: impl FnOnce(String) -> String) -> Self {
        let mut world = World::new(Quality::default(), seed, true);
        let offer = Offer::parse(change(world.offer(Direction::SendOnly)).as_bytes()).unwrap();
        let answered = Publisher::answer(&offer, &config(), &mut numbers(seed), world.clock.now()).unwrap();
        world.answer(&answered.sdp);
        let after = |key: &str| {
            let rest = answered.sdp.split_once(key).expect(key).1;
            rest.split_whitespace().next().expect(key).to_owned()
        };
        let section = (
            Mid::from(after("a=mid:").as_str()),
            after("m=video 9 UDP/TLS/RTP/SAVPF ").parse().unwrap(),
        );
        let video = Video::new(Settings {
            gop_frames: 0,
            ..Settings::default()
        });
        let mut publishing = Self {
            former: Former::new(video.format(), 777),
            publisher: answered.session,
            section,
            world,
            video,
            sequence: 100,
            came: Vec::new(),
            sent: Vec::new(),
        };
        publishing.run(Duration::from_secs(1));
        assert_eq!(publishing.publisher.poll_event(), Some(Told::Connected));
        publishing
    }

    fn run(&mut self, time: Duration) {
        self.world.run(&mut self.publisher, time);
        while let Some(received) = self.publisher.poll_frame() {
            self.came.push(received.frame);
        }
    }

    fn play(&mut self, frames: usize) {
        let offered = self.publisher.tracks()[0].index;
        assert_eq!(usize::from(offered.0), 0);
        for _ in 0..frames {
            let asked = self
                .world
                .events
                .iter()
                .any(|(_, event)| matches!(event, Event::KeyframeRequest(_)));
            if asked {
                self.world
                    .events
                    .retain(|(_, event)| !matches!(event, Event::KeyframeRequest(_)));
                self.video.request_keyframe();
            }
            let frame = self.video.next_frame(self.world.clock.wall());
            let form = self.former.form(&frame);
            let (mid, payload_type) = self.section;
            let mut direct = self.world.rtc.direct_api();
            let stream = direct.stream_tx_by_mid(mid, None).expect("the picture's");
            for payload in form.payloads() {
                let packet = RtpWrite::new(
                    payload_type.into(),
                    self.sequence.into(),
                    payload.timestamp,
                    self.world.clock.now(),
                    payload.bytes,
                );
                stream.write_rtp(packet.marker(payload.marker).nackable(true));
                self.sequence += 1;
            }
            self.sent.push(frame);
            let now = self.world.clock.now();
            self.world.rtc.handle_input(str0m::Input::Timeout(now)).unwrap();
            self.run(Duration::from_micros(self.video.interval_us()));
        }
    }
}

#[test]
fn frames_come_out_as_they_went_in() {
    let mut publishing = Publishing::new(21);
    publishing.play(90);
    let data = |frames: &[Frame]| -> Vec<_> { frames.iter().map(|frame| frame.data.clone()).collect() };
    let (came, sent) = (data(&publishing.came), data(&publishing.sent));
    assert!(came.len() >= sent.len() - 1, "{} of {}", came.len(), sent.len());
    assert_eq!(came[..], sent[..came.len()]);
    assert!(publishing.came[0].keyframe);
}

#[test]
fn the_capture_time_is_that_of_sender_reports() {
    let mut publishing = Publishing::new(22);
    publishing.play(90);
    let newest = publishing.came.last().unwrap();
    assert_eq!(newest.capture.source, CaptureSource::SenderReport);
    let difference_us = newest
        .capture
        .at
        .micros_since(publishing.sent.last().unwrap().capture.at);
    assert!((-40_000..=1_000).contains(&difference_us), "{difference_us}");
}

#[test]
fn a_keyframe_can_be_asked_for() {
    let mut publishing = Publishing::new(23);
    publishing.play(10);
    let keyframes = |publishing: &Publishing| publishing.came.iter().filter(|frame| frame.keyframe).count();
    let before = keyframes(&publishing);
    let now = moment(&publishing.world.clock);
    publishing.publisher.request_keyframe(now, &mut publishing.world.out);
    publishing.play(5);
    assert_eq!(keyframes(&publishing), before + 1);
}

#[test]
fn a_request_for_a_keyframe_that_gets_lost_is_repeated() {
    let mut publishing = Publishing::new(25);
    publishing.play(10);
    let keyframes = |publishing: &Publishing| publishing.came.iter().filter(|frame| frame.keyframe).count();
    let before = keyframes(&publishing);
    publishing.world.set_quality(Quality {
        loss: 1.0,
        ..Quality::default()
    });
    let now = moment(&publishing.world.clock);
    publishing.publisher.request_keyframe(now, &mut publishing.world.out);
    publishing.play(10);
    assert_eq!(keyframes(&publishing), before, "nobody heard it");
    publishing.world.set_quality(Quality::default());
    publishing.play(60);
    assert_eq!(
        keyframes(&publishing),
        before + 1,
        "heard, and not asked for once it was there"
    );
}

/// Without RTX a peer repeats a packet under its own number, if it is asked.
#[test]
fn who_repeats_without_rtx_is_asked_as_well() {
    let mut publishing = Publishing::with_offer(26, |offer| {
        let lines = offer
            .lines()
            .filter(|line| !line.contains("rtx/") && !line.contains("apt="));
        lines.map(|line| format!("{line}\r\n")).collect()
    });
    publishing.world.set_up_quality(Quality {
        loss: 0.1,
        ..Quality::default()
    });
    publishing.play(120);
    let asked = publishing.world.events.iter().rev().find_map(|(_, event)| match event {
        Event::MediaEgressStats(stats) => Some(stats.nacks),
        _ => None,
    });
    assert!(asked > Some(0), "{asked:?}");
}

#[rstest]
#[case::two_percent(0.02)]
#[case::five_percent(0.05)]
fn what_is_lost_on_the_way_here_is_asked_for_again(#[case] loss: f64) {
    let mut publishing = Publishing::new(24);
    let way = Quality {
        loss,
        reorder: 0.02,
        reorder_by: Duration::from_millis(5),
        delay: Duration::from_millis(10),
        ..Quality::default()
    };
    publishing.world.set_quality(way);
    publishing.world.set_up_quality(way);
    publishing.play(600);
    publishing.run(Duration::from_secs(1));
    // Only what came whole, with all before it since the last keyframe, can be shown.
    let (mut shown, mut last, mut seen, mut longest) = (0_usize, None::<usize>, 0_usize, 0_usize);
    for frame in &publishing.came {
        let Some(number) = publishing.sent.iter().position(|sent| sent.data == frame.data) else {
            continue;
        };
        if frame.keyframe || last == number.checked_sub(1) {
            shown += 1;
            longest = longest.max(number - seen);
            (seen, last) = (number, Some(number));
        }
    }
    assert!(shown >= 585, "{shown} of 600 pictures");
    // 15 pictures are half a second.
    assert!(longest <= 15, "{longest} pictures in a row are missing");
    assert!(publishing.publisher.stats().packets > 1_000);
}
