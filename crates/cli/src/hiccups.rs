// SPDX-License-Identifier: Apache-2.0
//! Pauses of the machine: a thread sleeps a moment again and again and notes by how much it overslept. So long nothing in this
//! process could go on, whoever is to blame, and a slow answer in that time says nothing about the code that gave it.
//! Started with the broker; read by the metrics port.

mod ledger;
mod pace;
mod system;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stdx::{Clock, Histogram, Stop, Threads};

pub(crate) use ledger::Pause;
use ledger::{Hints, Ledger};
use pace::Pace;
use system::System;

/// What is overslept by more than this is written down.
const WORTH_NOTING: Duration = Duration::from_millis(1);
/// How old the figures may be that tell who is to blame, in sleeps: those that take long to read, and the one that does not. With
/// brief sleeps that is a second, with long ones half a minute.
const FIGURES: u32 = 1024;
const SLEEPS: u32 = 16;
/// Not even a pause is worth reading them more often than this, in nanoseconds.
const APART: u64 = 100_000_000;

/// What the meter found.
#[derive(Default)]
pub(crate) struct Hiccups {
    /// By how much it overslept each time.
    pub(crate) overslept: Histogram,
    ledger: Mutex<Ledger>,
}

impl Hiccups {
    /// Starts the meter. `done` says how many requests were served so far.
    pub(crate) fn start(
        threads: &mut Threads,
        clock: Arc<dyn Clock>,
        done: impl Fn() -> u64 + Send + 'static,
    ) -> std::io::Result<Arc<Hiccups>> {
        let hiccups = Arc::new(Hiccups::default());
        let noted = hiccups.clone();
        threads.spawn("hiccups", move |stop| noted.run(&stop, &*clock, done))?;
        Ok(hiccups)
    }

    /// What is remembered now.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger.lock().clone()
    }

    fn run(&self, stop: &Stop, clock: &dyn Clock, done: impl Fn() -> u64) {
        // The system may wake a sleeper 50 µs late to save power; where it does not allow less, that is part of what is measured.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let system = System::open();
        let (mut before, mut looked) = (system.look(), clock.tick());
        let mut pace = Pace::new(done(), looked);
        let mut sleeps = 0u32;
        loop {
            let asleep = clock.tick();
            let sleep = pace.next(done(), asleep);
            if stop.wait(sleep) {
                return;
            }
            let awake = clock.tick();
            let over = awake.saturating_sub(asleep).saturating_sub(sleep.as_nanos() as u64);
            self.overslept.record(over, 1);
            let is_pause = u128::from(over) > WORTH_NOTING.as_nanos();
            sleeps = sleeps.wrapping_add(1);
            if is_pause || sleeps.is_multiple_of(FIGURES) {
                let now = match awake.saturating_sub(looked) {
                    0..APART => Hints { meter_waited: system.meter_waited(), ..before },
                    _ => {
                        looked = awake;
                        system.look()
                    }
                };
                if is_pause {
                    self.ledger.lock().note(Pause::new(clock.now(), over, now.since(before)));
                }
                before = now;
            } else if sleeps.is_multiple_of(SLEEPS) {
                before.meter_waited = system.meter_waited();
            }
        }
    }
}
