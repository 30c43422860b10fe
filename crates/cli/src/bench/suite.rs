// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench suite`: every kind of load against one endpoint, the machine's ceiling and the machine's mood beside them,
//! and a report. Data flows one way: steps, runner, result, report. Nothing here knows how a load works.

mod environment;
mod html;
mod json;
mod machine;
mod page;
mod plot;
mod processor;
mod progress;
mod result;
mod runner;
mod scale;
mod steps;
#[cfg(test)]
mod tests;
mod watch;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::json;
use stdx::{Stop, SystemClock};
use tokio::runtime::Runtime;

use super::echo::Echo;
use super::target::Target;
use super::{Common, HeaderForm};
use crate::exit::{self, Exit};
use crate::output::{Format, Rows};
use crate::when;
use environment::Environment;
use result::{Ran, Suite};
use runner::Runner;
pub(in crate::bench) use runner::allow_connections;

/// What `--help` says behind the flags.
pub(super) const AFTER_HELP: &str = "\
The report is two files in the directory of --out: report.html, one page without anything from the network, and suite.json with \
all figures and raw histograms (HdrHistogram V2, compressed, base64). Progress goes to standard error, a summary to standard output.

The topic is made where it does not exist, and stays. Messages that are sent stay on the endpoint as long as it keeps messages; \
those of step `delayed` wait there for 3 to 24 hours: leave it out on servers of others (--only).

Ctrl-C cuts the step under way short; what was measured is reported. The exit code is 0 when there is a figure at all, 1 when \
there is none, 2 for wrong arguments.";

/// Flags of `kiruna bench suite`.
#[derive(Args, Debug)]
pub(crate) struct SuiteArgs {
    /// Name server to ask for the topic's route.
    #[arg(short = 'n', long, env = "NAMESRV_ADDR", default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Address of a broker (or an echo server) to use without asking a name server.
    #[arg(long)]
    broker: Option<String>,
    /// Topic of all steps; it is created where it does not exist yet, and kept.
    #[arg(long, default_value = "KirunaBenchSuite")]
    topic: String,
    /// Queues of the topic when it has to be created, 1 to 1024.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    queues: u32,
    /// Form of the frame headers.
    #[arg(long, value_enum, default_value_t)]
    header: HeaderForm,
    /// Seconds that each step measures, and echo in its turn, 0.1 to 3600 [default: 10, with --quick 2]
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Seconds before a step starts to measure, 0 to 3600 [default: 2, with --quick 0.5]
    #[arg(long, value_parser = seconds)]
    warmup: Option<f64>,
    /// Seconds of sends before the first step, 0 to 3600: a server that is compiled while it runs starts slowly [default: 15, with
    /// --quick 5]
    #[arg(long, value_parser = seconds)]
    heat: Option<f64>,
    /// Short steps, and without those that need thousands of connections.
    #[arg(long)]
    quick: bool,
    /// Steps to run, by name or by kind (send, size, connections, open, …); an open loop brings send-4x64, whose rate it is a
    /// share of.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Lists the steps with what they do, and runs none.
    #[arg(long)]
    list: bool,
    /// Directory of the report; it is made [default: ./kiruna-bench-DATE, of now in UTC]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Form of the summary; json prints all figures, as in suite.json.
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

fn seconds(given: &str) -> Result<f64, String> {
    let number = given.parse().ok().filter(|seconds| (0.0..=3_600.0).contains(seconds));
    number.ok_or_else(|| "not a number of seconds from 0 to 3600".to_owned())
}

impl SuiteArgs {
    fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.unwrap_or(if self.quick { 2.0 } else { 10.0 }))
    }

    fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup.unwrap_or(if self.quick { 0.5 } else { 2.0 }))
    }

    fn heat(&self) -> Duration {
        Duration::from_secs_f64(self.heat.unwrap_or(if self.quick { 5.0 } else { 15.0 }))
    }

    /// The flags that loads have, for questions before the first one.
    fn common(&self) -> Common {
        Common {
            namesrv: self.namesrv.clone(),
            broker: self.broker.clone(),
            topic: self.topic.clone(),
            queues: self.queues,
            size: 1024,
            seconds: 0,
            warmup: 0,
            header: self.header,
            output: self.output,
        }
    }

    /// What every load is told of where it goes.
    fn endpoint(&self) -> Vec<String> {
        let server = match &self.broker {
            Some(broker) => ["--broker", broker],
            None => ["-n", &self.namesrv],
        };
        [&server[..], &self.place()].concat().iter().map(|&word| word.to_owned()).collect()
    }

    fn place(&self) -> [&str; 4] {
        let header = match self.header {
            HeaderForm::Json => "json",
            HeaderForm::Binary => "binary",
        };
        ["--topic", &self.topic, "--header", header]
    }
}

