// SPDX-License-Identifier: Apache-2.0
//! `kiruna config`: every key of a server with its value, where the value came from and what it means.

use std::io::{self, Write, stdout};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::server::ServerArgs;
use crate::config::Config;
use crate::output::{Format, Rows};

/// Flags of `kiruna config`: those of the servers, so that it shows what they would run with.
#[derive(Args, Debug)]
pub(crate) struct SettingsArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Prints the manual of all keys instead, with their defaults.
    #[arg(long)]
    markdown: bool,
    /// Form of the answer.
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// Prints the keys.
pub(crate) fn run(args: &SettingsArgs) -> Result<()> {
    if args.markdown {
        return Ok(manual(&mut stdout().lock())?);
    }
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

const PREFACE: &str = "\
# Configuration

Made by `kiruna config --markdown`; a test compares the two. Every key, with its default, in the sections it is declared in.

Keys come from a file (`--config`; TOML, or `key=value` lines as in RocketMQ's `broker.conf`), from the environment
(`KIRUNA_` and the key in capitals) and from flags (`--set key=value`, some have a flag of their own), later ones over earlier
ones. Each answers to its own name and to RocketMQ's; in TOML the section does not matter. `kiruna config` with the same
flags shows what a server would run with and where each value comes from.

A bare number is in the unit of the key. A time can also be written `500ms`, `5s`, `2m`, `1h` or `1d`, a size `64KiB`, `10MB` or
`1GiB`. A key that nobody knows or a value that cannot be is an error (exit code 78) that names the file, the line and the
nearest key; a key that only RocketMQ knows is ignored with a warning. *live* keys can be changed while a server runs
(`mqadmin updateBrokerConfig`, `updateNamesrvConfig`), others take effect at the next start.
";

/// Writes the manual: a table for each section.
fn manual(out: &mut impl Write) -> io::Result<()> {
    let defaults = Config::default();
    out.write_all(PREFACE.as_bytes())?;
    for (about, keys) in Config::sections() {
        writeln!(out, "\n## {}\n", about.trim().trim_end_matches('.'))?;
        writeln!(out, "| Key | RocketMQ's name | Type | Unit | Default | Range | Live | Meaning |")?;
        writeln!(out, "|---|---|---|---|---|---|---|---|")?;
        for key in keys {
            let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
            let cells = [
                code(key.name),
                code(key.alias),
                key.kind.to_owned(),
                key.unit.to_owned(),
                code(&defaults.value(key).0),
                key.range.to_string(),
                if key.live { "live".to_owned() } else { String::new() },
                key.doc.trim().to_owned(),
            ];
            writeln!(out, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))?;
        }
    }
    Ok(())
}
