//! What people write about recordings: the name of a clip, which comes by API and socket, and times of the week.
#![no_main]

use std::path::Component;

use libfuzzer_sys::fuzz_target;
use media::{StreamName, WallTime};
use sightline::clock::zone;
use sightline::record::name::{Clip, clips};
use sightline::record::trigger::{Schedule, Times};

fuzz_target!(|text: &str| {
    if let Ok(clip) = text.parse::<Clip>() {
        let start = WallTime::from_unix_micros(0);
        for path in clips(&StreamName::default_stream(), start, &zone(), &clip).take(2) {
            assert_eq!(path.components().count(), 3, "folder, day, name");
            assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
            let name = path.file_name().and_then(|name| name.to_str()).expect("it was text");
            assert!(name.len() <= 240 && name.ends_with(".mp4") && !name.starts_with('.'));
        }
    }
    if let Ok(times) = text.parse::<Times>() {
        assert_eq!(times.to_string().parse(), Ok(times.clone()), "what is written is read");
        assert!(!Schedule::new(&[times]).is_empty(), "an entry is some time");
    }
});
