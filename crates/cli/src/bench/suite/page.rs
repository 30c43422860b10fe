// SPDX-License-Identifier: Apache-2.0
//! The report as one page of HTML: the verdict, tables, plots, and where it all comes from. Pure: from a result to text. The
//! page asks the network for nothing and runs no script.

use std::fmt::Write;

use super::html;
use super::plot::{self, Axis, Line, Plot, Unit};
use super::result::{Figures, Ran, Suite};
use super::scale::Scale;
use super::steps::Part;
use super::words::{self, escape};
use crate::when;

const STYLE: &str = include_str!("style.css");

const LATENCY: Axis = Axis { name: "latency", unit: Unit::Nanos, scale: Scale::Log };
const TIME: Axis = Axis { name: "seconds of the step", unit: Unit::Seconds, scale: Scale::Linear };

/// The whole page.
pub(super) fn page(suite: &Suite) -> String {
    let endpoint = escape(&suite.environment.endpoint);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Bench of {endpoint}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header><h1>Bench of {endpoint}</h1>\n<p class=\"sub\">{}</p></header>\n",
        escape(&subtitle(suite))
    );
    out.push_str(&html::verdict(suite));
    out.push_str(&html::tiles(suite));
    let plots = [rates(suite), tails(suite), connections(suite), hiccups(suite)];
    let _ = writeln!(
        out,
        "<h2>Overview</h2>\n<div class=\"plots\">{}</div>",
        plots.iter().flatten().map(plot::figure).collect::<String>()
    );
    Part::ALL.iter().for_each(|part| out.push_str(&html::part(suite, *part)));
    out.push_str(&series(suite));
    out.push_str(&html::machine(suite));
    out.push_str(NOTES);
    out.push_str(&html::environment(suite));
    out.push_str(
        "<p class=\"note\">All figures and the raw histograms are in suite.json beside this page.</p>\n",
    );
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

const NOTES: &str = "<h2>How to read it</h2>
<p>Closed loop: so many requests are always under way, the next one leaves when an answer comes; the figure is the rate. Open \
loop: requests leave when they are due, whatever the server does; the figure is the latency, counted from the moment a message was \
due. Refused and failed requests are errors and in no figure. echo answers everything at once and stores nothing: it is what this \
machine can do with this load at most, measured right after the step it stands beside, for as long. One thread makes the load.</p>
";

fn subtitle(suite: &Suite) -> String {
    let environment = &suite.environment;
    let steps = match suite.steps.len() {
        1 => "1 step".to_owned(),
        many => format!("{many} steps"),
    };
    let versions = environment.brokers.iter().filter_map(|broker| broker.version.as_deref());
    let mut versions: Vec<&str> = versions.collect();
    versions.sort_unstable();
    versions.dedup();
    let told =
        if versions.is_empty() { String::new() } else { format!(" · server says {}", versions.join(", ")) };
    format!(
        "{} · {steps} of {} s · load by kiruna {}{told}",
        when::text(environment.started.0),
        words::short(suite.seconds),
        environment.version
    )
}

/// Throughput against latency.
fn rates(suite: &Suite) -> Option<Plot> {
    let open: Vec<(f64, &Ran)> =
        suite.of_part(Part::Open).filter_map(|ran| Some((ran.offered?, ran))).collect();
    if open.is_empty() {
        return None;
    }
    let line = |name: &str, quantile: f64, is_echo: bool| {
        let at = |(offered, ran): &(f64, &Ran)| {
            let figures = if is_echo { ran.echo() } else { ran.figures() };
            (*offered, figures.map_or(f64::NAN, |figures| figures.nanos(quantile)))
        };
        Line { name: name.to_owned(), points: open.iter().map(at).collect(), is_dashed: is_echo }
    };
    Some(Plot {
        title: "Throughput against latency".to_owned(),
        text: "Open loop sends of 1 KiB: latency by the rate that was offered. Where a line turns upwards, the server is full."
            .to_owned(),
        x: Axis { name: "messages a second, offered", unit: Unit::Rate, scale: Scale::Linear },
        y: LATENCY,
        lines: vec![
            line("p50", 0.5, false),
            line("p99", 0.99, false),
            line("p99.9", 0.999, false),
            line("p99.9 of echo", 0.999, true),
        ],
    })
}

/// Percentiles of all open loops.
fn tails(suite: &Suite) -> Option<Plot> {
    let runs = suite.of_part(Part::Open).filter_map(|ran| Some((ran, ran.figures()?)));
    let line = |(ran, figures): (&Ran, &Figures)| {
        let name = match (ran.offered, ran.step.percent) {
            (Some(offered), Some(percent)) => format!("{percent} %: {}/s", words::brief(offered)),
            _ => ran.step.name.to_owned(),
        };
        Line { name, points: percentiles(figures), is_dashed: false }
    };
    let lines: Vec<Line> = runs.map(line).collect();
    (!lines.is_empty()).then(|| Plot {
        title: "Tail percentiles".to_owned(),
        text: "Open loop sends: the share of messages that were answered within this time, by the number of nines."
            .to_owned(),
        x: Axis { name: "percentile", unit: Unit::Nines, scale: Scale::Linear },
        y: LATENCY,
        lines,
    })
}

/// Latency by the number of nines, as far as there are messages enough for one beyond.
fn percentiles(figures: &Figures) -> Vec<(f64, f64)> {
    let most = (figures.latency.len() as f64).log10().clamp(0.0, 9.0);
    let last = (most * 5.0).floor() as u32;
    (0..=last)
        .map(|fifth| {
            let nines = f64::from(fifth) / 5.0;
            (nines, figures.nanos(1.0 - 10f64.powf(-nines)))
        })
        .collect()
}

