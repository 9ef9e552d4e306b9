//! The capture time in SEI messages.
#![no_main]

use input::Input;
use libfuzzer_sys::fuzz_target;
use media::{Codec, WallTime, sei};

fuzz_target!(|data: &[u8]| {
    let _ = sei::read_h264(data);
    let _ = sei::read_h265(data);
    let _ = sei::find(data, Codec::H264);
    let _ = sei::find(data, Codec::H265);

    let mut input = Input::new(data);
    let micros = i64::from_be_bytes(std::array::from_fn(|_| input.byte()));
    let time = WallTime::from_unix_micros(micros);
    assert_eq!(sei::read_h264(&sei::h264(time)), Some(time));
    assert_eq!(sei::read_h265(&sei::h265(time)), Some(time));
});