/// Runs the suite and writes its report.
pub(super) fn run(args: &SuiteArgs, runtime: Runtime) -> Result<()> {
    let steps = steps::select(args.quick, &args.only).map_err(Exit::usage)?;
    if args.list {
        return list(&steps, args.output);
    }
    if args.measured() < Duration::from_millis(100) {
        return Err(Exit::usage("--seconds is at least 0.1").into());
    }
    let started = SystemClock::new().now();
    let mut environment = Environment::here(started, &args.common());
    environment.brokers = runtime.block_on(reach(args))?;
    let out = args.out.clone().unwrap_or_else(|| directory(&when::text(started.0)));
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    if let Err(error) = allow_connections() {
        eprintln!("kiruna: {error:#}");
    }
    let stop = Stop::default();
    stop_on_signal(stop.clone())?;
    let echo = Echo::start(([127, 0, 0, 1], 0).into());
    let mut runner = Runner {
        runtime,
        stop: stop.clone(),
        endpoint: [args.endpoint(), vec!["--queues".to_owned(), args.queues.to_string()]].concat(),
        echo: echo.as_ref().ok().map(|echo| {
            let address = echo.address.to_string();
            let words = [&["--broker", address.as_str()][..], &args.place()].concat();
            words.iter().map(|&word| word.to_owned()).collect()
        }),
        seconds: args.measured(),
        warmup: args.warmup(),
        maximum: None,
    };
    eprintln!("{}", opening(args, &environment, steps.len(), &out));
    let rest = runner.rest().ok();
    if !args.heat().is_zero() {
        eprintln!("{}", runner.heat(args.heat()));
    }
    let mut ran: Vec<Ran> = Vec::new();
    for step in &steps {
        if stop.is_set() {
            break;
        }
        ran.push(runner.step(step));
        eprintln!("{}", progress::line(ran.len(), steps.len(), &ran[ran.len() - 1]));
    }
    let suite = Suite {
        environment,
        seconds: args.measured().as_secs_f64(),
        warmup: args.warmup().as_secs_f64(),
        heat: args.heat().as_secs_f64(),
        rest,
        steps: ran,
        wanted: steps.len(),
        is_interrupted: stop.is_set(),
        no_echo: echo.as_ref().err().map(|error| format!("{error:#}")),
    };
    report(&suite, &out, args.output)
}

/// Makes sure that the endpoint is there before an hour is spent on it.
async fn reach(args: &SuiteArgs) -> Result<Vec<environment::Broker>> {
    let common = args.common();
    let asked = async { Environment::ask(&Target::find(&common).await?).await };
    asked.await.map_err(|error| {
        let place = match &args.broker {
            Some(broker) => format!("the broker {broker}"),
            None => format!("the name server {}", args.namesrv),
        };
        anyhow!(
            "cannot use {place}: {}\nname a server that runs with -n NAMESRV or --broker ADDRESS, or start one: kiruna standalone",
            reasons(&error)
        )
    })
}

/// An error and its causes, without those that only say again what stands before them.
fn reasons(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        match told.as_str() {
            "" => told = cause,
            before if before.contains(&cause) => {}
            before => told = format!("{before}: {cause}"),
        }
    }
    told
}

fn opening(args: &SuiteArgs, environment: &Environment, steps: usize, out: &Path) -> String {
    let debug = if environment.is_debug { "\nThis is a debug build: its figures say little." } else { "" };
    format!(
        "{steps} step{} of {} s against {}, topic {} (made where it does not exist, and kept). Report: {}{debug}",
        if steps == 1 { "" } else { "s" },
        words::short(args.measured().as_secs_f64()),
        progress::plain(&environment.endpoint),
        progress::plain(&environment.topic),
        out.display()
    )
}

/// Writes both files, prints the summary.
fn report(suite: &Suite, out: &Path, format: Format) -> Result<()> {
    let value = json::suite(suite);
    let text = serde_json::to_string_pretty(&value)?;
    let files = [("suite.json", format!("{text}\n")), ("report.html", page::page(suite))];
    for (name, text) in files {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let stdout = &mut std::io::stdout().lock();
    match format {
        Format::Json => {
            use std::io::Write;
            writeln!(stdout, "{text}")?;
        }
        other => progress::rows(suite).write(other, stdout)?,
    }
    eprintln!("{}", suite.judged());
    for reason in suite.verdict().reasons().iter().take(5) {
        eprintln!("  {}", progress::plain(reason));
    }
    eprintln!("Report: {}", out.join("report.html").display());
    if !suite.is_measured() {
        let reason = suite.steps.first().map(|ran| progress::line(1, suite.wanted, ran)).unwrap_or_default();
        return Err(Exit::failed(format!("nothing could be measured; {}", reason.trim())).into());
    }
    Ok(())
}

fn list(steps: &[&steps::Step], format: Format) -> Result<()> {
    let mut rows = Rows::new(&["name", "what", "echo", "arguments"]);
    for step in steps {
        let rate = step.percent.map(|percent| format!(" --rate {percent}%-of-{}", steps::MAXIMUM));
        let arguments = format!("{}{}", step.args.join(" "), rate.unwrap_or_default());
        rows.push(vec![json!(step.name), json!(step.what), json!(step.echo), json!(arguments)]);
    }
    Ok(rows.write(format, &mut std::io::stdout().lock())?)
}

/// `./kiruna-bench-2026-11-21T180509Z`, from a moment as text.
fn directory(moment: &str) -> PathBuf {
    let second = moment.split('.').next().unwrap_or_default();
    PathBuf::from(format!("kiruna-bench-{}Z", second.replace(':', "")))
}

/// The first signal ends the suite, the second one the process.
fn stop_on_signal(stop: Stop) -> Result<()> {
    let watch = move || -> Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(exit::signal())?;
        eprintln!(
            "ending: the step under way is cut short, then the report is written; once more ends at once"
        );
        exit::on_second_signal();
        stop.set();
        Ok(())
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(watch)
        .context("cannot start the thread that waits for signals")?;
    Ok(())
}

#[cfg(test)]
mod flags {
    use super::*;

    #[test]
    fn the_report_has_a_directory_of_its_own_time() {
        let at = |millis| directory(&when::text(millis)).display().to_string();
        assert_eq!(at(1_777_777_777_777), "kiruna-bench-2026-05-03T030937Z");
    }

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let error =
            anyhow!("connection refused").context("no server: connection refused").context("cannot begin");
        assert_eq!(reasons(&error), "cannot begin: no server: connection refused");
    }

    #[test]
    fn seconds_are_numbers_of_a_range() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for bad in ["", "x", "-1", "3601", "NaN", "inf"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
