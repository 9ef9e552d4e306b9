//! What a peer may send before the first datagram: an offer, fragments of trickled candidates; and the name in a STUN request.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use input::{Time, numbers};
use libfuzzer_sys::fuzz_target;
use media::audio::Opus;
use media::{Format, Timescale, Track, TrackIndex, h264};
use protocol::webrtc::{
    Candidate, Config, Fragment, Identity, Offer, Playout, Publisher, Transport, View, Viewer, stun_username,
};

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config {
    identity: Arc::new(Identity::generate().expect("a certificate")),
    candidates: [Candidate {
        transport: Transport::Udp,
        address: SocketAddr::from(([192, 0, 2, 1], 8_189)),
    }]
    .into(),
});

fuzz_target!(|data: &[u8]| {
    let _ = Fragment::parse(data);
    let _ = stun_username(data);
    let Ok(offer) = Offer::parse(data) else { return };
    let now = Time::default().at;
    let mut random = numbers();
    let track = |index, format: Format, timescale| Track {
        index: TrackIndex(index),
        format: Arc::new(format),
        timescale,
    };
    let tracks = [
        track(0, Format::H264(h264::Format::default()), Timescale::VIDEO),
        track(1, Format::Opus(Opus { channels: 2 }), Timescale::OPUS),
    ];
    let view = View {
        tracks: &tracks,
        reorders: false,
        playout: Playout::Smooth,
    };
    let sections = data.split(|byte| matches!(byte, b'\r' | b'\n' | 0));
    let sections = sections.filter(|line| line.trim_ascii().starts_with(b"m=")).count();
    let check = |sdp: &str| {
        let answered = sdp.lines().filter(|line| line.starts_with("m=")).count();
        assert_eq!(answered, sections, "a section for each of the offer:\n{sdp}");
        // What is answered can be read by the same rules.
        Offer::parse(sdp.replace("a=ice-lite\r\n", "").as_bytes()).expect("our own answer");
    };
    if let Ok(answered) = Viewer::answer(&offer, view, &CONFIG, &mut random, now) {
        check(&answered.sdp);
    }
    if let Ok(answered) = Publisher::answer(&offer, &CONFIG, &mut random, now) {
        check(&answered.sdp);
    }
});
