//! Raw pictures as FFmpeg gives them of somebody's file: those that are there are whole, and each has the size that was said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sightline::process::y4m::Reader;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(mut reader)) = Reader::open(data) else {
        return;
    };
    let mut size = None;
    let mut bytes = 0;
    while let Ok(Some(picture)) = reader.next() {
        let now = (picture.width(), picture.height());
        assert_eq!(*size.get_or_insert(now), now);
        bytes += picture.as_bytes().len();
        assert!(bytes <= data.len());
    }
});
