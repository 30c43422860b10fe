// SPDX-License-Identifier: Apache-2.0
//! Apache RocketMQ's own servers as a peer: fetched through Maven, started on loopback in a directory of their own,
//! stopped again. Never linked, never shipped.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell;

/// How long a server may take to answer on its port.
const START: Duration = Duration::from_secs(90);

/// A running name server and broker of Apache's.
pub(crate) struct Apache {
    dir: PathBuf,
    children: Vec<Child>,
    /// Address of the name server.
    pub(crate) namesrv: String,
    /// Process of the broker.
    pub(crate) broker_pid: u32,
}

impl Apache {
    /// Fetches the jars when they are not there yet, and starts both servers. `extra` lines go into `broker.conf`.
    pub(crate) fn start(extra: &[&str]) -> Result<Apache> {
        let jars = jars()?;
        let dir = std::env::temp_dir().join(format!("kiruna-apache-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        let (namesrv_port, broker_port) = (free_port()?, broker_port()?);
        let namesrv = format!("127.0.0.1:{namesrv_port}");
        std::fs::write(dir.join("namesrv.conf"), format!("listenPort={namesrv_port}\n"))?;
        let mut conf = format!(
            "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\nbrokerIP1=127.0.0.1\n\
             listenPort={broker_port}\nnamesrvAddr={namesrv}\nstorePathRootDir={}\n",
            dir.join("store").display()
        );
        extra.iter().for_each(|line| conf.push_str(&format!("{line}\n")));
        std::fs::write(dir.join("broker.conf"), conf)?;
        let mut apache = Apache { dir, children: Vec::new(), namesrv, broker_pid: 0 };
        apache.java(
            &jars,
            &["-Xms256m", "-Xmx256m"],
            "org.apache.rocketmq.namesrv.NamesrvStartup",
            "namesrv.conf",
        )?;
        await_port(namesrv_port)?;
        let heap = ["-Xms2g", "-Xmx2g", "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=4g", "-XX:+AlwaysPreTouch"];
        apache.broker_pid =
            apache.java(&jars, &heap, "org.apache.rocketmq.broker.BrokerStartup", "broker.conf")?;
        await_port(broker_port)?;
        Ok(apache)
    }

    fn java(&mut self, jars: &Path, options: &[&str], class: &str, conf: &str) -> Result<u32> {
        let log = File::create(self.dir.join(format!("{conf}.log")))?;
        let child = Command::new("java")
            .args(options)
            .arg(format!("-Duser.home={}", self.dir.display()))
            .arg("-cp")
            .arg(jars.join("*"))
            .args([class, "-c", conf])
            .env("ROCKETMQ_HOME", &self.dir)
            .current_dir(&self.dir)
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start java")?;
        let pid = child.id();
        self.children.push(child);
        Ok(pid)
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        while let Some(mut child) = self.children.pop() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn jars() -> Result<PathBuf> {
    let jars = shell::target().join("apache");
    if !jars.is_dir() {
        let mut fetch = Command::new("mvn");
        fetch.args(["-q", "-B", "dependency:copy-dependencies"]);
        fetch.arg(format!("-DoutputDirectory={}", jars.display()));
        fetch.current_dir(shell::root().join("interop/apache"));
        shell::run(fetch)?;
    }
    Ok(jars)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A broker also takes the port two below its own and the one above.
fn broker_port() -> Result<u16> {
    for _ in 0..100 {
        let port = free_port()?;
        let near = [port - 2, port, port + 1].map(|port| TcpListener::bind(("127.0.0.1", port)));
        if near.iter().all(Result::is_ok) {
            return Ok(port);
        }
    }
    bail!("no three free ports for a broker")
}

fn await_port(port: u16) -> Result<()> {
    let end = Instant::now() + START;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > end {
            bail!("nothing answers on port {port} after {} s", START.as_secs());
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    Ok(())
}
