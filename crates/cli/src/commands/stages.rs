// SPDX-License-Identifier: Apache-2.0
//! `kiruna stages`: how long requests spend where in a broker, from its metrics port.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use stdx::Stop;
use stdx::config::Value as _;

use super::figures::Figures;
use crate::metrics::told::Told;
use crate::output::{Format, Rows};

/// Flags of `kiruna stages`.
#[derive(Args, Debug)]
pub(crate) struct StagesArgs {
    #[command(flatten)]
    figures: Figures,
    /// Tells what came within so long from now, such as 60s, instead of all since the start.
    #[arg(long = "for", value_name = "TIME", value_parser = Duration::read)]
    span: Option<Duration>,
}

/// Asks, waits where that is wanted, and prints.
pub(crate) fn run(args: &StagesArgs) -> Result<()> {
    let mut told: Vec<Told> = args.figures.read("/stages")?;
    if let Some(span) = args.span {
        Stop::default().wait(span);
        let later: Vec<Told> = args.figures.read("/stages")?;
        let earlier = |stage: &str| told.iter().find(|told| told.stage == stage);
        told =
            later.iter().map(|now| earlier(&now.stage).map_or(now.clone(), |was| now.since(was))).collect();
    }
    Ok(rows(&told, args.figures.output).write(args.figures.output, &mut std::io::stdout().lock())?)
}

/// People see times with units, scripts numbers of nanoseconds.
fn rows(told: &[Told], format: Format) -> Rows {
    let mut rows = Rows::new(&["stage", "count", "p50", "p90", "p99", "p99.9", "p99.99", "longest"]);
    for stage in told {
        let time = |nanos: u64| match format {
            Format::Table => Value::from(shown(nanos)),
            _ => Value::from(nanos),
        };
        let shares = [0.5, 0.9, 0.99, 0.999, 0.9999].map(|share| time(stage.quantile(share)));
        let mut row = vec![Value::from(stage.stage.clone()), Value::from(stage.count())];
        row.extend(shares);
        row.push(time(if stage.count() == 0 { 0 } else { stage.longest }));
        rows.push(row);
    }
    rows
}

/// A time with three digits or more and a unit.
pub(super) fn shown(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{} µs", nanos / 1_000),
        10_000_000..10_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{} s", nanos / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_units_and_scripts_nanoseconds() {
        let histogram = stdx::Histogram::default();
        histogram.record(1_500, 99);
        histogram.record(25_000_000, 1);
        let told =
            [Told::new("send", &histogram.read()), Told::new("pull", &stdx::Histogram::default().read())];
        let print = |format| {
            let mut out = Vec::new();
            rows(&told, format).write(format, &mut out).expect("memory takes it");
            String::from_utf8(out).expect("text")
        };
        let table = print(Format::Table);
        let line = table.lines().nth(1).expect("a stage");
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "send 100 1503 ns 1503 ns 1503 ns 25 ms 25 ms 25 ms"
        );
        let csv = print(Format::Csv);
        assert_eq!(csv.lines().nth(1), Some("send,100,1503,1503,1503,25000000,25000000,25000000"));
        assert_eq!(csv.lines().nth(2), Some("pull,0,0,0,0,0,0,0"));
        assert_eq!([9_999, 10_000, 3_600_000_000_000].map(shown), ["9999 ns", "10 µs", "3600 s"]);
    }
}
