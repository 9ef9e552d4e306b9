//! `.env` files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sightline::config::dotenv::parse;

fuzz_target!(|text: &str| {
    let (variables, odd_lines) = parse(text);
    let lines = text.lines().count();
    assert!(variables.len() + odd_lines.len() <= lines);
    assert!(
        variables
            .iter()
            .map(|variable| variable.line)
            .chain(odd_lines)
            .all(|line| (1..=lines).contains(&line))
    );
});
