//! H.265 bitstreams: parameter sets, slice headers, where access units begin.
#![no_main]

use input::{Input, bitstream};
use libfuzzer_sys::fuzz_target;
use media::h265::{AccessUnits, Format};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let choices = input.byte();
    let stream = input.rest();
    let units = AccessUnits::new(Format::default(), bitstream::ending(choices));
    bitstream::access_units(units, stream, choices, drop);

    if let Ok(format) = Format::new(media::annexb::units(stream)) {
        let _ = (
            format.is_complete(),
            format.dimensions(),
            format.frame_rate(),
            format.codec_string(),
        );
        let _ = (format.max_reorder_frames(), format.sample_format());
        let again = Format::new(format.parameter_sets()).expect("what was accepted once is accepted again");
        assert_eq!(again.dimensions().is_some(), format.dimensions().is_some());
    }
});
