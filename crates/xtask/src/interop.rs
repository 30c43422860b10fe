// SPDX-License-Identifier: Apache-2.0
//! Official RocketMQ clients and tools against a `kiruna standalone` of our own, one fresh server a suite, two suites at a time.
//! A suite whose toolchain is absent is skipped with a line that says so; it is never silently green. Long suites run only
//! when they are named.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::shell;

struct Suite {
    name: &'static str,
    /// The program that must exist, and the flag that makes it print its version.
    needs: (&'static str, &'static str),
    folder: &'static str,
    args: &'static [&'static str],
    /// Starts and stops servers by itself, the program that `$KIRUNA_BIN` names.
    own_server: bool,
    /// Too long for every change: runs only when it is named.
    long: bool,
}

/// Suites that run at a time: each has a server of its own, and most of its time it waits.
const AT_A_TIME: usize = 2;

/// Those that take longest come first, so that the last ones end together.
const SUITES: [Suite; 9] = [
    Suite {
        name: "java-5.5.0",
        needs: ("mvn", "-v"),
        folder: "interop/java",
        args: &["-q", "-B", "test", "-Drocketmq.version=5.5.0"],
        own_server: false,
        long: false,
    },
    Suite {
        name: "mqadmin-5.5.0",
        needs: ("mvn", "-v"),
        folder: "interop/mqadmin",
        args: &["-q", "-B", "test"],
        own_server: false,
        long: false,
    },
    Suite {
        name: "go-v2",
        needs: ("go", "version"),
        folder: "interop/go",
        args: &["test", "-count=1", "./..."],
        own_server: false,
        long: false,
    },
    Suite {
        name: "java-4.9.8",
        needs: ("mvn", "-v"),
        folder: "interop/java",
        args: &["-q", "-B", "test", "-Drocketmq.version=4.9.8"],
        own_server: false,
        long: false,
    },
    Suite {
        name: "rust-sdk",
        needs: ("cargo", "--version"),
        folder: "crates/client",
        args: &["test", "--locked", "--package", "client", "--test", "endpoint"],
        own_server: false,
        long: false,
    },
    // Apache's own store classes and our server read each other's commit log.
    Suite {
        name: "store-5.5.0",
        needs: ("mvn", "-v"),
        folder: "interop/store",
        args: &["-q", "-B", "test"],
        own_server: true,
        long: false,
    },
    // Apache's Spring Boot starter with the client that it brings, and with one that waits for answers to requests.
    Suite {
        name: "spring-2.3.5",
        needs: ("mvn", "-v"),
        folder: "interop/spring",
        args: &["-q", "-B", "test"],
        own_server: false,
        long: false,
    },
    Suite {
        name: "spring-2.3.5-client-5.5.0",
        needs: ("mvn", "-v"),
        folder: "interop/spring",
        args: &["-q", "-B", "test", "-Drocketmq.version=5.5.0", "-Dleft.out="],
        own_server: false,
        long: false,
    },
    // Apache's own integration tests, with our servers in place of those that they would start.
    Suite {
        name: "apache-tests-5.5.0",
        needs: ("mvn", "-v"),
        folder: "interop/apache-tests",
        args: &["-q", "-B", "test"],
        own_server: true,
        long: true,
    },
];

/// Runs the named suites, or all of them but the long ones.
pub(crate) fn run(names: &[String]) -> Result<()> {
    if names.iter().any(|name| name == "--list") {
        SUITES.iter().for_each(|suite| println!("{}", suite.name));
        return Ok(());
    }
    if let Some(unknown) = names.iter().find(|name| !SUITES.iter().any(|suite| suite.name == **name)) {
        bail!("there is no suite '{unknown}'; `cargo xtask interop --list` names them");
    }
    shell::build_kiruna()?;
    let wanted = |suite: &&Suite| match names {
        [] => !suite.long,
        names => names.iter().any(|name| name == suite.name),
    };
    let suites = Mutex::new(SUITES.iter().filter(wanted));
    let next = || suites.lock().unwrap_or_else(PoisonError::into_inner).next();
    let lane = || std::iter::from_fn(next).filter(|suite| !passes(suite)).map(|suite| suite.name).collect();
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let lanes = [(); AT_A_TIME].map(|()| scope.spawn(lane));
        lanes
            .into_iter()
            .flat_map(|lane| -> Vec<&str> { lane.join().expect("a lane does not panic") })
            .collect()
    });
    if !failed.is_empty() {
        bail!("{} failed", failed.join(", "));
    }
    Ok(())
}

