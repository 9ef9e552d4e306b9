//! Made clips with known truth, and how often we are right about them.

pub(crate) mod clips;

use media::Timescale;
use proptest::prelude::*;

use self::clips::{Clip, KINDS, Kind, PICTURES, SECONDS, SIZE, Score};
use super::*;

fn at(number: usize) -> MediaTime {
    MediaTime::new((number * 90_000 / PICTURES) as i64, Timescale::VIDEO)
}

/// What is told of a clip.
fn watch(clip: &mut Clip, settings: Settings) -> Vec<Event> {
    let mut motion = Motion::new(settings);
    let mut events = Vec::new();
    for number in 0..PICTURES * SECONDS {
        let grey = Grey::from_pixels(SIZE.0 as u32, SIZE.1 as u32, clip.picture(number)).unwrap();
        assert!(motion.wants(at(number)));
        motion.look(&grey, at(number), &mut events);
    }
    motion.interrupt(&mut events);
    events
}

/// Of each motion that was told of, when it began and ended, in seconds.
fn motions(events: &[Event]) -> Vec<(f32, f32)> {
    let seconds = |at: MediaTime| at.as_micros() as f32 / 1e6;
    let ended = events.iter().filter_map(|event| match event {
        Event::Ended { began, at, .. } => Some((seconds(*began), seconds(*at))),
        _ => None,
    });
    ended.collect()
}

fn settings(kind: Kind) -> Settings {
    let [left, top, right, bottom] = clips::TREE;
    let tree = vec![[left, top], [right, top], [right, bottom], [left, bottom]];
    let mask = match kind {
        Kind::MaskedTree | Kind::WalkerBesideTree => Mask::new(&[tree]).unwrap(),
        _ => Mask::default(),
    };
    Settings {
        mask,
        ..Settings::default()
    }
}

#[test]
fn motion_is_found_and_nothing_else() {
    let mut all = Score::default();
    for kind in KINDS {
        let mut score = Score::default();
        for seed in 0..2 {
            let mut clip = Clip::new(kind, seed);
            let told = motions(&watch(&mut clip, settings(kind)));
            score.add(&clip.truth(), &told);
        }
        println!("{kind:?}: {score}");
        all.take(&score);
    }
    println!("all: {all}");
    assert!(all.precision() >= 0.95 && all.recall() >= 0.95, "{all}");
}

#[test]
fn settings_decide_what_is_motion() {
    let told = |kind, settings| motions(&watch(&mut Clip::new(kind, 0), settings)).len();
    let all = Settings::default;
    assert_eq!(told(Kind::Walker, all()), 2);
    let everything = vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    for nothing in [
        Settings {
            min_size_permille: 40,
            ..all()
        },
        Settings {
            min_size_permille: u16::MAX,
            ..all()
        },
        Settings {
            min_duration: Duration::from_secs(30),
            ..all()
        },
        Settings {
            mask: Mask::new(&[everything]).unwrap(),
            ..all()
        },
    ] {
        assert_eq!(told(Kind::Walker, nothing), 0);
    }
    let seconds = |sensitivity| {
        let settings = Settings { sensitivity, ..all() };
        let events = watch(&mut Clip::new(Kind::FaintWalker, 0), settings);
        let is_second = |event: &&Event| matches!(event, Event::Second { .. });
        events.iter().filter(is_second).count()
    };
    assert_eq!(seconds(0), seconds(1));
    assert!(seconds(1) < seconds(80), "{} of {}", seconds(1), seconds(80));
}

#[test]
fn seconds_lie_within_their_motion() {
    let events = watch(&mut Clip::new(Kind::Walker, 1), Settings::default());
    let (mut begun, mut before, mut seconds) = (None, 0, 0);
    for event in events {
        match event {
            Event::Began { at, area, score } => {
                assert!(area.left_permille < area.right_permille && area.top_permille < area.bottom_permille);
                assert!((25..=100).contains(&score));
                (begun, before) = (Some(at), i64::MIN);
            }
            Event::Second { at, intensity_permille } => {
                let second = at.micros_since(begun.unwrap());
                assert!(second % 1_000_000 == 0 && second > before && intensity_permille > 0);
                (before, seconds) = (second, seconds + 1);
            }
            Event::Ended { began, at, .. } => {
                assert_eq!(begun, Some(began));
                assert!(at.micros_since(began) >= before);
            }
        }
    }
    assert!(seconds > 15, "{seconds}");
}

#[test]
fn what_moved_before_a_gap_has_ended() {
    let (mut clip, mut motion, mut events) = (Clip::new(Kind::Walker, 0), Motion::new(Settings::default()), Vec::new());
    let mut look = |motion: &mut Motion, number: usize, at: MediaTime, events: &mut Vec<Event>| {
        let grey = Grey::from_pixels(SIZE.0 as u32, SIZE.1 as u32, clip.picture(number)).unwrap();
        motion.look(&grey, at, events);
    };
    let last = 20 * PICTURES;
    for number in 0..last {
        look(&mut motion, number, at(number), &mut events);
    }
    assert!(motion.now().is_moving && motion.now().intensity_permille > 0);
    assert!(!motion.wants(at(last - 1).offset_micros(100_000)) && motion.wants(at(0)));
    look(&mut motion, last, at(last).offset_micros(60_000_000), &mut events);
    let ended = |event: &Event| matches!(event, Event::Ended { at: ended, .. } if ended.micros_since(at(last)) <= 0);
    assert!(events.iter().any(ended), "{events:?}");
    // And where time went back.
    look(&mut motion, last + 1, at(0), &mut events);
    assert!(!motion.now().is_moving);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever comes, at whatever times: nothing panics, and each motion that began ends once, before the next.
    #[test]
    fn any_pictures_give_events_in_order(
        pictures in proptest::collection::vec((16_u32..40, 16_u32..40, any::<u64>(), -2_000_000_i64..20_000_000), 1..60),
        sensitivity: u8,
        min_size_permille: u16,
    ) {
        let settings = Settings { sensitivity, min_size_permille, min_duration: Duration::ZERO, mask: Mask::default() };
        let mut motion = Motion::new(settings);
        let (mut events, mut now) = (Vec::new(), 0);
        for (number, (width, height, seed, later)) in pictures.into_iter().enumerate() {
            // Mostly of one size, at five a second.
            let (width, height) = if number % 16 == 15 { (width, height) } else { (32, 24) };
            now += if number % 8 == 7 { later } else { 200_000 };
            let mut bits = seed | 1;
            let level = |_| {
                bits ^= bits << 13;
                bits ^= bits >> 7;
                bits ^= bits << 17;
                (bits >> 48) as u8
            };
            let grey = Grey::from_pixels(width, height, (0..width * height).map(level).collect()).unwrap();
            motion.look(&grey, MediaTime::new(now * 9 / 100, Timescale::VIDEO), &mut events);
        }
        motion.interrupt(&mut events);
        let mut open = false;
        for event in events {
            match event {
                Event::Began { .. } => prop_assert!(!std::mem::replace(&mut open, true)),
                Event::Second { .. } => prop_assert!(open),
                Event::Ended { began, at, .. } => {
                    prop_assert!(std::mem::take(&mut open));
                    prop_assert!(at.micros_since(began) >= 0);
                }
            }
        }
        prop_assert!(!open && !motion.now().is_moving);
    }
}
