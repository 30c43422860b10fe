// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a name server is to be told next.
//! In: what it was told, where the topics stand now, `now`. Out: everything, what changed, a question, or nothing.
//!
//! A small table goes whole every time, which also mends what a name server lost. A large one goes whole rarely: in between
//! only what changed, and the question whether the name server still has the version it should have.

use std::time::Duration;

use protocol::data_version::DataVersion;
use stdx::Timestamp;

/// Tables up to this size go whole.
const SMALL: usize = 1000;
/// How often a large table goes whole although nothing asks for it.
const MENDING: Duration = Duration::from_secs(300);

/// Where the topics stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// How often they changed.
    pub(super) changes: u64,
    /// Their version, that of the settings with it.
    pub(super) version: DataVersion,
    /// What the broker as a whole permits.
    pub(super) permission: i32,
    /// How many there are.
    pub(super) count: usize,
}

/// What a name server was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    state: State,
    whole_at: Timestamp,
}

/// What to tell next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// All topics.
    Whole,
    /// Those that changed after so many changes; all, where these are not known or nothing is among them.
    Since(u64),
    /// Whether it still has the version it was told.
    Ask,
    /// It was asked and has it.
    Nothing,
}

impl Told {
    /// A name server that has just been told everything.
    pub(super) fn whole(state: State, now: Timestamp) -> Told {
        Told { state, whole_at: now }
    }

    /// What changed up to `state` was told on top.
    pub(super) fn add(&mut self, state: State) {
        self.state = state;
    }
}

/// Decides what to tell.
pub(super) fn next(told: Option<&Told>, state: State, now: Timestamp) -> Next {
    let Some(told) = told.filter(|told| state.count > SMALL && now.since(told.whole_at) < MENDING) else {
        return Next::Whole;
    };
    if told.state.permission != state.permission {
        return Next::Whole;
    }
    let is_known = (told.state.version, told.state.changes) == (state.version, state.changes);
    if is_known { Next::Ask } else { Next::Since(told.state.changes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn state(count: usize, changes: u64) -> State {
        let version = DataVersion { counter: changes as i64, ..DataVersion::default() };
        State { changes, version, permission: 6, count }
    }

    #[test]
    fn a_small_table_goes_whole() {
        let few = state(SMALL, 1);
        assert_eq!(next(None, few, NOW), Next::Whole);
        assert_eq!(next(Some(&Told::whole(few, NOW)), few, NOW), Next::Whole);
    }

    #[test]
    fn a_large_table_goes_by_its_changes() {
        let many = state(SMALL + 1, 7);
        assert_eq!(next(None, many, NOW), Next::Whole);
        let mut told = Told::whole(many, NOW);
        assert_eq!(next(Some(&told), many, NOW), Next::Ask);
        let more = state(SMALL + 2, 9);
        assert_eq!(next(Some(&told), more, NOW), Next::Since(7));
        told.add(more);
        assert_eq!(next(Some(&told), more, NOW), Next::Ask);
        assert_eq!(next(Some(&told), State { changes: 10, ..more }, NOW), Next::Since(9));
        assert_eq!(next(Some(&told), State { permission: 4, ..more }, NOW), Next::Whole);
        assert_eq!(next(Some(&told), more, NOW + MENDING), Next::Whole);
    }
}
