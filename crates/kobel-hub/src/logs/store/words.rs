//! The words of a line, and which blocks hold one.

/// What tells words apart: equal words have equal hashes, in any case of their letters. The same on
/// every machine and in every version, since it is written to disk.
pub(super) type WordHash = u64;

const MULTIPLY: u64 = 0x517c_c1b7_2722_0a95;

/// Calls `each` for every word: letters, digits and `_` in a row.
///
/// Letters that are not ASCII count by their lower case, where that is one letter.
pub(super) fn words(text: &str, mut each: impl FnMut(WordHash)) {
    let (mut hash, mut inside) = (0_u64, false);
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        let letter = if byte < 0x80 {
            is_word_byte(byte).then(|| u64::from(byte.to_ascii_lowercase()))
        } else {
            // The start of a character: `text` is UTF-8 and characters are taken whole.
            let from = text.len() - rest.len() - 1;
            let Some(letter) = text.get(from..).and_then(|text| text.chars().next()) else {
                return;
            };
            bytes = &text.as_bytes()[from + letter.len_utf8()..];
            letter.is_alphanumeric().then(|| u64::from(u32::from(lower(letter))))
        };
        match letter {
            Some(letter) => {
                hash = (hash.rotate_left(5) ^ letter).wrapping_mul(MULTIPLY);
                inside = true;
            }
            None if inside => {
                each(mix(hash));
                (hash, inside) = (0, false);
            }
            None => {}
        }
    }
    if inside {
        each(mix(hash));
    }
}

/// Whether a character is of a word.
pub(super) fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Lower case as a regular expression without case folds it: one letter for one.
fn lower(letter: char) -> char {
    // Folded with s and k by Unicode's simple case folding.
    match letter {
        'ſ' => return 's',
        '\u{212a}' => return 'k',
        'ẞ' => return 'ß',
        _ => {}
    }
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => letter,
    }
}

fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// Bits of a filter for each word: one in a hundred words that are not there seems to be.
const BITS: usize = 11;

/// Bytes of one of its blocks.
pub(super) const FILTER_BLOCK: usize = 32;

const SALT: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// The filter of these words: the split block Bloom filter of Parquet's format (BloomFilter.md), so
/// that one look reads 32 bytes. Leaves `words` sorted.
pub(super) fn filter(words: &mut Vec<WordHash>) -> Vec<u8> {
    words.sort_unstable();
    words.dedup();
    let blocks = (words.len() * BITS).div_ceil(FILTER_BLOCK * 8).max(1);
    let mut bits = vec![0_u32; blocks * 8];
    for word in words.iter() {
        let block = block_of(*word, blocks) * 8;
        for (bits, salt) in bits[block..block + 8].iter_mut().zip(SALT) {
            *bits |= bit(*word, salt);
        }
    }
    bits.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Which of so many blocks says whether the word is there.
pub(super) fn block_of(word: WordHash, blocks: usize) -> usize {
    (((word >> 32) * blocks as u64) >> 32) as usize
}

/// Whether the word may be there, by its block.
pub(super) fn may_hold(block: &[u8; FILTER_BLOCK], word: WordHash) -> bool {
    block.chunks_exact(4).zip(SALT).all(|(bits, salt)| {
        let bits = u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
        bits & bit(word, salt) != 0
    })
}

fn bit(word: WordHash, salt: u32) -> u32 {
    1 << ((word as u32).wrapping_mul(salt) >> 27)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Vec<WordHash> {
        let mut found = Vec::new();
        words(text, |word| found.push(word));
        found
    }

    #[test]
    fn words_are_what_people_take_for_words() {
        assert_eq!(all("Hello, WORLD_1!"), all("hello world_1"));
        assert_eq!(all("GRÖSSE"), all("größe".replace('ß', "SS").as_str()));
        assert_eq!(all("\"a\":\"b\"").len(), 2);
        assert_eq!(all("").len(), 0);
        assert_ne!(all("ab c"), all("a bc"));
        // Written to disk: a change needs another version of the format.
        assert_eq!(all("zebra"), [all("ZEBRA")[0]]);
        assert_eq!(all("zebra 7"), [13_882_126_393_455_534_763, 8_256_420_031_754_837_992]);
    }

    proptest! {
        #[test]
        fn a_filter_forgets_nothing(mut words in prop::collection::vec(any::<u64>(), 0..500)) {
            let filter = filter(&mut words);
            for word in &words {
                let at = block_of(*word, filter.len() / FILTER_BLOCK) * FILTER_BLOCK;
                let block = filter[at..at + FILTER_BLOCK].try_into().unwrap();
                prop_assert!(may_hold(block, *word));
            }
        }
    }

    #[test]
    fn few_seem_to_be_there_that_are_not() {
        let mut known: Vec<_> = (0..10_000_u64).map(|n| mix(n * 7919)).collect();
        let filter = filter(&mut known);
        let blocks = filter.len() / FILTER_BLOCK;
        let wrong = (0..100_000_u64).filter(|n| {
            let word = mix(n * 7919 + 3);
            let at = block_of(word, blocks) * FILTER_BLOCK;
            may_hold(filter[at..at + FILTER_BLOCK].try_into().unwrap(), word)
        });
        assert!(wrong.count() < 1_500);
    }
}
