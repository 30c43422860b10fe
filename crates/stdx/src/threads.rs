// SPDX-License-Identifier: Apache-2.0
//! Threads that have a name and an owner. A panic in one ends the process: a loop that died silently would
//! leave acknowledgements without their promise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Tells a loop that it should end.
#[derive(Clone, Default)]
pub struct Stop(Arc<StopState>);

#[derive(Default)]
struct StopState {
    stopped: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// Returns true once the owner wants the loop to end.
    pub fn is_set(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }

    /// Asks every holder to end.
    pub fn set(&self) {
        self.0.stopped.store(true, Ordering::Release);
        let _guard = self.0.lock.lock();
        self.0.changed.notify_all();
    }

    /// Waits until stopped or until `time` has passed; returns true when stopped.
    pub fn wait(&self, time: Duration) -> bool {
        let mut guard = self.0.lock.lock();
        if !self.is_set() {
            self.0.changed.wait_for(&mut guard, time);
        }
        self.is_set()
    }
}

/// A set of named threads, joined in reverse order of their start.
#[derive(Default)]
pub struct Threads {
    stop: Stop,
    running: Vec<(String, JoinHandle<()>)>,
}

impl Threads {
    /// The flag that all threads of this set watch.
    pub fn stop_flag(&self) -> Stop {
        self.stop.clone()
    }

    /// Starts a thread that runs `body` until its `Stop` is set.
    pub fn spawn(&mut self, name: &str, body: impl FnOnce(Stop) + Send + 'static) -> std::io::Result<()> {
        let stop = self.stop.clone();
        let label = name.to_owned();
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let guard = DeadLoop(label);
            body(stop);
            std::mem::forget(guard);
        })?;
        self.running.push((name.to_owned(), handle));
        Ok(())
    }

    /// Asks all to stop and waits for them, the youngest first.
    pub fn join(&mut self) {
        self.stop.set();
        while let Some((_, handle)) = self.running.pop() {
            let _ = handle.join();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.join();
    }
}

struct DeadLoop(String);

impl Drop for DeadLoop {
    fn drop(&mut self) {
        eprintln!("kiruna: the {} thread panicked; the process stops rather than run without it", self.0);
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn joins_what_it_started() {
        let (sender, receiver) = mpsc::channel();
        let mut threads = Threads::default();
        for name in ["first", "second"] {
            let sender = sender.clone();
            threads
                .spawn(name, move |stop| {
                    while !stop.wait(Duration::from_secs(10)) {}
                    let _ = sender.send(name);
                })
                .expect("a thread starts");
        }
        threads.join();
        drop(sender);
        assert_eq!(receiver.iter().count(), 2);
    }
}
