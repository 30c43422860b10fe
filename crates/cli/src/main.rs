// SPDX-License-Identifier: Apache-2.0
//! The one binary and the only place where all parts come together. Parses the command line, runs one command, turns its
//! failure into an exit code. Also answers to `mqnamesrv` and `mqbroker`, the names that RocketMQ's scripts call.
#![forbid(unsafe_code)]

mod bench;
mod commands;
mod config;
mod exit;
mod hiccups;
mod metrics;
mod output;
mod when;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use commands::server::{Roles, ServerArgs};
use commands::{delay, demo, dlq, group, msg, pauses, pubsub, server, settings, stages, store, topic, tx};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// KirunaMQ: a messaging platform that RocketMQ clients and tools use without noticing the change.
#[derive(Debug, Parser)]
#[command(name = "kiruna", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it: everything in one process with live traffic through it.
    Demo(demo::DemoArgs),
    /// Use it: the whole platform in one process.
    Standalone(ServerArgs),
    /// Run a name server.
    Namesrv(ServerArgs),
    /// Run a broker.
    Broker(ServerArgs),
    /// Send messages to a topic.
    Pub(pubsub::PubArgs),
    /// Print the messages of a topic as they come.
    Sub(pubsub::SubArgs),
    /// List, show, create and delete topics.
    #[command(subcommand)]
    Topic(topic::Topic),
    /// List, show, move, stop and delete consumer groups.
    #[command(subcommand)]
    Group(group::Group),
    /// Find messages.
    #[command(subcommand)]
    Msg(msg::Msg),
    /// List dead letters, show them, and send them again.
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    /// List messages that wait for a time of their own, take them back and give them another time.
    #[command(subcommand)]
    Delay(delay::Delay),
    /// List transactions that nobody decides, and decide them by hand.
    #[command(subcommand)]
    Tx(tx::Tx),
    /// Tell how long requests spend where in a running broker.
    Stages(stages::StagesArgs),
    /// List the times in which a broker could not go on, whoever is to blame.
    Pauses(pauses::PausesArgs),
    /// Measure a server.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Show every key of the configuration, its value and where it came from.
    Config(settings::SettingsArgs),
    /// Look into, check and rebuild the files of a store that is not running.
    #[command(subcommand)]
    Store(store::StoreCommand),
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments(std::env::args_os()));
    log_to_stderr(&cli.command);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Standalone(args) => server::run(&args, Roles::Standalone),
        Command::Namesrv(args) => server::run(&args, Roles::NameServer),
        Command::Broker(args) => server::run(&args, Roles::Broker),
        Command::Pub(args) => pubsub::publish(args),
        Command::Sub(args) => pubsub::subscribe(args),
        Command::Topic(command) => topic::run(command),
        Command::Group(command) => group::run(command),
        Command::Msg(command) => msg::run(command),
        Command::Dlq(command) => dlq::run(command),
        Command::Delay(command) => delay::run(command),
        Command::Tx(command) => tx::run(command),
        Command::Stages(args) => stages::run(&args),
        Command::Pauses(args) => pauses::run(&args),
        Command::Bench(bench) => bench::run(bench),
        Command::Config(args) => settings::run(&args),
        Command::Store(command) => store::run(command),
    }
}

/// A program called `mqbroker` is `kiruna broker`.
fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.collect();
    let name =
        arguments.first().and_then(|program| Path::new(program).file_name()).and_then(|name| name.to_str());
    let role = match name {
        Some("mqnamesrv") => Some("namesrv"),
        Some("mqbroker") => Some("broker"),
        _ => None,
    };
    if let Some(role) = role {
        arguments.insert(1, role.into());
    }
    arguments
}

fn log_to_stderr(command: &Command) {
    let servers = matches!(command, Command::Standalone(_) | Command::Namesrv(_) | Command::Broker(_));
    let default = if servers { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("KIRUNA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn apache_names_choose_the_role() {
        let given = ["/opt/bin/mqbroker", "-n", "x:9876"].map(OsString::from);
        assert_eq!(arguments(given.into_iter())[1], "broker");
    }
}
