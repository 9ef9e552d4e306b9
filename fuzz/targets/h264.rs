//! H.264 bitstreams: parameter sets, slice headers, where access units begin.
#![no_main]

use input::{Input, bitstream};
use libfuzzer_sys::fuzz_target;
use media::h264::{AccessUnits, Format, output_order, with_live_vui};

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
        if let (Some(changed), Ok(before)) = (with_live_vui(unit, 30, 1), Format::new([unit])) {
            let after = Format::new([&changed]).expect("an SPS of ours can be read");
            assert_eq!(after.max_reorder_frames(), Some(0));
            assert_eq!(after.dimensions(), before.dimensions());
            match before.frame_rate() {
                // Timing that makes no sense is left as it is.
                None => assert!(after.frame_rate().is_none_or(|fps| fps == 30.0)),
                told => assert_eq!(after.frame_rate(), told),
            }
            assert_eq!(with_live_vui(&changed, 30, 1), None, "there is nothing left to change");
        }
    }
});
