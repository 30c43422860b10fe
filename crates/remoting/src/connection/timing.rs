// SPDX-License-Identifier: Apache-2.0
//! Notes how long the requests of one connection take, with few looks at the clock. The connection's task tells it where
//! it is; on a connection that nobody measures it does nothing.
//! Invariant: every request that is answered by a handler is counted once under its class, unless it is a long poll that
//! had to wait.

use std::sync::Arc;

use stdx::Clock;

use crate::admission::Class;
use crate::stages::Stages;

/// After so many frames the last look at the clock is too old for those who come next.
const SOON: usize = 2;

/// Where the task of a connection is in time.
pub(crate) struct Timing {
    stages: Option<Arc<Stages>>,
    clock: Arc<dyn Clock>,
    /// When decoding of what was read last began.
    begun: u64,
    /// The last look at the clock, and what was done since.
    seen: u64,
    since_seen: usize,
    /// Since when an answer is ready that nobody has begun to write.
    ready: Option<u64>,
    /// The same of what is being written, and how many frames that is.
    writing: Option<(u64, usize)>,
}

impl Timing {
    pub(crate) fn new(stages: Option<Arc<Stages>>, clock: Arc<dyn Clock>) -> Timing {
        Timing { stages, clock, begun: 0, seen: 0, since_seen: 0, ready: None, writing: None }
    }

    fn look(&mut self) {
        (self.seen, self.since_seen) = (self.clock.tick(), 0);
    }

    /// The task was woken: its last look is of another time.
    pub(crate) fn wakes(&mut self) {
        self.since_seen = SOON + 1;
    }

    /// Something was read, or what was left of it is taken up.
    pub(crate) fn read(&mut self) {
        if self.stages.is_some() {
            self.look();
            self.begun = self.seen;
        }
    }

    /// A frame was decoded.
    pub(crate) fn decoded(&mut self) {
        self.since_seen += 1;
    }

    /// Work on requests begins. Returns since when they are here.
    pub(crate) fn begins(&mut self, requests: usize) -> u64 {
        // Decoding one or two takes less than looking.
        if self.since_seen > SOON && self.stages.is_some() {
            self.look();
        }
        if let Some(stages) = &self.stages {
            stages.queueing.record(self.seen.saturating_sub(self.begun), requests);
        }
        self.begun
    }

    /// Requests of the last read were answered.
    pub(crate) fn answered(&mut self, class: Class, requests: usize) {
        if requests > 0 && self.stages.is_some() {
            self.look();
            self.served(class, self.begun, requests);
        }
    }

    /// A request that had to wait was answered.
    pub(crate) fn waited(&mut self, class: Class, begun: u64) {
        if self.stages.is_none() {
            return;
        }
        if self.since_seen > SOON {
            self.look();
        }
        self.since_seen += 1;
        if class == Class::Pull {
            self.ready.get_or_insert(self.seen);
        } else {
            self.served(class, begun, 1);
        }
    }

    fn served(&mut self, class: Class, begun: u64, requests: usize) {
        self.ready.get_or_insert(self.seen);
        if let Some(stages) = &self.stages {
            stages.served(class, self.seen.saturating_sub(begun), requests);
        }
    }

    /// Writing of so many frames begins.
    pub(crate) fn writes(&mut self, frames: usize) {
        self.writing = self.ready.take().map(|ready| (ready, frames));
    }

    /// There is nothing more to write: nobody wanted the answers that were ready.
    pub(crate) fn rests(&mut self) {
        self.ready = None;
    }

    /// They are written.
    pub(crate) fn written(&mut self) {
        let Some((ready, frames)) = self.writing.take() else { return };
        self.look();
        if let Some(stages) = &self.stages {
            stages.write_out.record(self.seen.saturating_sub(ready), frames);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Waker;
    use stdx::{Times, Timestamp};

    /// A clock that a test moves, and that counts who looks.
    #[derive(Default)]
    struct Dial {
        nanos: AtomicU64,
        looks: AtomicU64,
    }

    impl Clock for Dial {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
        fn tick(&self) -> u64 {
            self.looks.fetch_add(1, Ordering::Relaxed);
            self.nanos.load(Ordering::Relaxed)
        }
        fn wake_at(&self, _: Timestamp, _: Waker) -> u64 {
            0
        }
        fn cancel(&self, _: Timestamp, _: u64) {}
    }

    fn rig() -> (Arc<Dial>, Arc<Stages>, Timing) {
        let (dial, stages) = (Arc::new(Dial::default()), Arc::new(Stages::default()));
        let timing = Timing::new(Some(stages.clone()), dial.clone());
        (dial, stages, timing)
    }

    fn all(times: &Times) -> Vec<(u64, u64)> {
        times.buckets().collect()
    }

    #[test]
    fn each_request_has_the_time_of_its_turn() {
        let (dial, stages, mut timing) = rig();
        let pass = |nanos| dial.nanos.fetch_add(nanos, Ordering::Relaxed);
        pass(1000);
        timing.read();
        (0..64).for_each(|_| timing.decoded());
        pass(10);
        timing.begins(64);
        pass(10);
        timing.answered(Class::Send, 60);
        timing.answered(Class::Send, 0);
        pass(10);
        timing.writes(60);
        timing.written();
        timing.written();
        assert_eq!(all(&stages.queueing.read()), [(10, 64)]);
        assert_eq!(all(&stages.sends.read()), [(20, 60)]);
        assert_eq!(all(&stages.write_out.read()), [(10, 60)]);
        assert_eq!(dial.looks.load(Ordering::Relaxed), 4, "four looks for 64 requests");
        pass(5);
        timing.wakes();
        (0..4).for_each(|_| timing.waited(Class::Send, 1000));
        timing.waited(Class::Pull, 1000);
        timing.writes(4);
        timing.written();
        assert_eq!(stages.sends.read().count(), 64, "those who waited are there, too");
        assert_eq!(stages.sends.read().quantile(1.0), 35);
        assert_eq!(stages.pulls.read().count(), 0, "a long poll takes as long as nothing comes");
        assert_eq!(stages.write_out.read().count(), 64);
        timing.answered(Class::Send, 1);
        timing.rests();
        pass(1_000);
        timing.writes(1);
        timing.written();
        assert_eq!(stages.write_out.read().count(), 64, "what was not to be answered is not written late");
    }

    #[test]
    fn one_that_came_alone_costs_three_looks_and_its_wait_is_nothing() {
        let (dial, stages, mut timing) = rig();
        timing.read();
        timing.decoded();
        dial.nanos.fetch_add(7, Ordering::Relaxed);
        timing.begins(1);
        timing.answered(Class::Pull, 1);
        timing.writes(1);
        timing.written();
        assert_eq!((all(&stages.queueing.read()), all(&stages.pulls.read())), (vec![(0, 1)], vec![(7, 1)]));
        assert_eq!(dial.looks.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn where_nobody_measures_nobody_looks() {
        let dial = Arc::new(Dial::default());
        let mut timing = Timing::new(None, dial.clone());
        timing.read();
        timing.begins(1);
        timing.answered(Class::Send, 1);
        timing.waited(Class::Send, 0);
        timing.writes(2);
        timing.written();
        assert_eq!(dial.looks.load(Ordering::Relaxed), 0);
    }
}
