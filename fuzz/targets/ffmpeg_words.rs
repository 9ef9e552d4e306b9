//! What FFmpeg says while it decodes a stranger's stream, line by line.
#![no_main]

use device::decode::ffmpeg::{Line, line};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for said in text.lines() {
        match line(said) {
            Line::Trouble(words) => assert_eq!(words, said),
            // A time is one that was said.
            Line::Picture(Some(at)) => assert!(said.contains(&at.unsigned_abs().to_string())),
            Line::Clock(one, hz) => assert!(said.contains(&one.to_string()) && said.contains(&hz.to_string())),
            Line::Picture(None) | Line::Other => {}
        }
    }
});
