//! What players ask of LL-HLS: directives and names of media, of a stream that is made of the fuzzer's choices.
#![no_main]

use std::time::Duration;

use input::Input;
use libfuzzer_sys::fuzz_target;
use media::audio::Opus;
use media::{Capture, CaptureSource, Format, Frame, MediaTime, Timescale, Track, TrackIndex, WallTime};
use protocol::hls::{Config, Identity, List, Muxer, Query, Resource};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let config = Config {
        part: Duration::from_millis(u64::from(input.byte())),
        segment: Duration::from_millis(10 * u64::from(input.byte())),
        segments: usize::from(input.byte()),
        memory_bytes: 1 << 20,
    };
    let format = std::sync::Arc::new(Format::Opus(Opus { channels: 2 }));
    let track = Track {
        index: TrackIndex(0),
        format: format.clone(),
        timescale: Timescale::OPUS,
    };
    let identity = Identity::at(WallTime::from_unix_micros(i64::from(input.word())), &config);
    let mut muxer = Muxer::new(&[track], None, identity, config).expect("Opus plays");
    let mut time = MediaTime::new(0, Timescale::OPUS);
    let mut publisher = 0;
    while !input.is_empty() {
        match input.byte() {
            choice @ 0..=99 => {
                // Forwards mostly, and now and then back.
                let step_us = if choice == 99 {
                    -1_000_000
                } else {
                    i64::from(choice) * 1_000
                };
                time = time.offset_micros(step_us);
                let frame = Frame {
                    track: TrackIndex(0),
                    time,
                    capture: Capture {
                        at: WallTime::from_unix_micros(time.as_micros()),
                        source: CaptureSource::Camera,
                    },
                    keyframe: true,
                    format: format.clone(),
                    data: input.piece().to_vec().into(),
                };
                muxer.push(&frame, publisher);
            }
            100 => publisher += 1,
            101 => muxer.end(),
            102..=180 => {
                let text = String::from_utf8_lossy(input.piece());
                if let Ok(query) = Query::parse(&text)
                    && let List::Ready(list) = muxer.list(&query, None)
                {
                    assert!(list.plain().starts_with(b"#EXTM3U\n"), "something that is no list");
                    assert!(list.plain().len() < 1 << 20, "a list without end");
                }
            }
            _ => {
                let name = String::from_utf8_lossy(input.piece());
                if let Resource::Ready(media) = muxer.resource(&name) {
                    assert!(!media.is_empty(), "a file without anything in it");
                }
            }
        }
        assert!(muxer.bytes() < 4 << 20, "memory without end");
    }
});
