// SPDX-License-Identifier: Apache-2.0
//! A seed from its start to its verdict.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::world::World;

/// So often so much time passes that old segments go.
const AGES: u64 = 2;

/// How a seed is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many turns before everything comes to rest.
    pub turns: u64,
    /// Prints every line of the trace.
    pub told: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { turns: 1500, told: false }
    }
}

/// What came of a seed in which everything held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A hash of all that happened.
    pub hash: u64,
    /// Messages that clients tried to send.
    pub messages: u64,
    /// How often the process was started again.
    pub crashes: u64,
    /// What came about: faults, answers, what crashes left.
    pub reached: BTreeSet<String>,
}

/// What came of a seed in which something did not hold.
#[derive(Debug)]
pub struct Failure {
    /// What did not.
    pub what: String,
    /// What happened before.
    pub tail: Vec<String>,
}

thread_local! {
    /// What the last panic of a seed said. A process that is dead may panic; nobody wants to read it then.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
    /// A seed runs on this thread.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Keeps what panics of seeds say instead of printing it.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| match IS_RUNNING.get() {
            true => SAID.with_borrow_mut(|said| *said = info.to_string()),
            false => before(info),
        }));
    });
}

/// Runs a seed.
pub fn run(seed: u64, options: Options) -> Result<Outcome, Failure> {
    listen();
    IS_RUNNING.set(true);
    let mut world = None;
    let told = catch_unwind(AssertUnwindSafe(|| {
        let world = world.insert(World::new(seed, options.told));
        for _ in 0..options.turns {
            world.turn();
        }
        for _ in 0..AGES {
            world.grow_old(options.turns / 10);
        }
        world.finish();
        Outcome {
            hash: world.trace.hash(),
            messages: world.oracle.attempts.len() as u64,
            crashes: world.crashes,
            reached: world.trace.reached.clone(),
        }
    }));
    IS_RUNNING.set(false);
    let tail = || world.as_ref().map(|world| world.trace.tail()).unwrap_or_default();
    told.map_err(|_| Failure { what: SAID.with_borrow(String::clone), tail: tail() })
}
