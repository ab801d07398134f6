//! Chance that comes out the same each time: a number for a key, and smooth noise over time.

/// A key of the world's chance: everything drawn by the same key is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The key of a part of what this is the key of.
    pub(super) fn part(self, number: u64) -> Self {
        Self(mix(self.0 ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Any number.
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// 0 to 1.
    pub(super) fn unit(self) -> f64 {
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `below`, which is not 0.
    pub(super) fn below(self, below: u64) -> u64 {
        ((u128::from(self.0) * u128::from(below)) >> 64) as u64
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Smooth noise, −1 to 1, that turns about once in `scale` seconds. `t` is in seconds.
    pub(super) fn noise(self, t: f64, scale: f64) -> f64 {
        let x = t / scale;
        let (whole, part) = (x.floor(), x - x.floor());
        let at = |n: f64| self.part((n as i64) as u64).unit() * 2.0 - 1.0;
        let smooth = part * part * (3.0 - 2.0 * part);
        let (a, b) = (at(whole), at(whole + 1.0));
        a + (b - a) * smooth
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_gives_the_same_and_others_are_spread() {
        let key = Key::new(7);
        assert_eq!(key.part(3), Key::new(7).part(3));
        let draws: Vec<_> = (0..10_000).map(|n| key.part(n).unit()).collect();
        let mean = draws.iter().sum::<f64>() / 10_000.0;
        assert!((0.49..0.51).contains(&mean), "{mean}");
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        assert!((0..1_000).all(|n| key.part(n).below(5) < 5));
    }

    #[test]
    fn noise_is_smooth_and_bounded() {
        let key = Key::new(1);
        let mut before = key.noise(1e9, 10.0);
        for n in 1..10_000 {
            let now = key.noise(1e9 + f64::from(n) / 10.0, 10.0);
            assert!((-1.0..=1.0).contains(&now) && (now - before).abs() < 0.06);
            before = now;
        }
    }
}
