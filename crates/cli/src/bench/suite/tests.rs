// SPDX-License-Identifier: Apache-2.0
//! The report of suites that are made up: what stands in it, and that nothing from outside can break it.

use std::collections::BTreeMap;

use expect_test::expect;
use hdrhistogram::Histogram;
use stdx::Timestamp;

use super::environment::{Broker, Environment};
use super::machine::tests::machine;
use super::machine::{Machine, Server};
use super::result::{Figures, Outcome, Ran, Suite};
use super::steps::{STEPS, Step};
use super::{json, page, progress};
use crate::bench::report::Work;
use crate::bench::series::Point;

const HOSTILE: &str = "</script></title><img src=x onerror=\"alert('1')\">&\u{1b}[31m";

fn step(name: &str) -> &'static Step {
    STEPS.iter().find(|step| step.name == name).expect("a step")
}

fn figures(per_second: u64, nanos: u64, machine: Machine) -> Figures {
    let mut latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("bounds");
    (1..=per_second).for_each(|index| latency.saturating_record(nanos + index * 10));
    let point = |at| Point {
        at,
        seconds: 1.0,
        messages: per_second * 2,
        errors: 0,
        latency: Some([nanos, nanos * 2, nanos * 3]),
    };
    Figures {
        work: Work { what: "send", connections: 4, outstanding: 64, size: 1024, batch: 1, rate: None },
        seconds: 2.0,
        messages: per_second * 2,
        bytes: per_second * 2048,
        errors: BTreeMap::new(),
        latency,
        points: vec![point(1.0), Point { latency: None, messages: 0, ..point(2.0) }],
        machine,
        is_cut: false,
    }
}

fn quiet() -> Machine {
    machine(0.0, 1.3, Server::Here(0.5), 100_000)
}

fn ran(name: &str, outcome: Outcome, echo: Option<Outcome>) -> Ran {
    let step = step(name);
    let offered = step.percent.map(|percent| f64::from(percent) * 100.0);
    Ran { step, command: format!("kiruna bench {name}"), offered, took: 4.2, outcome, echo }
}

fn done(figures: Figures) -> Outcome {
    Outcome::Done(Box::new(figures))
}

fn suite(foreign: &str, steps: Vec<Ran>) -> Suite {
    Suite {
        environment: Environment {
            started: Timestamp(1_777_777_777_777),
            version: "0.0.0",
            is_debug: false,
            command: format!("kiruna bench suite --topic {foreign}"),
            endpoint: format!("name server {foreign}"),
            topic: foreign.to_owned(),
            header: "json",
            cpu: Some(foreign.to_owned()),
            cores: 2,
            memory: Some(8 << 30),
            system: "linux 6.1 x86_64".to_owned(),
            brokers: vec![Broker {
                address: "127.0.0.1:10911".to_owned(),
                queues: 8,
                version: Some(foreign.to_owned()),
                flush: Some(foreign.to_owned()),
                role: None,
            }],
        },
        seconds: 2.0,
        warmup: 0.5,
        heat: 0.0,
        rest: Some(quiet()),
        wanted: steps.len(),
        steps,
        is_interrupted: false,
        no_echo: None,
    }
}

/// Steps of every kind: measured, with errors, cut short, failed, skipped.
fn all(foreign: &str) -> Suite {
    let refused =
        Figures { errors: BTreeMap::from([(foreign.to_owned(), 7)]), ..figures(900, 50_000, quiet()) };
    let cut = Figures { is_cut: true, ..figures(800, 60_000, quiet()) };
    suite(
        foreign,
        vec![
            ran(
                "send-4x64",
                done(figures(1_000, 40_000, quiet())),
                Some(done(figures(2_000, 20_000, quiet()))),
            ),
            ran("send-16x1", done(refused), Some(Outcome::Failed(foreign.to_owned()))),
            ran("open-50", done(figures(500, 40_000, quiet())), Some(done(figures(500, 20_000, quiet())))),
            ran("open-90", Outcome::Failed(foreign.to_owned()), None),
            ran("pull-hot", done(cut), None),
            ran("tx", Outcome::Skipped(foreign.to_owned()), None),
        ],
    )
}

