// SPDX-License-Identifier: Apache-2.0
//! Processes of a long run: each has an owner and ends with it, and a signal to us ends the run in order. They are in
//! process groups of their own, so that Ctrl-C reaches us alone and nothing is left behind.

use std::cell::{Cell, RefCell};
use std::os::unix::process::CommandExt;
use std::path::Path;
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

    /// The same for [`Owned::output`]: what it prints is piped, and what it complains of is part of its failure.
    pub(crate) fn start_piped(mut command: Command) -> Result<Owned> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Owned::start(command)
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

    /// Asks it to end, as an operator does, and waits until it has.
    pub(crate) fn terminate(mut self, signals: &Signals, patience: Duration) -> Result<()> {
        let pid = self.pid().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status()?;
        let end = Instant::now() + patience;
        while asked.success() && self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                bail!("{} did not end within {} s of being asked to", self.what, patience.as_secs());
            }
            signals.pause(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// Waits for its end and returns what it printed, which must be short enough for a pipe.
    pub(crate) fn output(self, signals: &Signals, patience: Duration) -> Result<String> {
        self.output_watched(signals, patience, |_| Ok(()))
    }

    /// The same; `look` is called again and again with the time since this was.
    pub(crate) fn output_watched(
        mut self,
        signals: &Signals,
        patience: Duration,
        mut look: impl FnMut(Duration) -> Result<()>,
    ) -> Result<String> {
        let mut stdout = self.stdout()?;
        let begun = Instant::now();
        let end = begun + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            look(begun.elapsed())?;
            if Instant::now() > end {
                bail!("{} did not end within {} s", self.what, patience.as_secs());
            }
            signals.pause(Duration::from_millis(20))?;
        };
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut text)?;
        if !status.success() {
            let mut said = String::new();
            if let Some(stderr) = &mut self.child.stderr {
                std::io::Read::read_to_string(stderr, &mut said)?;
            }
            let name = Path::new(&self.what).file_name().unwrap_or_default().to_string_lossy();
            match said.lines().rev().find(|line| !line.trim().is_empty()) {
                Some(line) => bail!("{name} ended with {status}: {}", line.trim()),
                None => bail!("{name} ended with {status}"),
            }
        }
        Ok(text)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kill();
    }
}
