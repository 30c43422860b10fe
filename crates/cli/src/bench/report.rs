// SPDX-License-Identifier: Apache-2.0
//! What a run of load prints: one row with the work, the rate and the latency.

use std::io::{self, stdout};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::json;

use super::load::Measured;
use crate::output::{Format, Rows};

/// What was done, in the words of the command.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) what: &'static str,
    pub(super) connections: usize,
    pub(super) outstanding: usize,
    pub(super) size: usize,
    pub(super) batch: usize,
    pub(super) rate: Option<f64>,
}

const COLUMNS: [&str; 18] = [
    "work",
    "connections",
    "outstanding",
    "size",
    "batch",
    "rate",
    "seconds",
    "messages",
    "per_second",
    "mb_per_second",
    "p50_us",
    "p90_us",
    "p99_us",
    "p999_us",
    "p9999_us",
    "max_us",
    "errors",
    "failures",
];

/// Prints the report of one run.
pub(super) fn print(work: &Work, measured: &Measured, format: Format) -> io::Result<()> {
    let seconds = (measured.span.end - measured.span.begin).as_secs_f64().max(f64::MIN_POSITIVE);
    let micros = |quantile: f64| json!(rounded(measured.latency.value_at_quantile(quantile) as f64 / 1000.0));
    let errors: u64 = measured.errors.values().sum();
    let failures: Vec<String> =
        measured.errors.iter().map(|(what, count)| format!("{count} x {what}")).collect();
    let mut rows = Rows::new(&COLUMNS);
    rows.push(vec![
        json!(work.what),
        json!(work.connections),
        json!(work.outstanding),
        json!(work.size),
        json!(work.batch),
        json!(work.rate),
        json!(rounded(seconds)),
        json!(measured.messages),
        json!((measured.messages as f64 / seconds).round()),
        json!(rounded(measured.bytes as f64 / seconds / 1e6)),
        micros(0.5),
        micros(0.9),
        micros(0.99),
        micros(0.999),
        micros(0.9999),
        json!(rounded(measured.latency.max() as f64 / 1000.0)),
        json!(errors),
        json!(failures.join("; ")),
    ]);
    if format == Format::Table {
        table(work, measured, errors)
    } else {
        rows.write(format, &mut stdout().lock())
    }
}

fn table(work: &Work, measured: &Measured, errors: u64) -> io::Result<()> {
    use io::Write;
    let mut out = stdout().lock();
    let seconds = (measured.span.end - measured.span.begin).as_secs_f64().max(f64::MIN_POSITIVE);
    let shape = match work.rate {
        Some(rate) => format!("{} connections, open loop at {rate} per second", work.connections),
        None => format!("{} connections x {} outstanding", work.connections, work.outstanding),
    };
    writeln!(out, "{}: {shape}, {} byte bodies, batches of {}", work.what, work.size, work.batch)?;
    writeln!(
        out,
        "  {:.0} msg/s, {:.1} MB/s over {seconds:.1} s, {} messages",
        measured.messages as f64 / seconds,
        measured.bytes as f64 / seconds / 1e6,
        measured.messages
    )?;
    writeln!(out, "  latency {}", percentiles(&measured.latency))?;
    for (what, count) in &measured.errors {
        writeln!(out, "  {count} failed: {what}")?;
    }
    if errors > 0 {
        writeln!(out, "  {errors} calls failed and are not in the figures")?;
    }
    Ok(())
}

/// The usual percentiles, in units a person reads easily.
pub(crate) fn percentiles(latency: &Histogram<u64>) -> String {
    let at = |quantile| format!("{:.1?}", Duration::from_nanos(latency.value_at_quantile(quantile)));
    format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  p99.99 {}  max {:.1?}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(0.9999),
        Duration::from_nanos(latency.max())
    )
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
