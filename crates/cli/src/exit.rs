// SPDX-License-Identifier: Apache-2.0
//! How the process ends: exit codes that scripts and service files lean on, and the signals that ask for it.

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

/// A failure with its own exit code.
#[derive(Debug)]
pub(crate) struct Exit {
    code: u8,
    reason: String,
}

impl Exit {
    /// Refused or failed.
    pub(crate) fn failed(reason: impl fmt::Display) -> Exit {
        Exit { code: 1, reason: reason.to_string() }
    }

    /// Wrong usage.
    pub(crate) fn usage(reason: impl fmt::Display) -> Exit {
        Exit { code: 2, reason: reason.to_string() }
    }

    /// The data directory belongs to another process.
    pub(crate) fn in_use(reason: impl fmt::Display) -> Exit {
        Exit { code: 73, reason: reason.to_string() }
    }

    /// The store gave up: what was promised could not be kept.
    pub(crate) fn poisoned(reason: impl fmt::Display) -> Exit {
        Exit { code: 75, reason: format!("the store is poisoned and stops: {reason}") }
    }

    /// The configuration cannot be served.
    pub(crate) fn config(reason: impl fmt::Display) -> Exit {
        Exit { code: 78, reason: format!("bad configuration:\n{reason}") }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Exit {}

/// Prints a failure and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("kiruna: {error:#}");
    let own = error.downcast_ref::<Exit>();
    ExitCode::from(own.map_or(1, |exit| exit.code))
}

/// Resolves at the first SIGTERM or Ctrl-C.
pub(crate) async fn signal() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// From now on a signal ends the process at once: whoever asked twice does not want to wait.
pub(crate) fn on_second_signal() {
    let watch = || -> Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(signal())?;
        std::process::exit(130)
    };
    // Without the thread only the short way out is missing.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(watch);
}
