// SPDX-License-Identifier: Apache-2.0
//! The configuration of a server process: defaults < file < environment < flags, every value with its origin.
//! Read once at start by the commands; nothing below the command line reads files or the environment.
//! A key that nobody knows is an error that names the nearest one; a key that only RocketMQ knows is said to be ignored, so
//! that an existing `broker.conf` starts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker::BrokerConfig;
use namesrv::NameServerConfig;
use stdx::ByteSize;
use stdx::config::{Key, Range};
use store::{Durability, StoreConfig};

stdx::config! {
    /// What the process as a whole needs to know: where it listens and where it keeps things.
    pub struct NodeConfig {
        /// Directory of everything this process stores.
        data_dir: PathBuf = PathBuf::from("kiruna-data"), "storePathRootDir", restart;
        /// Address to listen on; empty takes 127.0.0.1 for `standalone` and `demo`, 0.0.0.0 for a single role.
        bind: String = String::new(), "bindAddress", restart;
        /// Name servers to register with, separated by semicolons.
        namesrv: String = String::new(), "namesrvAddr", restart;
        /// Port of the name server; 0 takes a free one.
        namesrv_port: u16 = 9876, "", restart;
        /// Port of the broker; 0 takes a free one.
        broker_port: u16 = 10911, "listenPort", restart;
        /// A second port of the broker, which clients with the VIP channel switched on send to (old Java clients do so
        /// unasked). They expect it two below the first, where it is when this is empty; 0 does without.
        fast_port: Option<u16> = None, "", restart;
        /// Port of the gRPC face, which does not exist yet.
        grpc_port: u16 = 8081, "grpcServerPort", restart;
        /// Port of the remoting proxy, which does not exist yet.
        proxy_port: u16 = 8080, "remotingListenPort", restart;
        /// Port of the figures for Prometheus (`docs/ops/metrics.md`), on the address of `bind`, and on 127.0.0.1 where that is
        /// empty: nobody has to log in there. When this is empty it is 5557, and the server runs without it where that is taken or where
        /// the port of the broker is drawn; 0 takes a free one.
        metrics_port: Option<u16> = None, "metricsPromExporterPort", restart;
        /// Whether figures are served at all.
        metrics: bool = true, "", restart;
        /// Port of the console, which does not exist yet.
        console_port: u16 = 8082, "", restart;
        /// How long requests under way may take to finish when the process is asked to stop.
        drain: Duration = Duration::from_secs(3), "", restart;
        /// Bytes of requests that may wait for an answer, over all connections; beyond it they are refused as busy.
        request_bytes: ByteSize = ByteSize::mib(256), "", restart;
        /// Connections that may be open on a port; fewer where the system allows the process too few descriptors, of which the log
        /// keeps some.
        connections: usize = 16_384, "", restart, Range::AtLeast(1);
        /// While less memory than this is left, no topic and no group is made; 0 does not look.
        memory_reserve: ByteSize = ByteSize::mib(128), "", restart;
        /// Threads that serve connections; 0 takes half of the cores, as the log needs the others, and two of two.
        workers: usize = 0, "serverWorkerThreads", restart, Range::Between(0, 1024);
    }
}

