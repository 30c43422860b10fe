// SPDX-License-Identifier: Apache-2.0
//! The tables of the report's page. Pure: from a result to HTML. Whatever was not written here is escaped.

use std::fmt::Write;

use super::machine::{HICCUP, Machine, OTHER, STEAL, Server, Verdict};
use super::result::{Figures, Outcome, Ran, Suite, told};
use super::steps::Part;
use super::words::{self, escape};

/// So many reasons of a verdict are shown at once.
const REASONS: usize = 4;

/// The verdict, for the top of the page.
pub(super) fn verdict(suite: &Suite) -> String {
    let verdict = suite.verdict();
    let mut out = format!(
        "<section class=\"verdict {}\" aria-label=\"Verdict\"><p><strong>{}</strong></p>",
        verdict.word(),
        escape(&suite.judged())
    );
    if !verdict.reasons().is_empty() {
        let list = |reasons: &[String]| {
            let items = reasons.iter().map(|reason| format!("<li>{}</li>", escape(reason)));
            format!("<ul>{}</ul>", items.collect::<String>())
        };
        let (first, rest) = verdict.reasons().split_at(verdict.reasons().len().min(REASONS));
        out.push_str(&list(first));
        if !rest.is_empty() {
            let _ = write!(out, "<details><summary>{} more</summary>{}</details>", rest.len(), list(rest));
        }
    }
    out.push_str("</section>\n");
    let mut warn = |text: String| {
        let _ = writeln!(
            out,
            "<section class=\"verdict broken\"><p><strong>{}</strong></p></section>",
            escape(&text)
        );
    };
    if suite.environment.is_debug {
        warn("The load was made by a debug build: these figures say little about the server.".to_owned());
    }
    if suite.is_interrupted {
        warn(format!("Ended by a signal after {} of {} steps.", suite.steps.len(), suite.wanted));
    }
    if suite.failed() > 0 {
        warn(format!("{} of {} steps failed; the tables say why.", suite.failed(), suite.wanted));
    }
    if let Some(reason) = &suite.no_echo {
        warn(format!("The machine's ceiling is missing, echo did not start: {reason}"));
    }
    out
}

/// The few figures that most people look for.
pub(super) fn tiles(suite: &Suite) -> String {
    let mut all: Vec<(String, String)> = Vec::new();
    let most = suite.of_part(Part::Sends).filter_map(|ran| Some((ran.figures()?, ran)));
    let most = most.max_by(|(one, _), (other, _)| one.per_second().total_cmp(&other.per_second()));
    all.extend(most.map(|(figures, ran)| {
        (format!("{}/s", words::brief(figures.per_second())), format!("most sends ({})", ran.step.name))
    }));
    if let Some(ran) = suite.steps.iter().find(|ran| ran.share().is_some()) {
        let share = words::percent(ran.share().unwrap_or(f64::NAN));
        all.push((share, format!("of what echo does ({})", ran.step.name)));
    }
    let tails =
        [("open-50", 0.999, "p99.9 of sends at half load"), ("e2e-1k", 0.99, "p99 end to end at 1,000/s")];
    for (name, quantile, text) in tails {
        all.extend(suite.named(name).map(|figures| (words::nanos(figures.nanos(quantile)), text.to_owned())));
    }
    let pulled = suite.named("pull-hot");
    all.extend(
        pulled.map(|figures| (format!("{}/s", words::brief(figures.per_second())), "hot pull".to_owned())),
    );
    if all.is_empty() {
        return String::new();
    }
    let tile = |(figure, text): &(String, String)| {
        format!("<li><b>{}</b><span>{}</span></li>", escape(figure), escape(text))
    };
    format!("<ul class=\"tiles\">{}</ul>\n", all.iter().map(tile).collect::<String>())
}

const COLUMNS: [&str; 10] =
    ["Step", "msg/s", "MB/s", "p50", "p99", "p99.9", "max", "of echo", "per server CPU-second", "errors"];

/// The table of one part; nothing when none of its own steps was tried.
pub(super) fn part(suite: &Suite, part: Part) -> String {
    // A step that stands in two tables does not make one of its own.
    if !suite.of_part(part).any(|ran| ran.step.parts.first() == Some(&part)) {
        return String::new();
    }
    let mut out = format!("<h2>{}</h2>\n{}", part.title(), head(&COLUMNS));
    suite.of_part(part).for_each(|ran| row(&mut out, ran));
    out.push_str("</tbody></table></div>\n");
    for ran in suite.of_part(part) {
        let Some(figures) = ran.figures().filter(|figures| figures.failures() > 0) else { continue };
        let (name, failures) = (ran.step.name, escape(&told(&figures.errors)));
        let _ = writeln!(out, "<p class=\"note\">{name} failed: {failures}</p>");
    }
    out
}

fn head(columns: &[&str]) -> String {
    let cells: String =
        columns.iter().map(|column| format!("<th scope=\"col\">{}</th>", escape(column))).collect();
    format!("<div class=\"scroll\"><table><thead><tr>{cells}</tr></thead><tbody>\n")
}

