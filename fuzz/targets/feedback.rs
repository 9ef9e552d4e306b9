//! What a viewer says of when its packets came, and of what it can take.
#![no_main]

use input::Input;
use libfuzzer_sys::fuzz_target;
use protocol::rtp::feedback::{Arrivals, MAX_REPORTED};
use protocol::rtp::rtcp::{Packet, parse};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    // The head is right, so that what is behind it is read.
    let (kind, body) = (input.byte(), input.rest());
    let mut packet = vec![0x8f, 205 + (kind & 1), 0, 0];
    packet.extend_from_slice(body);
    packet.truncate(packet.len() / 4 * 4);
    let words = (packet.len() / 4 - 1) as u16;
    packet[2..4].copy_from_slice(&words.to_be_bytes());
    for read in parse(&packet).unwrap_or_default() {
        let Packet::Arrivals(arrivals) = read else { continue };
        assert!(arrivals.times_us.len() <= MAX_REPORTED);
        if arrivals
            .times_us
            .iter()
            .flatten()
            .any(|at| !(0..Arrivals::CLOCK_US).contains(at))
        {
            continue;
        }
        // Nothing is further apart than can be written, so it is read again as it was.
        let mut written = Vec::new();
        arrivals.write(1, 2, &mut written);
        assert_eq!(parse(&written).unwrap_or_default(), [Packet::Arrivals(arrivals)]);
    }
});
