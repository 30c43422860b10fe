// SPDX-License-Identifier: Apache-2.0
//! Everything a developer runs that is not the product: the gate, the tidy laws, interop, long runs.
//! `cargo xtask ci` is the only gate and never edits; `cargo xtask fix` edits.
#![forbid(unsafe_code)]

mod apache;
mod ci;
mod count;
mod interop;
mod long;
mod peers;
mod process;
mod rocketmq_rust;
mod shell;
mod sizes;
mod tidy;
mod timers;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>      ($KIRUNA_BIN: a server that is ready, instead of the release build)

  ci        the whole gate: format, lints, tidy, tests, documentation, official clients, instructions (what CI runs)
  fix       formats the code and applies the lints that fix themselves
  tidy      the laws of the house: layers, purity of cores, headers, names in the documents
  interop   official RocketMQ clients against our server; `interop --list` names the suites,
            `interop NAME…` runs some of them
  peers     figures beside Apache's and rocketmq-rust's, in one run, written to docs/benchmarks; [--rows SET,…] [--merge]
            [--pairs N] [--seconds N] [--gigabytes N] [--peers apache,rocketmq-rust|none] [--idle-wait SECONDS]
            [--kiruna PATH] [--generator PATH] [--out DIR] [--note TEXT]; sets: base (send,open,pull,e2e,sync), core,
            fanin, topics, cold, delay, tx, sql, life, many
  sizes     sends of every size of body and batch, both headers, 1 to 1,000 connections, beside echo, written to
            docs/benchmarks/sizes.md; [--pairs N] [--seconds N] [--kiruna PATH] [--generator PATH] [--out DIR] [--note TEXT]
  count     instructions that the server takes for a send and a pull, by callgrind, beside those that were accepted;
            [--accept]
  kill      kills a loaded server again and again and checks the ledger; [--cycles N]
  bank      transfers between two ledgers by transactions, with crashes; [--transfers N]
  timers    what timed messages cost that wait, and how late those are that are due together; [--pending N] [--due N]
            [--size N] [--seconds N] [--kiruna PATH]; or, with --kill, whether kill -9 loses, hurries or repeats any;
            [--due N] [--minutes N] [--every SECONDS]
  lookup    finds messages by key among many, cold and warm; [MESSAGES]
  sim       seeds of the simulator: the server in one thread, with faults; [SEEDS]
  fuzz      every fuzz target for a while; [SECONDS]; needs the nightly toolchain and cargo-fuzz
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match command.as_str() {
        "ci" => ci::run(),
        "fix" => ci::fix(),
        "tidy" => tidy::run(),
        "interop" => interop::run(&rest),
        "peers" => peers::run(&rest),
        "sizes" => sizes::run(&rest),
        "count" => count::run(&rest),
        "kill" => long::kill(&rest),
        "bank" => long::bank(&rest),
        "timers" => timers::run(&rest),
        "lookup" => long::lookup(&rest),
        "sim" => long::sim(&rest),
        "fuzz" => long::fuzz(&rest),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