stdx::config! {
    /// The log and what is derived from it.
    pub struct LogConfig {
        /// What an acknowledgement promises: `memory` survives a killed process, `disk` a power cut.
        durability: Promise = Promise(Durability::Memory), "flushDiskType", restart;
        /// Directory of the stages, the memory that new messages are written to; empty picks /dev/shm where it can.
        stage_dir: Option<PathBuf> = None, "", restart;
        /// Bytes of one file of the log.
        segment_size: ByteSize = ByteSize::gib(1), "mappedFileSizeCommitLog", restart, Range::Between(8 << 20, (2 << 30) - 1);
        /// How many stages of 4.25 MiB there are at most; more take longer bursts, and memory.
        stages_max: usize = 16, "", restart, Range::AtLeast(2);
        /// How much of the latest log stays in the system's page cache while a consumer reads behind the stages; what is
        /// older is read from the device. While nobody does, large writes go past the page cache. More is not faster to
        /// write: memory that is used again costs less than fresh memory.
        page_cache: ByteSize = ByteSize::gib(1), "", restart, Range::AtLeast(64 << 20);
        /// How often the log is flushed to the device when nobody waits for it.
        flush_interval: Duration = Duration::from_millis(500), "flushIntervalCommitLog", restart, Range::AtLeast(1);
        /// Threads that read old messages.
        readers: usize = 2, "", restart, Range::Between(1, 256);
        /// Hours that messages are kept.
        reserved_hours: u64 = 72, "fileReservedTime", restart, Range::AtLeast(1);
        /// Hours of the day (UTC) in which expired files go, such as `04` or `02;03`; empty lets them go at once.
        delete_when: Hours = Hours(vec![4]), "deleteWhen", restart;
        /// Topics with `cleanup.policy=COMPACTION` no longer show a message that is so old and not the latest of its key.
        compact_after: Duration = Duration::from_secs(900), "compactionScheduleInternal", restart, Range::AtLeast(1);
        /// How many keys all such topics may have together; each takes about 300 bytes of memory.
        compacted_keys_max: usize = 1_000_000, "", restart, Range::AtLeast(1);
        /// Part of the disk in percent above which expired files go at any hour.
        disk_clean_percent: u64 = 75, "diskMaxUsedSpaceRatio", restart, Range::Between(10, 85);
        /// Part of the disk in percent above which messages are refused.
        disk_refuse_percent: u64 = 95, "", restart, Range::Between(90, 99);
    }
}

/// A durability as operators and RocketMQ write it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise(pub(crate) Durability);

impl stdx::config::Value for Promise {
    const KIND: &'static str = "memory or disk (ASYNC_FLUSH, SYNC_FLUSH)";
    fn read(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "memory" | "async_flush" => Ok(Promise(Durability::Memory)),
            "disk" | "sync_flush" => Ok(Promise(Durability::Disk)),
            _ => Err(format!("'{text}' is not a durability: use memory or disk (ASYNC_FLUSH, SYNC_FLUSH)")),
        }
    }
    fn print(&self) -> String {
        match self.0 {
            Durability::Memory => "memory".into(),
            Durability::Disk => "disk".into(),
        }
    }
}

/// Hours of a day.
#[derive(Clone, Debug)]
pub(crate) struct Hours(pub(crate) Vec<u8>);

impl stdx::config::Value for Hours {
    const KIND: &'static str = "hours from 0 to 23, joined by semicolons";
    fn read(text: &str) -> Result<Self, String> {
        let hours = text.split(';').map(str::trim).filter(|hour| !hour.is_empty());
        let hours = hours.map(|hour| {
            hour.parse::<u8>()
                .ok()
                .filter(|hour| *hour < 24)
                .ok_or_else(|| format!("'{hour}' is not an hour: write 0 to 23, joined by semicolons"))
        });
        hours.collect::<Result<_, _>>().map(Hours)
    }
    fn print(&self) -> String {
        self.0.iter().map(|hour| format!("{hour:02}")).collect::<Vec<_>>().join(";")
    }
}

impl NodeConfig {
    /// The broker's second port; none when the first is drawn or leaves no room below.
    pub(crate) fn fast_port(&self) -> Option<u16> {
        let below = || self.broker_port.checked_sub(2);
        self.fast_port.or_else(below).filter(|port| *port > 0)
    }
}

/// Where figures are, unless it is said otherwise: where RocketMQ's are.
const METRICS_PORT: u16 = 5557;

impl NodeConfig {
    /// The port of the figures; none when nobody wants it, or could know it.
    pub(crate) fn metrics_port(&self) -> Option<u16> {
        let usual = (self.broker_port > 0).then_some(METRICS_PORT);
        self.metrics_port.or(usual).filter(|_| self.metrics)
    }
}

