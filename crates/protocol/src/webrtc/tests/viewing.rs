//! What a viewer gets.

use std::time::{Duration, Instant};

use media::{Clock as _, Frame, TrackIndex, annexb};
use rstest::rstest;
use str0m::media::{Direction, KeyframeRequestKind};
use str0m::{Event, rtp::RtpPacket};
use testkit::clock::SimClock;
use testkit::link::Quality;
use testkit::stream::{Settings, Video};

use super::super::viewer::View;
use super::super::{Datagram, Ended, Event as Told, Former, Moment, Offer, Outbox, Playout, Sent, Viewer};
use super::client::{Ours, World};
use super::{config, numbers};

impl Ours for Viewer {
    fn receive(&mut self, datagram: Datagram<'_>, clock: &SimClock, out: &mut Outbox) {
        Self::receive(self, datagram, clock.now(), out);
    }

    fn handle_timeout(&mut self, clock: &SimClock, out: &mut Outbox) {
        Self::handle_timeout(self, clock.now(), out);
    }

    fn poll_timeout(&self) -> Instant {
        Self::poll_timeout(self)
    }
}

/// A viewer of a stream of pictures.
struct Watching {
    world: World,
    viewer: Viewer,
    video: Video,
    former: Former,
    sent: Vec<(Instant, Frame)>,
    told: Vec<Told>,
}

impl Watching {
    fn new(quality: Quality, seed: u64, rtp_mode: bool) -> Self {
        let watching = Self::begin(quality, seed, rtp_mode, |offer| offer);
        assert!(watching.told.contains(&Told::Connected), "{:?}", watching.told);
        watching
    }

    /// The first second with an offer that is changed on its way.
    fn begin(quality: Quality, seed: u64, rtp_mode: bool, change: impl FnOnce(String) -> String) -> Self {
        let mut world = World::new(quality, seed, rtp_mode);
        let video = Video::new(Settings {
            gop_frames: 60,
            ..Settings::default()
        });
        let offer = change(world.offer(Direction::RecvOnly));
        let offer = Offer::parse(offer.as_bytes()).unwrap();
        let view = View {
            tracks: &[video.track()],
            reorders: false,
            playout: Playout::Smooth,
        };
        let answered = Viewer::answer(&offer, view, &config(), &mut numbers(seed), world.clock.now()).unwrap();
        world.answer(&answered.sdp);
        let mut watching = Self {
            former: Former::new(video.format(), 12_345),
            viewer: answered.session,
            world,
            video,
            sent: Vec::new(),
            told: Vec::new(),
        };
        watching.run(Duration::from_secs(1));
        watching
    }

    fn run(&mut self, time: Duration) {
        self.world.run(&mut self.viewer, time);
        while let Some(event) = self.viewer.poll_event() {
            self.told.push(event);
        }
    }

    fn send(&mut self) -> Sent {
        let frame = self.video.next_frame(self.world.clock.wall());
        let now = Moment {
            at: self.world.clock.now(),
            wall: self.world.clock.wall(),
        };
        let form = self.former.form(&frame);
        let sent = self.viewer.send(frame.track, &form, now, &mut self.world.out);
        self.world.carry();
        self.sent.push((now.at, frame));
        sent
    }

    /// Pictures for this long, with keyframes as the viewer asks for them, one a second at most.
    fn play(&mut self, time: Duration) {
        let interval = Duration::from_micros(self.video.interval_us());
        let end = self.world.clock.now() + time;
        let mut asked = None::<Instant>;
        while self.world.clock.now() < end {
            let now = self.world.clock.now();
            let wanted = self.told.contains(&Told::KeyframeWanted);
            if wanted && asked.is_none_or(|at| now - at >= Duration::from_secs(1)) {
                asked = Some(now);
                self.told.retain(|told| *told != Told::KeyframeWanted);
                self.video.request_keyframe();
            }
            self.send();
            self.run(interval);
        }
    }

