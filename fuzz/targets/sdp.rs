//! Session descriptions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::sdp::{Describe, Limits, Track, describe, parse};

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let Ok(description) = parse(data, &limits) else { return };
    assert!(description.media.len() + description.ignored.len() <= limits.media);
    let tracks: Vec<Track> = description
        .media
        .iter()
        .map(|media| Track {
            format: &media.format,
            payload_type: media.payload_type,
        })
        .collect();
    let session = Describe {
        name: "fuzz",
        address: [127, 0, 0, 1].into(),
        session_id: 1,
    };
    let ours = describe(&session, &tracks);
    let again = parse(ours.as_bytes(), &limits).expect("we understand what we describe");
    assert_eq!(again.media.len(), tracks.len(), "{ours}");
});
