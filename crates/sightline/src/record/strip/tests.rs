use proptest::prelude::*;

use super::*;

/// A tile of one colour.
fn tile(number: u32, size: (u32, u32)) -> Tile {
    let mut picture = Picture::black(size.0, size.1).unwrap();
    picture.planes_mut()[0].fill(colour(number));
    (number * 90_000, picture)
}

fn colour(number: u32) -> u8 {
    (20 + number * 13 % 200) as u8
}

fn tiles(count: u32) -> Vec<Tile> {
    (0..count).map(|number| tile(number, (64, 36))).collect()
}

#[test]
fn each_tile_is_where_it_is_told_to_be() {
    for count in [1, 9, 10, 11, 37, 120] {
        let strip = Strip::of(&tiles(count), 90).unwrap().unwrap();
        assert_eq!((strip.width, strip.height, strip.columns()), (64, 36, count.min(10)));
        let back = strip.tiles(|at| at % 180_000 == 0).unwrap();
        assert_eq!(back.len(), count.div_ceil(2) as usize);
        for (number, (at, picture)) in (0..count).step_by(2).zip(back) {
            assert_eq!((at, picture.width(), picture.height()), (number * 90_000, 64, 36));
            // Inside of its borders, which a neighbour's blocks may touch.
            let middle = picture.planes()[0][18 * 64 + 32];
            assert!(middle.abs_diff(colour(number)) <= 3, "{number} of {count}: {middle}");
        }
    }
    assert_eq!(Strip::of(&[], 90).unwrap(), None);
    assert_eq!(Strip::of(&tiles(121), 90).unwrap(), None);
}

#[test]
fn tiles_of_another_size_are_made_to_fit() {
    let mixed = [tile(0, (64, 36)), tile(1, (128, 128))];
    let strip = Strip::of(&mixed, 90).unwrap().unwrap();
    let sizes: Vec<u32> = strip
        .tiles(|_| true)
        .unwrap()
        .iter()
        .map(|(_, tile)| tile.height())
        .collect();
    assert_eq!(sizes, [36, 36]);
}

#[test]
fn what_is_torn_is_no_strip() {
    let strip = Strip::of(&tiles(12), 60).unwrap().unwrap();
    let file = strip.write();
    assert_eq!(Strip::read(&file), Ok(strip));
    for length in 0..file.len() {
        assert!(Strip::read(&file[..length]).is_err(), "{length}");
    }
    for at in (0..file.len()).step_by(7) {
        let mut damaged = file.clone();
        damaged[at] ^= 4;
        assert!(Strip::read(&damaged).is_err(), "{at}");
    }
    assert_eq!(Strip::read(b"SLstrip2"), Err(NoStrip::Other));
}

#[test]
fn what_no_strip_has_is_refused_though_its_sum_is_right() {
    let strip = Strip::of(&tiles(3), 60).unwrap().unwrap();
    let wrong = |change: &dyn Fn(&mut Strip)| {
        let mut strip = strip.clone();
        change(&mut strip);
        Strip::read(&strip.write()).unwrap_err()
    };
    assert_eq!(wrong(&|strip| strip.width = 642), NoStrip::Beyond("a size"));
    assert_eq!(wrong(&|strip| strip.height = 15), NoStrip::Beyond("a size"));
    assert_eq!(
        wrong(&|strip| strip.at_90k.clear()),
        NoStrip::Beyond("a number of pictures")
    );
    assert_eq!(
        wrong(&|strip| strip.at_90k = (0..121).collect()),
        NoStrip::Beyond("a number of pictures")
    );
    assert_eq!(wrong(&|strip| strip.at_90k = vec![5, 5, 6]), NoStrip::Beyond("times"));
    // One whose JPEG is another, of which there is less than the table says.
    let mut other = strip.clone();
    other.at_90k = (0..40).collect();
    assert!(Strip::read(&other.write()).unwrap().tiles(|_| true).is_err());
}

#[test]
fn a_quota_leaves_room_for_strips() {
    for quota in [0, 1, 33, 1 << 20, 100 << 30, u64::MAX] {
        let segments = without_strips(quota);
        assert!(
            segments <= quota && segments.saturating_add(may_have(segments)) <= quota,
            "{quota}"
        );
        assert!(quota - segments <= quota / 33 + 1);
    }
}

#[test]
fn a_strip_lies_beside_its_segment() {
    let beside = |path: &str| beside(Path::new(path));
    assert_eq!(
        beside("door/2026-11-22/segment_1.mp4"),
        Some(PathBuf::from("door/2026-11-22/segment_1.strip"))
    );
    assert_eq!(beside("door/2026-11-22/segment_1"), None);
}

#[test]
fn tiles_take_a_hundredth_of_a_core() {
    assert_eq!(step(Duration::from_millis(2)), Duration::from_secs(1));
    assert_eq!(step(Duration::from_millis(150)), Duration::from_secs(15));
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Strip::read(&bytes);
        let mut sealed = MAGIC.to_vec();
        sealed.extend((bytes.len() as u32).to_be_bytes());
        sealed.extend(crc32fast::hash(&bytes).to_be_bytes());
        sealed.extend(&bytes);
        if let Ok(strip) = Strip::read(&sealed) {
            prop_assert_eq!(strip.write(), sealed);
            let _ = strip.tiles(|_| true);
        }
        let _ = pictures(&bytes, &bytes);
        prop_assert!(boxes(&bytes).map(|(_, whole)| whole.len()).sum::<usize>() <= bytes.len());
    }
}
