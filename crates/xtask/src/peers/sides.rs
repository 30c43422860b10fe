// SPDX-License-Identifier: Apache-2.0
//! The servers that are compared, behind one set of verbs, so that nothing is done to one side that is not done to the
//! other.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::machine;
use crate::apache::{self, Apache};
use crate::interop;
use crate::process::{Owned, Signals};
use crate::rocketmq_rust::RocketmqRust;

/// How long a server may take until it accepts a message.
const START: Duration = Duration::from_secs(120);

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Apache,
    RocketmqRust,
    Kiruna,
}

impl Side {
    /// As `--peers` and the page call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Apache => "apache",
            Side::RocketmqRust => "rocketmq-rust",
            Side::Kiruna => "kiruna",
        }
    }
}

/// How a server is started, or made ready, for a kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// With its defaults.
    Plain,
    /// It answers only when the device has the message.
    Sync,
    /// It has one core, and shares it with the load.
    OneCore,
    /// It has many topics.
    Topics,
    /// It has a long log, which nobody has read since.
    Cold,
}

/// The core that both ends share where they have one: the last, because interrupts prefer the first.
pub(crate) fn one_core() -> String {
    std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1).to_string()
}

/// A command that runs on [`one_core`] alone, or anywhere.
pub(crate) fn placed(program: &Path, kind: Kind) -> Command {
    if kind != Kind::OneCore {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &one_core()]).arg(program);
    command
}

/// A broker with its name server, empty at first; gone with everything it stored when dropped.
pub(crate) enum Server {
    Apache(Apache),
    RocketmqRust(RocketmqRust),
    Kiruna(Kiruna),
}

impl Server {
    /// Makes ready what is needed to start one.
    pub(crate) fn prepare(side: Side, label: &str, kind: Kind, lab: &Lab<'_>) -> Result<Server> {
        let sync = kind == Kind::Sync;
        Ok(match side {
            Side::Apache => {
                // SQL92 is off by default there; where nobody uses it, it changes nothing.
                let sql = "enablePropertyFilter=true";
                let extra: &[&str] = if sync { &[sql, "flushDiskType=SYNC_FLUSH"] } else { &[sql] };
                Server::Apache(Apache::prepare(label, extra, lab.signals)?)
            }
            Side::RocketmqRust => Server::RocketmqRust(RocketmqRust::prepare(label, sync, lab.signals)?),
            Side::Kiruna => Server::Kiruna(Kiruna::prepare(label, kind, lab.kiruna)?),
        })
    }

    /// Starts the process; returns how long it took until it accepted a message, seen from outside.
    pub(crate) fn start(&mut self, signals: &Signals) -> Result<Duration> {
        let started = Instant::now();
        match self {
            Server::Apache(apache) => apache.spawn_broker()?,
            Server::RocketmqRust(peer) => peer.spawn_broker()?,
            Server::Kiruna(kiruna) => kiruna.spawn()?,
        }
        while !accepts(self.broker())? {
            self.pid()?;
            if started.elapsed() > START {
                bail!("no message was accepted within {} s of the start", START.as_secs());
            }
            signals.pause(Duration::from_millis(2))?;
        }
        Ok(started.elapsed())
    }

    /// Ends the broker as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        match self {
            Server::Apache(apache) => apache.kill_broker(),
            Server::RocketmqRust(peer) => peer.kill_broker(),
            Server::Kiruna(kiruna) => kiruna.process = None,
        }
    }

    /// Asks ours to end in order, and waits until it has.
    pub(crate) fn stop(&mut self, signals: &Signals) -> Result<()> {
        let Server::Kiruna(kiruna) = self else { bail!("only our server is stopped in order here") };
        let process = kiruna.process.take().context("the server was not started")?;
        process.terminate(signals, START)
    }

    pub(crate) fn namesrv(&self) -> String {
        match self {
            Server::Apache(apache) => apache.namesrv(),
            Server::RocketmqRust(peer) => peer.namesrv(),
            Server::Kiruna(kiruna) => format!("127.0.0.1:{}", kiruna.namesrv_port),
        }
    }

    fn broker(&self) -> SocketAddr {
        match self {
            Server::Apache(apache) => apache.broker(),
            Server::RocketmqRust(peer) => peer.broker(),
            Server::Kiruna(kiruna) => SocketAddr::from(([127, 0, 0, 1], kiruna.broker_port)),
        }
    }

    /// Its process; fails when it has ended.
    pub(crate) fn pid(&mut self) -> Result<u32> {
        match self {
            Server::Apache(apache) => apache.pid(),
            Server::RocketmqRust(peer) => peer.pid(),
            Server::Kiruna(kiruna) => kiruna.pid(),
        }
    }

    /// Everything it stores on the disk.
    pub(crate) fn store(&self) -> PathBuf {
        match self {
            Server::Apache(apache) => apache.store(),
            Server::RocketmqRust(peer) => peer.store(),
            Server::Kiruna(kiruna) => kiruna.data(),
        }
    }

    /// Megabytes of memory, mapped files of the store left out, stages in shared memory counted.
    pub(crate) fn memory(&mut self) -> Result<f64> {
        let (pid, store) = (self.pid()?, self.store());
        let stages = if let Server::Kiruna(kiruna) = self { interop::stages(&kiruna.data()) } else { None };
        let shared = stages.as_deref().map_or(0, machine::taken) as f64 / 1e6;
        Ok(machine::memory(pid, &store, stages.as_deref())? + shared)
    }
}

