// SPDX-License-Identifier: Apache-2.0
//! The gate. Never edits what it checks.

use std::time::Instant;

use anyhow::Result;

use crate::{count, interop, shell, tidy};

/// Runs every check in the order in which it is cheapest to fail.
pub(crate) fn run() -> Result<()> {
    step("format", || shell::run(shell::command("cargo", &["fmt", "--all", "--check"])))?;
    step("tidy", tidy::run)?;
    step("lints", || {
        let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        shell::run(shell::command("cargo", &args))
    })?;
    step("tests", || {
        shell::run(shell::command("cargo", &["test", "--workspace", "--locked", "--no-fail-fast"]))
    })?;
    step("documentation", || {
        let mut doc = shell::command("cargo", &["doc", "--workspace", "--no-deps", "--locked"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        shell::run(doc)
    })?;
    step("official clients", || interop::run(&[]))?;
    step("instructions", || count::run(&[]))
}

/// Formats and applies machine-applicable lints.
pub(crate) fn fix() -> Result<()> {
    shell::run(shell::command("cargo", &["fmt", "--all"]))?;
    let args = ["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"];
    shell::run(shell::command("cargo", &args))
}

fn step(name: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n== {name}");
    let started = Instant::now();
    body()?;
    println!("== {name}: passed in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}
