// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. The table of delay levels: level 1 is its first time. Read by the send plan and the delivery of delayed
//! messages. Invariant: a level that was made here exists in the table.

use std::fmt;
use std::time::Duration;

use protocol::names::QueueId;
use stdx::Timestamp;

/// The times a message can be held back for, by level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels(Vec<Duration>);

/// A level that exists, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(u32);

impl Level {
    /// Returns the level as properties carry it.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// Returns the queue of the schedule topic that holds this level's messages.
    pub(crate) fn queue(self) -> QueueId {
        QueueId(self.0 - 1)
    }
}

impl Levels {
    /// Returns how many levels there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the level for what a client asked; above the table it is the longest, below 1 there is none.
    pub(crate) fn clamp(&self, asked: i64) -> Option<Level> {
        let longest = self.0.len() as i64;
        (asked > 0 && longest > 0).then(|| Level(asked.min(longest) as u32))
    }

    /// Returns from when on a message stored at `stored_at` in a level's queue may be delivered. A queue of a longer
    /// table that was in use before counts as the longest level: what waits there is late rather than early.
    pub(crate) fn due(&self, queue: usize, stored_at: Timestamp) -> Timestamp {
        stored_at + *self.0.get(queue).or(self.0.last()).expect("a table has a level")
    }
}

impl Default for Levels {
    fn default() -> Levels {
        "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h".parse().expect("the default table reads")
    }
}

impl std::str::FromStr for Levels {
    type Err = String;
    fn from_str(text: &str) -> Result<Levels, String> {
        let times: Result<Vec<Duration>, String> =
            text.split_whitespace().map(<Duration as stdx::config::Value>::read).collect();
        match times {
            Ok(times) if times.is_empty() => Err("the table of delay levels is empty".into()),
            times => times.map(Levels),
        }
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, time) in self.0.iter().enumerate() {
            let gap = if at == 0 { "" } else { " " };
            match time.as_millis() {
                ms if ms.is_multiple_of(3_600_000) => write!(f, "{gap}{}h", ms / 3_600_000)?,
                ms if ms.is_multiple_of(60_000) => write!(f, "{gap}{}m", ms / 60_000)?,
                ms if ms.is_multiple_of(1_000) => write!(f, "{gap}{}s", ms / 1_000)?,
                ms => write!(f, "{gap}{ms}ms")?,
            }
        }
        Ok(())
    }
}

impl stdx::config::Value for Levels {
    const KIND: &'static str = "1 to 64 times";
    const UNIT: &'static str = "ms";
    fn read(text: &str) -> Result<Levels, String> {
        text.parse()
    }
    fn print(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_prints_and_clamps() {
        let levels = Levels::default();
        assert_eq!(levels.to_string(), "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h");
        assert_eq!(levels.count(), 18);
        let clamp = |asked| levels.clamp(asked).map(Level::number);
        assert_eq!(
            [-1, 0, 1, 18, 19, i64::MAX].map(clamp),
            [None, None, Some(1), Some(18), Some(18), Some(18)]
        );
        assert_eq!(levels.clamp(3).map(Level::queue), Some(QueueId(2)));
        assert_eq!(levels.due(2, Timestamp(7)), Timestamp(10_007));
        assert_eq!(levels.due(99, Timestamp(7)), Timestamp(7_200_007));
        assert_eq!("1s 250".parse::<Levels>().map(|levels| levels.to_string()), Ok("1s 250ms".into()));
        for bad in ["", "soon", "1s -5s"] {
            assert!(bad.parse::<Levels>().is_err(), "{bad}");
        }
    }
}
