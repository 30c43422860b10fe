// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench`: load for any endpoint that speaks RocketMQ's remoting protocol, and `echo`, the endpoint that stores
//! nothing and shows what the machine can do at most. One thread makes the load, so that figures of different
//! servers differ by the server alone. Latency counts from the moment a message was due.

mod crowd;
mod e2e;
mod echo;
mod load;
mod pipe;
mod prepared;
mod pull;
mod report;
pub(crate) use report::percentiles;
mod send;
mod series;
mod suite;
mod target;
mod timers;
mod topics;
mod tx;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::frame::Serialization;
use stdx::Stop;

use crate::output::Format;
use load::Lane;
use report::Work;
use target::Target;

/// The kinds of load.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Producers: closed loop with a number of messages outstanding, or open loop at a rate.
    Send(send::SendArgs),
    /// Consumers that read a topic as fast as they can; fills it first.
    Pull(pull::PullArgs),
    /// Producers of transactions: half messages, each committed once it is stored.
    Tx(tx::TxArgs),
    /// Makes many topics.
    Topics(topics::TopicsArgs),
    /// Reads a topic of timed messages and says whether any came early, twice or out of order, and how late they were.
    Timers(timers::TimersArgs),
    /// From the moment a message is due to its arrival at a consumer that waits for it.
    E2e(e2e::E2eArgs),
    /// Many connections that mostly do nothing: what they cost, and what those pay who work beside them.
    Crowd(crowd::CrowdArgs),
    /// A server that answers every request at once and stores nothing.
    Echo(echo::EchoArgs),
    /// All of that in one go, with a report: tables, plots, and whether the machine was quiet enough to believe them.
    #[command(after_help = suite::AFTER_HELP)]
    Suite(suite::SuiteArgs),
}

/// A load that only has to be driven.
struct Loaded {
    work: Work,
    lanes: Vec<Lane>,
    brokers: Vec<String>,
}

impl Bench {
    /// Reads arguments as the command line would.
    fn parse(arguments: &[String]) -> Result<Bench> {
        #[derive(Parser)]
        struct Line {
            #[command(subcommand)]
            bench: Bench,
        }
        let words = std::iter::once("bench").chain(arguments.iter().map(String::as_str));
        Ok(Line::try_parse_from(words)?.bench)
    }

    /// The flags that all loads have.
    fn common(&self) -> Option<&Common> {
        match self {
            Bench::Send(args) => Some(&args.common),
            Bench::Pull(args) => Some(&args.common),
            Bench::Tx(args) => Some(&args.common),
            Bench::E2e(args) => Some(&args.common),
            Bench::Topics(_) | Bench::Timers(_) | Bench::Crowd(_) | Bench::Echo(_) | Bench::Suite(_) => None,
        }
    }

    /// Finds the queues, makes them ready and opens the connections.
    async fn load(&self, stop: &Stop) -> Result<Loaded> {
        let Some(common) = self.common() else { bail!("this command is no load") };
        let target = match self {
            Bench::Send(args) => send::find(args).await?,
            _ => Target::find(common).await?,
        };
        let (work, lanes) = match self {
            Bench::Send(args) => send::prepare(args, &target)?,
            Bench::Pull(args) => pull::prepare(args, &target, stop).await?,
            Bench::Tx(args) => tx::prepare(args, &target)?,
            Bench::E2e(args) => e2e::prepare(args, &target).await?,
            Bench::Topics(_) | Bench::Timers(_) | Bench::Crowd(_) | Bench::Echo(_) | Bench::Suite(_) => {
                bail!("this command is no load")
            }
        };
        Ok(Loaded { work, lanes, brokers: target.brokers().into_iter().map(str::to_owned).collect() })
    }
}

/// How the header of a frame is written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum HeaderForm {
    #[default]
    Json,
    Binary,
}

/// What every kind of load has in common.
#[derive(Args, Debug)]
struct Common {
    /// Name server to ask for the topic's route.
    #[arg(short = 'n', long, env = "NAMESRV_ADDR", default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Address of a broker (or an echo server) to use without asking a name server.
    #[arg(long)]
    broker: Option<String>,
    /// Topic; it is created where it does not exist yet.
    #[arg(long, default_value = "KirunaBench")]
    topic: String,
    /// Queues of the topic when it has to be created.
    #[arg(long, default_value_t = 8)]
    queues: u32,
    /// Bytes of a message's body.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds before the measurement starts.
    #[arg(long, default_value_t = 2)]
    warmup: u64,
    /// Form of the frame headers.
    #[arg(long, value_enum, default_value_t)]
    header: HeaderForm,
    /// Form of the report.
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

impl Common {
    fn seconds(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn warmup(&self) -> Duration {
        Duration::from_secs(self.warmup)
    }

    fn serialization(&self) -> Serialization {
        match self.header {
            HeaderForm::Json => Serialization::Json,
            HeaderForm::Binary => Serialization::RocketMq,
        }
    }
}

/// Runs one kind of load and prints its report.
pub(crate) fn run(bench: Bench) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match bench {
        Bench::Send(args) => runtime.block_on(send::run(args)),
        Bench::Pull(args) => runtime.block_on(pull::run(args)),
        Bench::Tx(args) => runtime.block_on(tx::run(args)),
        Bench::Topics(args) => runtime.block_on(topics::run(args)),
        Bench::Timers(args) => runtime.block_on(timers::run(args)),
        Bench::E2e(args) => runtime.block_on(e2e::run(args)),
        Bench::Crowd(args) => runtime.block_on(crowd::run(args)),
        Bench::Echo(args) => echo::run(args),
        Bench::Suite(args) => suite::run(&args, runtime),
    }
}
