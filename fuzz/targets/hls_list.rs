//! Lists of other HLS servers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::hls::playlist::Playlist;

fuzz_target!(|data: &[u8]| {
    let Ok(list) = Playlist::parse(data) else { return };
    match list {
        Playlist::Variants(variants) => assert!(!variants.is_empty()),
        Playlist::Media(media) => {
            for pair in media.segments.windows(2) {
                assert!(pair[0].sequence < pair[1].sequence || pair[1].sequence == u64::MAX);
            }
        }
    }
});
