//! Segments of other HLS servers: a header and two pieces, MPEG-TS or fragmented MP4.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::demux::{Demuxer, MAX_SAMPLES};

fuzz_target!(|data: &[u8]| {
    let (header, pieces) = data.split_at(data.len() / 3);
    let mut demuxer = Demuxer::new();
    let _ = demuxer.header(header);
    for piece in [data, pieces, data] {
        if let Ok(samples) = demuxer.piece(piece) {
            assert!(samples.len() <= 2 * MAX_SAMPLES);
            assert!(samples.is_sorted_by_key(|sample| sample.decode_us));
        }
        demuxer.discontinuity();
    }
});
