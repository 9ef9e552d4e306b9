//! What players ask of LL-HLS: directives and names of media, of a stream that is made of the fuzzer's choices.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use input::Input;
use libfuzzer_sys::fuzz_target;
use media::audio::Opus;
use media::{Capture, CaptureSource, Format, Frame, MediaTime, Timescale, Track, TrackIndex, WallTime, annexb, h264};
use protocol::hls::{Config, Identity, List, Muxer, Query, Resource, multivariant};

/// Parameter sets and pictures.
const H264: &[u8] = include_bytes!("../corpus/annexb/baseline");

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let config = Config {
        part: Duration::from_millis(u64::from(input.byte())),
        segment: Duration::from_millis(10 * u64::from(input.byte())),
        segments: usize::from(input.byte()),
        memory_bytes: 1 << 20,
    };
    let choice = input.word();
    let sound = Track {
        index: TrackIndex(0),
        format: Arc::new(Format::Opus(Opus { channels: 2 })),
        timescale: Timescale::OPUS,
    };
    let picture = Track {
        index: TrackIndex(1),
        format: Arc::new(Format::H264(h264::Format::new(annexb::units(H264)).unwrap_or_default())),
        timescale: Timescale::VIDEO,
    };
    let tracks = match choice % 3 {
        0 => vec![sound],
        1 => vec![picture],
        _ => vec![sound, picture],
    };
    let keyframe_distance = (choice & 0x80 != 0).then(|| Duration::from_millis(u64::from(choice >> 6)));
    let identity = Identity::at(WallTime::from_unix_micros(i64::from(choice)), &config);
    let mut muxer = Muxer::new(&tracks, keyframe_distance, identity, config).expect("they play");
    let mut times: Vec<_> = tracks.iter().map(|track| MediaTime::new(0, track.timescale)).collect();
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
                let piece = input.piece();
                let which = piece.first().map_or(0, |byte| usize::from(byte % 2)) % tracks.len();
                let track = &tracks[which];
                times[which] = times[which].offset_micros(step_us);
                let frame = Frame {
                    track: track.index,
                    time: times[which],
                    capture: Capture {
                        at: WallTime::from_unix_micros(times[which].as_micros()),
                        source: CaptureSource::Camera,
                    },
                    // Every picture in four, and all sound.
                    keyframe: track.index == TrackIndex(0) || piece.len().is_multiple_of(4),
                    format: Arc::clone(&track.format),
                    data: piece.to_vec().into(),
                };
                muxer.push(&frame, publisher);
            }
            100 => publisher += 1,
            101 => muxer.end(),
            102 => {
                muxer.gap();
            }
            103 => muxer.restart(&tracks).map(drop).expect("they play"),
            104..=180 => {
                let text = String::from_utf8_lossy(input.piece());
                if let Ok(query) = Query::parse(&text)
                    && let List::Ready(list) = muxer.list(&query, None)
                {
                    assert!(list.plain().starts_with(b"#EXTM3U\n"), "something that is no list");
                    assert!(list.plain().len() < 1 << 20, "a list without end");
                }
                let Some(variant) = muxer.variant() else { continue };
                let list = multivariant(&[(&variant, "stream.m3u8")], None);
                assert!(list.plain().starts_with(b"#EXTM3U\n"), "something that is no list");
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
