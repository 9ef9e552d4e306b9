//! H.264 bitstreams: parameter sets, slice headers, where access units begin.
#![no_main]

use input::Input;
use libfuzzer_sys::fuzz_target;
use media::annexb::{ByteStream, Ending, nal_units};
use media::h264::{AccessUnits, Format};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let choices = input.byte();
    let stream = input.rest();
    let ending = match choices % 3 {
        0 => Ending::NextUnit,
        1 => Ending::OneSlice,
        _ => Ending::Told,
    };

    let mut access_units = ByteStream::new(AccessUnits::new(Format::default(), ending));
    let mut bytes = 0;
    let mut check = |unit: media::annexb::AccessUnit| {
        let mut parts = nal_units(&unit.data);
        assert!(parts.by_ref().count() > 0, "an access unit without NAL units");
        assert!(parts.rest().is_empty(), "an access unit that is not well formed");
        bytes += parts.by_ref().map(<[u8]>::len).sum::<usize>();
    };
    for piece in input::cut(stream, choices) {
        access_units.push(piece, &mut check);
    }
    access_units.paused(&mut check);
    let _ = access_units.units().take_fault();
    assert!(bytes <= stream.len());

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
