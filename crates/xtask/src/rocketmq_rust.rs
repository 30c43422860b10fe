// SPDX-License-Identifier: Apache-2.0
//! The servers of `rocketmq-rust` as a peer: built once from crates.io as they were published, with the lock file that they
//! came with, started on loopback in a directory of their own, stopped again. Never linked, never shipped.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::apache;
use crate::process::{Owned, Signals};
use crate::shell;

/// The version that is compared.
pub(crate) const VERSION: &str = "1.0.0";
/// Packages on crates.io and the programs in them.
const PROGRAMS: [(&str, &str); 2] =
    [("rocketmq-namesrv", "rocketmq-namesrv-rust"), ("rocketmq-broker", "rocketmq-broker-rust")];
/// How long the name server may take to answer on its port.
const START: Duration = Duration::from_secs(30);

/// A name server and a broker of `rocketmq-rust`.
pub(crate) struct RocketmqRust {
    // Dropped in this order: the broker still talks to its name server.
    broker: Option<Owned>,
    namesrv: Option<Owned>,
    dir: PathBuf,
    programs: PathBuf,
    namesrv_port: u16,
    broker_port: u16,
}

impl RocketmqRust {
    /// Starts the name server and writes the broker's configuration.
    pub(crate) fn prepare(label: &str, sync: bool, signals: &Signals) -> Result<RocketmqRust> {
        let programs = programs()?;
        let dir = std::env::temp_dir().join(format!("kiruna-rocketmq-rust-{label}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        let (namesrv_port, broker_port) = (apache::free_port()?, apache::broker_port()?);
        let mut peer = RocketmqRust { broker: None, namesrv: None, dir, programs, namesrv_port, broker_port };
        fs::write(peer.dir.join("broker.toml"), peer.conf(sync))?;
        let dir = peer.dir.display();
        let conf = format!(
            "rocketmqHome = \"{dir}\"\nkvConfigPath = \"{dir}/kv.json\"\nconfigStorePath = \"{dir}/namesrv.properties\"\n"
        );
        fs::write(peer.dir.join("namesrv.toml"), conf)?;
        let port = namesrv_port.to_string();
        let args = ["-c", "namesrv.toml", "--listenPort", &port, "--bindAddress", "127.0.0.1"];
        let mut namesrv = peer.spawn(0, &args)?;
        let end = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", namesrv_port)).is_err() {
            namesrv.check().with_context(|| peer.said("namesrv"))?;
            if Instant::now() > end {
                bail!("its name server does not answer on its port within {} s", START.as_secs());
            }
            signals.pause(Duration::from_millis(50))?;
        }
        peer.namesrv = Some(namesrv);
        Ok(peer)
    }

    /// A master alone, with its defaults otherwise; its high-availability port is named because it must differ.
    fn conf(&self, sync: bool) -> String {
        let (dir, port, namesrv) = (self.dir.display(), self.broker_port, self.namesrv());
        let flush = if sync { "flushDiskType = \"SYNC_FLUSH\"\n" } else { "" };
        format!(
            "[broker]\nnamesrvAddr = \"{namesrv}\"\nbrokerIp1 = \"127.0.0.1\"\nlistenPort = {port}\n\
             storePathRootDir = \"{dir}/store\"\n\n[broker.brokerServerConfig]\nbindAddress = \"127.0.0.1\"\n\n\
             [broker.brokerIdentity]\nbrokerName = \"broker-a\"\nbrokerClusterName = \"DefaultCluster\"\nbrokerId = 0\n\n\
             [store]\nbrokerRole = \"ASYNC_MASTER\"\nstorePathRootDir = \"{dir}/store\"\nhaListenAddress = \"127.0.0.1\"\n\
             haListenPort = {}\n{flush}",
            port + 1
        )
    }

    /// Starts the broker, and returns at once.
    pub(crate) fn spawn_broker(&mut self) -> Result<()> {
        self.broker = None;
        let namesrv = self.namesrv();
        self.broker = Some(self.spawn(1, &["-c", "broker.toml", "-n", &namesrv])?);
        Ok(())
    }

    fn spawn(&self, which: usize, args: &[&str]) -> Result<Owned> {
        let (package, program) = PROGRAMS[which];
        let log = File::create(self.dir.join(format!("{}.log", package.trim_start_matches("rocketmq-"))))?;
        let mut command = Command::new(self.programs.join(program));
        command
            .args(args)
            .env("ROCKETMQ_HOME", &self.dir)
            .env("ROCKETMQ_SECURITY_PROFILE", "development-insecure-loopback")
            .current_dir(&self.dir)
            .stdout(log.try_clone()?)
            .stderr(log);
        Owned::start(command)
    }

    /// Ends the broker as `kill -9` does.
    pub(crate) fn kill_broker(&mut self) {
        self.broker = None;
    }

    /// Address of the name server.
    pub(crate) fn namesrv(&self) -> String {
        format!("127.0.0.1:{}", self.namesrv_port)
    }

    /// Address of the broker.
    pub(crate) fn broker(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.broker_port))
    }

    /// The broker's process, while it runs.
    pub(crate) fn pid(&mut self) -> Result<u32> {
        let said = self.said("broker");
        let broker = self.broker.as_mut().context("the broker of rocketmq-rust was not started")?;
        broker.check().context(said)?;
        Ok(broker.pid())
    }

    /// Everything the broker stores.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// The last line that a server printed.
    fn said(&self, which: &str) -> String {
        let log = fs::read_to_string(self.dir.join(format!("{which}.log"))).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        plain(last.unwrap_or("it printed nothing").trim())
    }
}

impl Drop for RocketmqRust {
    fn drop(&mut self) {
        self.broker = None;
        self.namesrv = None;
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A line without the colours of a terminal.
fn plain(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// The folder with both programs.
fn root() -> Result<PathBuf> {
    Ok(std::path::absolute(shell::target().join("peers/rocketmq-rust"))?)
}

/// Whether both programs are there.
pub(crate) fn is_built() -> bool {
    root().is_ok_and(|root| PROGRAMS.iter().all(|(_, program)| root.join("bin").join(program).is_file()))
}

/// The folder with both programs; built once, which takes an hour on two cores.
pub(crate) fn programs() -> Result<PathBuf> {
    let root = root()?;
    for (package, program) in PROGRAMS {
        if !root.join("bin").join(program).is_file() {
            install(&root, package).with_context(|| format!("{package} {VERSION} could not be built"))?;
        }
    }
    Ok(root.join("bin"))
}

fn install(root: &Path, package: &str) -> Result<()> {
    eprintln!("building {package} {VERSION} from crates.io, once");
    let mut install = shell::command("cargo", &["install", "--quiet", "--locked", "--root"]);
    install.arg(root).arg("--target-dir").arg(root.with_file_name("build"));
    install.arg(format!("{package}@{VERSION}"));
    shell::run(install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out() {
        assert_eq!(plain("\u{1b}[2m12:00\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m no room"), "12:00 ERROR no room");
        assert_eq!(plain("plain"), "plain");
    }
}
