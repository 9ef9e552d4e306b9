//! What a viewer by WebRTC may send once its offer is answered: checks, a handshake, reports, broken or not, in any order.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use input::{Input, Time, numbers};
use libfuzzer_sys::fuzz_target;
use media::{Capture, CaptureSource, Format, Frame, MediaTime, Timescale, Track, TrackIndex, h264};
use protocol::webrtc::{
    Asking, Candidate, Config, Datagram, Event, Former, Identity, Moment, Offer, Outbox, Playout, Sent, Transport,
    View, Viewer, Wanted,
};

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config {
    identity: Arc::new(Identity::generate().expect("a certificate")),
    candidates: [Candidate {
        transport: Transport::Udp,
        address: server(),
    }]
    .into(),
});

/// More steps show nothing new.
const MAX_STEPS: usize = 200;

fn server() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 8_189))
}

fn client() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 5_000))
}

fn datagram(from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Datagram<'_> {
    Datagram {
        transport: Transport::Udp,
        from,
        to,
        bytes,
    }
}

/// What waits, the first of it broken at a place.
fn taken(out: &mut Outbox, input: &mut Input<'_>, broken: bool) -> Vec<Vec<u8>> {
    let all = out.batches().iter().flat_map(|batch| out.datagrams_of(batch));
    let mut datagrams: Vec<_> = all.map(<[u8]>::to_vec).collect();
    out.clear();
    if let Some(first) = datagrams.first_mut().filter(|first| broken && !first.is_empty()) {
        let at = usize::from(input.word()) % first.len();
        first[at] ^= input.byte();
    }
    datagrams
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let mut time = Time::default();
    let mut random = numbers();
    let format = Arc::new(Format::H264(h264::Format::default()));
    let track = Track {
        index: TrackIndex(0),
        format: Arc::clone(&format),
        timescale: Timescale::VIDEO,
    };
    let (asking, offer) = Asking::offer(&CONFIG.identity, client(), Wanted::Picture, &mut random);
    let view = View {
        tracks: std::slice::from_ref(&track),
        reorders: false,
        playout: Playout::Smooth,
    };
    let offer = Offer::parse(offer.as_bytes()).expect("our own offer");
    let answered = Viewer::answer(&offer, view, &CONFIG, &mut random, time.at).expect("an answer");
    let mut viewer = answered.session;
    let (mut up, mut down) = (Outbox::new(), Outbox::new());
    let asked = asking.answered(answered.sdp.as_bytes(), None, &mut random, time.at);
    let mut peer = asked.expect("our own answer");
    let now = Moment {
        at: time.at,
        wall: time.wall,
    };
    peer.handle_timeout(now, &mut up);
    let former = Former::new(&format, 0);
    let mut ended = false;
    for step in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        let now = Moment {
            at: time.at,
            wall: time.wall,
        };
        let choice = input.byte();
        match choice % 6 {
            0 => {
                let bytes = input.piece();
                viewer.receive(datagram(client(), server(), bytes), time.at, &mut down);
            }
            1 => {
                time.pass(Duration::from_millis(u64::from(input.byte()) * 10));
                viewer.handle_timeout(time.at, &mut down);
                let now = Moment {
                    at: time.at,
                    wall: time.wall,
                };
                peer.handle_timeout(now, &mut up);
            }
            2 | 3 => {
                for bytes in taken(&mut up, &mut input, choice % 6 == 3) {
                    viewer.receive(datagram(client(), server(), &bytes), time.at, &mut down);
                }
            }
            4 => {
                for bytes in taken(&mut down, &mut input, choice & 64 != 0) {
                    peer.receive(datagram(server(), client(), &bytes), now, &mut up);
                }
            }
            _ => {
                let nal = input.piece();
                let mut bytes = (nal.len() as u32).to_be_bytes().to_vec();
                bytes.extend_from_slice(nal);
                let frame = Frame {
                    track: TrackIndex(0),
                    time: MediaTime::new(step as i64 * 3_000, Timescale::VIDEO),
                    capture: Capture {
                        at: time.wall,
                        source: CaptureSource::Camera,
                    },
                    keyframe: choice & 64 != 0,
                    format: Arc::clone(&format),
                    data: bytes.into(),
                };
                let sent = viewer.send(frame.track, &former.form(&frame), now, &mut down);
                assert!(!ended || sent == Sent::default(), "nothing after the end");
            }
        }
        while let Some(event) = viewer.poll_event() {
            assert!(!ended, "{event:?} after the end");
            ended = matches!(event, Event::Ended(_));
        }
        while peer.poll_frame().is_some() {}
    }
});