/// Rate by the number of connections.
fn connections(suite: &Suite) -> Option<Plot> {
    let measured = || suite.of_part(Part::Connections).filter_map(|ran| Some((ran, ran.figures()?)));
    let own = measured().map(|(_, figures)| (figures.work.connections as f64, figures.per_second()));
    let echo = measured().filter_map(|(ran, _)| ran.echo());
    let echo = echo.map(|figures| (figures.work.connections as f64, figures.per_second()));
    let line = |name: &str, points, is_dashed| Line { name: name.to_owned(), points, is_dashed };
    let lines = vec![line("endpoint", own.collect(), false), line("echo", echo.collect(), true)];
    measured().next().map(|_| Plot {
        title: "Connections".to_owned(),
        text:
            "Closed loop sends of 1 KiB, 4 under way on each connection: rate by the number of connections."
                .to_owned(),
        x: Axis { name: "connections", unit: Unit::Rate, scale: Scale::Log },
        y: Axis { name: "messages a second", unit: Unit::Rate, scale: Scale::Linear },
        lines,
    })
}

/// Hiccups over the whole suite.
fn hiccups(suite: &Suite) -> Option<Plot> {
    let (mut own, mut echo, mut at) = (Vec::new(), Vec::new(), 0.0);
    for ran in &suite.steps {
        for (line, figures) in [(&mut own, ran.figures()), (&mut echo, ran.echo())] {
            let Some(figures) = figures else { continue };
            let machine = &figures.machine;
            // A point for each second at most, or a long suite would be a smear.
            let mut seconds: Vec<(f64, f64)> = Vec::new();
            for (end, peak) in &machine.peaks {
                let second = at + end.ceil();
                match seconds.last_mut().filter(|(last, _)| *last == second) {
                    Some((_, most)) => *most = most.max(*peak as f64),
                    None => seconds.push((second, *peak as f64)),
                }
            }
            line.append(&mut seconds);
            // A gap between two runs.
            line.push((at + machine.seconds.ceil(), f64::NAN));
            at += machine.seconds.ceil();
        }
    }
    let line =
        |name: &str, points: Vec<(f64, f64)>, is_dashed| Line { name: name.to_owned(), points, is_dashed };
    let lines: Vec<Line> =
        [line("while the endpoint had the load", own, false), line("while echo had it", echo, true)]
            .into_iter()
            .filter(|line| !line.points.is_empty())
            .collect();
    (!lines.is_empty()).then(|| Plot {
        title: "Hiccups of the machine".to_owned(),
        text: "The longest hiccup in each second that was measured, all steps one behind the other."
            .to_owned(),
        x: Axis { name: "seconds measured", unit: Unit::Seconds, scale: Scale::Linear },
        y: Axis { name: "longest hiccup", unit: Unit::Nanos, scale: Scale::Log },
        lines,
    })
}

/// Each step over its time.
fn series(suite: &Suite) -> String {
    let mut out = String::new();
    for (ran, figures) in suite.steps.iter().filter_map(|ran| Some((ran, ran.figures()?))) {
        let _ = write!(
            out,
            "<details class=\"step\"{}><summary>{} <span>{}</span></summary><div class=\"plots\">",
            // The first is open, so that one sees what the others hold.
            if out.is_empty() { " open" } else { "" },
            ran.step.name,
            escape(ran.step.what)
        );
        let plots = [rate_in_time(ran, figures), latency_in_time(ran, figures)];
        plots.iter().for_each(|plot| out.push_str(&plot::figure(plot)));
        let _ = writeln!(
            out,
            "</div><p class=\"note\">The same alone: <code>{}</code></p></details>",
            escape(&ran.command)
        );
    }
    if out.is_empty() { out } else { format!("<h2>Step by step, in time</h2>\n{out}") }
}

fn rate_in_time(ran: &Ran, figures: &Figures) -> Plot {
    let line = |name: &str, figures: &Figures, is_dashed| {
        // What came behind the end is the rest of what was under way, and no rate.
        let within = figures.points.iter().filter(|point| point.at <= figures.seconds + 1e-3);
        let points = within.map(|point| (point.at, point.messages as f64 / point.seconds));
        Line { name: name.to_owned(), points: points.collect(), is_dashed }
    };
    let mut lines = vec![line("endpoint", figures, false)];
    lines.extend(ran.echo().map(|echo| line("echo", echo, true)));
    if figures.failures() > 0 {
        let points =
            figures.points.iter().map(|point| (point.at, point.errors as f64 / point.seconds)).collect();
        lines.push(Line { name: "errors".to_owned(), points, is_dashed: false });
    }
    Plot {
        title: format!("{}: rate", ran.step.name),
        text: "Messages answered for, a second.".to_owned(),
        x: TIME,
        y: Axis { name: "messages a second", unit: Unit::Rate, scale: Scale::Linear },
        lines,
    }
}

fn latency_in_time(ran: &Ran, figures: &Figures) -> Plot {
    let line = |name: &str, which: usize| {
        let value = |latency: Option<[u64; 3]>| latency.map_or(f64::NAN, |values| values[which] as f64);
        let points = figures.points.iter().map(|point| (point.at, value(point.latency))).collect();
        Line { name: name.to_owned(), points, is_dashed: false }
    };
    let hiccups = figures.machine.peaks.iter().map(|(at, peak)| (*at, *peak as f64)).collect();
    Plot {
        title: format!("{}: latency", ran.step.name),
        text: "What was answered in each tick, and the machine's longest hiccup in it.".to_owned(),
        x: TIME,
        y: LATENCY,
        lines: vec![
            line("p50", 0),
            line("p99", 1),
            Line { name: "hiccup".to_owned(), points: hiccups, is_dashed: true },
        ],
    }
}