    /// What came, as whole pictures in the form of the hub.
    fn pictures(&self) -> Vec<(Instant, Vec<u8>)> {
        let data = self.world.events.iter().filter_map(|(at, event)| match event {
            Event::MediaData(data) => Some((*at, data.data.to_vec())),
            _ => None,
        });
        data.collect()
    }

    fn packets(&self) -> Vec<&RtpPacket> {
        let packets = self.world.events.iter().filter_map(|(_, event)| match event {
            Event::RtpPacket(packet) => Some(packet),
            _ => None,
        });
        packets.collect()
    }
}

/// Slices of a picture with start codes, without parameter sets and messages.
fn slices(annex_b: &[u8]) -> Vec<Vec<u8>> {
    let units = annexb::units(annex_b).filter(|unit| matches!(unit.first().map(|first| first & 0x1f), Some(1 | 5)));
    units.map(<[u8]>::to_vec).collect()
}

fn slices_of(frame: &Frame) -> Vec<Vec<u8>> {
    let mut annex_b = Vec::new();
    annexb::frame_to_annex_b(frame, &mut annex_b);
    slices(&annex_b)
}

#[test]
fn pictures_arrive_as_they_were() {
    let mut watching = Watching::new(Quality::default(), 1, false);
    watching.play(Duration::from_secs(2));
    let came: Vec<_> = watching.pictures().into_iter().map(|(_, data)| slices(&data)).collect();
    let sent: Vec<_> = watching.sent.iter().map(|(_, frame)| slices_of(frame)).collect();
    assert!(came.len() >= sent.len() - 2, "{} of {}", came.len(), sent.len());
    assert_eq!(came[..], sent[..came.len()]);
    assert!(watching.world.largest <= 1_200, "{}", watching.world.largest);
}

#[test]
fn all_packets_of_a_frame_go_in_few_runs() {
    let mut watching = Watching::new(Quality::default(), 2, true);
    watching.video = Video::new(Settings {
        sei: true,
        gop_frames: 0,
        ..Settings::default()
    });
    // Parameter sets before the fragments, which are equal but for the last; then fragments alone.
    for runs in [2, 1, 1] {
        let frame = watching.video.next_frame(watching.world.clock.wall());
        assert!(media::sei::find(&frame.data, media::Codec::H264).is_some());
        let now = Moment {
            at: watching.world.clock.now(),
            wall: watching.world.clock.wall(),
        };
        let form = watching.former.form(&frame);
        let mut out = Outbox::new();
        let sent = watching.viewer.send(frame.track, &form, now, &mut out);
        let [batch] = out.batches() else { panic!("{out:?}") };
        assert_eq!((sent.packets, batch.len()), (form.packets(), form.packets()));
        assert_eq!(batch.runs().len(), runs, "{:?}", batch.runs());
        watching.world.clock.advance(Duration::from_millis(33));
    }
}

#[test]
fn capture_time_and_playout_delay_are_on_every_packet() {
    let mut watching = Watching::new(Quality::default(), 3, true);
    watching.play(Duration::from_secs(1));
    let packets = watching.packets();
    assert!(packets.len() > 60, "{}", packets.len());
    for packet in packets {
        let extensions = &packet.header.ext_vals;
        let delay =
            [extensions.play_delay_min, extensions.play_delay_max].map(|delay| delay.map(|delay| delay.numer()));
        assert_eq!(delay, [Some(0), Some(10)], "hundredths of a second");
        let captured = extensions.abs_capture_time.unwrap().capture_time;
        let captured = captured.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
        let sent = watching
            .sent
            .iter()
            .any(|(_, frame)| (frame.capture.at.unix_micros() - captured).abs() <= 1);
        assert!(sent, "{captured} is no frame's");
    }
}

