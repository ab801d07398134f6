//! Which words of nodes were heard already.

use std::{collections::HashSet, mem};

use kobel_wire::Timestamp;

use super::word::WINDOW;

/// How long a generation lasts, ms: as long as a word can be good. With the one before, each word
/// is remembered for as long as it could come again.
const GENERATION: i64 = 2 * WINDOW;

/// The most words of a generation, which then ends early: of more than so many requests a minute,
/// the oldest could be sent again by somebody who heard them. Some 16 MB.
const MOST: usize = 1_000_000;

/// The numbers of the last words.
#[derive(Debug, Default)]
pub(super) struct Heard {
    newer: HashSet<u64>,
    older: HashSet<u64>,
    turned: Timestamp,
}

impl Heard {
    /// Whether a word is new.
    pub(super) fn is_new(&mut self, nonce: u64, now: Timestamp) -> bool {
        let age = now.as_millis().saturating_sub(self.turned.as_millis());
        // A clock that was set back ends no generation, or nothing would ever be forgotten.
        if !(0..GENERATION).contains(&age) || self.newer.len() >= MOST {
            self.older = mem::take(&mut self.newer);
            self.turned = now;
        }
        !self.older.contains(&nonce) && self.newer.insert(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_new_once_for_as_long_as_it_is_good() {
        let mut heard = Heard::default();
        let at = |ms: i64| Timestamp::from_millis(1_795_000_000_000 + ms);
        // Whatever the place in a generation.
        for first in (0..GENERATION).step_by(7_000) {
            let nonce = first as u64;
            assert!(heard.is_new(nonce, at(first)));
            assert!(!heard.is_new(nonce, at(first)));
            assert!(!heard.is_new(nonce, at(first + GENERATION)));
        }
        // And it is forgotten then.
        for n in 2..5 {
            heard.is_new(u64::MAX - n as u64, at(n * 2 * GENERATION));
        }
        assert!(heard.older.len() + heard.newer.len() <= 2);
        // A clock that was set back: what is remembered stays bounded.
        assert!(heard.is_new(1, at(-GENERATION)));
        assert!(!heard.is_new(1, at(-GENERATION)));
    }
}
