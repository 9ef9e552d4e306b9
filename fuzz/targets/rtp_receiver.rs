//! A receiver of one track over UDP: RTP and RTCP packets with the time between them.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use input::{Input, Time};
use libfuzzer_sys::fuzz_target;
use media::{Format, Timescale, TrackIndex, h264};
use protocol::rtp::{Arrival, Payload, Receiver, ReceiverConfig, Reordering, Timeline};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let config = ReceiverConfig {
        track: TrackIndex(0),
        payload: Payload::H264,
        payload_type: 96,
        format: Arc::new(Format::H264(h264::Format::default())),
        clock: Timescale::VIDEO,
        reordering: (!input.byte().is_multiple_of(4)).then(Reordering::default),
        abs_capture_time: Some(1),
        ssrc: 1,
        cname: "fuzz".into(),
        max_unit_bytes: 64 << 10,
    };
    let mut receiver = Receiver::new(config, Timeline::default());
    let mut time = Time::default();
    while !input.is_empty() {
        let choice = input.byte();
        time.pass(Duration::from_millis(u64::from(choice >> 2)));
        let arrival = Arrival {
            at: time.at,
            wall: time.wall,
        };
        match choice & 3 {
            0 => receiver.receive_rtcp(input.piece(), arrival),
            1 => {
                let mut report = Vec::new();
                receiver.report(time.at, &mut report);
            }
            _ => receiver.receive_rtp(input.piece(), arrival),
        }
        if receiver.poll_timeout().is_some_and(|due| due <= time.at) {
            receiver.handle_timeout(time.at);
            assert!(
                receiver.poll_timeout().is_none_or(|due| due > time.at),
                "a timeout that does not pass"
            );
        }
        while receiver.poll().is_some() {}
    }
    let _ = receiver.stats();
});