#[rstest]
#[case::two_percent(0.02, 1.0)]
#[case::five_percent(0.05, 1.0)]
#[case::in_bursts(0.05, 4.0)]
fn the_picture_recovers_from_loss_within_half_a_second(#[case] loss: f64, #[case] loss_burst: f64) {
    let way = Quality {
        delay: Duration::from_millis(10),
        ..Quality::default()
    };
    let mut watching = Watching::new(way, 4, false);
    watching.world.set_quality(Quality {
        loss,
        loss_burst,
        reorder: 0.02,
        reorder_by: Duration::from_millis(5),
        ..way
    });
    watching.play(Duration::from_secs(20));
    watching.run(Duration::from_secs(1));
    let whole: Vec<_> = watching
        .sent
        .iter()
        .map(|(at, frame)| (*at, slices_of(frame)))
        .collect();
    let came = watching.pictures();
    // Shown is what came whole, with all before it since the last keyframe.
    let (mut late, mut shown, mut last) = (Duration::ZERO, 0, None::<usize>);
    let mut seen = whole[0].0;
    for (at, data) in &came {
        let slices = slices(data);
        let Some(number) = whole.iter().position(|(_, sent)| *sent == slices) else {
            continue;
        };
        if watching.sent[number].1.keyframe || last == number.checked_sub(1) {
            shown += 1;
            late = late.max(*at - seen);
            (seen, last) = (*at, Some(number));
        }
    }
    assert!(watching.world.largest <= 1_200, "{}", watching.world.largest);
    assert!(late <= Duration::from_millis(500), "no picture for {late:?}");
    assert!(shown * 100 >= whole.len() * 97, "{shown} of {} pictures", whole.len());
}

#[test]
fn who_asks_for_a_keyframe_is_heard() {
    let mut watching = Watching::new(Quality::default(), 5, true);
    watching.play(Duration::from_millis(300));
    let ssrc = watching.packets()[0].header.ssrc;
    let mut direct = watching.world.rtc.direct_api();
    direct
        .stream_rx(&ssrc)
        .unwrap()
        .request_keyframe(KeyframeRequestKind::Pli);
    watching.run(Duration::from_millis(100));
    assert!(watching.told.contains(&Told::KeyframeWanted));
}

/// Browsers ask for packets as long as they hope, and for a keyframe only after seconds.
#[test]
fn who_asks_for_what_is_gone_wants_a_keyframe() {
    let mut watching = Watching::new(Quality::default(), 14, true);
    watching.play(Duration::from_secs(1));
    watching.world.set_quality(Quality {
        loss: 1.0,
        ..Quality::default()
    });
    // Longer than anything is kept.
    watching.play(Duration::from_secs(2));
    assert!(!watching.told.contains(&Told::KeyframeWanted), "{:?}", watching.told);
    watching.world.set_quality(Quality::default());
    for _ in 0..9 {
        watching.send();
        watching.run(Duration::from_millis(33));
    }
    assert!(watching.told.contains(&Told::KeyframeWanted), "{:?}", watching.told);
}

/// str0m asks for packets again after a round trip, and after 100 ms as long as it knows none.
#[test]
fn a_viewer_learns_its_round_trip() {
    let way = Quality {
        delay: Duration::from_millis(15),
        ..Quality::default()
    };
    let mut watching = Watching::new(way, 15, true);
    watching.play(Duration::from_secs(3));
    let round_trip = watching.world.events.iter().rev().find_map(|(_, event)| match event {
        Event::MediaIngressStats(stats) => stats.rtt,
        _ => None,
    });
    assert!(
        round_trip.is_some_and(|time| time.as_millis().abs_diff(30) <= 3),
        "{round_trip:?}"
    );
}

