// SPDX-License-Identifier: Apache-2.0
//! The metrics port from outside: what Prometheus reads, what `kiruna stages` and `kiruna pauses` show, a process that is
//! stopped for a moment, and peers that do not play along.

#[path = "server/running.rs"]
mod running;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use running::Running;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stdx::SystemClock;

const PATIENCE: Duration = Duration::from_secs(20);

fn kiruna(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_kiruna")).args(arguments).output().expect("it runs");
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("text")
}

fn dial(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Sends `bytes` and reads until the server closes; what it says before it breaks off counts.
fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = dial(address);
    let _ = stream.write_all(bytes);
    rest(stream)
}

fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no end within {PATIENCE:?}"),
        _ => String::from_utf8(answer).expect("text"),
    }
}

fn get(address: &str, path: &str) -> (String, String) {
    let answer = exchange(address, format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_ascii_lowercase(), body.to_owned())
}

/// The samples of a page, and its families with their types. Asserts what the format asks for.
fn parse(page: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    assert!(page.ends_with("# EOF\n"), "{page}");
    let (mut samples, mut types, mut helped) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes once");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a sentence");
            assert!(help.ends_with('.') && help.len() > 10, "{line}");
            helped.push(name.to_owned());
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let value = value.parse().expect("a number");
            assert!(samples.insert(name.to_owned(), value).is_none(), "{name} comes once");
        }
    }
    assert_eq!(types.keys().collect::<Vec<_>>(), {
        helped.sort();
        helped.iter().collect::<Vec<_>>()
    });
    (samples, types)
}

/// The buckets of a histogram: upper bounds and counts, in the order of the page.
fn buckets(page: &str, name: &str, label: &str) -> Vec<(f64, f64)> {
    let lines =
        page.lines().filter(|line| line.starts_with(&format!("{name}_bucket{{")) && line.contains(label));
    let read = |line: &str| {
        let (labels, count) = line.rsplit_once("} ").expect("labels and a count");
        let bound = labels.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a bound");
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound") };
        (bound, count.parse().expect("a count"))
    };
    lines.map(read).collect()
}

fn start(dir: &tempfile::TempDir) -> Running {
    Running::start(&dir.path().join("data"), &["metrics_port=0"])
}

