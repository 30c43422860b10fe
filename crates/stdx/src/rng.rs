// SPDX-License-Identifier: Apache-2.0
//! A small seeded generator (xoshiro256++), so that a run can be repeated from its seed. Not for secrets.

use std::hash::{BuildHasher, RandomState};

/// A repeatable source of numbers.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

impl Rng {
    /// Starts the sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Rng {
        let mut mixer = seed;
        Rng(std::array::from_fn(|_| {
            mixer = mixer.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = mixer;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }))
    }

    /// Starts a sequence that differs from process to process.
    pub fn from_entropy() -> Rng {
        Rng::new(RandomState::new().hash_one(std::process::id()))
    }

    /// Returns the next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "an endless source has no use for Option")]
    pub fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// Returns a number below `bound`; zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Returns true once in `one_in` times on average.
    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_bounds_hold() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        for bound in 0..1000 {
            let n = a.below(bound);
            assert_eq!(n, b.below(bound));
            assert!(n < bound.max(1));
        }
        assert_ne!(Rng::new(1).next(), Rng::new(2).next());
    }
}
