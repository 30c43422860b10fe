// SPDX-License-Identifier: Apache-2.0
//! Where processor time goes, from `/proc`: the machine's, this process's and that of the servers that are measured. A system
//! without `/proc` gives nothing. Called by `watch` before and after a span; never while one runs.

use std::fs;
use std::net::{ToSocketAddrs, UdpSocket};

use super::machine::{Processor, Server};

/// The servers that are measured, as processes of this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Servers {
    processes: Vec<u32>,
    /// One runs here and its process was not found.
    is_hidden: bool,
}

impl Servers {
    /// The processes that listen on those of `addresses` that are this machine's.
    pub(super) fn find(addresses: &[String]) -> Servers {
        let mut servers = Servers::default();
        for address in addresses {
            let mut places = address.to_socket_addrs().into_iter().flatten();
            // An address that can be bound is one of this machine.
            let Some(place) = places.find(|place| UdpSocket::bind((place.ip(), 0)).is_ok()) else { continue };
            match process_behind(place.port()) {
                // `echo` runs in this process, which is counted as the load.
                Some(process) if process == std::process::id() || servers.processes.contains(&process) => {}
                Some(process) => servers.processes.push(process),
                None => servers.is_hidden = true,
            }
        }
        servers
    }
}

/// The process that listens on a port, if this user may see it.
fn process_behind(port: u16) -> Option<u32> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let sockets: Vec<String> = tables
        .iter()
        .flat_map(|table| listeners(table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|process: &u32| {
        let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    })
}

/// The inodes of the sockets that listen on a port, from `/proc/net/tcp`.
fn listeners(table: &str, port: u16) -> Vec<u64> {
    let inode = |line: &str| {
        let mut words = line.split_whitespace();
        let (_, local_port) = words.nth(1)?.rsplit_once(':')?;
        let is_listening = words.nth(1)? == "0A";
        let is_meant = is_listening && u16::from_str_radix(local_port, 16) == Ok(port);
        words.nth(5).filter(|_| is_meant)?.parse().ok()
    };
    table.lines().skip(1).filter_map(inode).collect()
}

/// Clock ticks up to one moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    all: u64,
    busy: u64,
    idle: u64,
    steal: u64,
    cores: usize,
    own: u64,
    /// Nothing when one of them cannot be read.
    servers: Option<u64>,
}

impl Sample {
    pub(super) fn take(servers: &Servers) -> Option<Sample> {
        let mut sample = machine(&fs::read_to_string("/proc/stat").ok()?)?;
        sample.own = process(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let ticks = |id: &u32| process(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?);
        sample.servers = servers.processes.iter().map(ticks).sum();
        Some(sample)
    }
}

/// What happened between two samples.
pub(super) fn between(servers: &Servers, before: &Sample, after: &Sample) -> Option<Processor> {
    let all = after.all.checked_sub(before.all).filter(|all| *all > 0)? as f64;
    let ticks = |of: fn(&Sample) -> u64| of(after).saturating_sub(of(before)) as f64;
    let cores = after.cores.max(1);
    let in_cores = |ticks: f64| ticks / all * cores as f64;
    let server = match (servers.is_hidden, before.servers, after.servers) {
        (false, _, _) if servers.processes.is_empty() => Server::Elsewhere,
        (false, Some(before), Some(after)) => Server::Here(in_cores(after.saturating_sub(before) as f64)),
        _ => Server::Hidden,
    };
    Some(Processor {
        cores,
        steal: ticks(|sample| sample.steal) / all,
        idle: ticks(|sample| sample.idle) / all,
        busy: in_cores(ticks(|sample| sample.busy)),
        own: in_cores(ticks(|sample| sample.own)),
        server,
    })
}

/// The lines of the processor in `/proc/stat`. Interrupts are not counted as busy: they also stand in the time of the
/// processes that they interrupt.
fn machine(stat: &str) -> Option<Sample> {
    let mut words = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let mut next = || words.next().map_or(Some(0), |word| word.parse::<u64>().ok());
    let [user, nice, system, idle, waiting, hard, soft, steal] =
        [next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?];
    let is_core = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let busy = user + nice + system;
    Some(Sample {
        all: busy + idle + waiting + hard + soft + steal,
        busy,
        idle: idle + waiting,
        steal,
        cores: stat.lines().filter(is_core).count(),
        own: 0,
        servers: Some(0),
    })
}

/// User and system time of a process from its `stat`. Its name is in brackets and may hold anything.
fn process(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu  100 10 50 800 40 5 5 0 0 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5\n";
    const AFTER: &str = "cpu  180 10 70 860 40 10 5 25 0 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5\n";

    fn sample(stat: &str, own: u64, servers: Option<u64>) -> Sample {
        Sample { own, servers, ..machine(stat).expect("a stat") }
    }

    #[test]
    fn shares_are_of_what_passed_between_two_samples() {
        let servers = Servers { processes: vec![7], is_hidden: false };
        let (before, after) = (sample(BEFORE, 20, Some(5)), sample(AFTER, 58, Some(43)));
        let found = between(&servers, &before, &after).expect("time passed");
        // 190 ticks passed on two cores: 100 busy, of them 38 ours and 38 the server's; 60 idle, 25 stolen.
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        assert_eq!(found.cores, 2);
        close(found.steal, 25.0 / 190.0);
        close(found.idle, 60.0 / 190.0);
        close(found.busy, 200.0 / 190.0);
        close(found.own, 0.4);
        assert_eq!(found.server, Server::Here(0.4));
        close(found.other().expect("all are known"), 200.0 / 190.0 - 0.8);
        assert_eq!(between(&servers, &after, &after), None, "no time passed");
    }

    #[test]
    fn a_server_that_cannot_be_seen_is_hidden_and_one_elsewhere_is_not_looked_for() {
        let (before, after) = (sample(BEFORE, 20, Some(5)), sample(AFTER, 58, None));
        let server = |servers: &Servers| between(servers, &before, &after).map(|found| found.server);
        assert_eq!(server(&Servers { processes: vec![7], is_hidden: false }), Some(Server::Hidden));
        assert_eq!(server(&Servers { processes: vec![], is_hidden: true }), Some(Server::Hidden));
        assert_eq!(server(&Servers::default()), Some(Server::Elsewhere));
    }

    #[test]
    fn the_forms_of_proc_are_read_and_others_refused() {
        assert_eq!(process("12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 70 8 0 0\n"), Some(78));
        assert_eq!(process("12 (short) S 1\n"), None);
        assert_eq!(machine("cpu  a b\n"), None);
        assert_eq!(machine(""), None);
        let old = machine("cpu  1 2 3 4\n").expect("kernels of long ago had four figures");
        assert_eq!((old.all, old.steal), (10, 0));
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:2A9F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n\
             1: 0100007F:2A9F 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n\
             2: 00000000000000000000000000000000:2694 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0\n";
        assert_eq!(listeners(table, 10911), [4711]);
        assert_eq!(listeners(table, 9876), [4713]);
        assert_eq!(listeners(table, 1), [0; 0]);
        assert_eq!(listeners("nonsense\nmore of it\n", 1), [0; 0]);
    }

    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let port = listener.local_addr().expect("an address").port();
        let found = Servers::find(&[address, "192.0.2.1:10911".to_owned()]);
        if fs::metadata("/proc/net/tcp").is_ok() {
            assert_eq!(process_behind(port), Some(std::process::id()));
            assert_eq!((found.processes, found.is_hidden), (vec![], false), "the load is no server");
        } else {
            assert!(found.is_hidden);
        }
        drop(listener);
        assert_eq!(process_behind(port), None);
    }
}
