// SPDX-License-Identifier: Apache-2.0
//! Everything a broker does unasked, one line each: a name, what rings for it, the step. Each runs on a thread of its
//! own, sleeps until its time or until it is rung for, and decides nothing itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::names::{LogOffset, SCHEDULE_TOPIC, TIMER_TOPIC};
use stdx::{Stop, Threads, Timestamp, Watermark};
use store::Arrival;

use crate::Broker;

/// When a step wants to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// At once: there is more to do.
    Now,
    /// At this time, or when rung for.
    At(Timestamp),
    /// After a pause in which nobody needs to ring.
    After(Duration),
    /// When rung for.
    Idle,
    /// Never.
    Ended,
}

struct Loop {
    name: &'static str,
    bell: fn(&Broker) -> &Watermark,
    step: fn(&Broker, Timestamp) -> Wake,
}

const LOOPS: [Loop; 6] = [
    Loop { name: "dispatch", bell: |broker| &broker.store.watermarks().gate, step: Broker::dispatch_step },
    Loop { name: "arrivals", bell: |broker| broker.arrivals.alarm(), step: Broker::arrivals_step },
    Loop { name: "delay", bell: |broker| broker.delay.alarm(), step: Broker::delay_step },
    Loop { name: "checks", bell: |broker| broker.transactions.alarm(), step: Broker::checks_step },
    Loop { name: "timer", bell: |broker| broker.timer.alarm(), step: Broker::timer_step },
    Loop { name: "upkeep", bell: |broker| &broker.bell, step: Broker::upkeep_step },
];

/// The longest sleep: a bell that was rung a moment too early is missed for no longer.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// How many records are dispatched between two announcements.
const DISPATCH_MAX: usize = 256;
/// The most steps that one who lists waits for; only after a start more can be missing.
const ANSWERED_STEPS: usize = 64;
/// How long records gather before they are dispatched together, while nobody waits for one. Without it a busy broker
/// wakes the loop for each of them, which costs the sender more than the append does.
const GATHER: Duration = Duration::from_millis(1);
/// How often silent clients and ended locks are looked for.
const EXPIRY: Duration = Duration::from_secs(5);

/// How often the store is told what nobody has read yet.
const FLOOR: Duration = Duration::from_secs(30);

/// What the upkeep does next, and when.
#[derive(Default)]
pub(crate) struct Upkeep {
    expire_at: Timestamp,
    floor_at: Timestamp,
    /// The last try to save progress failed; said once, not every second.
    is_failing: bool,
}

/// The running loops of a broker.
pub struct Running {
    broker: Arc<Broker>,
    threads: Threads,
}

impl Broker {
    /// Starts the loops.
    pub fn run(self: &Arc<Broker>) -> io::Result<Running> {
        let mut running = Running { broker: self.clone(), threads: Threads::default() };
        for entry in LOOPS {
            let broker = self.clone();
            running.threads.spawn(entry.name, move |stop| entry.run(&broker, &stop))?;
        }
        Ok(running)
    }

    /// Makes stored messages visible and tells those who wait for them.
    pub fn dispatch_step(&self, _now: Timestamp) -> Wake {
        if self.store.poisoned().is_some() {
            return Wake::Ended;
        }
        match self.dispatch(&mut self.dispatching.lock()) {
            0 => Wake::Idle,
            // Looked at after the lock is free: who could not have it relies on this loop.
            1..DISPATCH_MAX if self.arrivals.waiting() == 0 => Wake::After(GATHER),
            _ => Wake::Now,
        }
    }

    /// Does the same at once, on the sender's thread, while somebody waits for messages: the loop's thread would have
    /// to be woken first. Whoever dispatches already will come to these messages too.
    pub(crate) fn dispatch_at_once(&self, end: LogOffset) {
        if self.arrivals.waiting() > 0 && self.store.watermarks().gate.get() >= end.0 {
            self.dispatch_if_free();
        }
    }

    /// Does the same for a reader that has parked at what looks like the end of its queue: messages may still gather.
    pub(crate) fn dispatch_gathered(&self) {
        let marks = self.store.watermarks();
        if marks.dispatched.get() < marks.gate.get() {
            self.dispatch_if_free();
        }
    }

