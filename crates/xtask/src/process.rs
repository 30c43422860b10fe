// SPDX-License-Identifier: Apache-2.0
//! Processes of a long run: each has an owner and ends with it, and a signal to us ends the run in order. They are in
//! process groups of their own, so that Ctrl-C reaches us alone and nothing is left behind.

use std::cell::{Cell, RefCell};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Notices that somebody wants the run to end. From then on every wait fails.
pub(crate) struct Signals {
    runtime: Runtime,
    /// SIGINT and SIGTERM.
    signals: RefCell<[Signal; 2]>,
    seen: Cell<bool>,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Signals> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        drop(guard);
        Ok(Signals { runtime, signals: RefCell::new(signals), seen: Cell::new(false) })
    }

    /// Returns true once a signal came.
    pub(crate) fn seen(&self) -> bool {
        self.seen.get()
    }

    /// Waits; fails at once when a signal came.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        let [interrupt, terminate] = &mut *self.signals.borrow_mut();
        let came = self.seen.get()
            || self.runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => true,
                    _ = terminate.recv() => true,
                    () = tokio::time::sleep(time) => false,
                }
            });
        self.seen.set(came);
        if came {
            bail!("stopped by a signal");
        }
        Ok(())
    }
}

/// A process that ends with its owner.
pub(crate) struct Owned {
    child: Child,
    what: String,
}

impl Owned {
    /// Starts a process.
    pub(crate) fn start(mut command: Command) -> Result<Owned> {
        let what = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {what}"))?;
        Ok(Owned { child, what })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended with {status}", self.what),
            None => Ok(()),
        }
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Where what it prints comes from.
    pub(crate) fn stdout(&mut self) -> Result<std::process::ChildStdout> {
        self.child.stdout.take().with_context(|| format!("the output of {} is not piped", self.what))
    }

    /// Waits for its end and returns what it printed, which must be short enough for a pipe.
    pub(crate) fn output(mut self, signals: &Signals, patience: Duration) -> Result<String> {
        let mut stdout = self.stdout()?;
        let end = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                bail!("{} did not end within {} s", self.what, patience.as_secs());
            }
            signals.pause(Duration::from_millis(20))?;
        };
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut text)?;
        if !status.success() {
            bail!("{} ended with {status}", self.what);
        }
        Ok(text)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kill();
    }
}
