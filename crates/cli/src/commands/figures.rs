// SPDX-License-Identifier: Apache-2.0
//! Reads figures from the metrics port of a broker, for the commands that show them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::de::DeserializeOwned;

use crate::output::Format;

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const ANSWER_MAX: u64 = 16 << 20;

/// Where the figures are, and how they are shown.
#[derive(Args, Debug)]
pub(crate) struct Figures {
    /// Metrics port of the broker: `metrics=` in the line it says when it is ready.
    #[arg(short = 'm', long, value_name = "ADDR", env = "KIRUNA_METRICS", default_value = "127.0.0.1:5557")]
    metrics: String,
    /// Form of the answer.
    #[arg(short = 'o', long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

impl Figures {
    /// Asks for what is under `path`.
    pub(crate) fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let asked = || format!("cannot read http://{}{path}", self.metrics);
        let answer = self.get(path).with_context(asked)?;
        serde_json::from_slice(&answer).with_context(asked)
    }

    fn get(&self, path: &str) -> Result<Vec<u8>> {
        let mut stream = dial(&self.metrics)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.metrics)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("that is no HTTP server")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            bail!("the answer is {status}");
        }
        Ok(answer.split_off(end + 4))
    }
}

fn dial(address: &str) -> Result<TcpStream> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("the name has no address"), Into::into))
}