impl LogConfig {
    /// What the store is told.
    pub(crate) fn store(&self, dir: &Path, max_message: ByteSize) -> StoreConfig {
        let mut config = StoreConfig::new(dir);
        config.stage_dir = self.stage_dir.clone();
        config.segment_size = self.segment_size.0;
        config.stages_max = self.stages_max;
        config.page_cache = self.page_cache.0;
        config.durability = self.durability.0;
        config.flush_interval = self.flush_interval;
        config.max_message = usize::try_from(max_message.0).unwrap_or(usize::MAX);
        config.readers = self.readers;
        config.retention.reserved = Duration::from_secs(self.reserved_hours.saturating_mul(3600));
        config.retention.delete_when = self.delete_when.0.clone();
        config.compact_after = self.compact_after;
        config.keys_max = self.compacted_keys_max;
        config.retention.clean_ratio = self.disk_clean_percent as f64 / 100.0;
        config.retention.refuse_ratio = self.disk_refuse_percent as f64 / 100.0;
        config
    }
}

/// What RocketMQ 5.5.0's servers can be told, ours or not.
const ROCKETMQ_KEYS: &str = include_str!("config/rocketmq-keys.txt");

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf, usize),
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "${name}"),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// All sections of a server process, with the origin of each value that is not a default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) node: NodeConfig,
    pub(crate) log: LogConfig,
    pub(crate) broker: BrokerConfig,
    pub(crate) namesrv: NameServerConfig,
    origins: BTreeMap<&'static str, Origin>,
    /// Keys that have no effect, as sentences.
    pub(crate) warnings: Vec<String>,
}

/// All that is wrong with a configuration, one sentence each.
#[derive(Debug)]
pub(crate) struct ConfigError(pub(crate) Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// One assignment before it is understood.
struct Assignment {
    name: String,
    text: String,
    origin: Origin,
}

impl Config {
    /// Puts the configuration together; `flags` are pairs of key and text in the order given.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let mut problems = Vec::new();
        let mut assignments = match file.map(read_file).transpose() {
            Ok(assignments) => assignments.unwrap_or_default(),
            Err(problem) => return Err(ConfigError(vec![problem])),
        };
        assignments.extend(environment.filter_map(|(name, text)| {
            let key = name.strip_prefix("KIRUNA_")?.to_ascii_lowercase();
            // Variables that only look like ours (KIRUNA_TEST_…, KIRUNA_LOG) are none of our business.
            config.key(&key).is_some().then(|| Assignment {
                name: key,
                text,
                origin: Origin::Environment(name.clone()),
            })
        }));
        assignments.extend(flags.iter().map(|(name, text)| Assignment {
            name: name.clone(),
            text: text.clone(),
            origin: Origin::Flag(format!("--set {name}")),
        }));
        for assignment in assignments {
            if let Err(problem) = config.assign(assignment) {
                problems.push(problem);
            }
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError(problems)) }
    }

    fn assign(&mut self, Assignment { name, text, origin }: Assignment) -> Result<(), String> {
        // `store.durability` and `durability` name the same key.
        let plain = name.rsplit('.').next().unwrap_or(&name);
        let outcome = self
            .node
            .set(plain, &text)
            .or_else(|| self.log.set(plain, &text))
            .or_else(|| self.broker.set(plain, &text))
            .or_else(|| self.namesrv.set(plain, &text));
        match outcome {
            None if ROCKETMQ_KEYS.lines().any(|known| known == plain) => {
                self.warnings
                    .push(format!("{origin}: '{name}' is a key of RocketMQ's that has no effect here"));
                Ok(())
            }
            None => {
                let near = nearest(plain, self.keys()).map(|key| format!(" (did you mean '{key}'?)"));
                Err(format!("{origin}: '{name}' is not a key{}", near.unwrap_or_default()))
            }
            Some(Err(problem)) => Err(format!("{origin}: {name}: {problem}")),
            Some(Ok(())) => {
                if let Some(key) = self.key(plain) {
                    self.origins.insert(key.name, origin);
                }
                Ok(())
            }
        }
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name || (!key.alias.is_empty() && key.alias == name))
    }

    /// Every section: what it is about and its keys.
    pub(crate) fn sections() -> impl Iterator<Item = (&'static str, &'static [Key])> {
        let own = [(NodeConfig::ABOUT, NodeConfig::KEYS), (LogConfig::ABOUT, LogConfig::KEYS)];
        let namesrv = [(NameServerConfig::ABOUT, NameServerConfig::KEYS)];
        own.into_iter().chain(BrokerConfig::sections()).chain(namesrv)
    }

    /// Every key of every section.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        Config::sections().flat_map(|(_, keys)| keys)
    }

    /// A key's value and where it came from.
    pub(crate) fn value(&self, key: &Key) -> (String, Origin) {
        let text = self
            .node
            .get(key.name)
            .or_else(|| self.log.get(key.name))
            .or_else(|| self.broker.get(key.name))
            .or_else(|| self.namesrv.get(key.name));
        (text.unwrap_or_default(), self.origins.get(key.name).cloned().unwrap_or(Origin::Default))
    }
}

