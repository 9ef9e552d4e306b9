//! What a server may answer when we offer to send, and what it may send then.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use input::{Time, numbers};
use libfuzzer_sys::fuzz_target;
use media::{Format, Timescale, Track, TrackIndex, audio, h264};
use protocol::webrtc::{Datagram, Event, Identity, Outbox, Pushing, Transport};

static IDENTITY: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate().expect("a certificate")));

fn tracks() -> [Track; 2] {
    let track = |index, format, timescale| Track {
        index: TrackIndex(index),
        format: Arc::new(format),
        timescale,
    };
    [
        track(0, Format::H264(h264::Format::default()), Timescale::VIDEO),
        track(1, Format::Opus(audio::Opus { channels: 2 }), Timescale::OPUS),
    ]
}

fuzz_target!(|data: &[u8]| {
    let local = SocketAddr::from(([192, 0, 2, 2], 5_000));
    let mut time = Time::default();
    let mut random = numbers();
    let Ok((pushing, offer)) = Pushing::offer(&IDENTITY, local, &tracks(), &mut random) else {
        return;
    };
    assert!(offer.starts_with("v=0\r\n"));
    let Ok(pushed) = pushing.answered(data, None, &mut random, time.at) else {
        return;
    };
    let (mut session, mut out) = (pushed.session, Outbox::new());
    for _ in 0..4 {
        session.handle_timeout(time.at, &mut out);
        for batch in out.batches() {
            assert_eq!(batch.from, local);
        }
        out.clear();
        let datagram = Datagram {
            transport: Transport::Udp,
            from: SocketAddr::from(([192, 0, 2, 1], 8_189)),
            to: local,
            bytes: data,
        };
        session.receive(datagram, time.at, &mut out);
        let events: Vec<_> = std::iter::from_fn(|| session.poll_event()).collect();
        assert!(!events.contains(&Event::Connected));
        time.pass(Duration::from_millis(100));
    }
});
