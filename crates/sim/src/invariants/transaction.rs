// SPDX-License-Identifier: Apache-2.0
//! A transaction settles once: what was committed is delivered once, what was rolled back never, and what nobody
//! decided stays open, whatever ends the process.

use std::collections::BTreeSet;

use broker::ops::transaction::{EndRefused, Ended};
use broker::transaction::Decision;
use protocol::names::{ByteStr, LogOffset, QueueOffset};
use store::{Durability, Settled};

use crate::crash::{Crash, Left};
use crate::message::Known;
use crate::node::Node;

#[derive(Default)]
pub(crate) struct Transactions {
    halves: Vec<Half>,
}

/// A half message whose producer was answered.
#[derive(Clone, Debug)]
pub(crate) struct Half {
    pub(crate) number: u64,
    pub(crate) id: LogOffset,
    pub(crate) queue_offset: QueueOffset,
    /// The message's own id.
    pub(crate) unique: ByteStr,
    end: u64,
    /// A power cut took it.
    is_gone: bool,
    /// What was asked for, answered or not.
    asked_commit: bool,
    asked_rollback: bool,
    decided: Option<Decision>,
    /// The decision survives a power cut.
    is_lasting: bool,
    /// Where its message was delivered, and the end of that record.
    delivered: Option<(u64, u64)>,
}

impl Transactions {
    pub(crate) fn stored(
        &mut self,
        number: u64,
        (id, end): (LogOffset, u64),
        queue_offset: QueueOffset,
        unique: ByteStr,
    ) {
        self.halves.push(Half {
            number,
            id,
            queue_offset,
            unique,
            end,
            is_gone: false,
            asked_commit: false,
            asked_rollback: false,
            decided: None,
            is_lasting: false,
            delivered: None,
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.halves.len()
    }

    /// Somebody is about to decide the transaction.
    pub(crate) fn asks(&mut self, index: usize, decision: Decision) -> Half {
        let half = &mut self.halves[index];
        match decision {
            Decision::Commit => half.asked_commit = true,
            Decision::Rollback => half.asked_rollback = true,
        }
        half.clone()
    }

    /// True when the message may still be delivered.
    pub(crate) fn is_alive(&self, number: u64) -> bool {
        self.halves.iter().any(|half| half.number == number && !half.is_gone)
    }

    /// Whoever decided is answered.
    pub(crate) fn answered(
        &mut self,
        index: usize,
        wanted: Decision,
        answer: &Result<Ended, EndRefused>,
        start: u64,
    ) -> &'static str {
        let half = &mut self.halves[index];
        let (decision, is_lasting) = match answer {
            Ok(ended) => (wanted, ended.settled == Settled::Done && !ended.again),
            Err(EndRefused::Contrary { decision, .. }) => {
                assert!(*decision != wanted, "{half:?} is contrary to what was wanted");
                (*decision, false)
            }
            Err(EndRefused::NotThere { .. }) => {
                assert!(half.is_gone || half.id.0 < start, "{half:?} is not known");
                return "not there";
            }
            Err(EndRefused::OtherGroup | EndRefused::OtherOffset) => {
                assert!(half.is_gone, "{half:?} is taken for another");
                return "another";
            }
            Err(EndRefused::Lost { .. }) => {
                assert!(half.is_gone, "{half:?} is taken for lost");
                return "lost";
            }
            Err(EndRefused::Send(_) | EndRefused::Read(_)) => return "not now",
        };
        if half.is_gone {
            return "after it was gone";
        }
        let was_asked = match decision {
            Decision::Commit => half.asked_commit,
            Decision::Rollback => half.asked_rollback,
        };
        assert!(was_asked, "nobody asked for the {decision:?} of {half:?}");
        assert!(
            half.decided.is_none_or(|before| before == decision),
            "{half:?} was decided again: {decision:?}"
        );
        assert!(decision == Decision::Commit || half.delivered.is_none(), "{half:?} is rolled back");
        half.decided = Some(decision);
        half.is_lasting |= is_lasting;
        match answer {
            Ok(Ended { again: true, .. }) => "again",
            Ok(_) => "decided",
            Err(_) => "contrary",
        }
    }

    /// The message of a half was delivered.
    pub(crate) fn delivered(&mut self, start: u64, seen: &Known, id: u64) {
        let Some(half) = self.halves.iter_mut().find(|half| half.id.0 == id && !half.is_gone) else {
            panic!("{seen:?} commits a half message that nobody sent")
        };
        assert!(half.number == seen.number, "{seen:?} commits {half:?}");
        assert!(half.asked_commit, "{half:?} was delivered and nobody wanted that");
        assert!(half.decided != Some(Decision::Rollback), "{half:?} was rolled back and delivered");
        assert!(
            half.delivered.is_none_or(|(at, _)| at == start),
            "{half:?} was delivered once more, at {start}"
        );
        half.delivered = Some((start, seen.end));
    }

    /// Only what is left is there.
    pub(crate) fn crashed(&mut self, crash: Crash, left: &Left, durability: Durability) {
        if crash == Crash::Kill {
            return;
        }
        for half in &mut self.halves {
            half.is_gone |= !left.has(half.id.0, half.end);
            if half.delivered.is_some_and(|(start, end)| !left.has(start, end)) {
                half.delivered = None;
                half.decided = None;
            }
            // A delivered message is the decision; a note may be gone, unless it was promised.
            let is_kept = half.delivered.is_some() || half.is_lasting && durability == Durability::Disk;
            if !is_kept {
                half.decided = None;
            }
            half.is_lasting &= is_kept;
        }
    }

    /// All of the log has been looked at: who is open is open, and who was committed was delivered.
    pub(crate) fn check(&self, node: &Node) {
        node.broker.check_transactions();
        let open: BTreeSet<LogOffset> = node.store.halves().iter().map(|half| half.id).collect();
        for half in self.halves.iter().filter(|half| !half.is_gone) {
            let is_open = open.contains(&half.id);
            assert!(half.decided.is_none() || !is_open, "{half:?} is decided and open");
            assert!(half.delivered.is_none() || !is_open, "{half:?} is delivered and open");
            let is_committed = half.decided == Some(Decision::Commit);
            assert!(!is_committed || half.delivered.is_some(), "{half:?} was committed and is not delivered");
            let nobody = !half.asked_commit && !half.asked_rollback;
            assert!(is_open || !nobody, "{half:?} waits for a decision and is not open");
        }
    }
}
