// SPDX-License-Identifier: Apache-2.0
//! What fails, and when. Faults that end the process do it between two steps or at any change of the disk inside one;
//! the others last for a while and are healed.

use std::time::Duration;

use stdx::Timestamp;
use store::disk::sim::SyncFault;

use crate::crash::Crash;
use crate::plan::Fault;
use crate::world::World;

/// How many changes of the disk a process makes at most before it dies inside a step.
const STEPS_MAX: u64 = 40;

/// What is wrong at present.
#[derive(Default)]
pub(crate) struct Nemesis {
    /// The disk has a limit until then.
    pub(crate) full_until: Option<Timestamp>,
    /// Syncs or writes fail: the store may poison itself.
    pub(crate) is_failing: bool,
    /// How the process ends when it dies inside a step.
    pub(crate) inside: Option<Crash>,
    /// How often each fault came.
    pub(crate) met: Vec<Fault>,
}

impl Nemesis {
    /// A new process on a healed machine.
    pub(crate) fn reset(&mut self) {
        (self.full_until, self.is_failing, self.inside) = (None, false, None);
    }
}

impl World {
    /// Lets one of the faults of this seed come.
    pub(crate) fn strike(&mut self) {
        if self.plan.faults.is_empty() || self.nemesis.inside.is_some() || self.nemesis.is_failing {
            return;
        }
        let fault = self.plan.faults[self.rng.below(self.plan.faults.len() as u64) as usize];
        self.nemesis.met.push(fault);
        self.say(&format!("fault {fault:?}"));
        self.trace.reach(format!("fault {fault:?}"));
        let now = self.now();
        match fault {
            Fault::Kill => self.crash(Crash::Kill),
            Fault::PowerCut => self.crash(Crash::PowerCut),
            Fault::KillInside => self.die_inside(Crash::Kill),
            Fault::PowerCutInside => self.die_inside(Crash::PowerCut),
            Fault::DiskFull => {
                let room = self.rng.below(20_000);
                self.node.disk.set_capacity(self.node.disk.used() + room);
                self.nemesis.full_until = Some(now + Duration::from_millis(200 + self.rng.below(8000)));
            }
            Fault::FailedSync => {
                self.node.disk.set_sync_fault(SyncFault::Fails);
                self.nemesis.is_failing = true;
            }
            Fault::FailedWrite => {
                self.node.disk.fail_writes();
                self.nemesis.is_failing = true;
            }
            Fault::SlowFlush => {
                self.schedule.stalled_until = now + Duration::from_millis(self.rng.below(4000));
            }
        }
    }

    fn die_inside(&mut self, crash: Crash) {
        let steps = self.node.disk.steps();
        self.node.disk.die_at(steps + 1 + self.rng.below(STEPS_MAX));
        self.nemesis.inside = Some(crash);
    }

    /// Gives room back when its time has come.
    pub(crate) fn heal(&mut self, now: Timestamp) {
        if self.nemesis.full_until.is_some_and(|until| now >= until) {
            self.node.disk.set_capacity(u64::MAX);
            self.nemesis.full_until = None;
            self.say("room again");
        }
    }
}
