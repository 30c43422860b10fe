// SPDX-License-Identifier: Apache-2.0
//! One turn after the other: of all that is ready to happen, the seed chooses what goes next. A client begins an
//! operation, a future that was woken is polled, a loop of the server does a step, time passes, something fails.
//!
//! Invariants: nothing waits for longer than the plan lets it be late; what a process does after its death is not
//! believed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use broker::ops::pull::{PullRefused, Pulled};
use broker::ops::recall::{Outcome, RecallRefused};
use broker::ops::send::{SendRefused, Sent};
use broker::ops::send_back::SendBackRefused;
use broker::ops::transaction::{EndRefused, Ended};
use broker::transaction::Decision;
use stdx::{Clock, Rng, Timestamp};
use store::Settled;
use store::disk::sim::SimDisk;

use crate::clock::VirtualClock;
use crate::crash::{Crash, Left};
use crate::executor::Tasks;
use crate::invariants::reads::Ask;
use crate::invariants::waits;
use crate::nemesis::Nemesis;
use crate::node::Node;
use crate::oracle::Oracle;
use crate::plan::{COMPACT_AFTER, Plan, RESERVED};
use crate::steps::{STEPS, Schedule, Step};
use crate::trace::Trace;
use crate::workload::Clients;

/// What an operation under way is.
#[derive(Debug)]
pub(crate) enum Label {
    /// These messages are sent, by one who waits for the promise or does not.
    Send(Vec<u64>, bool),
    /// This message is sent as a half.
    Half(u64),
    /// This message of a compaction topic is sent.
    Keep(u64),
    /// A transaction is decided.
    End(usize, Decision),
    /// A consumer's pull.
    Pull(Ask, usize),
    /// A message is given back.
    GiveBack(usize),
    /// A message with a time of its own is taken back or gets another time.
    Recall(u64),
}

/// What comes of an operation.
pub(crate) enum Done {
    Sent(Result<Sent, SendRefused>),
    Ended(Result<Ended, EndRefused>),
    Pulled(Result<Pulled, PullRefused>),
    GivenBack(Result<Settled, SendBackRefused>),
    Recalled(Result<Outcome, RecallRefused>),
}

/// A server, its clients, and all that befalls them.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) node: Node,
    pub(crate) tasks: Tasks<Label, Done>,
    pub(crate) schedule: Schedule,
    pub(crate) oracle: Oracle,
    pub(crate) nemesis: Nemesis,
    pub(crate) clients: Clients,
    pub(crate) trace: Trace,
    /// Where the log ended when the store was poisoned: nothing is stored past it.
    pub(crate) poisoned_at: Option<u64>,
    /// The process died while it did something for a client.
    is_unsure: bool,
    /// How far dispatch had come at the last look.
    looked_at: u64,
    /// Turns until a poisoned process ends.
    exits_in: Option<u64>,
    pub(crate) crashes: u64,
}

