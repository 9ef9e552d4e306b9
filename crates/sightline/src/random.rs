//! Unpredictable numbers.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// 64 bits that nobody can guess: session ids, nonces, SSRCs.
pub fn bits() -> u64 {
    // Since its first use at the start, the system's generator does not fail. If it did, the standard library's seeds, which come from
    // the same place and differ with every call, are better than ending every session.
    getrandom::u64().unwrap_or_else(|_| RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_differ() {
        let mut numbers: Vec<u64> = (0..1_000).map(|_| super::bits()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 1_000);
    }
}