    /// Does the same for whoever lists what was stored: of what was answered before, nothing is missing.
    pub(crate) fn dispatch_answered(&self) {
        let marks = self.store.watermarks();
        let answered = marks.gate.get();
        for _ in 0..ANSWERED_STEPS {
            if marks.dispatched.get() >= answered || self.dispatch(&mut self.dispatching.lock()) == 0 {
                return;
            }
        }
    }

    fn dispatch_if_free(&self) {
        if let Some(mut arrivals) = self.dispatching.try_lock() {
            self.dispatch(&mut arrivals);
        }
    }

    fn dispatch(&self, arrivals: &mut Vec<Arrival>) -> usize {
        let count = self.store.dispatch_step(DISPATCH_MAX, arrivals);
        for arrival in arrivals.iter().filter(|arrival| arrival.queue.key().topic == SCHEDULE_TOPIC) {
            self.delay.arrived(arrival.queue.key().queue);
        }
        if arrivals.iter().any(|arrival| arrival.queue.key().topic == TIMER_TOPIC) {
            self.timer.arrived(&self.store);
        }
        self.arrivals.announce(arrivals);
        arrivals.clear();
        count
    }

    /// Ends the waits whose time is over.
    pub fn arrivals_step(&self, now: Timestamp) -> Wake {
        self.arrivals.expire(now).map_or(Wake::Idle, Wake::At)
    }

    /// Delivers delayed messages whose time has come.
    pub fn delay_step(&self, now: Timestamp) -> Wake {
        if self.store.poisoned().is_some() {
            return Wake::Ended;
        }
        self.delay.step(&self.store, &self.topics, now)
    }

    /// Delivers messages whose own time has come.
    pub fn timer_step(&self, now: Timestamp) -> Wake {
        if self.store.poisoned().is_some() {
            return Wake::Ended;
        }
        self.timer.step(&self.store, &self.topics, self.config().sending.timer_rate, now)
    }

    /// Saves progress and forgets who is gone.
    pub fn upkeep_step(&self, now: Timestamp) -> Wake {
        if self.store.poisoned().is_some() {
            return Wake::Ended;
        }
        let mut upkeep = self.upkeep.lock();
        let saved = self.offsets.persist(&self.store);
        if let Err(error) = &saved
            && !upkeep.is_failing
        {
            tracing::warn!(%error, "consumer progress cannot be saved for now");
        }
        upkeep.is_failing = saved.is_err();
        self.rates.sample(&self.counts.now(), now);
        if now >= upkeep.expire_at {
            upkeep.expire_at = now + EXPIRY;
            self.expire_clients(now);
            self.locks.expire(&self.store, now);
        }
        if now >= upkeep.floor_at {
            upkeep.floor_at = now + FLOOR;
            self.store.set_unread_floor(self.unread_from());
        }
        Wake::At(now + self.config().consumers.offsets_interval.max(Duration::from_millis(10)))
    }
}

impl Running {
    /// Stops the loops and saves what they kept in memory. Nobody may use the broker any more.
    pub fn close(mut self) {
        self.threads.stop_flag().set();
        LOOPS.iter().for_each(|entry| (entry.bell)(&self.broker).nudge());
        self.threads.join();
        self.broker.close();
    }
}

impl Loop {
    fn run(&self, broker: &Broker, stop: &Stop) {
        let bell = (self.bell)(broker);
        while !stop.is_set() {
            let rung = bell.get();
            let now = broker.clock.now();
            let sleep = match (self.step)(broker, now) {
                Wake::Now => continue,
                Wake::After(pause) => {
                    stop.wait(pause);
                    continue;
                }
                Wake::At(at) => at.since(broker.clock.now()).min(SLEEP_MAX),
                Wake::Idle => SLEEP_MAX,
                Wake::Ended => return,
            };
            if !sleep.is_zero() && !stop.is_set() {
                bell.wait_past(rung, sleep);
            }
        }
    }
}
