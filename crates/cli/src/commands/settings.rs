// SPDX-License-Identifier: Apache-2.0
//! `kiruna config`: every key of a server with its value, where the value came from and what it means.

use std::io::stdout;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::server::ServerArgs;
use crate::output::{Format, Rows};

/// Flags of `kiruna config`: those of the servers, so that it shows what they would run with.
#[derive(Args, Debug)]
pub(crate) struct SettingsArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Form of the answer.
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// Prints the keys.
pub(crate) fn run(args: &SettingsArgs) -> Result<()> {
    let config = args.server.load()?;
    let mut rows = Rows::new(&["key", "rocketmq", "value", "origin", "live", "meaning"]);
    for key in config.keys() {
        let (value, origin) = config.value(key);
        rows.push(vec![
            json!(key.name),
            json!(key.alias),
            json!(value),
            json!(origin.to_string()),
            json!(key.live),
            json!(key.doc.trim()),
        ]);
    }
    Ok(rows.write(args.output, &mut stdout().lock())?)
}
