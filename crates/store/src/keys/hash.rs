// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. One fast 64-bit hash of bytes, for the key index (where it is part of the disk format) and for the
//! table of queues (where it is seeded anew by each process). Not for secrets.
//! In: a seed and bytes. Out: a number that depends on every byte and on their count.

use std::hash::{BuildHasher, Hasher, RandomState};

const SPREAD: [u64; 3] = [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03, 0x8CB9_2BA7_2F3D_8DD7];

/// Seed of every hash that is written to disk.
const DISK_SEED: u64 = 0x4B49_5255_4E41_4D51;

/// Hashes `bytes`, continuing from `seed`.
pub(crate) fn hash64(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = seed ^ SPREAD[0];
    let mut pairs = bytes.chunks_exact(16);
    for pair in &mut pairs {
        hash = fold(word(&pair[..8]) ^ SPREAD[1], word(&pair[8..]) ^ hash);
    }
    let rest = pairs.remainder();
    if !rest.is_empty() {
        let (low, high) = rest.split_at(rest.len().min(8));
        hash = fold(word(low) ^ SPREAD[1], word(high) ^ hash);
    }
    fold(hash ^ bytes.len() as u64, SPREAD[2])
}

/// Hashes a topic for [`of_key`].
pub(crate) fn of_topic(topic: &str) -> u64 {
    hash64(DISK_SEED, topic.as_bytes())
}

/// Hashes one key of a message under its topic, as the key index stores it.
pub(crate) fn of_key(topic: u64, key: &[u8]) -> u64 {
    hash64(topic, key)
}

/// Up to eight bytes, missing ones zero.
fn word(bytes: &[u8]) -> u64 {
    match bytes.try_into() {
        Ok(whole) => u64::from_le_bytes(whole),
        Err(_) => bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

/// Makes hashers for maps whose keys hash as one byte string; the seed differs in every process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Seeded {
        Seeded(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seeded {
    type Hasher = BytesHasher;
    fn build_hasher(&self) -> BytesHasher {
        BytesHasher(self.0)
    }
}

/// Hasher of [`Seeded`].
pub(crate) struct BytesHasher(u64);

impl Hasher for BytesHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash64(self.0, bytes);
    }

    /// A `str` ends its hash with one byte that is always the same.
    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn disk_hashes_never_change() {
        let keys = ["", "a", "order-1", "0123456789abcdef", "0123456789abcdef0"];
        let lines: Vec<String> =
            keys.iter().map(|key| format!("{:016x}", of_key(of_topic("orders"), key.as_bytes()))).collect();
        expect![[r#"
            2b07fd40ffe87403
            9c433824d53cada7
            7b5bd8e414d126ac
            086b4c0999282ff5
            9e75a59042f7dfe0"#]]
        .assert_eq(&lines.join("\n"));
    }

    /// The pair that `tests/basics.rs` looks up.
    #[test]
    fn two_keys_can_share_a_hash() {
        let hash = |key: &str| of_key(of_topic("topic34132"), key.as_bytes());
        assert_eq!(hash("order--11NXS7g65"), hash("order--21NXS7g65"));
    }

    #[test]
    fn near_inputs_spread() {
        let mut seen: Vec<u64> = (0..100_000u32).map(|n| hash64(1, &n.to_be_bytes())).collect();
        seen.extend((5..45).map(|len| hash64(1, &vec![0; len])));
        let mut top: Vec<u64> = seen.iter().map(|hash| hash >> 40).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 100_040, "no collision among so few");
        top.sort_unstable();
        top.dedup();
        assert!(top.len() > 99_000, "the high bits spread too: {}", top.len());
    }
}
