//! Filmstrips as they lie on a disk, behind a checksum that is right: what damage cannot be told from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sightline::record::strip::{self, MAX_SIDE, MAX_TILES, Strip};

fuzz_target!(|data: &[u8]| {
    let _ = Strip::read(data);
    let _ = strip::pictures(data, data);
    let mut file = b"SLstrip1".to_vec();
    file.extend_from_slice(&u32::try_from(data.len()).expect("it is short").to_be_bytes());
    file.extend_from_slice(&crc32fast::hash(data).to_be_bytes());
    file.extend_from_slice(data);
    let Ok(strip) = Strip::read(&file) else { return };
    assert!(strip.width <= MAX_SIDE && strip.height <= MAX_SIDE && strip.at_90k.len() <= MAX_TILES);
    assert_eq!(strip.write(), file);
    if let Ok(tiles) = strip.tiles(|_| true) {
        assert_eq!(tiles.len(), strip.at_90k.len());
    }
});