/// Elements that are open, one inside the other. Fails where one is closed that is not the last one opened.
fn check_nesting(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for (at, _) in page.match_indices('<') {
        let tag = page[at + 1..].split('>').next().expect("a tag ends");
        let name = tag.split([' ', '\n', '/']).find(|word| !word.is_empty()).unwrap_or_default();
        match tag {
            _ if tag.starts_with('!') || tag.ends_with('/') || name == "meta" => {}
            _ if tag.starts_with('/') => {
                assert_eq!(open.pop(), Some(name), "at {}", &page[at.saturating_sub(200)..at])
            }
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_page_is_whole_and_asks_for_nothing() {
    for suite in [all("plain"), suite("plain", vec![])] {
        let page = page::page(&suite);
        check_nesting(&page);
        for bad in ["NaN", "inf ", "http", "<script", "url(", "@import", " src="] {
            assert!(!page.contains(bad), "{bad}");
        }
    }
}

#[test]
fn hostile_names_and_errors_stay_text() {
    let page = page::page(&all(HOSTILE));
    check_nesting(&page);
    for bad in ["<img", "</script", "onerror=\"", "\u{1b}"] {
        assert!(!page.contains(bad), "{bad}");
    }
    assert!(page.contains("&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;"));
    // JSON keeps every character; a terminal gets none that steers it.
    let value = json::suite(&all(HOSTILE));
    let text = value.to_string();
    let back: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(back["environment"]["topic"], HOSTILE);
    assert_eq!(back["steps"][3]["endpoint"]["reason"], HOSTILE);
    assert!(progress::line(4, 6, &all(HOSTILE).steps[3]).chars().all(|character| !character.is_control()));
}

#[test]
fn every_step_says_what_came_of_it() {
    let suite = all("refused");
    let lines: Vec<String> = suite
        .steps
        .iter()
        .enumerate()
        .map(|(at, ran)| progress::line(at + 1, 10, ran).trim_start().to_owned())
        .collect();
    expect![[r#"
         1/10 send-4x64           4.2 s      1,000 msg/s  p50 45.1 µs  p99 50.2 µs  p99.9 50.2 µs  50 % of echo
         2/10 send-16x1           4.2 s        900 msg/s  p50 54.8 µs  p99 59.4 µs  p99.9 59.4 µs  failed: 7 x refused
         3/10 open-50             4.2 s        500 msg/s  p50 43 µs  p99 45.1 µs  p99.9 45.1 µs  p99.9 1.8 x echo
         4/10 open-90             4.2 s  failed: refused
         5/10 pull-hot            4.2 s        800 msg/s  p50 64.5 µs  p99 68.1 µs  p99.9 68.1 µs  cut short
         6/10 tx                  4.2 s  skipped: refused"#]]
    .assert_eq(&lines.join("\n"));
    let value = json::suite(&suite);
    let results: Vec<&str> = value["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step["endpoint"]["result"].as_str().expect("a result"))
        .collect();
    assert_eq!(results, ["done", "done", "done", "failed", "cut", "skipped"]);
    assert_eq!(value["steps"][0]["share_of_echo"], 0.5);
    assert_eq!(value["steps"][1]["endpoint"]["failures"]["refused"], 7);
    assert_eq!(value["steps"][0]["endpoint"]["messages_per_server_cpu_second"], 2_000.0);
    assert_eq!(value["steps"][0]["endpoint"]["series"][1]["p50_us"], serde_json::Value::Null);
    assert_eq!(value["verdict"]["word"], "quiet");
}

#[test]
fn one_disturbed_step_spoils_the_verdict_and_is_named() {
    let mut loud = all("x");
    let busy = machine(0.0, 2.0, Server::Here(0.5), 100_000);
    loud.steps[0].echo = Some(done(figures(2_000, 20_000, busy)));
    assert_eq!(loud.verdict().word(), "disturbed");
    assert_eq!(
        loud.verdict().reasons(),
        ["send-4x64: during echo other processes took 70 % of a core (limit 10 %)"]
    );
    assert!(loud.judged().contains("1 of 4 measured steps"), "{}", loud.judged());
    assert!(page::page(&loud).contains("⚠ disturbed"));
    loud.rest = Some(machine(0.3, 0.8, Server::Elsewhere, 100_000));
    assert!(loud.judged().contains("1 of 4 measured steps"), "{}", loud.judged());
    assert!(loud.verdict().reasons()[0].starts_with("before the first step, without load: other guests"));

    let mut blind = all("x");
    for ran in &mut blind.steps {
        if let Outcome::Done(figures) = &mut ran.outcome {
            figures.machine.processor = None;
        }
    }
    assert_eq!(blind.verdict().word(), "unknown");
    assert_eq!(blind.verdict().reasons(), ["this system has no /proc that tells where processor time goes"]);

    assert!(all("x").judged().contains("quiet enough"));
    assert_eq!(suite("x", vec![]).verdict().word(), "unknown");
}

#[test]
fn what_is_answered_behind_the_watched_time_does_not_flatter_the_server() {
    let mut late = figures(1000, 5_000, quiet());
    let point = |at: f64, messages| Point { at, seconds: 1.0, messages, errors: 0, latency: None };
    late.points = vec![point(1.0, 30), point(2.000_01, 70), point(3.0, 1900)];
    assert_eq!(late.per_server_second(), Some(100.0), "100 messages in two seconds, on half a core");
}
