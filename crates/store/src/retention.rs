// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Decides which old segments go and whether the disk takes appends. In: ages, fullness, what consumers
//! still need. Out: a decision. Asked by the upkeep loop once a round; it deletes at most one segment a round.
//! Invariants: the segment that is written is never chosen; unread data is never chosen to make room unless the
//! operator allowed it.

use std::time::Duration;

use stdx::Timestamp;

use crate::config::RetentionConfig;

/// The oldest segment, and what is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Oldest {
    /// One past its last byte.
    pub(crate) end: u64,
    /// When its last record was stored.
    pub(crate) last_stored: Timestamp,
    /// True when it is the one that is being written.
    pub(crate) is_active: bool,
}

/// Why a segment goes, or stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing to do.
    Keep,
    /// It is older than it needs to be.
    Expired,
    /// The disk is too full.
    MakeRoom,
    /// The disk is too full, but consumers have not read it.
    Unread,
}

/// Decides about the oldest segment. `used` is the used part of the disk; below `unread_floor` all is read.
pub(crate) fn decide(
    config: &RetentionConfig,
    now: Timestamp,
    used: f64,
    oldest: Oldest,
    unread_floor: u64,
) -> Decision {
    if oldest.is_active {
        return Decision::Keep;
    }
    let is_read = oldest.end <= unread_floor;
    if used >= config.force_ratio {
        return match is_read || !config.never_delete_unread {
            true => Decision::MakeRoom,
            false => Decision::Unread,
        };
    }
    let is_expired = now.since(oldest.last_stored) > config.reserved;
    let is_hour = config.delete_when.is_empty() || config.delete_when.contains(&hour(now));
    if is_expired && (is_hour || used >= config.clean_ratio) { Decision::Expired } else { Decision::Keep }
}

/// Whether the disk takes appends, when it did (`refused` is false) or did not until now.
pub(crate) fn refuses(config: &RetentionConfig, used: f64, refused: bool) -> bool {
    used >= if refused { config.resume_ratio } else { config.refuse_ratio }
}

fn hour(now: Timestamp) -> u8 {
    let hours = Duration::from_millis(now.0.max(0) as u64).as_secs() / 3600;
    (hours % 24) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp(hours * HOUR)
    }

    #[test]
    fn segments_go_in_their_time() {
        let config = RetentionConfig::default();
        let oldest = Oldest { end: 100, last_stored: at(0), is_active: false };
        let unread = Decision::Unread;
        let cases = [
            // (now, used, unread floor, decision)
            (at(72 + 4), 0.1, 0, Decision::Expired),
            (at(72 + 5), 0.1, 0, Decision::Keep),
            (at(72 + 5), 0.76, 0, Decision::Expired),
            (at(71), 0.8, 0, Decision::Keep),
            (at(1), 0.86, 100, Decision::MakeRoom),
            (at(1), 0.86, 99, unread),
            (at(1000), 0.99, 99, unread),
        ];
        for (now, used, floor, decision) in cases {
            assert_eq!(decide(&config, now, used, oldest, floor), decision, "{now} {used} {floor}");
        }
        let told = RetentionConfig { never_delete_unread: false, ..config.clone() };
        assert_eq!(decide(&told, at(1), 0.86, oldest, 0), Decision::MakeRoom);
        let active = Oldest { is_active: true, ..oldest };
        assert_eq!(decide(&told, at(999), 0.99, active, 100), Decision::Keep);
        let any_hour = RetentionConfig { delete_when: vec![], ..config };
        assert_eq!(decide(&any_hour, at(73), 0.1, oldest, 0), Decision::Expired);
    }

    #[test]
    fn refusing_begins_later_than_it_ends() {
        let config = RetentionConfig::default();
        assert!(!refuses(&config, 0.94, false));
        assert!(refuses(&config, 0.95, false));
        assert!(refuses(&config, 0.91, true));
        assert!(!refuses(&config, 0.89, true));
    }
}