fn publish(server: &Running, messages: usize) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kiruna"))
        .args(["pub", "-n", server.face("namesrv="), "orders"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut lines = child.stdin.take().expect("its input is piped");
    (0..messages).for_each(|n| writeln!(lines, "message {n}").expect("it is taken"));
    drop(lines);
    assert!(child.wait().expect("it ends").success());
}

/// Asks again until `is_done` says so: what is counted is counted a moment after the answer.
fn until<T>(mut ask: impl FnMut() -> T, is_done: impl Fn(&T) -> bool) -> T {
    let begun = Instant::now();
    loop {
        let found = ask();
        if is_done(&found) || begun.elapsed() > PATIENCE {
            return found;
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_page_tells_what_went_through_in_the_form_that_prometheus_reads() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(&dir);
    let address = server.face("metrics=");
    publish(&server, 25);
    let sent = r#"kiruna_request_seconds_count{kind="send"}"#;
    let written = r#"kiruna_stage_seconds_count{stage="write_out"}"#;
    let page = until(|| get(address, "/metrics").1, |page| parse(page).0[written] >= 25.0);
    let (head, _) = get(address, "/metrics");
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    let (samples, types) = parse(&page);
    assert_eq!(samples[sent], 25.0, "each request once");
    assert_eq!(
        samples[r#"kiruna_stage_seconds_count{stage="append_wait"}"#],
        samples[r#"kiruna_stage_seconds_count{stage="append"}"#]
    );
    let node = r#"{cluster="DefaultCluster",node_type="broker",node_id="#;
    let total = |name: &str| {
        let found: Vec<f64> = samples
            .iter()
            .filter(|(key, _)| key.starts_with(&format!("{name}{node}")))
            .map(|(_, value)| *value)
            .collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0]
    };
    assert_eq!(total("rocketmq_messages_in_total"), 25.0);
    assert!(total("rocketmq_throughput_in_total") > 25.0 * 100.0);
    assert_eq!(total("kiruna_appends_refused_total"), 0.0);
    assert_eq!(types["rocketmq_messages_in"], "counter");
    for (label, name) in [
        ("kind=\"send\"", "kiruna_request_seconds"),
        ("stage=\"append\"", "kiruna_stage_seconds"),
        ("le", "kiruna_hiccup_seconds"),
    ] {
        assert_eq!(types[name], "histogram");
        let buckets = buckets(&page, name, label);
        assert!(buckets.len() > 40, "{name}: {buckets:?}");
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{buckets:?}");
        let key = if label == "le" { format!("{name}_count") } else { format!("{name}_count{{{label}}}") };
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, samples[&key])));
    }
    let sum = samples[r#"kiruna_request_seconds_sum{kind="send"}"#];
    assert!(sum > 0.0 && sum < 25.0 * 5.0, "seconds: {sum}");
    assert!(page.lines().count() < 2_000, "what is told does not grow with use");

    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ops/metrics.md"));
    let manual = manual.expect("a manual");
    for (family, kind) in &types {
        let name = if kind == "counter" { format!("{family}_total") } else { family.clone() };
        assert!(
            manual.contains(&format!("| `{name}` | {kind} |")),
            "docs/ops/metrics.md has no line for {name}, {kind}"
        );
    }
    let stages: Value = serde_json::from_str(&get(address, "/stages").1).expect("JSON");
    for stage in stages.as_array().expect("a list") {
        let stage = stage["stage"].as_str().expect("a name");
        assert!(manual.contains(&format!("| `{stage}` |")), "docs/ops/metrics.md has no line for {stage}");
    }
}

#[test]
fn stages_are_shown_since_the_start_or_for_a_while() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(&dir);
    let address = server.face("metrics=");
    publish(&server, 5);
    let count = |flags: &[&str]| {
        let told = kiruna(&[&["stages", "-m", address, "-o", "json"], flags].concat());
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let send = told.as_array().expect("a list").iter().find(|row| row["stage"] == "send").cloned();
        let send = send.expect("a line for sends");
        assert!(
            send["p50"].as_u64() <= send["p99.99"].as_u64()
                && send["p99.99"].as_u64() <= send["longest"].as_u64()
        );
        send["count"].as_u64().expect("a number")
    };
    assert_eq!(until(|| count(&[]), |count| *count >= 5), 5);
    assert_eq!(count(&["--for", "10ms"]), 0, "what was before is left out");
    assert!(kiruna(&["stages", "-m", address]).contains(" µs"), "people read units");
}

#[test]
fn a_process_that_was_stopped_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(&dir);
    let address = server.face("metrics=");
    let now = || SystemClock::new().now().0;
    let stop = Duration::from_millis(50);
    // While nobody asks for anything, pauses harm nobody, and the meter looks seldom.
    let mut load = Command::new(env!("CARGO_BIN_EXE_kiruna"))
        .args(["bench", "send", "--broker", server.face("broker="), "--rate", "1000", "--seconds", "60"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let sends = || {
        let told: Value =
            serde_json::from_str(&kiruna(&["stages", "-m", address, "-o", "json"])).expect("JSON");
        let rows = told.as_array().expect("a list").clone();
        rows.iter().filter(|row| row["stage"] == "send").filter_map(|row| row["count"].as_u64()).sum::<u64>()
    };
    until(sends, |count| *count >= 1000);
    let pid = Pid::from_child(&server.child);
    let (begun, began_at) = (Instant::now(), now());
    kill_process(pid, Signal::STOP).expect("it is there");
    while begun.elapsed() < stop {
        std::thread::park_timeout(stop);
    }
    kill_process(pid, Signal::CONT).expect("it is there");
    // What was left of the meter's sleep when it was stopped is no pause.
    let least = (stop - Duration::from_millis(2)).as_nanos() as u64;
    let stopped = || {
        let ledger: Value = serde_json::from_str(&get(address, "/pauses").1).expect("JSON");
        let pauses = ledger["worst"].as_array().expect("a list").clone();
        let is_it = |pause: &Value| {
            let (at, nanos) =
                (pause["at"].as_i64().expect("a time"), pause["nanos"].as_u64().expect("a time"));
            at >= began_at + 48 && at <= now() && nanos >= least
        };
        pauses.into_iter().find(is_it)
    };
    let pause = until(stopped, Option::is_some).expect("the pause is in the ledger");
    load.kill().and_then(|()| load.wait()).expect("it ends");
    let hints = &pause["hints"];
    assert!(
        ["stolen", "meter_waited", "threads_waited", "major_faults"].iter().all(|hint| hints[hint].is_u64()),
        "{pause}"
    );
    assert!(["host", "processor", "disk", "stopped"].contains(&pause["cause"].as_str().expect("a word")));
    let table = kiruna(&["pauses", "-m", address]);
    assert!(table.starts_with("ENDED") && table.contains(" ms"), "{table}");
    let latest = kiruna(&["pauses", "--latest", "-m", address, "-o", "json"]);
    let latest: Value = serde_json::from_str(&latest).expect("JSON");
    assert!(latest.as_array().expect("a list").iter().any(|row| row["length"] == pause["nanos"]), "{latest}");
}

#[test]
fn peers_that_do_not_play_along_are_told_so_and_hold_nothing_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(&dir);
    let address = server.face("metrics=");
    let status = |bytes: &[u8]| exchange(address, bytes).lines().next().unwrap_or_default().to_owned();
    assert_eq!(status(b"GET /nothing HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
    assert_eq!(
        status(b"POST /metrics HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"),
        "HTTP/1.1 405 Method Not Allowed"
    );
    assert_eq!(status(b"\x00\x01garbage\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    let long = [b"GET /".to_vec(), vec![b'a'; 1 << 20], b" HTTP/1.1\r\n\r\n".to_vec()].concat();
    let said = status(&long);
    assert!(said.contains("414") || said.contains("431"), "{said}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    assert!(status(many.as_bytes()).contains("431"));

    // Some never finish what they ask: others are answered, and when no more may ask, that is what they are told.
    let before = memory(server.child.id());
    let slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = dial(address);
            let _ = stream.write_all(b"GET /metrics HT");
            stream
        })
        .collect();
    assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 503 Service Unavailable");
    publish(&server, 1);
    let begun = Instant::now();
    let answers: Vec<String> = slow.into_iter().map(rest).collect();
    assert!(begun.elapsed() < Duration::from_secs(15), "all are sent away in time");
    let refused = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 503")).count();
    assert!(refused >= 200 - 4 * 32, "no more are heard than may be: {refused} were refused");
    assert!(get(address, "/metrics").0.starts_with("http/1.1 200"));
    let grown = memory(server.child.id()).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}

/// Resident memory of a process.
fn memory(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("it runs");
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
}

#[test]
fn a_port_that_is_taken_stops_who_asked_for_it_and_nobody_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let data = dir.path().join("data");
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_kiruna"))
        .args([
            "standalone",
            "--namesrv-port",
            "0",
            "--broker-port",
            "0",
            "--metrics-port",
            &port.to_string(),
            "--data-dir",
        ])
        .arg(&data)
        .output()
        .expect("it ends");
    let said = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("cannot listen on 127.0.0.1:{port}")) && said.contains("--metrics-port 0"),
        "{said}"
    );

    let server = Running::start(&dir.path().join("drawn"), &[]);
    assert!(
        !server.ready.contains("metrics="),
        "a broker whose port is drawn has no usual one: {}",
        server.ready
    );
    let server = Running::start(&dir.path().join("off"), &["metrics_port=0", "metrics=false"]);
    assert!(!server.ready.contains("metrics="), "{}", server.ready);
}
