//! What must be true of access units that are put together from any bytes, in H.264 as in H.265.

use media::annexb::{self, AccessUnit, AccessUnits, ByteStream, Ending, Syntax, nal_units};

/// Where access units are to end.
pub fn ending(choice: u8) -> Ending {
    match choice % 3 {
        0 => Ending::NextUnit,
        1 => Ending::OneSlice,
        _ => Ending::Told,
    }
}

/// Puts `stream`, cut into pieces, through `units` and hands each access unit on after it was checked.
pub fn access_units<S: Syntax>(units: AccessUnits<S>, stream: &[u8], seed: u8, mut done: impl FnMut(AccessUnit)) {
    let mut byte_stream = ByteStream::new(units);
    let mut bytes = 0;
    let mut check = |unit: AccessUnit| {
        let mut parts = nal_units(&unit.data);
        let lengths: Vec<usize> = parts.by_ref().map(<[u8]>::len).collect();
        assert!(!lengths.is_empty(), "an access unit without NAL units");
        assert!(parts.rest().is_empty(), "an access unit that is not well formed");
        bytes += lengths.iter().sum::<usize>();
        done(unit);
    };
    for piece in super::cut(stream, seed) {
        byte_stream.push(piece, &mut check);
    }
    byte_stream.paused(&mut check);
    while byte_stream.units().take_fault().is_some() {}
    assert!(bytes <= stream.len(), "bytes that nobody sent");
}

/// The NAL units of `stream` as an access unit's data.
pub fn length_prefixed(stream: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    for unit in annexb::units(stream) {
        annexb::push_length_prefixed(unit, &mut data);
    }
    data
}
