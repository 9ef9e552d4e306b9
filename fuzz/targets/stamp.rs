//! The clock drawn into pictures, read from pixels that somebody else made.
#![no_main]

use input::Input;
use libfuzzer_sys::fuzz_target;
use media::WallTime;
use media::stamp::{Corner, Layout, Reader, draw, read};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (width, height) = (u32::from(input.byte()) + 1, u32::from(input.byte()) + 1);
    let stride = usize::try_from(width).unwrap_or(0) + usize::from(input.byte() % 4);
    let choices = input.byte();
    let near = WallTime::from_unix_micros(i64::from(input.word()) << 32 | i64::from(input.word()));
    let shade = input.byte();
    let mut luma: Vec<u8> = input.rest().iter().copied().cycle().take(stride * 256).collect();
    let _ = read(&luma, stride, width, height, near);

    // On one shade: what hostile pixels hide from a search of bounded effort is hidden.
    luma.clear();
    luma.resize(stride * usize::try_from(height).unwrap_or(0), shade);
    let corner = [
        Corner::TopLeft,
        Corner::TopRight,
        Corner::BottomLeft,
        Corner::BottomRight,
    ][usize::from(choices % 4)];
    if let Some(layout) = Layout::new(width, height, corner) {
        draw(&mut luma, stride, &layout, near);
        let mut reader = Reader::default();
        for _ in 0..2 {
            let reading = reader
                .read(&luma, stride, width, height, near)
                .expect("what was drawn can be read");
            assert_eq!(reading.time, near);
        }
    }
});
