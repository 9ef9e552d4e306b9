//! Settings files, ours and MediaMTX's: any text gives settings or complaints, each complaint a text for people.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sightline::config::{Wanted, load};

fuzz_target!(|text: &str| {
    for extension in ["toml", "yml"] {
        let file = std::env::temp_dir().join(format!("sightline-fuzz-{}.{extension}", std::process::id()));
        std::fs::write(&file, text).expect("the temporary folder can be written");
        let wanted = Wanted {
            file: Some(file),
            search_path: Some(Vec::new()),
            ..Wanted::default()
        };
        if let Err(invalid) = load(&wanted) {
            assert!(!invalid.to_string().is_empty());
        }
    }
});
