// SPDX-License-Identifier: Apache-2.0
//! The page for readers, from the figures in the book and nothing else. Pure.

use std::fmt::Write as _;

use super::book::{Book, Measured, Set, Spread, Summary};
use super::machine::BUSY;
use super::sides::Side;
use crate::apache::HEAP;
use crate::rocketmq_rust;

/// The whole page.
pub(super) fn page(book: &Book) -> String {
    let mut page = "# Beside Apache RocketMQ and rocketmq-rust\n\n\
         Written by `cargo xtask peers` from [peers.json](peers.json), which has each turn. Sets are measured one after \
         the other; what a set's figures come from stands beside it. Timers and transactions: [messages.md](messages.md).\n\n\
         | Set | Measured | Commit | Turns of | Machine busy before | Called as |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for set in &book.sets {
        let _ = writeln!(page, "{}", origin(set));
    }
    page.push_str("\n| | |\n|---|---|\n");
    if let Some(set) = book.sets.iter().max_by_key(|set| told(set, "date")) {
        for (name, text) in set.run.machine.iter().filter(|(name, _)| name != "date" && name != "commit") {
            let _ = writeln!(page, "| {name} | {text} |");
        }
    }
    page.push_str(
        "\n1 KiB bodies, JSON headers, 8 queues. Median (least – most) of the turns; a ratio is taken turn by turn. A gate is \
         met or missed by the median, and missed when a call of ours failed.\n\n\
         | Work | Apache | rocketmq-rust | KirunaMQ | echo | to Apache | to rocketmq-rust | to echo | Gate | |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let rows = || book.sets.iter().flat_map(|set| &set.rows);
    for row in rows().filter(|row| row.base.is_none()) {
        let _ = writeln!(page, "{}", line(row));
    }
    if rows().any(|row| row.base.is_some()) {
        page.push_str(
            "\n## Our server beside itself\n\n| Work | KirunaMQ | compared with | its figure | ratio | Gate | |\n\
             |---|---|---|---|---|---|---|\n",
        );
    }
    for row in rows().filter(|row| row.base.is_some()) {
        let _ = writeln!(page, "{}", line(row));
    }
    page.push_str(&method(book));
    let all = |lines: fn(&Set) -> &Vec<String>| -> Vec<&str> {
        book.sets.iter().flat_map(lines).map(String::as_str).collect()
    };
    for (title, lines) in [
        ("Calls that failed", all(|set| &set.refused)),
        ("Figures that are missing", all(|set| &set.problems)),
    ] {
        if !lines.is_empty() {
            let _ = write!(page, "\n## {title}\n\n- {}\n", lines.join("\n- "));
        }
    }
    page
}

fn told<'a>(set: &'a Set, what: &str) -> &'a str {
    set.run.machine.iter().find(|(name, _)| name == what).map_or("", |(_, text)| text)
}

fn origin(set: &Set) -> String {
    let samples = || set.rows.iter().flat_map(|row| &row.samples);
    let busy = samples().filter(|sample| sample.busy > BUSY).count();
    let idle = (BUSY * 100.0).round();
    let busy = match busy {
        0 => format!("at most {idle} %"),
        _ => format!("**more than {idle} % before {busy} of {}: not to be believed**", samples().count()),
    };
    let Set { name, run, .. } = set;
    format!(
        "| {name} | {} | {} | {} × {} s | {busy} | `{}` |",
        told(set, "date"),
        told(set, "commit"),
        run.pairs,
        run.seconds,
        run.command
    )
}

/// The line of a row, in one of the two tables.
pub(super) fn line(row: &Measured) -> String {
    let found = Summary::of(&row.samples);
    let gates: Vec<&str> = row.gates.iter().map(|judged| judged.gate.as_str()).collect();
    let verdicts: Vec<&str> = row
        .gates
        .iter()
        .map(|judged| match judged.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "no figure",
        })
        .collect();
    let unit = row.unit.as_str();
    let peer = |side: Side, spread: Option<Spread>| match row.did.get(side.name()) {
        Some(did) if spread.is_none() => did.replace('|', "/").replace('\n', " "),
        _ => cell(spread, unit),
    };
    let ours = peer(Side::Kiruna, found.kiruna);
    let (gates, verdicts) = (gates.join(", "), verdicts.join(", "));
    match &row.base {
        Some(base) => format!(
            "| {} | {ours} | {base} | {} | {} | {gates} | {verdicts} |",
            row.name,
            cell(found.base, unit),
            cell(found.to_base, "×"),
        ),
        None => format!(
            "| {} | {} | {} | {ours} | {} | {} | {} | {} | {gates} | {verdicts} |",
            row.name,
            peer(Side::Apache, found.apache),
            peer(Side::RocketmqRust, found.rocketmq_rust),
            cell(found.echo, unit),
            cell(found.to_apache, "×"),
            cell(found.to_rocketmq_rust, "×"),
            cell(found.to_echo, "×"),
        ),
    }
}

