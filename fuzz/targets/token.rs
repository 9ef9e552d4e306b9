//! Tokens and sets of keys of others: a set, a line break, and a token. None that nobody signed is believed, whatever the set, and whatever its claims allow can
//! be written and is limited.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use media::WallTime;
use sightline::auth::authority::token::{Expected, Keys, MAX_BYTES, header};
use sightline::auth::authority::{Allowed, permission};

/// A set of which nobody here has the secrets: the keys of RFC 7517 §A.1 and RFC 8037 §A.2.
static KNOWN: LazyLock<Keys> = LazyLock::new(|| {
    let set = include_bytes!("../corpus/token/known");
    let set = set.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Keys::read(set).expect("a set of keys")
});

fuzz_target!(|text: &str| {
    let (set, token) = text.split_once('\n').unwrap_or(("", text));
    let (expected, now) = (Expected::default(), WallTime::from_unix_micros(0));
    let read = header(token);
    assert!(read.is_err() || token.len() <= MAX_BYTES);
    let known = KNOWN.verify(token, &expected, now);
    assert!(known.is_err(), "nobody signed it");
    if let Ok(keys) = Keys::read(set.as_bytes()) {
        let _ = keys.verify(token, &expected, now);
    }
    if let Ok(claim) = serde_json::from_str(set)
        && let Some(permissions) = permission::read(&claim)
    {
        assert!(permissions.len() <= permission::MOST);
        assert!(!Allowed::by(&permissions).rights.to_string().is_empty());
    }
});
