// SPDX-License-Identifier: Apache-2.0
//! `kiruna pauses`: the times in which a broker could not go on, from its metrics port.

use anyhow::Result;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::figures::Figures;
use super::stages::shown;
use crate::hiccups::Pause;
use crate::output::{Format, Rows};
use crate::when::time;

/// Flags of `kiruna pauses`.
#[derive(Args, Debug)]
pub(crate) struct PausesArgs {
    #[command(flatten)]
    figures: Figures,
    /// The latest, the newest first, instead of the worst.
    #[arg(long)]
    latest: bool,
}

/// What is under `/pauses`.
#[derive(Deserialize)]
struct Told {
    worst: Vec<Pause>,
    latest: Vec<Pause>,
}

/// Asks and prints.
pub(crate) fn run(args: &PausesArgs) -> Result<()> {
    let Told { worst, mut latest } = args.figures.read("/pauses")?;
    latest.reverse();
    let format = args.figures.output;
    let pauses = if args.latest { latest } else { worst };
    Ok(rows(&pauses, format).write(format, &mut std::io::stdout().lock())?)
}

fn rows(pauses: &[Pause], format: Format) -> Rows {
    let mut rows =
        Rows::new(&["ended", "length", "cause", "meter_waited", "threads_waited", "stolen", "major_faults"]);
    for pause in pauses {
        let length = |nanos: u64| match format {
            Format::Table => Value::from(shown(nanos)),
            _ => Value::from(nanos),
        };
        rows.push(vec![
            time(pause.at),
            length(pause.nanos),
            serde_json::to_value(pause.cause).unwrap_or_default(),
            length(pause.hints.meter_waited),
            length(pause.hints.threads_waited),
            length(pause.hints.stolen),
            Value::from(pause.hints.major_faults),
        ]);
    }
    rows
}
