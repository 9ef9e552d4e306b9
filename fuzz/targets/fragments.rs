//! Tables of a recording's fragments, as an index may give them back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::recording::{Fragments, MAX_FRAGMENT_BYTES, SEAL_BYTES};

fuzz_target!(|data: &[u8]| {
    let Ok(table) = Fragments::read(data) else { return };
    let mut again = Fragments::new();
    for row in table.iter() {
        // Each begins where the one before ended.
        assert_eq!((row.at, row.begins_90k), (again.bytes(), again.duration_90k()));
        let bytes = row.bytes as usize;
        assert!((1..=MAX_FRAGMENT_BYTES).contains(&bytes));
        again.push(bytes, row.duration_90k, row.keyframe).expect("it was read");
        assert_eq!(again.bytes(), row.at + (bytes + SEAL_BYTES) as u64);
    }
    assert_eq!((again.as_bytes(), &again), (data, &table));
});
