//! MP4 made of what peers sent: their parameter sets in the header, their access units as samples.
#![no_main]

use std::sync::Arc;

use input::{Input, bitstream};
use libfuzzer_sys::fuzz_target;
use media::annexb::AccessUnit;
use media::audio::Aac;
use media::fmp4::{Error, Run, Sample, Writer};
use media::{Capture, CaptureSource, Format, Frame, MediaTime, Timescale, Track, TrackIndex, WallTime, h264, h265};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let choices = input.byte();
    let codec = input.byte() % 3;
    let bytes = input.rest();
    let mut units: Vec<AccessUnit> = Vec::new();
    let ending = bitstream::ending(choices);
    let format = match codec {
        0 => {
            let known = h264::Format::new(media::annexb::units(bytes)).unwrap_or_default();
            bitstream::access_units(h264::AccessUnits::new(known.clone(), ending), bytes, choices, |unit| {
                units.push(unit)
            });
            Format::H264(known)
        }
        1 => {
            let known = h265::Format::new(media::annexb::units(bytes)).unwrap_or_default();
            bitstream::access_units(h265::AccessUnits::new(known.clone(), ending), bytes, choices, |unit| {
                units.push(unit)
            });
            Format::H265(known)
        }
        _ => match Aac::parse(bytes) {
            Ok(aac) => Format::Aac(aac),
            Err(_) => return,
        },
    };
    let format = units
        .first()
        .map_or_else(|| Arc::new(format), |unit| Arc::clone(&unit.format));
    let track = Track {
        index: TrackIndex(0),
        format: Arc::clone(&format),
        timescale: Timescale::VIDEO,
    };
    let Ok(writer) = Writer::new(&[track], MediaTime::new(0, Timescale::VIDEO)) else {
        return;
    };
    boxes(writer.init_segment());
    let samples: Vec<Sample> = (0..)
        .step_by(3_000)
        .zip(units.iter().filter(|unit| unit.format == format))
        .map(|(ticks, unit)| Sample {
            frame: Frame {
                track: TrackIndex(0),
                time: MediaTime::new(ticks, Timescale::VIDEO),
                capture: Capture {
                    at: WallTime::from_unix_micros(1_750_000_000_000_000),
                    source: CaptureSource::Arrival,
                },
                keyframe: unit.keyframe,
                format: Arc::clone(&unit.format),
                data: unit.data.clone(),
            },
            decode_time: MediaTime::new(ticks, Timescale::VIDEO),
        })
        .collect();
    let run = Run {
        track: TrackIndex(0),
        samples: &samples,
        end: MediaTime::new(3_000 * samples.len() as i64, Timescale::VIDEO),
    };
    match writer.fragment(1, &[run]) {
        Ok(fragment) => boxes(&fragment),
        Err(error) => assert_eq!(error, Error::Empty),
    }
});

/// Every box states its length truly, to the last byte.
fn boxes(mut rest: &[u8]) {
    while !rest.is_empty() {
        let (head, _) = rest.split_first_chunk::<4>().expect("a box begins with its length");
        let bytes = u32::from_be_bytes(*head) as usize;
        assert!(
            bytes >= 8 && bytes <= rest.len(),
            "a box of {bytes} bytes, {} are there",
            rest.len()
        );
        rest = &rest[bytes..];
    }
}
