// SPDX-License-Identifier: Apache-2.0
//! `kiruna bench suite` from outside: against a server that stays, one that is killed on the way, none at all, and ended by a
//! signal.

#[path = "server/running.rs"]
mod running;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use running::Running;

fn suite(namesrv: &str, out: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiruna"));
    command.args(["bench", "suite", "-n", namesrv, "--warmup", "0", "--heat", "0.1", "--out"]);
    command.arg(out).args(flags);
    command
}

/// The page and the figures.
fn report(out: &Path) -> (String, Value) {
    let read = |name: &str| fs::read_to_string(out.join(name)).expect("the report is there");
    (read("report.html"), serde_json::from_str(&read("suite.json")).expect("it is JSON"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn results(figures: &Value) -> Vec<(&str, &str)> {
    let steps = figures["steps"].as_array().expect("steps");
    steps.iter().map(|step| (text(step, "name"), text(&step["endpoint"], "result"))).collect()
}

/// A suite under way, and the lines it writes.
struct UnderWay {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStderr>>,
}

impl UnderWay {
    fn start(mut command: Command) -> UnderWay {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the suite starts");
        let lines = BufReader::new(child.stderr.take().expect("its errors are piped")).lines();
        UnderWay { child, lines }
    }

    fn wait_for(&mut self, wanted: &str) {
        let mut seen = String::new();
        for line in self.lines.by_ref() {
            let line = line.expect("text");
            if line.contains(wanted) {
                return;
            }
            seen.push_str(&line);
        }
        panic!("no '{wanted}' in '{seen}'");
    }

    /// Waits for its end; its exit code and the rest of what it wrote.
    fn end(mut self) -> (Option<i32>, String) {
        let rest: Vec<String> = self.lines.map(|line| line.expect("text")).collect();
        (self.child.wait().expect("it ends").code(), rest.join("\n"))
    }
}

#[test]
fn a_report_has_every_step() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = Running::start(&dir.path().join("data"), &[]);
    let namesrv = server.face("namesrv=");
    let listed = suite(namesrv, dir.path(), &["--quick", "--list", "-o", "json"]).output().expect("it runs");
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).expect("a list");
    let out = dir.path().join("report");
    let flags = ["--quick", "--seconds", "0.4", "--topic", "SuiteTest", "-o", "json"];
    let done = suite(namesrv, &out, &flags).output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let warmed = said.split_once("warmed by 0.1 s of sends, ").and_then(|(_, rest)| rest.split_once(' '));
    let warmed: Option<u64> = warmed.and_then(|(messages, _)| messages.parse().ok());
    assert!(warmed > Some(0), "the server had messages before the first step: {said}");
    let (page, figures) = report(&out);
    assert_eq!(serde_json::from_slice::<Value>(&done.stdout).expect("JSON"), figures, "both are the same");

    let names: Vec<&str> = listed.iter().map(|step| text(step, "name")).collect();
    let found = results(&figures);
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names, "{said}");
    assert!(found.iter().all(|(_, result)| *result == "done"), "{said}");
    for (step, planned) in figures["steps"].as_array().expect("steps").iter().zip(&listed) {
        assert!(page.contains(text(step, "name")));
        let endpoint = &step["endpoint"];
        assert!(endpoint["messages"].as_u64() > Some(0), "{step}");
        assert!(text(&endpoint["latency"], "hdr_ns").starts_with("HISTFAAA"));
        assert!(endpoint["series"].as_array().is_some_and(|points| points.len() >= 4), "{step}");
        assert_eq!(step["echo"].is_object(), planned["echo"] == true, "{step}");
        assert_eq!(step["offered"].is_number(), text(step, "name").starts_with("open-"), "{step}");
    }
    let base = figures["steps"][0]["endpoint"]["per_second"].as_f64().expect("a rate");
    let half = figures["steps"].as_array().expect("steps").iter().find(|step| step["name"] == "open-50");
    let offered = half.and_then(|step| step["offered"].as_f64()).expect("a rate");
    assert!((offered / base - 0.5).abs() < 0.01, "{offered} of {base}");

    let environment = &figures["environment"];
    assert_eq!(text(environment, "topic"), "SuiteTest");
    assert_eq!(text(&environment["brokers"][0], "version"), "V5_5_0");
    assert!(["quiet", "disturbed", "unknown"].contains(&text(&figures["verdict"], "word")));
    if Path::new("/proc/stat").exists() {
        let processor = &figures["steps"][0]["endpoint"]["machine"]["processor"];
        assert_eq!(text(processor, "server"), "here", "the server's process was found");
        assert!(processor["server_cores"].as_f64() > Some(0.0));
        let processor = &figures["steps"][0]["echo"]["machine"]["processor"];
        assert_eq!(text(processor, "server"), "elsewhere", "echo is no server but part of the load");
    }
    for wanted in ["<!doctype html>", "<svg", "Throughput against latency", "Tail percentiles", "Verdict"] {
        assert!(page.contains(wanted), "{wanted}");
    }
    for bad in ["NaN", "<script", "http:", "https:"] {
        assert!(!page.contains(bad), "{bad}");
    }
}

