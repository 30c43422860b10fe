// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. When a message wants to be delivered. In: its properties, the time and the limit. Out: when it is due, that
//! it goes at once, or why it is refused.
//! Invariants: what lies too far ahead is refused and never goes at once, however large the number is; what lies in
//! the past goes at once.

use std::time::Duration;

use protocol::properties as names;
use stdx::Timestamp;

use super::SendRefused;

/// The time, and how far ahead of it a message may be due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clockwork {
    pub(crate) now: Timestamp,
    pub(crate) max: Duration,
}

/// What a message says of its delivery time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timing<'a> {
    seconds: Option<&'a str>,
    millis: Option<&'a str>,
    at: Option<&'a str>,
    /// It says that it waited already: then it does not wait again.
    has_waited: bool,
    is_recall: bool,
}

impl<'a> Timing<'a> {
    /// Takes a property; false when it is none of these.
    pub(crate) fn read(&mut self, name: &str, value: &'a str) -> bool {
        match name {
            names::TIMER_DELAY_SEC => self.seconds = Some(value),
            names::TIMER_DELAY_MS => self.millis = Some(value),
            names::TIMER_DELIVER_MS => self.at = Some(value),
            names::TIMER_OUT_MS => self.has_waited = true,
            names::TIMER_DEL_UNIQKEY => self.is_recall = true,
            _ => return false,
        }
        true
    }

    /// It names a time, waited for or not.
    pub(crate) fn names_one(&self) -> bool {
        self.seconds.is_some() || self.millis.is_some() || self.at.is_some()
    }

    /// It names a time that is still to be waited for.
    pub(crate) fn is_asked(&self) -> bool {
        !self.has_waited && self.names_one()
    }

    /// When it is due; `None` when it goes at once. Seconds go before milliseconds, a delay before a time.
    pub(crate) fn due(&self, clock: Clockwork) -> Result<Option<Timestamp>, SendRefused> {
        if !self.is_asked() {
            return Ok(None);
        }
        let number = |name, value: &str| {
            value
                .parse::<i64>()
                .map_err(|_| SendRefused::BadTime { name, value: value.chars().take(32).collect() })
        };
        let now = clock.now.0;
        // What is too large for a number is too far in its direction: it stays there.
        let due = match *self {
            Timing { seconds: Some(text), .. } => {
                now.saturating_add(number(names::TIMER_DELAY_SEC, text)?.saturating_mul(1000))
            }
            Timing { millis: Some(text), .. } => now.saturating_add(number(names::TIMER_DELAY_MS, text)?),
            Timing { at, .. } => number(names::TIMER_DELIVER_MS, at.unwrap_or_default())?,
        };
        if self.is_recall {
            return Err(SendRefused::TimerDelete);
        }
        let ahead = due.saturating_sub(now);
        let max = i64::try_from(clock.max.as_millis()).unwrap_or(i64::MAX);
        match ahead {
            ..=0 => Ok(None),
            _ if ahead > max || due == i64::MAX => Err(SendRefused::TooFar { max: clock.max }),
            _ => Ok(Some(Timestamp(due))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_when() {
        let max = Duration::from_secs(100);
        let clock = Clockwork { now: Timestamp(5000), max };
        let due = |text: &str, clock| {
            let mut timing = Timing::default();
            text.split(';').filter_map(|pair| pair.split_once('=')).for_each(|(name, value)| {
                assert!(timing.read(name, value), "{name}");
            });
            timing.due(clock)
        };
        let too_far = || Err(SendRefused::TooFar { max });
        let at = |due: i64| Ok(Some(Timestamp(due)));
        let most = i64::MAX;
        for (text, expected) in [
            ("", Ok(None)),
            ("TIMER_DELAY_SEC=2", at(7000)),
            ("TIMER_DELAY_MS=1", at(5001)),
            ("TIMER_DELIVER_MS=5001", at(5001)),
            ("TIMER_DELIVER_MS=5000", Ok(None)),
            ("TIMER_DELAY_MS=0", Ok(None)),
            ("TIMER_DELAY_SEC=-9223372036854775808", Ok(None)),
            ("TIMER_DELIVER_MS=-9223372036854775808", Ok(None)),
            ("TIMER_DELAY_MS=100000", at(105_000)),
            ("TIMER_DELAY_MS=100001", too_far()),
            ("TIMER_DELAY_SEC=2592000", too_far()),
            (&format!("TIMER_DELAY_SEC={most}"), too_far()),
            (&format!("TIMER_DELAY_MS={most}"), too_far()),
            (&format!("TIMER_DELIVER_MS={most}"), too_far()),
            ("TIMER_DELIVER_MS=9;TIMER_DELAY_MS=9;TIMER_DELAY_SEC=9", at(14_000)),
            ("TIMER_DELIVER_MS=9;TIMER_DELAY_MS=9", at(5009)),
            ("TIMER_DELAY_MS=9;TIMER_OUT_MS=1", Ok(None)),
            ("TIMER_DELAY_MS=9;TIMER_DEL_UNIQKEY=k", Err(SendRefused::TimerDelete)),
        ] {
            assert_eq!(due(text, clock), expected, "{text}");
        }
        for text in ["TIMER_DELAY_MS=", "TIMER_DELAY_SEC=1s", "TIMER_DELIVER_MS=9223372036854775808"] {
            assert!(matches!(due(text, clock), Err(SendRefused::BadTime { .. })), "{text}");
        }
        let years = Clockwork { now: Timestamp(5000), max: Duration::MAX };
        assert_eq!(due("TIMER_DELAY_SEC=3153600000", years), at(5000 + 3_153_600_000_000));
        assert!(due(&format!("TIMER_DELAY_MS={most}"), years).is_err());
    }
}
