use proptest::prelude::*;
use rstest::rstest;

use super::read::{Effort, Plane};
use super::*;

const TIME: WallTime = WallTime::from_unix_micros(1_763_719_485_123_457);
const CORNERS: [Corner; 4] = [
    Corner::TopLeft,
    Corner::TopRight,
    Corner::BottomLeft,
    Corner::BottomRight,
];

struct Picture {
    luma: Vec<u8>,
    width: u32,
    height: u32,
}

impl Picture {
    fn new(width: u32, height: u32, mut pixel: impl FnMut(u32, u32) -> u8) -> Self {
        let luma = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| pixel(x, y))
            .collect();
        Self { luma, width, height }
    }

    fn noise(width: u32, height: u32, mut seed: u64, grain: u32) -> Self {
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 32) as u8
        };
        let row_length = width.div_ceil(grain) as usize;
        let grains: Vec<u8> = (0..row_length * height.div_ceil(grain) as usize)
            .map(|_| random())
            .collect();
        Self::new(width, height, |x, y| {
            grains[(y / grain) as usize * row_length + (x / grain) as usize]
        })
    }

    fn stamped(mut self, corner: Corner, time: WallTime) -> Self {
        let layout = Layout::new(self.width, self.height, corner).unwrap();
        draw(&mut self.luma, self.width as usize, &layout, time);
        self
    }

    fn read(&self) -> Option<Reading> {
        read(&self.luma, self.width as usize, self.width, self.height, TIME)
    }

    fn effort(&self) -> Effort {
        let mut effort = Effort::default();
        Plane::new(&self.luma, self.width as usize, self.width, self.height)
            .unwrap()
            .search(TIME, &mut effort);
        effort
    }
}

#[test]
fn layouts_of_usual_sizes() {
    let rectangle = |width, height, corner| Layout::new(width, height, corner).unwrap().rectangle();
    let expected = Rectangle {
        x: 480,
        y: 16,
        width: 144,
        height: 40,
    };
    assert_eq!(rectangle(640, 480, Corner::TopRight), expected);
    let expected = Rectangle {
        x: 32,
        y: 608,
        width: 288,
        height: 80,
    };
    assert_eq!(rectangle(1280, 720, Corner::BottomLeft), expected);
    assert_eq!(Layout::new(320, 240, Corner::TopLeft).unwrap().block(), 6);
    assert_eq!(Layout::new(88, 72, Corner::TopLeft).unwrap().block(), 4);
    assert_eq!(Layout::new(86, 72, Corner::TopLeft), None);
    assert_eq!(Layout::new(640, 54, Corner::TopLeft), None);
}

#[test]
fn the_format_does_not_change() {
    let mut luma = vec![100; 96 * 80];
    let layout = Layout::new(96, 80, Corner::TopLeft).unwrap();
    draw(&mut luma, 96, &layout, TIME);
    let text: Vec<String> = (0..ROWS)
        .map(|row| {
            let line = 96 * (8 + row as usize * 4 + 2);
            (0..COLUMNS as usize)
                .map(|column| {
                    if luma[line + 8 + column * 4 + 1] == WHITE {
                        '#'
                    } else {
                        '.'
                    }
                })
                .collect()
        })
        .collect();
    let page = include_str!("../../../../docs/reference/stamp.md");
    assert!(page.contains(&text.join("\n")), "the page shows another example");
    insta::assert_snapshot!(text.join("\n"), @r"
    #.#.#.#.#.#.#.#.#.
    ..#...#.....#.####
    #####...#.##..#...
    .###.#.###......##
    ####...#.#..###...
    ");
}

#[test]
fn the_checksum_is_crc_16_ccitt_false() {
    // Its check value is defined over nine bytes; the definition over our six is the same loop.
    let reference = |bytes: &[u8]| {
        bytes.iter().fold(0xffff_u16, |crc, &byte| {
            (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
                if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 }
            })
        })
    };
    assert_eq!(reference(b"123456789"), 0x29b1);
    for bits in [0, 1, 0x1234_5678_9abc, (1 << 48) - 1] {
        assert_eq!(checksum(bits), reference(&bits.to_be_bytes()[2..]));
    }
}

#[rstest]
fn found_in_every_corner_of_noise(
    #[values((640, 480), (320, 240), (1280, 720), (1920, 1080), (160, 120), (96, 80))] size: (u32, u32),
    #[values(1, 3, 8)] grain: u32,
) {
    for corner in CORNERS {
        let picture = Picture::noise(size.0, size.1, 77, grain).stamped(corner, TIME);
        let reading = picture.read().unwrap_or_else(|| panic!("{size:?} {corner:?}"));
        assert_eq!(reading.time, TIME);
        let rectangle = Layout::new(size.0, size.1, corner).unwrap().rectangle();
        assert!((reading.grid.x - rectangle.x as f32).abs() < 1.0 && (reading.grid.y - rectangle.y as f32).abs() < 1.0);
    }
}