#[test]
fn a_server_that_is_killed_on_the_way_is_told() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut server = Running::start(&dir.path().join("data"), &[]);
    let out = dir.path().join("report");
    let mut suite = UnderWay::start(suite(
        server.face("namesrv="),
        &out,
        &["--seconds", "0.5", "--only", "send,pull,e2e"],
    ));
    suite.wait_for("1/6 send-4x64");
    server.child.kill().expect("a child can be killed");
    let (code, rest) = suite.end();
    assert_eq!(code, Some(0), "{rest}");
    let (page, figures) = report(&out);
    let found = results(&figures);
    assert_eq!(found.len(), 6, "{rest}");
    assert_eq!(found[0], ("send-4x64", "done"));
    assert_eq!(found[5], ("e2e-10k", "failed"), "{rest}");
    let reason = text(&figures["steps"][5]["endpoint"], "reason");
    assert!(reason.contains("cannot") || reason.contains("closed"), "{reason}");
    assert!(page.contains("failed: ") && page.contains("steps failed"));
    assert!(rest.contains("6/6 e2e-10k"), "{rest}");
}

#[test]
fn a_signal_ends_it_with_a_report() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = Running::start(&dir.path().join("data"), &[]);
    let out = dir.path().join("report");
    let mut suite = UnderWay::start(suite(
        server.face("namesrv="),
        &out,
        &["--seconds", "2", "--only", "send,connections"],
    ));
    suite.wait_for("1/8 send-4x64");
    let id =
        i32::try_from(suite.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it can be told to end");
    let (code, rest) = suite.end();
    assert_eq!(code, Some(0), "{rest}");
    let (page, figures) = report(&out);
    let found = results(&figures);
    // The one under way was cut short or had not begun to measure; none was begun after it.
    assert!(found.len() <= 2 && found[0] == ("send-4x64", "done"), "{found:?}");
    assert!(found[1..].iter().all(|(_, result)| ["cut", "skipped"].contains(result)), "{found:?}");
    assert_eq!(figures["interrupted"], true);
    assert!(page.contains("Ended by a signal"));
}

#[test]
fn wrong_arguments_and_absent_servers_are_told_before_anything_is_written() {
    let dir = TempDir::new().expect("a temporary directory");
    let out = dir.path().join("report");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = nobody.expect("a free port").to_string();
    for (flags, code, words) in [
        (&["--only", "nonsense"][..], 2, "there is no step 'nonsense'"),
        (&["--seconds", "4000"], 2, "0 to 3600"),
        (&["--seconds", "0"], 2, "at least 0.1"),
        (&[], 1, "kiruna standalone"),
        (&["--broker", &nobody], 1, "--broker ADDRESS"),
    ] {
        let done = suite(&nobody, &out, flags).output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{flags:?}: {said}");
        assert!(said.contains(words), "{flags:?}: {said}");
        assert!(!out.exists(), "{flags:?}");
    }
}

#[test]
fn a_topic_is_read_from_its_beginning_and_stays_as_it_is() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = Running::start(&dir.path().join("data"), &[]);
    let bench = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiruna"));
        command.args(["bench", args[0], "-n", server.face("namesrv="), "--queues", "1", "--topic", "All"]);
        command.args(&args[1..]).args(["--warmup", "0", "--seconds", "1", "-c", "1", "-o", "json"]);
        let done = command.output().expect("it runs");
        let report: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
        (report[0].clone(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (_, said) = bench(&["pull", "--all"]);
    assert!(said.contains("has nothing to read"), "{said}");
    for size in ["4096", "16"] {
        let (sent, said) = bench(&["send", "--outstanding", "1", "--messages", "200", "--size", size]);
        assert_eq!(sent["messages"], 200, "{said}");
    }
    let (read, said) = bench(&["pull", "--all", "--per-request", "10"]);
    assert_eq!(read["errors"], 0, "{said}");
    let messages = read["messages"].as_f64().expect("a number");
    assert!(messages > 400.0, "it begins again at the end: {read}");
    // Half of them are large and half are small; the newest are small.
    let each = read["mb_per_second"].as_f64().expect("a number") * 1e6 / messages;
    assert!((1_800.0..2_800.0).contains(&each), "{each} bytes a message: {read}");
}
