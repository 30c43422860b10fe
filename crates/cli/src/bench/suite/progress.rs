// SPDX-License-Identifier: Apache-2.0
//! What the suite says while it runs, on standard error, and the rows it prints at its end. Pure but for the printing.

use serde_json::{Value, json};

use super::result::{Outcome, Ran, Suite, told};
use super::words;
use crate::output::Rows;

/// The line of a step that is over.
pub(super) fn line(number: usize, of: usize, ran: &Ran) -> String {
    let width = of.to_string().len();
    let head = format!("{number:>width$}/{of} {:<16} {:>6.1} s", ran.step.name, ran.took);
    match &ran.outcome {
        Outcome::Failed(reason) => format!("{head}  failed: {}", plain(reason)),
        Outcome::Skipped(reason) => format!("{head}  skipped: {}", plain(reason)),
        Outcome::Done(figures) => {
            let rate = words::count(figures.per_second());
            let times = [0.5, 0.99, 0.999].map(|quantile| words::nanos(figures.nanos(quantile)));
            let [median, p99, p999] = times;
            let mut line = format!("{head}  {rate:>9} msg/s  p50 {median}  p99 {p99}  p99.9 {p999}");
            if let Some(share) = ran.share() {
                line.push_str(&format!("  {} of echo", words::percent(share)));
            }
            if let Some(factor) = ran.factor() {
                line.push_str(&format!("  p99.9 {} x echo", words::short(factor)));
            }
            if figures.failures() > 0 {
                line.push_str(&format!("  failed: {}", plain(&told(&figures.errors))));
            }
            if figures.is_cut {
                line.push_str("  cut short");
            }
            line
        }
    }
}

/// Foreign text for a terminal: on one line, without characters that steer it.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The summary: a row for each step.
pub(super) fn rows(suite: &Suite) -> Rows {
    let mut rows = Rows::new(&[
        "step",
        "per_second",
        "mb_per_second",
        "p50_us",
        "p99_us",
        "p999_us",
        "max_us",
        "errors",
        "of_echo",
        "machine",
        "result",
    ]);
    for ran in &suite.steps {
        let figures = ran.figures();
        let micros = |quantile| figures.map_or(Value::Null, |figures| tenths(figures.nanos(quantile) / 1e3));
        let result = match &ran.outcome {
            Outcome::Done(figures) if figures.is_cut => json!("cut short"),
            Outcome::Done(_) => json!("done"),
            Outcome::Failed(reason) => json!(format!("failed: {}", plain(reason))),
            Outcome::Skipped(reason) => json!(format!("skipped: {}", plain(reason))),
        };
        let echo = match (ran.share(), ran.factor()) {
            (Some(share), _) => json!(words::percent(share)),
            (None, Some(factor)) => json!(format!("p99.9 x {}", words::short(factor))),
            (None, None) => Value::Null,
        };
        rows.push(vec![
            json!(ran.step.name),
            figures.map_or(Value::Null, |figures| json!(figures.per_second().round() as u64)),
            figures.map_or(Value::Null, |figures| tenths(figures.megabytes())),
            micros(0.5),
            micros(0.99),
            micros(0.999),
            micros(1.0),
            json!(figures.map(|figures| figures.failures())),
            echo,
            json!(ran.verdict().map(|verdict| verdict.word())),
            result,
        ]);
    }
    rows
}

fn tenths(value: f64) -> Value {
    json!((value * 10.0).round() / 10.0)
}