fn method(book: &Book) -> String {
    let gigabytes = book.sets.iter().map(|set| set.run.gigabytes).fold(0.0, f64::max);
    format!(
        "\n## How\n\n\
         - One machine, load generator included; turns go Apache, rocketmq-rust, KirunaMQ, echo, Apache, … `echo` is \
         `kiruna bench echo`: it answers at once and stores nothing. What is compared with ourselves takes turns in both orders.\n\
         - Apache: `{}`, its defaults otherwise (`enablePropertyFilter=true` besides), warmed by sends, in \
         stretches of 5 s, at least three, until one is no longer a tenth faster than those before. \
         rocketmq-rust {}: `cargo install --locked` of `rocketmq-namesrv` and `rocketmq-broker` from crates.io, defaults, one master on \
         loopback, warmed by 5 s; where it has no figure, what it did stands in its place. KirunaMQ: its defaults, warmed by 3 s. \
         For *sync flush* `flushDiskType=SYNC_FLUSH` and `durability=disk`.\n\
         - Each sample follows 2 s of the same load and is begun when what was written before is on the disk. A server that \
         has stored more than 5 GB, ours 2 GB, gives way to a fresh and warmed one.\n\
         - A second of the broker's processor time: messages of the sample for each second that the broker's process was on a processor \
         meanwhile (`/proc/PID/stat`, user and system, all threads; of ours the name server is in it).\n\
         - Open loop and end to end count from the moment a message was due.\n\
         - Both ends on one core: server and load generator are each started under `taskset` on the same core, as is `echo`.\n\
         - Cold reader: a consumer on 8 connections reads a log from its beginning, 32 messages a request, as fast as it is \
         served; before each turn the system is told to forget what it keeps in memory of the log's files.\n\
         - Memory: all resident pages of the broker's process (`Rss` of each mapping in `/proc/PID/smaps`), but for \
         the pages of files that it maps from its store (log, queues, index); of ours, the files of the stages in shared memory \
         are counted whole, mapped or not, and the name server runs in the same process. Idle is 5 s after the start, its processor time is that of \
         20 s more; the long log is {gigabytes} GB of bodies, sent in batches of 32 on 4 connections, looked at 5 s later.\n\
         - Ready: from starting the process until a send from outside, tried again every 2 ms, is accepted; on an empty \
         directory, and after `kill -9` with the long log. A peer's name server is up already; ours starts with the broker.\n\
         - Many queues: memory as above, less that of the idle server, after 100,000 topics of 10 queues were made and sent to for 5 s.\n",
        HEAP.join(" "),
        rocketmq_rust::VERSION,
    )
}

fn cell(spread: Option<Spread>, unit: &str) -> String {
    let Some(Spread { median, least, most }) = spread else { return "–".to_owned() };
    let median = format!("{} {unit}", number(median)).trim_end().to_owned();
    if least >= most { median } else { format!("{median} ({} – {})", number(least), number(most)) }
}

/// Three digits that count, thousands set apart.
pub(crate) fn number(figure: f64) -> String {
    let digits = match figure.abs() {
        0.0..0.1 => 4,
        0.1..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let text = format!("{figure:.digits$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), String::new()), |(w, r)| (w, format!(".{r}")));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::book::{Judged, Run, Sample};

    #[test]
    fn numbers_are_read_at_a_glance() {
        let texts = [0.0312, 9.99, 42.42, 703.6, 81_234.4, 1_234_567.0].map(number);
        assert_eq!(texts, ["0.0312", "9.99", "42.4", "704", "81,234", "1,234,567"]);
    }

    #[test]
    fn a_page_has_each_set_with_its_run_and_what_a_peer_did() {
        let sample = Sample {
            apache: Some(10.0),
            kiruna: Some(70.0),
            base: Some(100.0),
            busy: 0.5,
            ..Sample::default()
        };
        let row = |base: Option<&str>| Measured {
            name: "work".to_owned(),
            unit: "msg/s".to_owned(),
            base: base.map(str::to_owned),
            gates: vec![Judged { gate: "≥ 7 × Apache".to_owned(), met: Some(true) }],
            samples: vec![sample],
            did: [("rocketmq-rust".to_owned(), "answers | code 1".to_owned())].into(),
        };
        let set = Set {
            name: "send".to_owned(),
            run: Run {
                command: "cargo xtask peers".to_owned(),
                machine: vec![
                    ("date".to_owned(), "today".to_owned()),
                    ("disk".to_owned(), "a disk".to_owned()),
                ],
                pairs: 5,
                seconds: 3,
                gigabytes: 10.0,
            },
            rows: vec![row(None), row(Some("another"))],
            refused: Vec::new(),
            problems: vec!["no figure".to_owned()],
        };
        let mut book = Book::default();
        book.take(vec![set], false);
        let page = page(&book);
        for part in [
            "| send | today |  | 5 × 3 s | **more than 10 % before 2 of 2: not to be believed** | `cargo xtask peers` |",
            "| disk | a disk |",
            "| work | 10.0 msg/s | answers / code 1 | 70.0 msg/s | – | 7.00 × | – | – | ≥ 7 × Apache | met |",
            "| work | 70.0 msg/s | another | 100 msg/s | 0.70 × | ≥ 7 × Apache | met |",
            "## Figures that are missing\n\n- no figure\n",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!page.contains("Calls that failed"));
    }
}
