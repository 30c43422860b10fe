// SPDX-License-Identifier: Apache-2.0
//! Sizes in bytes that people can read and write.

use std::fmt;
use std::str::FromStr;

/// A number of bytes; reads `64`, `64KiB`, `1.5GiB`, `10MB`, prints the largest binary unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `n` KiB.
    pub const fn kib(n: u64) -> ByteSize {
        ByteSize(n << 10)
    }
    /// `n` MiB.
    pub const fn mib(n: u64) -> ByteSize {
        ByteSize(n << 20)
    }
    /// `n` GiB.
    pub const fn gib(n: u64) -> ByteSize {
        ByteSize(n << 30)
    }
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = UNITS.iter().find(|(_, scale)| self.0 >= *scale).unwrap_or(&UNITS[3]);
        if self.0.is_multiple_of(*scale) {
            write!(f, "{}{unit}", self.0 / scale)
        } else {
            write!(f, "{:.1}{unit}", self.0 as f64 / *scale as f64)
        }
    }
}

impl FromStr for ByteSize {
    type Err = String;
    fn from_str(text: &str) -> Result<ByteSize, String> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let scale = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return Err(format!("'{text}' has no unit of size: use B, KiB, MiB, GiB, KB, MB or GB")),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(scale).map(ByteSize).ok_or_else(|| format!("'{text}' is too large"));
        }
        match number.parse::<f64>() {
            Ok(part) if part.is_finite() && part * (scale as f64) < 2f64.powi(63) => {
                Ok(ByteSize((part * scale as f64) as u64))
            }
            _ => Err(format!("'{text}' is not a size: write a number and a unit, such as 64MiB")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, bytes, printed) in [
            ("64", 64, "64B"),
            ("1GiB", 1 << 30, "1GiB"),
            ("1.5 KiB", 1536, "1.5KiB"),
            ("10MB", 10_000_000, "9.5MiB"),
            ("0", 0, "0B"),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), printed);
        }
        for bad in ["", "x", "1 parsec", "99999999999GiB", "1e400", "."] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }
}
