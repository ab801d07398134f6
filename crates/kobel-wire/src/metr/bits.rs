//! Bits, least significant first, and the code in which version 2 writes numbers.
//!
//! The code is Golomb's with a power of two (Rice, "Some Practical Universal Noiseless Coding
//! Techniques", 1979): for a parameter `k`, the number without its low `k` bits as so many ones
//! and a zero, then the low `k` bits. A small number is short, and no table is needed. A number
//! that would take [`ESCAPE`] ones or more is written as [`ESCAPE`] ones, its length in bits less
//! one in 6 bits, and itself.

/// So many ones begin a number that is written in full.
pub(super) const ESCAPE: u32 = 16;

/// The greatest parameter: it is written in four bits.
pub(super) const MAX_PARAMETER: u32 = 15;

/// Appends bits to bytes.
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Bits not yet in `bytes`, less than 8 between calls.
    waiting: u64,
    count: u32,
}

impl Writer {
    /// Goes on after whole bytes.
    pub(super) fn after(bytes: Vec<u8>) -> Self {
        Self { bytes, waiting: 0, count: 0 }
    }

    /// Appends the low `count` bits of `value`, at most 32.
    pub(super) fn bits(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 32 && value >> count == 0);
        self.waiting |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.waiting as u8);
            self.waiting >>= 8;
            self.count -= 8;
        }
    }

    /// Appends a number in Rice's code.
    pub(super) fn rice(&mut self, value: u64, parameter: u32) {
        let ones = value >> parameter;
        if ones < u64::from(ESCAPE) {
            let ones = ones as u32;
            // The zero after the ones is a bit that is not set.
            let low = value & ((1 << parameter) - 1);
            self.bits(((1 << ones) - 1) | (low << (ones + 1)), ones + 1 + parameter);
        } else {
            let length = (u64::BITS - value.leading_zeros()).max(1);
            self.bits((1 << ESCAPE) - 1, ESCAPE);
            self.bits(u64::from(length - 1), 6);
            self.bits(value & 0xFFFF_FFFF, length.min(32));
            if length > 32 {
                self.bits(value >> 32, length - 32);
            }
        }
    }

    /// The bytes; the last is filled up with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.bytes.push(self.waiting as u8);
        }
        self.bytes
    }
}

/// Takes bits off bytes. Every read is `None` once they are used up.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Bits taken off `rest` and not yet given out.
    waiting: u64,
    count: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, waiting: 0, count: 0 }
    }

    /// Takes bytes until at least 56 bits wait, or none are left.
    #[inline]
    fn fill(&mut self) {
        if let Some(eight) = self.rest.first_chunk::<8>() {
            self.waiting |= u64::from_le_bytes(*eight) << self.count;
            let bytes = (63 - self.count) / 8;
            self.rest = &self.rest[bytes as usize..];
            self.count += bytes * 8;
            // What the shift brought in beyond the whole bytes comes again with the next fill.
            self.waiting &= (1 << self.count) - 1;
        } else {
            while self.count <= 56
                && let Some((byte, rest)) = self.rest.split_first()
            {
                self.waiting |= u64::from(*byte) << self.count;
                self.count += 8;
                self.rest = rest;
            }
        }
    }

    /// The next `count` bits, at most 32.
    #[inline]
    pub(super) fn bits(&mut self, count: u32) -> Option<u64> {
        debug_assert!(count <= 32);
        if self.count < count {
            self.fill();
            if self.count < count {
                return None;
            }
        }
        let value = self.waiting & ((1 << count) - 1);
        self.waiting >>= count;
        self.count -= count;
        Some(value)
    }

    /// The next number in Rice's code.
    #[inline]
    pub(super) fn rice(&mut self, parameter: u32) -> Option<u64> {
        // A number that is not written in full has at most 16 + 15 bits.
        if self.count < 32 {
            self.fill();
        }
        let ones = self.waiting.trailing_ones().min(self.count);
        if ones < ESCAPE {
            let low = self.waiting >> (ones + 1);
            let length = ones + 1 + parameter;
            if length > self.count {
                return None;
            }
            self.waiting >>= length;
            self.count -= length;
            return Some((u64::from(ones) << parameter) | (low & ((1 << parameter) - 1)));
        }
        self.bits(ESCAPE)?;
        let length = self.bits(6)? as u32 + 1;
        let low = self.bits(length.min(32))?;
        let high = if length > 32 { self.bits(length - 32)? } else { 0 };
        Some(low | (high << 32))
    }

    /// How many bits are left, and whether they are zeros; of 64 and more only the first count.
    pub(super) fn end(mut self) -> (usize, bool) {
        self.fill();
        (self.count as usize + self.rest.len() * 8, self.waiting == 0)
    }
}

/// Zigzag (Protocol Buffers, "Signed Integers"): small differences of either sign as small
/// numbers.
pub(super) fn zigzag(difference: i64) -> u64 {
    ((difference << 1) ^ (difference >> 63)) as u64
}

/// The difference of which [`zigzag`] made this number.
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Finds the parameter for numbers that are all written with the same one.
pub(super) struct Lengths {
    /// How many numbers have so many bits.
    counts: [u32; 65],
}

impl Default for Lengths {
    fn default() -> Self {
        Self { counts: [0; 65] }
    }
}

impl Lengths {
    pub(super) fn count(&mut self, number: u64) {
        self.counts[(u64::BITS - number.leading_zeros()) as usize] += 1;
    }

    /// The parameter by which the numbers take the fewest bits, about: of each only its length is
    /// known, and it is taken for three quarters of the greatest so long.
    pub(super) fn parameter(&self) -> u32 {
        let cost = |parameter: u32| -> u64 {
            let of = |(length, count): (usize, &u32)| {
                let length = length as u32;
                let bits = if length >= parameter + 5 {
                    ESCAPE + 6 + length
                } else {
                    // Its typical value, without the low bits.
                    let ones = if length > parameter { (3 << (length - parameter)) / 4 } else { 0 };
                    ones + 1 + parameter
                };
                u64::from(bits) * u64::from(*count)
            };
            self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(of).sum()
        };
        (0..=MAX_PARAMETER).min_by_key(|parameter| cost(*parameter)).unwrap_or(0)
    }
}
