//! What a server may answer to our own offer, and what it may send then.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use input::{Time, numbers};
use libfuzzer_sys::fuzz_target;
use protocol::webrtc::{Asking, Datagram, Identity, Moment, Outbox, Transport, Wanted};

static IDENTITY: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate().expect("a certificate")));

fuzz_target!(|data: &[u8]| {
    let local = SocketAddr::from(([192, 0, 2, 2], 5_000));
    let mut time = Time::default();
    let mut random = numbers();
    let (asking, offer) = Asking::offer(&IDENTITY, local, Wanted::Everything, &mut random);
    assert!(offer.starts_with("v=0\r\n"));
    let Ok(mut client) = asking.answered(data, None, &mut random, time.at) else {
        return;
    };
    let mut out = Outbox::new();
    for _ in 0..4 {
        let now = Moment {
            at: time.at,
            wall: time.wall,
        };
        client.handle_timeout(now, &mut out);
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
        client.receive(datagram, now, &mut out);
        assert!(!client.is_connected() && client.tracks().is_none() && client.poll_frame().is_none());
        time.pass(Duration::from_millis(100));
    }
});
