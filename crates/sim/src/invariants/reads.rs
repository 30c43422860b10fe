// SPDX-License-Identifier: Apache-2.0
//! A pull gives everything that its filter lets through between where it began and where it says to go on, nothing
//! else, in order and as it was sent; and it says "nothing" no earlier than it may.

use protocol::filter::Filter;
use protocol::record::Record;
use stdx::Timestamp;
use store::Batch;

use crate::message::{Known, Place, records};
use crate::node::Node;
use crate::oracle::Oracle;

/// What a consumer asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) group: String,
    pub(crate) place: Place,
    pub(crate) from: u64,
    /// The tags it wants, `*` for all.
    pub(crate) tags: String,
    pub(crate) commit: Option<u64>,
    /// It lets itself be kept waiting until then.
    pub(crate) until: Option<Timestamp>,
}

impl Ask {
    pub(crate) fn filter(&self) -> Filter {
        Filter::parse("TAG", &self.tags).unwrap_or_else(|e| panic!("{}: {e}", self.tags))
    }

    fn wants(&self, known: &Known) -> bool {
        self.tags == "*" || self.tags.split("||").any(|tag| tag.trim() == known.tag)
    }
}

/// Messages were given; returns them.
pub(crate) fn check_found(oracle: &mut Oracle, node: &Node, ask: &Ask, batch: &Batch) -> Vec<(u64, Known)> {
    let mut given = Vec::new();
    for bytes in records(&batch.slices) {
        let record = Record::parse(&bytes).unwrap_or_else(|e| panic!("no record was given: {e}"));
        let known = oracle.saw(&record);
        assert!(known.place == ask.place, "{ask:?} was given {known:?}");
        assert!(ask.wants(&known), "{ask:?} was given {known:?}: its tag does not match");
        let last = given.last().map_or(ask.from, |(_, last): &(u64, Known)| last.offset + 1);
        assert!(known.offset >= last, "{ask:?} was given {known:?} out of order");
        given.push((record.log_offset().0, known));
    }
    assert!(given.len() == batch.count, "{ask:?}: {} of {} were given", given.len(), batch.count);
    check_passed(oracle, node, ask, batch.next.0, &given);
    given
}

/// A consumer is told to go on at `next`: nothing that it wants lies before it, but what it was given.
pub(crate) fn check_passed(oracle: &mut Oracle, node: &Node, ask: &Ask, next: u64, given: &[(u64, Known)]) {
    let (topic, queue) = &ask.place;
    let Some(queue) = node.store.find_queue(topic, protocol::names::QueueId(*queue)) else { return };
    assert!(next <= queue.dispatched().0, "{ask:?} was told to go on at {next}, past the end");
    for bytes in node.read_range(&queue, ask.from, next) {
        let record = Record::parse(&bytes).unwrap_or_else(|e| panic!("no record: {e}"));
        let known = oracle.note(&record);
        let is_given = given.iter().any(|(_, other)| other.offset == known.offset);
        let is_passed = known.offset < next && ask.wants(&known) && !is_given;
        assert!(!is_passed, "{ask:?} was told to go on at {next} and not given {known:?}");
    }
}

/// Nothing was given because nothing was there.
pub(crate) fn check_nothing(ask: &Ask, now: Timestamp) {
    assert!(ask.until.is_none_or(|until| now >= until), "{ask:?} was told at {now} that there is nothing");
}
