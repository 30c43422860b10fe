// SPDX-License-Identifier: Apache-2.0
//! A message that lists light queues is in each of them once, at the offset that its record names, in the order of the
//! log; nothing else is.

use std::collections::BTreeMap;

use protocol::names::QueueId;
use protocol::record::Record;
use store::QueueRef;

use crate::message::{Known, known};
use crate::node::Node;
use crate::workload::LIGHT;

/// Holds the light queues against all records that the log has; `after_holes` passes over marks of what is damaged. Says
/// how many entries there are.
pub(crate) fn check(
    book: &BTreeMap<u64, Known>,
    node: &Node,
    after_holes: impl Fn(&QueueRef, u64, u64) -> u64,
) -> usize {
    LIGHT.into_iter().map(|name| check_one(name, book, node, &after_holes)).sum()
}

fn check_one(
    name: &str,
    book: &BTreeMap<u64, Known>,
    node: &Node,
    after_holes: &impl Fn(&QueueRef, u64, u64) -> u64,
) -> usize {
    let mut wanted = BTreeMap::new();
    for (start, known) in book {
        if let Some(offset) = known.light_offset(name) {
            let other = wanted.insert(offset, *start);
            assert!(other.is_none(), "{known:?} has the offset of the record at {other:?} in {name}");
        }
    }
    let count = wanted.len();
    let Some(queue) = node.store.find_queue(name, QueueId(0)) else {
        assert!(count == 0, "{name} is not there: {wanted:?}");
        return 0;
    };
    let mut expected = queue.first().0;
    for bytes in node.read_all(&queue) {
        let record = Record::parse(&bytes).unwrap_or_else(|e| panic!("no record: {e}"));
        let seen = known(&record);
        let offset = seen.light_offset(name).unwrap_or_else(|| panic!("{seen:?} is in {name}"));
        expected = after_holes(&queue, expected, offset);
        assert!(offset == expected, "{seen:?} stands in {name} where {expected} belongs");
        let start = wanted.remove(&offset);
        assert!(start == Some(record.log_offset().0), "{seen:?} is in {name} in place of {start:?}");
        expected += 1;
    }
    let end = queue.dispatched().0;
    expected = after_holes(&queue, expected, end);
    assert!(expected == end, "{name} ends at {expected}, not at {end}");
    assert!(wanted.is_empty(), "not in {name}: {wanted:?}");
    count
}
