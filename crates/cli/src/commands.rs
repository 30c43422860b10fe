// SPDX-License-Identifier: Apache-2.0
//! The commands, one file a noun, and what those that ask a cluster have in common. Each takes its flags and returns;
//! `main` turns failures into exit codes.

pub(crate) mod delay;
pub(crate) mod demo;
pub(crate) mod dlq;
mod figures;
pub(crate) mod group;
mod limits;
pub(crate) mod msg;
pub(crate) mod pauses;
pub(crate) mod pubsub;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod stages;
pub(crate) mod store;
pub(crate) mod topic;
pub(crate) mod tx;

use anyhow::Result;
use clap::Args;
use client::{Admin, ClientConfig};

use crate::output::{Format, Rows};

/// Flags of every command that asks a cluster something.
// No group of flags of its own: it would be named like the commands that are called ask.
#[derive(Args, Debug)]
#[group(skip)]
pub(crate) struct Ask {
    /// Name server.
    #[arg(short = 'n', long, env = "NAMESRV_ADDR", default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Form of the answer.
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// Asks a cluster and prints its answer.
fn answer(ask: &Ask, question: impl AsyncFnOnce(&Admin) -> Result<Rows>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let admin = Admin::start(ClientConfig::new(&ask.namesrv)).await?;
        let rows = question(&admin).await?;
        admin.close();
        Ok(rows.write(ask.output, &mut std::io::stdout().lock())?)
    })
}
