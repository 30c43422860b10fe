// SPDX-License-Identifier: Apache-2.0
//! Runs seeds of the simulator, many or one, and says which does not hold and how to see it again.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use sim::{Failure, Options, run};

const USAGE: &str = "\
usage: cargo run -p sim -- [--seeds N] [--from SEED] [--steps N]
       cargo run -p sim -- --seed SEED [--steps N] [--trace]
";

struct Wish {
    from: u64,
    seeds: u64,
    options: Options,
}

fn main() -> ExitCode {
    let Some(wish) = read(std::env::args().skip(1)) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let (mut messages, mut crashes) = (0, 0);
    for seed in wish.from..wish.from + wish.seeds {
        match run(seed, wish.options) {
            Ok(outcome) => {
                messages += outcome.messages;
                crashes += outcome.crashes;
                let done = seed - wish.from + 1;
                if done.is_multiple_of(100) || done == wish.seeds {
                    println!("{done} of {} seeds hold: {messages} messages, {crashes} restarts", wish.seeds);
                }
                if wish.seeds == 1 {
                    println!("seed {seed}: trace {:016x}", outcome.hash);
                }
            }
            Err(failure) => {
                show(seed, &failure, wish.options);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn show(seed: u64, failure: &Failure, options: Options) {
    eprintln!("seed {seed} does not hold; the last of what happened:");
    failure.tail.iter().for_each(|line| eprintln!("{line}"));
    eprintln!("\n{}\n", failure.what);
    eprintln!("see it again: cargo run -p sim -- --seed {seed} --steps {} --trace", options.turns);
}

fn read(mut args: impl Iterator<Item = String>) -> Option<Wish> {
    let mut wish = Wish { from: 0, seeds: 100, options: Options::default() };
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<u64>().ok());
        match arg.as_str() {
            "--seeds" => wish.seeds = number()?,
            "--from" => wish.from = number()?,
            "--steps" => wish.options.turns = number()?,
            "--seed" => (wish.from, wish.seeds) = (number()?, 1),
            "--trace" => wish.options.told = true,
            _ => return None,
        }
    }
    Some(wish)
}
