//! H.264 bitstreams: parameter sets, slice headers, where access units begin.
#![no_main]

use input::{Input, bitstream};
use libfuzzer_sys::fuzz_target;
use media::h264::{AccessUnits, Format, output_order, without_reordering};

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
        for unit in media::annexb::units(stream) {
            if let Some(order) = output_order(unit, &format) {
                assert!((4..=16).contains(&order.bits) && order.lsb < 1 << order.bits);
            }
        }
    }

    for unit in media::annexb::units(stream) {
        if let (Some(changed), Ok(before)) = (without_reordering(unit), Format::new([unit])) {
            let after = Format::new([&changed]).expect("an SPS of ours can be read");
            assert_eq!(after.max_reorder_frames(), Some(0));
            assert_eq!(after.dimensions(), before.dimensions());
            assert_eq!(without_reordering(&changed), None, "there is nothing left to change");
        }
    }
});