/// What servers are made with.
#[derive(Clone, Copy)]
pub(crate) struct Lab<'a> {
    pub(crate) signals: &'a Signals,
    pub(crate) kiruna: &'a Path,
    /// The program whose `bench` makes the load.
    pub(crate) generator: &'a Path,
}

/// Our server.
pub(crate) struct Kiruna {
    process: Option<Owned>,
    program: PathBuf,
    dir: PathBuf,
    kind: Kind,
    namesrv_port: u16,
    broker_port: u16,
}

impl Kiruna {
    fn prepare(label: &str, kind: Kind, program: &Path) -> Result<Kiruna> {
        let dir = std::env::temp_dir().join(format!("kiruna-peers-{label}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        let (namesrv_port, broker_port) = (apache::free_port()?, apache::free_port()?);
        Ok(Kiruna { process: None, program: program.to_owned(), dir, kind, namesrv_port, broker_port })
    }

    fn spawn(&mut self) -> Result<()> {
        self.process = None;
        let mut command = placed(&self.program, self.kind);
        command.arg("standalone").arg("--data-dir").arg(self.data());
        for (face, port) in [("namesrv", self.namesrv_port), ("broker", self.broker_port)] {
            command.args([format!("--{face}-port"), port.to_string()]);
        }
        for face in ["grpc", "proxy", "metrics", "console"] {
            command.args([format!("--{face}-port"), "0".to_owned()]);
        }
        if self.kind == Kind::Sync {
            command.args(["--set", "durability=disk"]);
        }
        command.stdout(Stdio::null()).stderr(File::create(self.dir.join("server.log"))?);
        self.process = Some(Owned::start(command)?);
        Ok(())
    }

    fn pid(&mut self) -> Result<u32> {
        let log = self.dir.join("server.log");
        let process = self.process.as_mut().context("the server was not started")?;
        process.check().with_context(|| fs::read_to_string(log).unwrap_or_default())?;
        Ok(process.pid())
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
}

impl Drop for Kiruna {
    fn drop(&mut self) {
        self.process = None;
        if let Some(stages) = interop::stages(&self.data()) {
            let _ = fs::remove_dir_all(stages);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The server that stores nothing.
pub(crate) struct Echo {
    process: Owned,
    pub(crate) address: String,
}

impl Echo {
    pub(crate) fn start(kind: Kind, lab: &Lab<'_>) -> Result<Echo> {
        let mut command = placed(lab.generator, kind);
        command.args(["bench", "echo"]).stdout(Stdio::piped());
        let mut process = Owned::start(command)?;
        let mut line = String::new();
        BufReader::new(process.stdout()?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("ready echo=");
        let address = address.with_context(|| format!("echo printed '{line}'"))?.to_owned();
        Ok(Echo { process, address })
    }

    pub(crate) fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Sends one small message and returns true when it was accepted. A server that is not there yet is no error.
fn accepts(broker: SocketAddr) -> Result<bool> {
    let Ok(mut stream) = TcpStream::connect(broker) else { return Ok(false) };
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(exchange(&mut stream).is_ok_and(|code| code == Some(0)))
}

/// One request and its answer's code.
fn exchange(stream: &mut TcpStream) -> Result<Option<i64>> {
    let fields = json!({
        "a": "peers", "b": "KirunaReady", "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "1", "h": "0", "i": "",
        "j": "0", "k": "false", "l": "0", "m": "false",
    });
    let header = json!({
        "code": 310, "language": "JAVA", "version": 513, "opaque": 1, "flag": 0, "extFields": fields,
        "serializeTypeCurrentRPC": "JSON",
    });
    let (header, body) = (header.to_string(), b"ready?");
    let length = u32::try_from(header.len())?;
    let mut frame = (4 + length + 6).to_be_bytes().to_vec();
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(body);
    stream.write_all(&frame)?;
    let mut sizes = [0; 8];
    stream.read_exact(&mut sizes)?;
    let header_len = u32::from_be_bytes([0, sizes[5], sizes[6], sizes[7]]) as usize;
    let mut answer = vec![0; header_len];
    stream.read_exact(&mut answer)?;
    let answer: Value = serde_json::from_slice(&answer).context("the answer's header")?;
    Ok(answer["code"].as_i64())
}