#[test]
fn sender_reports_carry_the_capture_time() {
    let mut watching = Watching::new(Quality::default(), 6, true);
    watching.play(Duration::from_secs(3));
    let report = watching.world.events.iter().rev().find_map(|(_, event)| match event {
        Event::SenderFeedback(feedback) => Some(*feedback),
        _ => None,
    });
    let report = report.expect("a report in three seconds");
    // The timestamp of the report is that of a picture captured at its time: extrapolated from the newest before it.
    let (at, frame) = watching.sent.iter().rfind(|(at, _)| *at <= report.received_at).unwrap();
    let timestamp = watching.former.form(frame).payloads().next().unwrap().timestamp;
    let elapsed = (report.received_at - *at).as_micros() * 90 / 1_000;
    let difference = i64::from((report.sender_info.rtp_time.numer() as u32).wrapping_sub(timestamp) as i32);
    assert!(
        (difference - elapsed as i64).abs() < 90,
        "{difference} ticks after {elapsed}"
    );
}

#[test]
fn sender_reports_follow_a_clock_that_is_set() {
    let mut watching = Watching::new(Quality::default(), 12, true);
    let mut last = None;
    for ahead in [0, 3_600_000_000] {
        watching.world.clock.step_wall(ahead);
        watching.play(Duration::from_secs(2));
        let mut reports = watching.world.events.iter().filter_map(|(_, event)| match event {
            Event::SenderFeedback(feedback) => Some(feedback.sender_info.ntp_time),
            _ => None,
        });
        let newest = reports.next_back().unwrap();
        let before = last.replace(newest);
        let step = before.map(|before| newest.duration_since(before).unwrap().as_secs());
        assert!(step.is_none_or(|step| (3_601..3_603).contains(&step)), "{step:?}");
    }
}

#[test]
fn the_round_trip_is_measured() {
    let way = Quality {
        delay: Duration::from_millis(30),
        ..Quality::default()
    };
    let mut watching = Watching::new(way, 13, true);
    watching.play(Duration::from_secs(4));
    let mut round_trips = watching.told.iter().filter_map(|told| match told {
        Told::Report(report) => report.round_trip_us,
        _ => None,
    });
    let round_trip = round_trips.next_back().unwrap();
    assert!((59_000..63_000).contains(&round_trip), "{round_trip}");
}

#[test]
fn a_peer_that_awaits_the_handshake_is_served() {
    let mut watching = Watching::begin(Quality::default(), 14, false, |offer| {
        offer.replace("a=setup:actpass", "a=setup:passive")
    });
    assert!(watching.told.contains(&Told::Connected), "{:?}", watching.told);
    watching.play(Duration::from_secs(1));
    assert!(watching.pictures().len() > 20, "{}", watching.pictures().len());
}

#[test]
fn who_has_another_certificate_is_sent_nothing() {
    let mut watching = Watching::begin(Quality::default(), 15, false, |offer| {
        let (before, digest) = offer.split_once("a=fingerprint:sha-256 ").unwrap();
        let other = if digest.starts_with("00") { "01" } else { "00" };
        let offer = format!("{before}a=fingerprint:sha-256 {other}{}", &digest[2..]);
        // All sections say the same.
        let (ours, theirs) = (&digest[..95], &format!("{other}{}", &digest[2..95]));
        offer.replace(ours, theirs)
    });
    let [Told::Ended(Ended::Broken(why))] = &watching.told[..] else {
        panic!("{:?}", watching.told)
    };
    assert!(why.contains("certificate"), "{why}");
    assert_eq!(watching.send(), Sent::default());
}

#[test]
fn our_goodbye_is_heard() {
    let mut watching = Watching::new(Quality::default(), 16, true);
    watching.play(Duration::from_millis(200));
    let now = watching.world.clock.now();
    watching.viewer.close(now, &mut watching.world.out);
    watching.world.carry();
    watching.run(Duration::from_millis(200));
    assert_eq!(watching.told.last(), Some(&Told::Ended(Ended::Closed)));
    assert!(!watching.world.rtc.is_alive(), "the client was told");
    assert_eq!(watching.send(), Sent::default());
}

