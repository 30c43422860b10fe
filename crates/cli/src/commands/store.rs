// SPDX-License-Identifier: Apache-2.0
//! `kiruna store`: looks into, checks and rebuilds the files of a store that is not running.

use std::io::stdout;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use store::disk::FileDisk;
use store::{Damage, OpenError, Store};

use crate::exit::Exit;
use crate::output::{Format, Rows};

/// What can be done with the files.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// List the files of the log with what they hold.
    Inspect(Place),
    /// Read the whole log, check every record, and compare the views with what the log says.
    Verify(Place),
    /// Forget the views; the next start builds them from the log.
    Rebuild(Place),
}

/// Flags of all of them.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "kiruna-data")]
    data_dir: PathBuf,
    /// Form of the answer.
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// Runs one of them.
pub(crate) fn run(command: StoreCommand) -> Result<()> {
    match command {
        StoreCommand::Inspect(place) => inspect(&place),
        StoreCommand::Verify(place) => verify(&place),
        StoreCommand::Rebuild(place) => {
            check_place(&place)?;
            Store::rebuild(&place.data_dir, Arc::new(FileDisk)).map_err(failed)?;
            println!("the views are gone; the next start builds them from the log");
            Ok(())
        }
    }
}

fn inspect(place: &Place) -> Result<()> {
    check_place(place)?;
    let found = Store::inspect(&place.data_dir, Arc::new(FileDisk)).map_err(failed)?;
    let mut rows =
        Rows::new(&["part", "from", "to", "records", "first_stored_at", "last_stored_at", "damaged"]);
    for segment in &found.segments {
        rows.push(vec![
            json!("segment"),
            json!(segment.base.0),
            json!(segment.base.0 + segment.size),
            json!(segment.records),
            json!(segment.stored.map(|(first, _)| first.0)),
            json!(segment.stored.map(|(_, last)| last.0)),
            json!(damage(&segment.damaged)),
        ]);
    }
    for (from, to) in &found.stages {
        rows.push(vec![
            json!("stage"),
            json!(from.0),
            json!(to.0),
            json!(null),
            json!(null),
            json!(null),
            json!(""),
        ]);
    }
    let resume = json!(found.resume.0);
    rows.push(vec![json!("views"), json!(0), resume, json!(null), json!(null), json!(null), json!("")]);
    Ok(rows.write(place.output, &mut stdout().lock())?)
}

fn verify(place: &Place) -> Result<()> {
    check_place(place)?;
    let found = Store::verify(&place.data_dir, Arc::new(FileDisk)).map_err(failed)?;
    let mut rows = Rows::new(&["records", "from", "to", "damaged", "differences"]);
    rows.push(vec![
        json!(found.records),
        json!(found.log.0.0),
        json!(found.log.1.0),
        json!(damage(&found.damaged)),
        json!(found.differences.len()),
    ]);
    rows.write(place.output, &mut stdout().lock())?;
    for difference in &found.differences {
        eprintln!("{difference:?}");
    }
    if !found.differences.is_empty() {
        bail!(
            "the views disagree with the log; `kiruna store rebuild` has the next start build them from it"
        );
    }
    if !found.damaged.is_empty() {
        bail!("parts of the log are damaged; what was in them is lost, everything else is served");
    }
    Ok(())
}

fn check_place(place: &Place) -> Result<()> {
    if !place.data_dir.join("commitlog").is_dir() {
        bail!("{} holds no store: there is no commitlog in it", place.data_dir.display());
    }
    Ok(())
}

fn damage(parts: &[Damage]) -> String {
    parts.iter().map(|part| format!("{part:?}")).collect::<Vec<_>>().join("; ")
}

fn failed(error: OpenError) -> Exit {
    match error {
        error @ OpenError::Locked { .. } => Exit::in_use(error),
        other => Exit::failed(other),
    }
}
