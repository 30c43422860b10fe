// SPDX-License-Identifier: Apache-2.0
//! Runs that take too long for the gate, each with a short form among the ordinary tests: the kill loop, the
//! bank, the simulator and fuzzing.

use anyhow::{Context, Result, bail};

use crate::shell;

/// Kills a loaded release server `--cycles N` times (200) and checks the ledger.
pub(crate) fn kill(args: &[String]) -> Result<()> {
    let cycles = match args {
        [] => "200",
        [flag, cycles] if flag == "--cycles" => cycles,
        _ => bail!("usage: cargo xtask kill [--cycles N]"),
    };
    shell::build_kiruna()?;
    let mut test =
        shell::command("cargo", &["test", "--package", "cli", "--test", "kill", "--", "--nocapture"]);
    test.env("KIRUNA_KILL_CYCLES", cycles).env("KIRUNA_BIN", shell::kiruna());
    shell::run(test)
}

/// Moves money between two ledgers by `--transfers N` (100,000) transactions while producers and servers die: first with
/// processes that are killed, then the broker alone over its store, where a death can come at any step.
pub(crate) fn bank(args: &[String]) -> Result<()> {
    let transfers = match args {
        [] => "100000",
        [flag, transfers] if flag == "--transfers" => transfers,
        _ => bail!("usage: cargo xtask bank [--transfers N]"),
    };
    shell::build_kiruna()?;
    let mut test =
        shell::command("cargo", &["test", "--package", "cli", "--test", "bank", "--", "--nocapture"]);
    test.env("KIRUNA_BANK_TRANSFERS", transfers).env("KIRUNA_BIN", shell::kiruna());
    shell::run(test)?;
    let mut test = shell::command("cargo", &["test", "--package", "broker", "--test", "ops", "--", "bank"]);
    test.env("KIRUNA_BANK_TRANSFERS", transfers);
    shell::run(test)
}

/// Stores `MESSAGES` (1,000,000), opens the store again and looks for them by key, cold and warm.
pub(crate) fn lookup(args: &[String]) -> Result<()> {
    let messages = match args {
        [] => "1000000",
        [messages] => messages,
        _ => bail!("usage: cargo xtask lookup [MESSAGES]"),
    };
    let dir = shell::target().join("lookup");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let mut example =
        shell::command("cargo", &["run", "--release", "--package", "store", "--example", "lookup", "--"]);
    example.arg(&dir).arg(messages);
    shell::run(example)
}

/// Runs a number of seeds (1000) of the simulator.
pub(crate) fn sim(args: &[String]) -> Result<()> {
    let seeds = match args {
        [] => "1000",
        [seeds] => seeds,
        _ => bail!("usage: cargo xtask sim [SEEDS]"),
    };
    shell::run(shell::command("cargo", &["run", "--release", "--package", "sim", "--", "--seeds", seeds]))
}

/// Runs every fuzz target for a number of seconds (60).
pub(crate) fn fuzz(args: &[String]) -> Result<()> {
    let seconds: u64 = match args {
        [] => 60,
        [seconds] => seconds.parse().context("usage: cargo xtask fuzz [SECONDS]")?,
        _ => bail!("usage: cargo xtask fuzz [SECONDS]"),
    };
    let fuzz = |args: &[&str]| {
        let mut command = shell::command("cargo", &["+nightly", "fuzz"]);
        command.args(args).current_dir(shell::root().join("fuzz"));
        command
    };
    let targets = shell::output(fuzz(&["list", "--fuzz-dir", "."]))
        .context("cargo-fuzz is missing: cargo install cargo-fuzz")?;
    for target in targets.lines() {
        let mut command = fuzz(&["run", "--fuzz-dir", ".", target, "--"]);
        command.arg(format!("-max_total_time={seconds}"));
        shell::run(command)?;
    }
    Ok(())
}