#[test]
fn reports_tell_of_loss() {
    let mut watching = Watching::new(Quality::default(), 7, true);
    watching.world.set_quality(Quality {
        loss: 0.4,
        ..Quality::default()
    });
    watching.play(Duration::from_secs(5));
    let reports: Vec<_> = watching
        .told
        .iter()
        .filter_map(|told| match told {
            Told::Report(report) => Some(*report),
            _ => None,
        })
        .collect();
    assert!(reports.iter().all(|report| report.track == TrackIndex(0)));
    assert!(reports.iter().any(|report| report.lost > 3), "{reports:?}");
}

#[test]
fn a_viewer_that_says_goodbye_is_gone() {
    let mut watching = Watching::new(Quality::default(), 8, true);
    watching.world.rtc.close().unwrap();
    watching.run(Duration::from_millis(100));
    assert_eq!(watching.told.last(), Some(&Told::Ended(Ended::Left)));
    assert_eq!(watching.send(), Sent::default());
}

#[test]
fn a_viewer_that_is_silent_is_given_up() {
    let mut watching = Watching::new(Quality::default(), 9, true);
    // Its datagrams do not come any more.
    let end = watching.world.clock.now() + Duration::from_secs(60);
    let mut out = Outbox::new();
    let mut ended = None;
    while watching.world.clock.now() < end && ended.is_none() {
        watching.world.clock.advance(Duration::from_millis(100));
        watching.viewer.handle_timeout(watching.world.clock.now(), &mut out);
        ended = std::iter::from_fn(|| watching.viewer.poll_event()).find(|event| matches!(event, Told::Ended(_)));
        out.clear();
    }
    assert_eq!(ended, Some(Told::Ended(Ended::Lost)));
}

#[test]
fn who_never_gets_through_is_given_up() {
    let mut world = World::new(Quality::default(), 10, true);
    let offer = Offer::parse(world.offer(Direction::RecvOnly).as_bytes()).unwrap();
    let video = Video::new(Settings::default());
    let view = View {
        tracks: &[video.track()],
        reorders: false,
        playout: Playout::Smooth,
    };
    let answered = Viewer::answer(&offer, view, &config(), &mut numbers(1), world.clock.now()).unwrap();
    let mut viewer = answered.session;
    let mut out = Outbox::new();
    let deadline = world.clock.now() + Duration::from_secs(15);
    while viewer.poll_timeout() < deadline {
        let step = viewer.poll_timeout().saturating_duration_since(world.clock.now());
        world.clock.advance(step.max(Duration::from_millis(1)));
        viewer.handle_timeout(world.clock.now(), &mut out);
        assert_eq!(viewer.poll_event(), None);
    }
    world.clock.advance(deadline - world.clock.now());
    viewer.handle_timeout(world.clock.now(), &mut out);
    assert_eq!(viewer.poll_event(), Some(Told::Ended(Ended::NotConnected)));
}

#[test]
fn ice_starts_anew_with_new_credentials() {
    let mut watching = Watching::new(Quality::default(), 11, false);
    watching.play(Duration::from_millis(500));
    let before = watching.pictures().len();
    let creds = watching.world.rtc.sdp_api().ice_restart(true);
    let theirs = super::super::Credentials {
        ufrag: creds.ufrag.clone(),
        password: creds.pass.clone(),
    };
    let ours = watching.viewer.restart(&theirs, &mut numbers(12));
    let mut direct = watching.world.rtc.direct_api();
    direct.set_local_ice_credentials(creds);
    direct.set_remote_ice_credentials(str0m::IceCreds {
        ufrag: ours.ufrag,
        pass: ours.password,
    });
    watching.play(Duration::from_secs(20));
    let ended = watching.told.iter().any(|told| matches!(told, Told::Ended(_)));
    assert!(!ended, "{:?}", watching.told);
    let after = watching.pictures().len() - before;
    assert!(after > 500, "{after} pictures in 20 s");
}
