// SPDX-License-Identifier: Apache-2.0
//! Running other programs, with what they were asked printed first. Used by every command here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).expect("xtask lives in crates/xtask").to_path_buf()
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The server to run: `$KIRUNA_BIN`, or the release build.
pub(crate) fn kiruna() -> PathBuf {
    std::env::var_os("KIRUNA_BIN").map_or_else(|| target().join("release").join("kiruna"), PathBuf::from)
}

/// Makes the release build, unless `$KIRUNA_BIN` names a server that is ready.
pub(crate) fn build_kiruna() -> Result<()> {
    if std::env::var_os("KIRUNA_BIN").is_some() {
        return Ok(());
    }
    run(command("cargo", &["build", "--release", "--locked", "--package", "cli"]))
}

/// A command that starts in the checkout's root.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// Runs a command to its end and fails when it does.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let text = describe(&command);
    println!("$ {text}");
    let status = command.status().with_context(|| format!("cannot start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` ended with {status}");
    }
    Ok(())
}

/// Runs a command and returns what it printed.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let text = describe(&command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{text}`"))?;
    if !output.status.success() {
        bail!("`{text}` ended with {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{text}` printed something that is not text"))
}

/// Returns true when `program` can be started at all.
pub(crate) fn exists(program: &str, version_flag: &str) -> bool {
    Command::new(program)
        .arg(version_flag)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}
