// SPDX-License-Identifier: Apache-2.0
//! Apache RocketMQ's own servers as a peer: fetched through Maven, started on loopback in a directory of their own,
//! stopped again. Never linked, never shipped.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{Owned, Signals};
use crate::shell;

/// How long a server may take to answer on its port.
const START: Duration = Duration::from_secs(90);
/// How the broker's Java is started.
pub(crate) const HEAP: [&str; 5] =
    ["-Xms2g", "-Xmx2g", "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=4g", "-XX:+AlwaysPreTouch"];

/// A name server and a broker of Apache's.
pub(crate) struct Apache {
    // Dropped in this order: the broker still talks to its name server.
    broker: Option<Owned>,
    namesrv: Option<Owned>,
    dir: PathBuf,
    jars: PathBuf,
    namesrv_port: u16,
    broker_port: u16,
}

impl Apache {
    /// Fetches the jars when they are not there yet, and starts the name server. `extra` lines go into `broker.conf`.
    pub(crate) fn prepare(label: &str, extra: &[&str], signals: &Signals) -> Result<Apache> {
        let jars = jars()?;
        let dir = std::env::temp_dir().join(format!("kiruna-apache-{label}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        let (namesrv_port, broker_port) = (free_port()?, broker_port()?);
        let mut apache = Apache { broker: None, namesrv: None, dir, jars, namesrv_port, broker_port };
        fs::write(apache.dir.join("namesrv.conf"), format!("listenPort={namesrv_port}\n"))?;
        let mut conf = format!(
            "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\nbrokerIP1=127.0.0.1\n\
             listenPort={broker_port}\nnamesrvAddr={}\nstorePathRootDir={}\n",
            apache.namesrv(),
            apache.store().display()
        );
        extra.iter().for_each(|line| conf.push_str(&format!("{line}\n")));
        fs::write(apache.dir.join("broker.conf"), conf)?;
        let class = "org.apache.rocketmq.namesrv.NamesrvStartup";
        let mut namesrv = apache.java(&["-Xms256m", "-Xmx256m"], class, "namesrv.conf")?;
        apache.await_port(namesrv_port, &mut namesrv, signals)?;
        apache.namesrv = Some(namesrv);
        Ok(apache)
    }

    /// Starts the broker, and returns at once.
    pub(crate) fn spawn_broker(&mut self) -> Result<()> {
        self.broker = None;
        self.broker = Some(self.java(&HEAP, "org.apache.rocketmq.broker.BrokerStartup", "broker.conf")?);
        Ok(())
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
        let broker = self.broker.as_mut().context("Apache's broker was not started")?;
        broker.check().with_context(|| format!("see {}", self.dir.join("broker.conf.log").display()))?;
        Ok(broker.pid())
    }

    /// Everything the broker stores.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    fn java(&self, options: &[&str], class: &str, conf: &str) -> Result<Owned> {
        let log = File::create(self.dir.join(format!("{conf}.log")))?;
        let mut java = Command::new("java");
        java.args(options)
            .arg(format!("-Duser.home={}", self.dir.display()))
            .arg("-cp")
            .arg(self.jars.join("*"))
            .args([class, "-c", conf])
            .env("ROCKETMQ_HOME", &self.dir)
            .current_dir(&self.dir)
            .stdout(log.try_clone()?)
            .stderr(log);
        Owned::start(java)
    }

    fn await_port(&self, port: u16, server: &mut Owned, signals: &Signals) -> Result<()> {
        let end = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            server.check().with_context(|| format!("its log is in {}", self.dir.display()))?;
            if Instant::now() > end {
                bail!("nothing answers on port {port} after {} s", START.as_secs());
            }
            signals.pause(Duration::from_millis(50))?;
        }
        Ok(())
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        self.broker = None;
        self.namesrv = None;
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The folder with Apache's jars; fetched once. It gets its name when it is complete.
fn jars() -> Result<PathBuf> {
    let jars = shell::target().join("apache-5.5.0");
    if !jars.is_dir() {
        if !shell::exists("mvn", "-v") || !shell::exists("java", "-version") {
            bail!("Apache's servers need mvn and java, which are not on this machine");
        }
        let begun = shell::target().join("apache-5.5.0-begun");
        let _ = fs::remove_dir_all(&begun);
        let mut fetch = Command::new("mvn");
        fetch.args(["-q", "-B", "dependency:copy-dependencies"]);
        fetch.arg(format!("-DoutputDirectory={}", absolute(&begun)?.display()));
        fetch.current_dir(shell::root().join("interop/apache"));
        shell::run(fetch)?;
        fs::rename(&begun, &jars).context("keeping Apache's jars")?;
    }
    absolute(&jars)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("where is {}?", path.display()))
}

/// A port that nobody uses.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A broker also takes the port two below its own and the one above.
pub(crate) fn broker_port() -> Result<u16> {
    for _ in 0..100 {
        let port = free_port()?;
        let near = [port - 2, port, port + 1].map(|port| TcpListener::bind(("127.0.0.1", port)));
        if near.iter().all(Result::is_ok) {
            return Ok(port);
        }
    }
    bail!("no three free ports for a broker")
}