/// The row of one step.
fn row(out: &mut String, ran: &Ran) {
    let mark = match ran.verdict() {
        Some(Verdict::Disturbed(_)) => {
            " <span class=\"bad\" title=\"the machine was not quiet\">⚠ disturbed</span>"
        }
        _ => "",
    };
    let mut what = escape(ran.step.what);
    if let Some(offered) = ran.offered {
        let _ = write!(what, ": {} msg/s", words::count(offered));
    }
    let _ = write!(out, "<tr><th scope=\"row\">{}{mark}<small>{what}</small></th>", ran.step.name);
    match &ran.outcome {
        Outcome::Done(figures) => cells(out, ran, figures),
        Outcome::Failed(reason) => {
            let _ = write!(out, "<td class=\"text told\" colspan=\"9\">failed: {}</td>", escape(reason));
        }
        Outcome::Skipped(reason) => {
            let _ = write!(out, "<td class=\"text\" colspan=\"9\">skipped: {}</td>", escape(reason));
        }
    }
    out.push_str("</tr>\n");
    match &ran.echo {
        Some(Outcome::Done(echo)) => {
            out.push_str("<tr><th scope=\"row\"><small>the same against echo</small></th>");
            plain(out, echo);
            out.push_str("<td></td><td></td><td></td></tr>\n");
        }
        Some(Outcome::Failed(reason) | Outcome::Skipped(reason)) => {
            let reason = escape(reason);
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\"><small>the same against echo</small></th><td class=\"text\" colspan=\"9\">{reason}</td></tr>"
            );
        }
        None => {}
    }
}

/// The cells that the endpoint and echo have.
fn plain(out: &mut String, figures: &Figures) {
    let _ = write!(
        out,
        "<td>{}</td><td>{}</td>",
        words::count(figures.per_second()),
        words::short(figures.megabytes())
    );
    for quantile in [0.5, 0.99, 0.999, 1.0] {
        let _ = write!(out, "<td>{}</td>", words::nanos(figures.nanos(quantile)));
    }
}

fn cells(out: &mut String, ran: &Ran, figures: &Figures) {
    plain(out, figures);
    let echo = match (ran.share(), ran.factor()) {
        (Some(share), _) => words::percent(share),
        (None, Some(factor)) => format!("p99.9 × {}", words::short(factor)),
        (None, None) => words::NONE.to_owned(),
    };
    let server = figures.per_server_second().map_or_else(|| words::NONE.to_owned(), words::count);
    let cut = if figures.is_cut { " (cut short)" } else { "" };
    let _ = write!(
        out,
        "<td>{echo}</td><td>{server}</td><td>{}{cut}</td>",
        words::count(figures.failures() as f64)
    );
}

/// What the machine did in each step.
pub(super) fn machine(suite: &Suite) -> String {
    let columns =
        ["Step", "steal", "idle", "load", "server", "other work", "hiccup p99", "p99.9", "max", "verdict"];
    let mut out = format!("<h2>The machine meanwhile</h2>\n{}", head(&columns));
    if let Some(rest) = &suite.rest {
        machine_row(&mut out, "before", rest, false);
    }
    for ran in &suite.steps {
        if let Some(figures) = ran.figures() {
            machine_row(&mut out, ran.step.name, &figures.machine, true);
        }
        if let Some(echo) = ran.echo() {
            machine_row(&mut out, &format!("{}, echo", ran.step.name), &echo.machine, false);
        }
    }
    out.push_str("</tbody></table></div>\n");
    let _ = writeln!(
        out,
        "<p class=\"note\">Steal and idle are shares of the whole machine; load (with echo in its turns), server and other work \
         are in percent of one core. A hiccup is by how much a sleep of a millisecond was too long; a long one also counts for the \
         sleeps it swallowed. Limits: steal {}, other work {} of a core, hiccups {} at the 99.9th percentile.</p>",
        words::percent(STEAL),
        words::percent(OTHER),
        words::nanos(HICCUP as f64)
    );
    out
}

fn machine_row(out: &mut String, name: &str, machine: &Machine, is_served: bool) {
    let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escape(name));
    let shown = match &machine.processor {
        None => [words::NONE; 5].map(str::to_owned),
        Some(processor) => {
            let server = match processor.server {
                Server::Here(cores) => words::percent(cores),
                Server::Elsewhere if is_served => "elsewhere".to_owned(),
                Server::Elsewhere => words::NONE.to_owned(),
                Server::Hidden => "not seen".to_owned(),
            };
            let other = processor.other().map_or_else(|| "not known".to_owned(), words::percent);
            let [steal, idle, own] = [processor.steal, processor.idle, processor.own].map(words::percent);
            [steal, idle, own, server, other]
        }
    };
    let hiccup = |quantile| words::nanos(machine.hiccups.value_at_quantile(quantile) as f64);
    let shown =
        shown.into_iter().chain([0.99, 0.999, 1.0].map(hiccup)).chain([machine.verdict().word().to_owned()]);
    shown.for_each(|text| _ = write!(out, "<td>{}</td>", escape(&text)));
    out.push_str("</tr>\n");
}

/// Where the figures come from.
pub(super) fn environment(suite: &Suite) -> String {
    let mut out = "<h2>Where this comes from</h2>\n<dl>".to_owned();
    for (name, value) in suite.environment.rows() {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(&value));
    }
    out.push_str("</dl>\n");
    out
}