/// Reads TOML when the name ends in `.toml`, else `key=value` lines as in RocketMQ's `broker.conf`.
fn read_file(path: &Path) -> Result<Vec<Assignment>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if path.extension().is_some_and(|extension| extension == "toml") {
        let table = text.parse::<toml::Table>().map_err(|error| format!("{}: {error}", path.display()))?;
        let mut assignments = Vec::new();
        flatten(&table, "", path, &text, &mut assignments);
        return Ok(assignments);
    }
    Ok(properties(path, &text))
}

fn flatten(table: &toml::Table, prefix: &str, path: &Path, text: &str, out: &mut Vec<Assignment>) {
    for (name, value) in table {
        let full = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(inner, &full, path, text, out),
            value => {
                let line =
                    text.lines().position(|line| line.trim_start().starts_with(name.as_str())).unwrap_or(0);
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                out.push(Assignment {
                    name: full,
                    text: value,
                    origin: Origin::File(path.to_owned(), line + 1),
                });
            }
        }
    }
}

fn properties(path: &Path, text: &str) -> Vec<Assignment> {
    let lines = text.lines().enumerate().map(|(index, line)| (index, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', '!']))
        .map(|(index, line)| {
            let (name, text) = line.split_once(['=', ':']).unwrap_or((line, ""));
            let origin = Origin::File(path.to_owned(), index + 1);
            Assignment { name: name.trim().to_owned(), text: text.trim().to_owned(), origin }
        })
        .collect()
}

/// The known name with the fewest edits to `name`, when it is close enough to be a slip.
fn nearest(name: &str, keys: impl Iterator<Item = &'static Key>) -> Option<&'static str> {
    keys.flat_map(|key| [key.name, key.alias])
        .filter(|known| !known.is_empty())
        .map(|known| (distance(&name.to_lowercase(), &known.to_lowercase()), known))
        .min()
        .filter(|(edits, _)| *edits <= 1 + name.len() / 5)
        .map(|(_, known)| known)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let cost = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, name: &str, flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(name);
        std::fs::write(&path, file).expect("a file can be written");
        let flags: Vec<_> = flags.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let environment =
            [("KIRUNA_CLUSTER".to_owned(), "env".to_owned()), ("KIRUNA_TEST".to_owned(), "x".to_owned())];
        Config::load(Some(&path), environment.into_iter(), &flags)
    }

    #[test]
    fn later_sources_win_and_are_named() {
        let config =
            load("brokerClusterName=file\n# note\nlistenPort = 1\n", "broker.conf", &[("broker_port", "2")]);
        let config = config.expect("a good configuration");
        assert_eq!((config.broker.identity.cluster.as_str(), config.node.broker_port), ("env", 2));
        let port = config.key("listenPort").expect("a known key");
        assert_eq!(config.value(port).1.to_string(), "--set broker_port");
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn toml_sections_are_flattened() {
        let text = "[broker]\nname = \"b\"\nid = 3\n[log]\ndurability = \"disk\"\n";
        let config = load(text, "k.toml", &[]).expect("a good configuration");
        assert_eq!((config.broker.identity.name.as_str(), config.broker.identity.id), ("b", 3));
        assert_eq!(config.log.durability.0, Durability::Disk);
    }

    #[test]
    fn no_key_is_declared_twice() {
        let mut names = std::collections::HashSet::new();
        for key in Config::default().keys() {
            assert!(names.insert(key.name), "{} is declared twice", key.name);
            assert!(key.alias.is_empty() || names.insert(key.alias), "{} is declared twice", key.alias);
        }
    }

    #[test]
    fn slips_are_reported_with_the_nearest_name() {
        let said =
            |text, name, flags: &[(&str, &str)]| load(text, name, flags).expect_err("an error").0.join("; ");
        let slip = said("brokerClusterNam=x\n", "broker.conf", &[]);
        assert!(
            slip.ends_with(
                "broker.conf:1: 'brokerClusterNam' is not a key (did you mean 'brokerClusterName'?)"
            ),
            "{slip}"
        );
        let slip = said("[log]\ndurabilty = \"disk\"\n", "k.toml", &[]);
        assert!(
            slip.ends_with("k.toml:2: 'log.durabilty' is not a key (did you mean 'durability'?)"),
            "{slip}"
        );
        let slip = said("", "k.toml", &[("broker_prot", "1")]);
        assert_eq!(slip, "--set broker_prot: 'broker_prot' is not a key (did you mean 'broker_port'?)");
    }

    #[test]
    fn a_configuration_of_rocketmq_starts_and_what_has_no_effect_is_said() {
        let text = "brokerName=b\nbrokerRole=ASYNC_MASTER\ndeleteWhen=04\nflushDiskType=ASYNC_FLUSH\n";
        let config = load(text, "broker.conf", &[]).expect("a good configuration");
        assert_eq!(
            (config.broker.identity.name.as_str(), config.log.delete_when.0.as_slice()),
            ("b", &[4][..])
        );
        let [warning] = config.warnings.as_slice() else { panic!("one warning: {:?}", config.warnings) };
        assert!(
            warning.ends_with("broker.conf:2: 'brokerRole' is a key of RocketMQ's that has no effect here")
        );
    }

    #[test]
    fn what_a_key_may_be_is_kept() {
        let said = |key: &str, text: &str| {
            load("", "k.toml", &[(key, text)]).expect_err("out of range").0.join("; ")
        };
        assert_eq!(
            said("max_message", "5MiB"),
            "--set max_message: max_message: '5242880' is out of range: 1 to 4194304"
        );
        for key in Config::default().keys() {
            assert!(key.doc.trim().ends_with(['.', ':']), "{} is described in sentences", key.name);
            let too_small = match key.range {
                Range::Any => continue,
                Range::NotEmpty => " ".to_owned(),
                Range::AtLeast(low) => (low - 1).to_string(),
                Range::Between(0, high) => (high + 1).to_string(),
                Range::Between(low, high) => {
                    assert!(
                        said(key.name, &(high + 1).to_string()).contains(" out of range"),
                        "{}",
                        key.name
                    );
                    (low - 1).to_string()
                }
            };
            assert!(said(key.name, &too_small).contains(" out of range"), "{}", key.name);
        }
    }

    #[test]
    fn every_default_can_be_written_down_and_served() {
        let config = Config::default();
        let flags: Vec<(String, String)> =
            config.keys().map(|key| (key.name.to_owned(), config.value(key).0)).collect();
        let again = Config::load(None, std::iter::empty(), &flags).expect("a good configuration");
        assert!(again.keys().all(|key| again.value(key).0 == config.value(key).0));
        assert_eq!(again.broker.validate(), Vec::<String>::new());
        let store = again.log.store(&again.node.data_dir, again.broker.sending.max_message);
        assert_eq!(store.problems(), Vec::<String>::new());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = load("listenPort=x\nbrokerId=y\n", "broker.conf", &[]).expect_err("two bad values");
        assert_eq!(error.0.len(), 2);
    }
}
