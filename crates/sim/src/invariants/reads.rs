// SPDX-License-Identifier: Apache-2.0
//! A pull gives everything that its filter lets through between where it began and where it says to go on, nothing
//! else, in order and as it was sent; and it says "nothing" no earlier than it may.

use std::fmt;

use protocol::filter::Filter;
use protocol::record::Record;
use stdx::Timestamp;
use store::Batch;

use crate::message::{self, Known, Place, records};
use crate::node::Node;
use crate::oracle::Oracle;

/// What a consumer asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) group: String,
    pub(crate) place: Place,
    pub(crate) from: u64,
    /// What it wants.
    pub(crate) wish: Wish,
    pub(crate) commit: Option<u64>,
    /// It lets itself be kept waiting until then.
    pub(crate) until: Option<Timestamp>,
}

/// What a consumer wants of a topic.
#[derive(Clone, Copy)]
pub(crate) enum Wish {
    /// Tags, `*` for all.
    Tags(&'static str),
    /// An expression, and what it means.
    Sql(&'static str, fn(&Known) -> bool),
}

/// Expressions over `n`, which some messages have, and the tag: what is unknown is not wanted.
pub(crate) const SQL: [Wish; 3] = [
    Wish::Sql("n BETWEEN 2 AND 4 AND TAGS IN ('a', 'BBBB')", |known| {
        message::n(known.number).is_some_and(|n| (2..=4).contains(&n)) && ["a", "BBBB"].contains(&&*known.tag)
    }),
    Wish::Sql("n IS NULL OR TAGS = 'AaAa'", |known| {
        message::n(known.number).is_none() || known.tag == "AaAa"
    }),
    Wish::Sql("NOT (n > 3)", |known| message::n(known.number).is_some_and(|n| n <= 3)),
];

// The same words in every run, which the place of a function is not.
impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().1)
    }
}

impl Wish {
    /// Kind and text of the expression.
    pub(crate) fn text(self) -> (&'static str, &'static str) {
        match self {
            Wish::Tags(tags) => ("TAG", tags),
            Wish::Sql(text, _) => ("SQL92", text),
        }
    }
}

impl Ask {
    pub(crate) fn filter(&self) -> Filter {
        let (kind, text) = self.wish.text();
        Filter::parse(kind, text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn wants(&self, known: &Known) -> bool {
        match self.wish {
            Wish::Tags("*") => true,
            Wish::Tags(tags) => tags.split("||").any(|tag| tag.trim() == known.tag),
            Wish::Sql(_, means) => means(known),
        }
    }
}

/// Messages were given; returns them.
pub(crate) fn check_found(oracle: &mut Oracle, node: &Node, ask: &Ask, batch: &Batch) -> Vec<(u64, Known)> {
    let mut given = Vec::new();
    for bytes in records(&batch.slices) {
        let record = Record::parse(&bytes).unwrap_or_else(|e| panic!("no record was given: {e}"));
        let known = oracle.saw(&record);
        assert!(known.place == ask.place, "{ask:?} was given {known:?}");
        assert!(ask.wants(&known), "{ask:?} was given {known:?}: it is not wanted");
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
