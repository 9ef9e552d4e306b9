//! Names of streams, which come in URLs of every protocol.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::StreamName;

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<StreamName>() {
        assert_eq!(name.as_str(), text, "a name is what was written");
        assert!(
            !name
                .as_str()
                .split('/')
                .any(|part| part.is_empty() || part == "." || part == "..")
        );
        assert!(
            !name
                .as_str()
                .contains(|c: char| c.is_control() || matches!(c, '\\' | '?' | '#'))
        );
    }
});