#[test]
fn the_nearest_time_is_taken() {
    let picture = Picture::new(640, 480, |_, _| 90).stamped(Corner::TopRight, TIME);
    let read_near = |near: WallTime| read(&picture.luma, 640, 640, 480, near).unwrap().time;
    let half = 1_i64 << 47;
    assert_eq!(read_near(TIME.offset_micros(half)), TIME);
    assert_eq!(read_near(TIME.offset_micros(1 - half)), TIME);
    assert_eq!(read_near(TIME.offset_micros(half + 1)), TIME.offset_micros(1 << 48));
}

#[test]
fn a_reader_follows_a_stamp_that_moves() {
    let mut reader = Reader::default();
    for (step, corner) in CORNERS.into_iter().cycle().take(9).enumerate() {
        let time = TIME.offset_micros(step as i64 * 33_367);
        let picture = Picture::noise(640, 480, 5, 4).stamped(corner, time);
        assert_eq!(reader.read(&picture.luma, 640, 640, 480, TIME).unwrap().time, time);
    }
}

#[test]
fn a_damaged_block_is_no_reading() {
    let layout = Layout::new(640, 480, Corner::TopRight).unwrap();
    let Rectangle { x, y, .. } = layout.rectangle();
    for (column, row) in (0..COLUMNS).flat_map(|column| (0..ROWS).map(move |row| (column, row))) {
        let mut picture = Picture::new(640, 480, |_, _| 90).stamped(Corner::TopRight, TIME);
        for line in 0..8 {
            let start = ((y + row * 8 + line) * 640 + x + column * 8) as usize;
            picture.luma[start..start + 8]
                .iter_mut()
                .for_each(|value| *value = 251 - *value);
        }
        assert_eq!(picture.read(), None, "block {column}, {row}");
    }
}

#[test]
fn planes_that_are_too_short_are_refused() {
    let luma = vec![0; 100];
    for (stride, width, height) in [
        (10, 11, 5),
        (10, 10, 11),
        (0, 10, 10),
        (10, 0, 10),
        (10, 10, 0),
        (usize::MAX, 10, 10),
    ] {
        assert_eq!(read(&luma, stride, width, height, TIME), None);
    }
    assert_eq!(read(&[], 0, 0, 0, TIME), None);
}

#[test]
fn the_work_on_stripes_and_chequers_is_bounded() {
    let stripes = Picture::new(640, 480, |x, _| if x / 3 % 2 == 0 { 235 } else { 16 });
    assert_eq!(stripes.effort().marks, 4096);
    assert_eq!(stripes.effort().grids, 0);
    let chequers = Picture::new(640, 480, |x, y| if (x / 8 + y / 8) % 2 == 0 { 235 } else { 16 });
    assert_eq!(chequers.effort().grids, 64);
    assert_eq!((stripes.read(), chequers.read()), (None, None));
}

proptest! {
    #[test]
    fn any_time_round_trips(unix_micros in -(1_i64 << 60)..1 << 60, skew in -(1_i64 << 46)..1 << 46, corner in 0_usize..4) {
        let time = WallTime::from_unix_micros(unix_micros);
        let picture = Picture::noise(160, 120, 3, 2).stamped(CORNERS[corner], time);
        let reading = read(&picture.luma, 160, 160, 120, time.offset_micros(skew));
        prop_assert_eq!(reading.map(|reading| reading.time), Some(time));
    }

    #[test]
    fn layouts_lie_within_their_picture_on_even_pixels(width in 0_u32..5000, height in 0_u32..5000, corner in 0_usize..4, block in 0_u32..200) {
        let corner = CORNERS[corner];
        for layout in [Layout::new(width, height, corner), Layout::with_block(width, height, corner, block)].into_iter().flatten() {
            let Rectangle { x, y, width: w, height: h } = layout.rectangle();
            prop_assert!(x + w <= width && y + h <= height && (x | y | w | h) % 2 == 0);
        }
    }

    #[test]
    fn drawing_into_another_size_does_no_harm(bytes in 0_usize..5000, stride in 0_usize..300, width in 88_u32..400, height in 80_u32..400) {
        let mut luma = vec![7; bytes];
        if let Some(layout) = Layout::new(width, height, Corner::BottomRight) {
            draw(&mut luma, stride, &layout, TIME);
        }
    }

    #[test]
    fn noise_is_never_read(seed in 1_u64.., grain in 1_u32..20, width in 100_u32..400, height in 60_u32..150) {
        prop_assert_eq!(Picture::noise(width, height, seed, grain).read(), None);
    }

    #[test]
    fn hostile_planes_never_panic(luma in proptest::collection::vec(prop_oneof![Just(16_u8), Just(235), any::<u8>()], 0..4000), stride in 0_usize..200, width in 0_u32..200, height in 0_u32..60) {
        let _ = read(&luma, stride, width, height, TIME);
    }
}