impl World {
    pub(crate) fn new(seed: u64, told: bool) -> World {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let clock = VirtualClock::new();
        let disk = SimDisk::new(rng.next());
        let node = Node::open(disk, &clock, &plan).unwrap_or_else(|e| panic!("{e}"));
        let now = clock.now();
        let mut world = World {
            oracle: Oracle::new(plan.durability),
            clients: Clients::new(&mut rng),
            plan,
            rng,
            clock,
            node,
            tasks: Tasks::default(),
            schedule: Schedule::new(now),
            nemesis: Nemesis::default(),
            trace: Trace::new(told),
            poisoned_at: None,
            is_unsure: false,
            looked_at: 0,
            exits_in: None,
            crashes: 0,
        };
        world.say(&format!("{:?}, faults {:?}", world.plan.durability, world.plan.faults));
        world.look(0);
        world
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn say(&mut self, what: &str) {
        self.trace.note(self.clock.now(), what);
    }

    pub(crate) fn written(&self) -> u64 {
        self.node.store.watermarks().written.get()
    }

    /// One turn.
    pub(crate) fn turn(&mut self) {
        if self.rng.chance(self.plan.fault_every) {
            self.strike();
        }
        match self.rng.below(10) {
            0..=2 => self.work(),
            3..=5 => self.poll_some(),
            6..=8 => {
                let step = STEPS[self.rng.below(STEPS.len() as u64) as usize];
                self.step(step);
            }
            _ => {
                let most = if self.rng.chance(6) { 3000 } else { 60 };
                let to = self.now() + Duration::from_millis(self.rng.below(most));
                self.pass(to);
            }
        }
        self.heal(self.now());
        self.exit_if_poisoned();
    }

    /// Runs something of the process. What it says counts unless the process died meanwhile; then it is started again.
    pub(crate) fn live<T>(&mut self, run: impl FnOnce(&mut World) -> T) -> Option<T> {
        self.live_for(true, run)
    }

    fn live_for<T>(&mut self, is_asked: bool, run: impl FnOnce(&mut World) -> T) -> Option<T> {
        let from = self.written();
        let out = catch_unwind(AssertUnwindSafe(|| run(self)));
        if self.node.disk.is_dead() {
            self.is_unsure = is_asked;
            let crash = self.nemesis.inside.unwrap_or_else(|| panic!("the disk died by itself"));
            self.say(&format!("died inside a step: {crash:?}"));
            self.crash(crash);
            return None;
        }
        let out = out.unwrap_or_else(|panic| resume_unwind(panic));
        self.look(from);
        Some(out)
    }

    /// What is looked at after everything that happens; `from` is where the log ended before.
    fn look(&mut self, from: u64) {
        let to = self.written();
        if self.node.store.poisoned().is_some() {
            self.poisoned_at.get_or_insert(to);
        }
        if to > from || from == 0 {
            self.oracle.settings.look(&self.node, from, to);
        }
        let dispatched = self.node.store.watermarks().dispatched.get();
        if std::mem::replace(&mut self.looked_at, dispatched) != dispatched {
            self.oracle.look(&self.node);
        }
        self.oracle.retained(self.node.store.watermarks().start.get(), self.now());
        waits::check_parked(&self.tasks, &self.node);
    }

    /// One of the steps that the server does unasked.
    pub(crate) fn step(&mut self, step: Step) {
        let now = self.now();
        if self.schedule.is_stalled(step, now) {
            return;
        }
        let (before, busy) = (self.written(), self.node.store.metrics().busy.get());
        let was_dirty = self.oracle.progress.is_dirty();
        let done = self.live_for(false, |world| {
            let said = world.schedule.run(step, &world.node, now, &mut world.rng);
            let marks = world.node.store.watermarks();
            let (drained, durable) = (marks.drained.get(), marks.durable.get());
            let (gate, dispatched, steps) = (marks.gate.get(), marks.dispatched.get(), world.node.disk.steps());
            format!("{step:?} {said} drained {drained} durable {durable} gate {gate} dispatched {dispatched} disk {steps}")
        });
        let Some(said) = done else { return };
        self.say(&said);
        if said.starts_with("Retain true") {
            self.trace.reach("segment removed".to_owned());
            if self.oracle.check_latest(&self.node) > 0 {
                self.trace.reach("latest message outlived its segment".to_owned());
            }
        }
        if step == Step::Compact {
            self.oracle.latest.hidden(now - COMPACT_AFTER);
            self.oracle.check_latest(&self.node);
        }
        if step == Step::Upkeep && was_dirty {
            let marks = self.node.store.watermarks();
            let is_hindered = self.nemesis.full_until.is_some()
                || self.nemesis.is_failing
                || busy != self.node.store.metrics().busy.get()
                || self.node.store.poisoned().is_some();
            if marks.written.get() > before {
                self.oracle.progress.saved(marks.written.get(), marks.durable.get());
            } else if !is_hindered && self.is_roomy(now) {
                panic!("progress did not become part of the log");
            }
        }
    }

    /// True when the disk has not been full for a while.
    pub(crate) fn is_roomy(&self, _now: Timestamp) -> bool {
        !self.nemesis.met.contains(&crate::plan::Fault::DiskFull)
    }

    fn poll_some(&mut self) {
        let ready = self.tasks.ready(self.now());
        if !ready.is_empty() {
            let (id, _) = ready[self.rng.below(ready.len() as u64) as usize];
            self.poll(id);
        }
    }

    /// Lets one operation go on.
    pub(crate) fn poll(&mut self, id: u64) {
        let polled = self.live(|world| world.tasks.poll(id));
        if let Some(Some((label, done))) = polled {
            let said = self.finished(label, done);
            self.say(&format!("#{id} {said}"));
        }
    }

    /// Lets time pass until `to`, with everything done that becomes due on the way.
    pub(crate) fn pass(&mut self, to: Timestamp) {
        while self.now() < to {
            let late = self.plan.late;
            let crashes = self.crashes;
            let now = self.now();
            let ready = self.tasks.ready(now);
            let due = STEPS.map(|step| self.schedule.due(step, &self.node));
            let first = ready.iter().map(|(_, since)| *since).chain(due).min().unwrap_or(to);
            let next = to.min((first + late).max(now));
            if next > now {
                self.clock.set(next);
                self.heal(next);
                waits::check_overdue(&self.tasks, next, late);
                continue;
            }
            for (id, _) in ready.iter().filter(|(_, since)| *since + late <= now) {
                if self.crashes == crashes {
                    self.poll(*id);
                }
            }
            for (step, _) in STEPS.iter().zip(due).filter(|(_, due)| *due + late <= now) {
                if self.crashes == crashes {
                    self.step(*step);
                }
            }
            self.exit_if_poisoned();
        }
        self.say("time");
    }

    /// A poisoned process ends with code 75 soon.
    fn exit_if_poisoned(&mut self) {
        let Some(cause) = self.node.store.poisoned() else { return };
        assert!(self.nemesis.is_failing, "the store poisoned itself without a fault: {cause}");
        let left = self.exits_in.unwrap_or_else(|| self.rng.below(8));
        self.exits_in = left.checked_sub(1);
        if left == 0 {
            self.say("exit 75");
            self.crash(Crash::Kill);
        }
    }

    /// The process ends, the next one starts, and all that was promised is looked for.
    pub(crate) fn crash(&mut self, crash: Crash) {
        self.crashes += 1;
        let durable = self.node.store.watermarks().durable.get();
        self.tasks.clear();
        let mut disk = match crash {
            Crash::Kill => self.node.disk.kill(),
            Crash::PowerCut => self.node.disk.cut_power(),
        };
        disk.set_capacity(u64::MAX);
        let mut damaged = Vec::new();
        if self.rng.chance(3) {
            disk.set_cold(self.plan.cold);
            (disk, damaged) = Node::verify(&disk, &self.clock, &self.plan).unwrap_or_else(|e| panic!("{e}"));
        }
        self.restart(disk, crash, durable, damaged);
    }

    fn restart(&mut self, disk: SimDisk, crash: Crash, durable: u64, mut damaged: Vec<(u64, u64)>) {
        self.nemesis.reset();
        (self.exits_in, self.poisoned_at, self.looked_at) = (None, None, 0);
        self.node = Node::open(disk, &self.clock, &self.plan).unwrap_or_else(|e| panic!("{e}"));
        damaged.extend(self.node.damaged());
        let left = Left::new(self.node.store.opened().end.0, damaged);
        self.trace.reach(format!("restart after {crash:?}"));
        if !left.damaged.is_empty() {
            self.trace.reach("damage set aside".to_owned());
        }
        self.say(&format!("restarted after {crash:?} with {left:?}, {durable} was lasting"));
        let start = self.node.store.watermarks().start.get();
        self.say(&format!("the log starts at {start}"));
        self.schedule = Schedule::new(self.now());
        self.node.dispatch_all(&self.clock);
        let is_unsure = std::mem::take(&mut self.is_unsure);
        self.oracle.crashed(crash, &left, durable, is_unsure, self.now());
        // The process may have died after it removed a segment.
        self.oracle.retained(start, self.now());
        self.oracle.audit(&self.node, self.now());
        if self.oracle.light_entries > 0 {
            self.trace.reach("light after a crash".to_owned());
        }
        self.oracle.transactions.check(&self.node);
        self.oracle.resolve();
        self.clients.restarted();
    }

    /// Much later: all segments but the one that is written are old and may go, while clients go on and faults come.
    pub(crate) fn grow_old(&mut self, turns: u64) {
        self.plan.grow_old();
        self.rest();
        self.clock.set(self.now() + RESERVED);
        self.say("much later");
        (0..turns).for_each(|_| self.turn());
    }

    /// What is wrong is healed and everything comes to rest.
    fn rest(&mut self) {
        if self.node.store.poisoned().is_some() || self.nemesis.is_failing || self.nemesis.inside.is_some() {
            self.crash(Crash::Kill);
        }
        self.node.disk.set_capacity(u64::MAX);
        self.nemesis.full_until = None;
        self.schedule.stalled_until = self.now();
        self.pass(self.now() + Duration::from_secs(3));
        let last = self.oracle.delays.last_due().max(self.oracle.timers.last_due()).unwrap_or(self.now());
        self.pass(last.max(self.now()) + Duration::from_secs(3));
        self.probe();
        self.pass(self.now() + Duration::from_secs(6));
        let waiting = self.tasks.pending().count();
        assert!(waiting == 0, "{waiting} operations never end");
    }

    /// All faults end and everything comes to rest; then nothing may be missing.
    pub(crate) fn finish(&mut self) {
        self.rest();
        self.oracle.audit(&self.node, self.now());
        self.oracle.transactions.check(&self.node);
        self.oracle.delays.check_delivered(self.now() - Duration::from_secs(2));
        self.oracle.timers.check(self.now() - Duration::from_secs(2));
        self.pass(self.now() + Duration::from_secs(2));
        assert!(!self.oracle.progress.is_dirty(), "progress is still not part of the log");
        self.crash(Crash::Kill);
        self.oracle.delays.check_delivered(self.now() - Duration::from_secs(6));
        self.oracle.timers.check(self.now() - Duration::from_secs(6));
    }
}
