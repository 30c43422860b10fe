// SPDX-License-Identifier: Apache-2.0
//! On what and against what was measured: the machine that made the load, and what the endpoint tells of itself. Read once
//! at the start of a suite; what cannot be read is absent, never guessed.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use protocol::admin::broker::{GetBrokerConfig, GetBrokerRuntimeInfo};
use protocol::body::KVTable;
use protocol::json;
use remoting::Response;
use stdx::Timestamp;

use crate::bench::Common;
use crate::bench::target::{PATIENCE, Target};
use crate::when;

/// Where figures come from.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    pub(super) started: Timestamp,
    /// Of this program.
    pub(super) version: &'static str,
    /// Without optimization nothing is worth believing.
    pub(super) is_debug: bool,
    pub(super) command: String,
    pub(super) endpoint: String,
    pub(super) topic: String,
    pub(super) header: &'static str,
    pub(super) cpu: Option<String>,
    pub(super) cores: usize,
    pub(super) memory: Option<u64>,
    pub(super) system: String,
    pub(super) brokers: Vec<Broker>,
}

/// What a broker tells of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Broker {
    pub(super) address: String,
    pub(super) queues: usize,
    pub(super) version: Option<String>,
    /// `flushDiskType` and `brokerRole` say what an acknowledgement means.
    pub(super) flush: Option<String>,
    pub(super) role: Option<String>,
}

impl Environment {
    /// Looks at this machine.
    pub(super) fn here(started: Timestamp, common: &Common) -> Environment {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let system = format!("{} {} {}", std::env::consts::OS, release.trim(), std::env::consts::ARCH);
        Environment {
            started,
            version: env!("CARGO_PKG_VERSION"),
            is_debug: cfg!(debug_assertions),
            command: std::env::args_os()
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" "),
            endpoint: match &common.broker {
                Some(broker) => format!("broker {broker}"),
                None => format!("name server {}", common.namesrv),
            },
            topic: common.topic.clone(),
            header: match common.header {
                crate::bench::HeaderForm::Json => "json",
                crate::bench::HeaderForm::Binary => "binary",
            },
            cpu: field(&cpuinfo, "model name").or_else(|| field(&cpuinfo, "Model")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: field(&meminfo, "MemTotal").and_then(|text| bytes(&text)),
            system: system.split_whitespace().collect::<Vec<_>>().join(" "),
            brokers: Vec::new(),
        }
    }

    /// Asks each broker what it is. One that does not tell is listed all the same; one that cannot be reached is an error.
    pub(super) async fn ask(target: &Target) -> Result<Vec<Broker>> {
        let mut brokers = Vec::new();
        for address in target.brokers() {
            let queues = target.queues_of(address).len();
            let mut broker = Broker { address: address.to_owned(), queues, ..Broker::default() };
            if let Some(queue) = target.queues.iter().find(|queue| queue.broker == address) {
                let connection = target.dial(queue).await?;
                let told = connection.call(&GetBrokerRuntimeInfo, (), PATIENCE).await.and_then(Response::ok);
                let table = told.ok().and_then(|(_, body)| json::from_slice::<KVTable>(&body).ok());
                broker.version = table.and_then(|mut table| table.table.remove("brokerVersionDesc"));
                let told = connection.call(&GetBrokerConfig, (), PATIENCE).await.and_then(Response::ok);
                if let Ok((_, body)) = told {
                    let mut settings = settings(&String::from_utf8_lossy(&body));
                    broker.flush = settings.remove("flushDiskType");
                    broker.role = settings.remove("brokerRole");
                }
            }
            brokers.push(broker);
        }
        Ok(brokers)
    }

    /// The rows of the report.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            ("Started", when::text(self.started.0)),
            ("Command", self.command.clone()),
            ("Endpoint", self.endpoint.clone()),
            ("Topic", self.topic.clone()),
            ("Headers", self.header.to_owned()),
            ("Processor", self.cpu.clone().unwrap_or_else(|| "not told by this system".to_owned())),
            ("Cores", self.cores.to_string()),
        ];
        let gibibytes = |bytes: u64| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64);
        rows.extend(self.memory.map(|memory| ("Memory", gibibytes(memory))));
        rows.push(("System", self.system.clone()));
        let build = if self.is_debug { " (a debug build)" } else { "" };
        rows.push(("Load by", format!("kiruna {}{build}", self.version)));
        rows.extend(self.brokers.iter().map(|broker| ("Broker", broker.told())));
        rows
    }
}

impl Broker {
    fn told(&self) -> String {
        let version = self.version.as_deref().unwrap_or("tells no version");
        let mut told = format!("{}: {version}, {} queues", self.address, self.queues);
        for (name, value) in [("flushDiskType", &self.flush), ("brokerRole", &self.role)] {
            if let Some(value) = value {
                told.push_str(&format!(", {name} {value}"));
            }
        }
        told
    }
}

/// The first `name : value` of a text of `/proc`.
fn field(text: &str, name: &str) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = pairs.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim());
    values.find(|value| !value.is_empty()).map(str::to_owned)
}

/// `16312844 kB` in bytes.
fn bytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn settings(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_system_are_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A Processor @ 2.1GHz\nmodel name\t: another\n";
        assert_eq!(field(cpuinfo, "model name").as_deref(), Some("A Processor @ 2.1GHz"));
        assert_eq!(field(cpuinfo, "Model"), None);
        assert_eq!(field("Model:\nModel: x\n", "Model").as_deref(), Some("x"));
        assert_eq!(bytes("16 kB"), Some(16_384));
        assert_eq!(bytes("many"), None);
        assert_eq!(settings("a = b\nflushDiskType=SYNC_FLUSH\n#\n")["flushDiskType"], "SYNC_FLUSH");
    }
}
