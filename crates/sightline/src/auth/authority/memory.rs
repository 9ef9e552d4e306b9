//! Answers that hold for a while.
//!
//! Does not belong here: how long, and of what.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Instant;

/// What was answered to these questions, at most so many: the oldest goes.
#[derive(Debug)]
pub(super) struct Memory<K, V> {
    known: HashMap<K, (V, Instant)>,
    order: VecDeque<K>,
    most: usize,
}

impl<K: Copy + Eq + Hash, V: Clone> Memory<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
            most,
        }
    }

    pub(super) fn get(&self, key: K, now: Instant) -> Option<V> {
        let (value, until) = self.known.get(&key)?;
        (now < *until).then(|| value.clone())
    }

    pub(super) fn put(&mut self, key: K, value: V, until: Instant) {
        if self.known.insert(key, (value, until)).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn answers_end_and_the_oldest_go() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut memory = Memory::new(3);
        for key in 0..5_u8 {
            memory.put(key, key, now + second);
            memory.put(key, key, now + second);
        }
        let known: Vec<u8> = (0..5).filter(|key| memory.get(*key, now).is_some()).collect();
        assert_eq!(known, [2, 3, 4]);
        assert_eq!((memory.known.len(), memory.order.len()), (3, 3));
        assert_eq!(memory.get(4, now + second), None);
    }
}
