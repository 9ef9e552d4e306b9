//! Annex B byte streams and length-prefixed NAL units.
#![no_main]

use input::{Input, bitstream};
use libfuzzer_sys::fuzz_target;
use media::annexb::{Splitter, nal_units, to_annex_b, unescaped, units};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let seed = input.byte();
    let stream = input.rest();

    let whole: Vec<&[u8]> = units(stream).collect();
    let mut splitter = Splitter::default();
    let mut split = Vec::new();
    for piece in input::cut(stream, seed) {
        splitter.push(piece, |unit| split.push(unit.to_vec()));
    }
    splitter.flush(|unit| split.push(unit.to_vec()));
    assert_eq!(whole, split, "pieces make a difference");

    let prefixed = bitstream::length_prefixed(stream);
    assert_eq!(nal_units(&prefixed).collect::<Vec<_>>(), whole);
    let mut again = Vec::new();
    to_annex_b(&prefixed, &mut again);
    assert_eq!(
        units(&again).collect::<Vec<_>>(),
        whole,
        "there and back makes a difference"
    );

    let mut parts = nal_units(stream);
    let bytes: usize = parts.by_ref().map(<[u8]>::len).sum();
    assert!(bytes + parts.rest().len() <= stream.len());
    assert!(unescaped(stream).count() <= stream.len());
});
