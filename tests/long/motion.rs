//! Motion in hundreds of made clips, and what a picture costs: `MOTION_SEEDS=50 cargo test --release -p sightline --test long motion -- --nocapture`.

#[path = "../../crates/device/src/motion/tests/clips.rs"]
mod clips;

use std::time::{Duration, Instant};

use device::motion::{Event, Grey, Mask, Motion, Settings, Shrinker};
use device::picture::Picture;
use media::{MediaTime, Timescale};

use self::clips::{Clip, KINDS, Kind, PICTURES, SECONDS, SIZE, Score, TREE};
use super::from_variable;

fn settings(kind: Kind) -> Settings {
    let [left, top, right, bottom] = TREE;
    let tree = vec![[left, top], [right, top], [right, bottom], [left, bottom]];
    let masked = matches!(kind, Kind::MaskedTree | Kind::WalkerBesideTree);
    Settings {
        mask: Mask::new(if masked { std::slice::from_ref(&tree) } else { &[] }).unwrap(),
        ..Settings::default()
    }
}

/// When motions that were told of began and ended, in seconds, and the time that it took.
fn watch(clip: &mut Clip, settings: Settings) -> (Vec<(f32, f32)>, Duration) {
    let (mut motion, mut events, mut took) = (Motion::new(settings), Vec::new(), Duration::ZERO);
    for number in 0..PICTURES * SECONDS {
        let grey = Grey::from_pixels(SIZE.0 as u32, SIZE.1 as u32, clip.picture(number)).unwrap();
        let at = MediaTime::new((number * 90_000 / PICTURES) as i64, Timescale::VIDEO);
        let begun = Instant::now();
        motion.look(&grey, at, &mut events);
        took += begun.elapsed();
    }
    motion.interrupt(&mut events);
    let seconds = |at: MediaTime| at.as_micros() as f32 / 1e6;
    let ended = events.iter().filter_map(|event| match event {
        Event::Ended { began, at, .. } => Some((seconds(*began), seconds(*at))),
        _ => None,
    });
    (ended.collect(), took)
}

#[test]
fn motion_is_found_in_hundreds_of_clips() {
    let seeds = from_variable("MOTION_SEEDS", 20);
    let (mut all, mut took) = (Score::default(), Duration::ZERO);
    for kind in KINDS {
        let mut score = Score::default();
        for seed in 0..seeds {
            let mut clip = Clip::new(kind, 1_000 + u64::from(seed));
            let (told, one) = watch(&mut clip, settings(kind));
            score.add(&clip.truth(), &told);
            took += one;
        }
        println!("{kind:?}: {score}");
        all.take(&score);
    }
    let pictures = KINDS.len() as u32 * seeds * (PICTURES * SECONDS) as u32;
    println!(
        "all: {all}; {:.0} µs a picture",
        took.as_secs_f64() * 1e6 / f64::from(pictures)
    );
    for (width, height) in [(640, 480), (1_920, 1_080)] {
        let (picture, mut shrinker) = (Picture::black(width, height).unwrap(), Shrinker::default());
        let begun = Instant::now();
        (0..100).for_each(|_| drop(shrinker.shrink(&picture)));
        println!(
            "made grey of {width}x{height}: {:.0} µs",
            begun.elapsed().as_secs_f64() * 1e4
        );
    }
    assert!(all.precision() >= 0.95 && all.recall() >= 0.95, "{all}");
}