/// Runs a suite and tells how it went; a suite that cannot run here counts as passed.
fn passes(suite: &Suite) -> bool {
    if !shell::exists(suite.needs.0, suite.needs.1) {
        println!("SKIPPED {}: {} is not on this machine", suite.name, suite.needs.0);
        return true;
    }
    let started = Instant::now();
    // The official clients have races of their own; a first failure is told, a second one counts. A long suite repeats
    // by itself what failed in it.
    let outcome = match run_suite(suite) {
        Err(error) if !suite.long => {
            println!("FAILED ONCE {}: {error:#}; running it again", suite.name);
            run_suite(suite)
        }
        outcome => outcome,
    };
    let seconds = started.elapsed().as_secs_f64();
    match &outcome {
        Ok(()) => println!("passed {} in {seconds:.0} s", suite.name),
        Err(error) => println!("FAILED {} after {seconds:.0} s: {error:#}", suite.name),
    }
    outcome.is_ok()
}

fn run_suite(suite: &Suite) -> Result<()> {
    let mut command = Command::new(suite.needs.0);
    command.args(suite.args).current_dir(shell::root().join(suite.folder));
    if suite.own_server {
        command.env("KIRUNA_BIN", std::path::absolute(shell::kiruna())?);
        return run_told(suite, "servers of its own", command);
    }
    // Clients that trace need the topic that they write to; and no test waits a quarter of an hour.
    let settings = ["--set", "traceTopicEnable=true", "--set", "compactionScheduleInternal=1000"];
    let server = Server::start(suite.name, &settings)?;
    command.env("KIRUNA_TEST_NAMESRV", &server.namesrv).env("KIRUNA_TEST_BROKER", &server.broker);
    let outcome = run_told(suite, &server.namesrv, command)
        .with_context(|| format!("the server's log is {}", server.log().display()));
    let dir = server.stop()?;
    outcome?;
    if let Some(stages) = stages(&dir.join("data")) {
        let _ = std::fs::remove_dir_all(stages);
    }
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
}

/// Runs a suite's command with a file for what it prints, and prints that in one piece when it ends: another suite prints too.
fn run_told(suite: &Suite, against: &str, mut command: Command) -> Result<()> {
    let folder = shell::root().join("target").join("interop");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(format!("{}.log", suite.name));
    let log = std::fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    println!("== {} against {against}; it prints to {}", suite.name, path.display());
    let outcome = shell::run(command);
    let printed = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    println!("== {} printed:\n{}", suite.name, String::from_utf8_lossy(&printed));
    outcome
}

/// The directory in shared memory that a server noted in its data directory; it stays when the server ends.
pub(crate) fn stages(data: &Path) -> Option<PathBuf> {
    let noted = std::fs::read_to_string(data.join("stages")).ok()?;
    noted.lines().nth(1).map(PathBuf::from)
}

/// A standalone server in a temporary directory on free ports.
pub(crate) struct Server {
    child: Child,
    dir: PathBuf,
    /// Address of its name server.
    pub(crate) namesrv: String,
    broker: String,
}

impl Server {
    /// Starts a server and waits for its `ready` line.
    pub(crate) fn start(label: &str, extra: &[&str]) -> Result<Server> {
        Server::under(&[], label, extra)
    }

    /// Does the same with a program in front that runs it, as valgrind does.
    pub(crate) fn under(program: &[&str], label: &str, extra: &[&str]) -> Result<Server> {
        let dir = std::env::temp_dir().join(format!("kiruna-{label}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let log = std::fs::File::create(dir.join("server.log"))?;
        let kiruna = shell::kiruna();
        let words: Vec<&OsStr> = program.iter().map(OsStr::new).chain([kiruna.as_os_str()]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["standalone", "--data-dir"])
            .arg(dir.join("data"))
            .args(["--namesrv-port", "0", "--broker-port", "0", "--grpc-port", "0", "--proxy-port", "0"])
            .args(["--metrics-port", "0", "--console-port", "0"])
            .args(extra)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", words[0].display()))?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("the server's output is piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let face =
            |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_owned);
        match (face("namesrv="), face("broker=")) {
            (Some(namesrv), Some(broker)) => Ok(Server { child, dir, namesrv, broker }),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
                bail!("the server did not become ready; it printed '{}' and logged:\n{log}", line.trim())
            }
        }
    }

    /// Address of its broker.
    pub(crate) fn broker(&self) -> &str {
        &self.broker
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// Stops the server as an operator would, checks that it ends cleanly and returns its directory.
    pub(crate) fn stop(mut self) -> Result<PathBuf> {
        shell::run(shell::command("kill", &[&self.child.id().to_string()]))?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the server ended with {status} after SIGTERM; its log is {}", self.log().display());
        }
        Ok(std::mem::take(&mut self.dir))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
