use proptest::prelude::*;

use super::*;
use crate::track::Codec;

/// A packet with this payload, filled up.
fn packet(pid: u16, begins: bool, counter: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x47, (pid >> 8) as u8 | if begins { 0x40 } else { 0 }, pid as u8];
    let room = 184 - payload.len();
    if room == 0 {
        packet.push(0x10 | counter);
    } else {
        packet.extend([0x30 | counter, (room - 1) as u8]);
        packet.extend((1..room).map(|at| if at == 1 { 0 } else { 0xff }));
    }
    packet.extend_from_slice(payload);
    packet
}

/// Tables of a program with AAC alone, in two pieces of PES.
fn sound(scrambled: bool) -> Vec<u8> {
    let programs = [0, 0x00, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xe1, 0x00, 0, 0, 0, 0];
    let table = [
        0, 0x02, 0xb0, 18, 0, 1, 0xc1, 0, 0, 0xe1, 0x01, 0xf0, 0, 0x0f, 0xe1, 0x01, 0xf0, 0, 0, 0, 0, 0,
    ];
    // 44.1 kHz, stereo, nine bytes of which two are the frame.
    let frame = [0xff, 0xf1, 0x50, 0x80, 0x01, 0x3f, 0xfc, 0x21, 0x10];
    let mut pes = vec![
        0,
        0,
        1,
        0xc0,
        0,
        26,
        if scrambled { 0x90 } else { 0x80 },
        0x80,
        5,
        0x21,
        0,
        5,
        0xbf,
        0x21,
    ];
    pes.extend(frame);
    pes.extend(frame);
    [
        packet(0, true, 0, &programs),
        packet(0x100, true, 0, &table),
        packet(0x101, true, 0, &pes),
        packet(0x101, true, 1, &pes),
    ]
    .concat()
}

#[test]
fn sound_of_a_transport_stream() {
    let samples = Demuxer::new().piece(&sound(false)).unwrap();
    assert_eq!(samples.len(), 4, "two frames in each PES");
    for (sample, at) in samples.iter().zip([0, 0, 1, 1]) {
        assert_eq!(
            (&sample.data[..], sample.format.codec()),
            (&[0x21, 0x10][..], Codec::Aac)
        );
        let first = samples[0].time.ticks();
        assert!(sample.time.ticks() == first + at * 1_024, "{sample:?}");
    }
}

#[test]
fn what_cannot_be_used_says_why() {
    let refused = |bytes: &[u8]| Demuxer::new().piece(bytes).unwrap_err();
    assert_eq!(refused(b""), Error::Unknown);
    assert_eq!(refused(b"<html>"), Error::Unknown);
    assert_eq!(refused(&sound(true)), Error::Encrypted);
    let mut scrambled = sound(false);
    scrambled[2 * 188 + 3] |= 0x80;
    assert_eq!(refused(&scrambled), Error::Encrypted);
    let mut other = sound(false);
    other[188 + 188 - 9] = 0x03;
    assert!(matches!(refused(&other), Error::NoTracks(types) if types.contains("0x03")));
    assert!(matches!(
        refused(&packet(0x30, false, 0, &[])[..188]),
        Error::NoTracks(_)
    ));
    let mut out_of_step = sound(false);
    out_of_step[376] = 0;
    assert!(matches!(refused(&out_of_step), Error::Damaged(_)));
    assert!(matches!(Demuxer::new().header(b"ftyp"), Err(Error::Damaged(_))));
}

#[test]
fn a_packet_that_is_missing_takes_its_frame_along() {
    let long = [
        &[0, 0, 1, 0xc0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 5, 0xbf, 0x21][..],
        &[0xff; 170][..],
    ]
    .concat();
    let mut bytes = sound(false);
    bytes.extend(packet(0x101, true, 2, &long));
    bytes.extend(packet(0x101, false, 4, &[0; 184]));
    assert_eq!(Demuxer::new().piece(&bytes).unwrap().len(), 4);
}

proptest! {
    #[test]
    fn no_bytes_panic(noise in proptest::collection::vec(any::<u8>(), 0..2_000), at in 0_usize..700, to in any::<u8>()) {
        let mut demuxer = Demuxer::new();
        let _ = demuxer.header(&noise);
        let _ = demuxer.piece(&noise);
        let mut broken = sound(false);
        if let Some(byte) = broken.get_mut(at) {
            *byte = to;
        }
        let _ = demuxer.piece(&broken);
        let _ = demuxer.piece(&broken);
    }
}
