// SPDX-License-Identifier: Apache-2.0
//! Moments and lengths of time as people write them, and moments as people read them. All in UTC.

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};
use stdx::Timestamp;

const DAY: i64 = 86_400_000;

/// A moment as text: `2026-11-21T18:05:09.004Z`.
pub(crate) fn text(millis: i64) -> String {
    let (day, of_day) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let (year, month, day) = date(day);
    let (seconds, millis) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The same for an answer.
pub(crate) fn time(millis: i64) -> Value {
    json!(text(millis))
}

/// Year, month and day of a day since 1970. Years are counted from March, so that the odd day comes last.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The day since 1970 of a date.
fn day(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A moment as an argument: milliseconds since 1970, `2026-11-21T18:05:09Z` (also shorter), or `+30m` from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(Timestamp),
    In(Duration),
}

impl When {
    pub(crate) fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(at) => at,
            When::In(time) => now + time,
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(given: &str) -> Result<When, String> {
        if let Some(rest) = given.strip_prefix('+') {
            return Length::from_str(rest).map(|length| When::In(length.0));
        }
        let at = given.parse().ok().or_else(|| civil(given)).map(|at| When::At(Timestamp(at)));
        at.ok_or_else(|| "neither milliseconds since 1970 nor 2026-11-21T18:05:09Z nor +30m".to_owned())
    }
}

/// Reads `2026-11-21`, with a time of day behind it or not, in UTC.
fn civil(given: &str) -> Option<i64> {
    let given = given.strip_suffix('Z').unwrap_or(given);
    let (date, time) = given.split_once(['T', ' ']).unwrap_or((given, "0:0"));
    let numbers = |text: &str, between| {
        text.split(between)
            .map(|part| part.parse().ok().filter(|number| *number >= 0))
            .collect::<Option<Vec<i64>>>()
    };
    let (time, millis) = match time.split_once('.') {
        Some((time, part)) if part.len() <= 3 => (time, format!("{part:0<3}").parse().ok()?),
        Some(_) => return None,
        None => (time, 0),
    };
    let (date, time) = (numbers(date, '-')?, numbers(time, ':')?);
    let [year, month @ 1..=12, of_month @ 1..=31] = date[..] else { return None };
    let (hour, minute, second) = match time[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let since = day(year, month, of_month);
    let is_time = hour < 24 && minute < 60 && second < 60 && (0..=999).contains(&millis);
    // A thirtieth of February is none.
    let is_date = year < 10_000 && self::date(since) == (year, month, of_month);
    (is_time && is_date).then(|| since * DAY + ((hour * 60 + minute) * 60 + second) * 1_000 + millis)
}

/// A length of time as an argument: `500ms`, `30s`, `15m`, `12h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Length(pub(crate) Duration);

impl FromStr for Length {
    type Err = String;

    fn from_str(given: &str) -> Result<Length, String> {
        let wrong = || "not a length of time like 500ms, 30s, 15m, 12h or 7d".to_owned();
        let end = given.find(|digit: char| !digit.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = given.split_at(end);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY as u64,
            _ => return Err(wrong()),
        };
        // Further ahead than any calendar goes.
        let millis = number.checked_mul(millis).filter(|millis| *millis < 1 << 52).ok_or_else(wrong)?;
        Ok(Length(Duration::from_millis(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        let at = |text: &str| match text.parse() {
            Ok(When::At(at)) => at.0,
            other => panic!("{text}: {other:?}"),
        };
        for (millis, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_777_777_777_777, "2026-05-03T03:09:37.777Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(text(millis), written);
            assert_eq!(at(written), millis);
        }
        for day in (-800_000..2_000_000).step_by(17) {
            let (year, month, of_month) = date(day);
            assert_eq!(self::day(year, month, of_month), day);
        }
        assert_eq!(at("1777777777777"), 1_777_777_777_777);
        assert_eq!(at("2026-05-03"), 1_777_766_400_000);
        assert_eq!(at("2026-05-03 03:09"), 1_777_777_740_000);
        for bad in [
            "",
            "soon",
            "2026-02-30",
            "2026-13-01",
            "2026-05-03T24:00",
            "2026-05-03T1",
            "+5",
            "+x",
            "2026-5-3T1:2:3.4567",
        ] {
            assert!(bad.parse::<When>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_have_a_unit() {
        let length = |text: &str| text.parse().map(|length: Length| length.0.as_millis());
        assert_eq!(length("500ms"), Ok(500));
        assert_eq!(length("15m"), Ok(900_000));
        assert_eq!(length("366d"), Ok(366 * 86_400_000));
        for bad in ["", "5", "s", "-5s", "5 s", "99999999999999999999d", "999999999999999d"] {
            assert!(length(bad).is_err(), "{bad}");
        }
        assert_eq!("+2h".parse::<When>().map(|when| when.moment(Timestamp(1))), Ok(Timestamp(7_200_001)));
    }
}
