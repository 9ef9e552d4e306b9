//! The word that names a source, from a command line, a file or a variable.
#![no_main]

use device::source::Word;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(word) = text.parse::<Word>() {
        let again: Word = word.to_string().parse().expect("what we write we can read");
        assert_eq!(again, word);
    }
});
