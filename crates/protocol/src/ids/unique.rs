// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. Unique ids in Apache's layout: address, process, loader, milliseconds since the month began, counter.
//! Clients make them; brokers make one where a message came without. Invariant: ids of one maker differ, as long as it
//! makes fewer than 65,536 in a millisecond.

use core::fmt::Write;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU16, Ordering};

use stdx::Timestamp;

use super::{Digits, IdError, hex_ip};

const DAY: i64 = 86_400_000;

/// Makes unique ids for one process.
#[derive(Debug)]
pub struct UniqueIds {
    /// Address, process and loader, as they start every id.
    prefix: Box<str>,
    counter: AtomicU16,
}

/// What a unique id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniqueId {
    pub ip: IpAddr,
    /// The lower half of the process id.
    pub process: u16,
    /// Java's class loader; for us a random number.
    pub loader: u32,
    /// Milliseconds since the month began, by the maker's calendar.
    pub millis: u32,
    pub counter: u16,
}

impl UniqueIds {
    /// Makes ids that start with these. `loader` should be random: it keeps two makers in one process apart.
    pub fn new(ip: IpAddr, process: u16, loader: u32) -> UniqueIds {
        let mut prefix = String::with_capacity(44);
        let written = hex_ip(ip, &mut prefix).and_then(|()| write!(prefix, "{process:04X}{loader:08X}"));
        written.expect("text takes text");
        UniqueIds { prefix: prefix.into(), counter: AtomicU16::new(0) }
    }

    /// Makes the next id.
    pub fn next(&self, now: Timestamp) -> String {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let millis = (now.0 - month_start(now.0)) as u32;
        let mut id = String::with_capacity(self.prefix.len() + 12);
        id.push_str(&self.prefix);
        write!(id, "{millis:08X}{counter:04X}").expect("text takes text");
        id
    }
}

impl UniqueId {
    /// Reads an id.
    pub fn parse(text: &str) -> Result<UniqueId, IdError> {
        let mut digits = Digits::new(text)?;
        Ok(UniqueId {
            ip: digits.ip()?,
            process: digits.number(4)? as u16,
            loader: digits.number(8)? as u32,
            millis: digits.number(8)? as u32,
            counter: digits.number(4)? as u16,
        })
    }

    /// Returns the last time before `now` at which the id can have been made: it does not say in which month.
    pub fn made_at(&self, now: Timestamp) -> Timestamp {
        let this_month = month_start(now.0);
        let made = this_month + i64::from(self.millis);
        if made <= now.0 {
            Timestamp(made)
        } else {
            Timestamp(month_start(this_month - 1) + i64::from(self.millis))
        }
    }
}

/// Returns when the month of `millis` began, in UTC.
fn month_start(millis: i64) -> i64 {
    let day = millis.div_euclid(DAY);
    // Days are counted from 1 March of year 0, so that the leap day ends a year and months follow a pattern of 153.
    let shifted = day + 719_468;
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    (day - day_of_month) * DAY
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn months_begin_where_they_should() {
        let cases = [
            (0, 0),
            (1_709_251_199_999, 1_706_745_600_000), // 2024-02-29T23:59:59.999Z
            (1_709_251_200_000, 1_709_251_200_000), // 2024-03-01
            (1_735_689_599_999, 1_733_011_200_000), // 2024-12-31
            (4_107_542_400_000, 4_107_542_400_000), // 2100-03-01, after a year without a leap day
            (4_107_542_399_999, 4_105_123_200_000),
            (-1, -2_678_400_000),
        ];
        for (millis, start) in cases {
            assert_eq!(month_start(millis), start, "{millis}");
        }
    }

    #[test]
    fn an_id_says_who_made_it_and_when() {
        let ids = UniqueIds::new("10.0.0.1".parse().unwrap(), 0xBEEF, 0x1234_5678);
        let now = Timestamp(1_709_251_200_000 + 5);
        assert_eq!(ids.next(now), "0A000001BEEF12345678000000050000");
        let text = ids.next(now);
        assert_eq!(text, "0A000001BEEF12345678000000050001");
        let id = UniqueId::parse(&text).unwrap();
        assert_eq!((id.process, id.loader, id.millis, id.counter), (0xBEEF, 0x1234_5678, 5, 1));
        assert_eq!(id.made_at(now), now);
        // Four milliseconds into the month it must be last month's.
        assert_eq!(id.made_at(Timestamp(1_709_251_200_004)), Timestamp(1_706_745_600_005));
        let six = UniqueIds::new("2001:db8::1".parse().unwrap(), 1, 2).next(now);
        assert_eq!(six.len(), 56);
        assert_eq!(UniqueId::parse(&six).unwrap().ip, "2001:db8::1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn ids_of_a_millisecond_differ() {
        let ids = UniqueIds::new("10.0.0.1".parse().unwrap(), 1, 2);
        let made: HashSet<_> = (0..65_536).map(|_| ids.next(Timestamp(77))).collect();
        assert_eq!(made.len(), 65_536);
    }

    proptest! {
        #[test]
        fn what_is_made_is_read(ip in any::<u128>(), process: u16, loader: u32, now in 0..4_000_000_000_000i64) {
            let ip = IpAddr::V6(ip.into());
            let text = UniqueIds::new(ip, process, loader).next(Timestamp(now));
            let id = UniqueId::parse(&text).unwrap();
            prop_assert_eq!((id.ip, id.process, id.loader, id.counter), (ip.to_canonical(), process, loader, 0));
            prop_assert_eq!(id.made_at(Timestamp(now)), Timestamp(now));
        }
    }
}
