// SPDX-License-Identifier: Apache-2.0
//! A `kiruna standalone` on free ports, for tests that look at it from outside. Its errors go to a file beside its data.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server, killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// What it said when it was ready.
    pub(crate) ready: String,
}

impl Running {
    /// Starts the server of this build, or the one that `KIRUNA_BIN` names, and waits until it is ready.
    pub(crate) fn start(data: &Path, settings: &[&str]) -> Running {
        Running::start_below("true", data, settings)
    }

    /// The same in a shell that has run `before`, a limit for example.
    pub(crate) fn start_below(before: &str, data: &Path, settings: &[&str]) -> Running {
        let program =
            std::env::var_os("KIRUNA_BIN").map_or_else(|| env!("CARGO_BIN_EXE_kiruna").into(), PathBuf::from);
        let log = std::fs::File::options().create(true).append(true).open(data.with_extension("log"));
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("{before} && exec \"$0\" \"$@\""))
            .arg(program)
            .args(["standalone", "--namesrv-port", "0", "--broker-port", "0", "--data-dir"])
            .arg(data)
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .stdout(Stdio::piped())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("the server starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("its output is piped"))
            .read_line(&mut ready)
            .expect("a line of text");
        Running { child, ready }
    }

    /// The address of a face: what stands behind `name` in the ready line.
    pub(crate) fn face(&self, name: &str) -> &str {
        let face = self.ready.split_whitespace().find_map(|word| word.strip_prefix(name));
        face.unwrap_or_else(|| panic!("no ready line but '{}'", self.ready))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
