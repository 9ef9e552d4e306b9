//! What a page says on the feed: any text, which is understood or refused with a reason, and names no more than may be wanted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sightline::feed::words::{MAX_BYTES, MAX_TOPICS, Word, read};

fuzz_target!(|text: &str| match read(text) {
    Ok(Word::Want(topics)) => {
        assert!(text.len() <= MAX_BYTES && topics.details.len() <= MAX_TOPICS);
        assert!(topics.details.is_sorted(), "each once");
    }
    Ok(Word::ForRoom(_) | Word::Answer) => assert!(text.len() <= MAX_BYTES),
    Err(malformed) => assert!(!malformed.why.is_empty() && malformed.of.chars().count() <= 64),
});
