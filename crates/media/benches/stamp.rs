//! What the stamp costs a picture.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use media::WallTime;
use media::stamp::{Corner, Layout, Reader, draw, read};

const TIME: WallTime = WallTime::from_unix_micros(1_763_719_485_123_457);

fn noise(width: u32, height: u32) -> Vec<u8> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 32) as u8
    };
    (0..width * height).map(|_| random()).collect()
}

fn benches(criterion: &mut Criterion) {
    for (width, height) in [(640, 480), (1920, 1080)] {
        let mut luma = noise(width, height);
        let stride = width as usize;
        let name = |what: &str| format!("stamp/{what}/{width}x{height}");
        // The worst place to search for: the last lines.
        let layout = Layout::new(width, height, Corner::BottomRight).expect("it fits");
        criterion.bench_function(&name("search noise in vain"), |bencher| {
            bencher.iter(|| read(black_box(&luma), stride, width, height, TIME));
        });
        criterion.bench_function(&name("draw"), |bencher| {
            bencher.iter(|| draw(black_box(&mut luma), stride, &layout, TIME));
        });
        criterion.bench_function(&name("read"), |bencher| {
            bencher.iter(|| read(black_box(&luma), stride, width, height, TIME).expect("it is there"));
        });
        let mut reader = Reader::default();
        criterion.bench_function(&name("read again"), |bencher| {
            bencher.iter(|| {
                reader
                    .read(black_box(&luma), stride, width, height, TIME)
                    .expect("it is there")
            });
        });
        let stripes: Vec<u8> = (0..height)
            .flat_map(|_| (0..width).map(|x| if x / 3 % 2 == 0 { 235 } else { 16 }))
            .collect();
        criterion.bench_function(&name("search stripes in vain"), |bencher| {
            bencher.iter(|| read(black_box(&stripes), stride, width, height, TIME));
        });
    }
}

criterion_group!(group, benches);
criterion_main!(group);
