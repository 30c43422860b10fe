// SPDX-License-Identifier: Apache-2.0
//! The report as JSON: every figure, and each histogram whole, so that others can compute what we did not. Pure. Names and
//! meanings stand in `docs/benchmarks/suite.md`; numbers that are not there are null.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde_json::{Value, json};

use super::environment::{Broker, Environment};
use super::machine::{HICCUP, Machine, OTHER, STEAL, Server, Verdict};
use super::result::{Figures, Outcome, Ran, Suite};
use crate::bench::series::Point;
use crate::when;

/// Rises when a name or its meaning changes.
const FORMAT: u32 = 1;

pub(super) fn suite(suite: &Suite) -> Value {
    let verdict = suite.verdict();
    json!({
        "format": FORMAT,
        "verdict": { "word": verdict.word(), "text": suite.judged(), "reasons": verdict.reasons() },
        "limits": { "steal": STEAL, "other_cores": OTHER, "hiccup_p999_us": HICCUP as f64 / 1e3 },
        "environment": environment(&suite.environment),
        "seconds": suite.seconds,
        "warmup": suite.warmup,
        "heat": suite.heat,
        "wanted": suite.wanted,
        "interrupted": suite.is_interrupted,
        "no_echo": suite.no_echo,
        "before": suite.rest.as_ref().map(machine),
        "steps": suite.steps.iter().map(ran).collect::<Vec<_>>(),
    })
}

fn environment(environment: &Environment) -> Value {
    let broker = |broker: &Broker| {
        json!({
            "address": broker.address,
            "queues": broker.queues,
            "version": broker.version,
            "flush_disk_type": broker.flush,
            "broker_role": broker.role,
        })
    };
    json!({
        "started": when::text(environment.started.0),
        "version": environment.version,
        "debug_build": environment.is_debug,
        "command": environment.command,
        "endpoint": environment.endpoint,
        "topic": environment.topic,
        "header": environment.header,
        "cpu": environment.cpu,
        "cores": environment.cores,
        "memory_bytes": environment.memory,
        "system": environment.system,
        "brokers": environment.brokers.iter().map(broker).collect::<Vec<_>>(),
    })
}

fn ran(ran: &Ran) -> Value {
    json!({
        "name": ran.step.name,
        "what": ran.step.what,
        "command": ran.command,
        "percent": ran.step.percent,
        "offered": ran.offered.map(tenths),
        "took": tenths(ran.took),
        "endpoint": outcome(&ran.outcome),
        "echo": ran.echo.as_ref().map(outcome),
        "share_of_echo": ran.share().map(thousandths),
        "p999_times_echo": ran.factor().map(thousandths),
        "verdict": ran.verdict().map(|verdict| json!({ "word": verdict.word(), "reasons": verdict.reasons() })),
    })
}

fn outcome(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Done(done) => {
            let mut value = json!({ "result": if done.is_cut { "cut" } else { "done" }, "reason": null });
            if let (Value::Object(to), Value::Object(from)) = (&mut value, figures(done)) {
                to.extend(from);
            }
            value
        }
        Outcome::Failed(reason) => json!({ "result": "failed", "reason": reason }),
        Outcome::Skipped(reason) => json!({ "result": "skipped", "reason": reason }),
    }
}

fn figures(figures: &Figures) -> Value {
    let work = &figures.work;
    json!({
        "work": work.what,
        "connections": work.connections,
        "outstanding": work.outstanding,
        "size": work.size,
        "batch": work.batch,
        "rate": work.rate,
        "seconds": thousandths(figures.seconds),
        "messages": figures.messages,
        "bytes": figures.bytes,
        "per_second": tenths(figures.per_second()),
        "mb_per_second": thousandths(figures.megabytes()),
        "errors": figures.failures(),
        "failures": figures.errors,
        "messages_per_server_cpu_second": figures.per_server_second().map(tenths),
        "latency": latency(&figures.latency),
        "series": figures.points.iter().map(point).collect::<Vec<_>>(),
        "machine": machine(&figures.machine),
    })
}

/// Percentiles in microseconds, and the whole histogram of nanoseconds.
fn latency(histogram: &Histogram<u64>) -> Value {
    let at = |quantile: f64| tenths(histogram.value_at_quantile(quantile) as f64 / 1e3);
    json!({
        "count": histogram.len(),
        "mean_us": tenths(histogram.mean() / 1e3),
        "p50_us": at(0.5),
        "p90_us": at(0.9),
        "p99_us": at(0.99),
        "p999_us": at(0.999),
        "p9999_us": at(0.9999),
        "max_us": at(1.0),
        "hdr_ns": encoded(histogram),
    })
}

/// The form that all HdrHistogram libraries read: V2, compressed, in base64.
fn encoded(histogram: &Histogram<u64>) -> Option<String> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).ok()?;
    Some(STANDARD.encode(bytes))
}

fn point(point: &Point) -> Value {
    let micros = |which: usize| point.latency.map(|values| tenths(values[which] as f64 / 1e3));
    json!({
        "at": thousandths(point.at),
        "seconds": thousandths(point.seconds),
        "messages": point.messages,
        "errors": point.errors,
        "p50_us": micros(0),
        "p99_us": micros(1),
        "max_us": micros(2),
    })
}

fn machine(machine: &Machine) -> Value {
    let processor = machine.processor.as_ref().map(|processor| {
        let (place, server) = match processor.server {
            Server::Here(cores) => ("here", Some(thousandths(cores))),
            Server::Elsewhere => ("elsewhere", None),
            Server::Hidden => ("hidden", None),
        };
        json!({
            "cores": processor.cores,
            "steal": thousandths(processor.steal),
            "idle": thousandths(processor.idle),
            "load_cores": thousandths(processor.own),
            "server": place,
            "server_cores": server,
            "other_cores": processor.other().map(thousandths),
        })
    });
    let verdict: Verdict = machine.verdict();
    let peak = |(at, nanos): &(f64, u64)| json!([thousandths(*at), tenths(*nanos as f64 / 1e3)]);
    json!({
        "seconds": thousandths(machine.seconds),
        "processor": processor,
        "hiccups": latency(&machine.hiccups),
        "hiccup_peaks_us": machine.peaks.iter().map(peak).collect::<Vec<_>>(),
        "verdict": verdict.word(),
        "reasons": verdict.reasons(),
    })
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;

    #[test]
    fn a_histogram_comes_back_as_it_was() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1_000, 60_000_000_000, 3).expect("bounds");
        (0..10_000u64).for_each(|index| histogram.saturating_record(index * index * 500));
        let text = encoded(&histogram).expect("it can be written");
        // How all histograms of this form begin.
        assert!(text.starts_with("HISTFAAA"), "{text}");
        let bytes = STANDARD.decode(text).expect("base64");
        let back: Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram");
        assert_eq!(back.len(), 10_000);
        for quantile in [0.0, 0.5, 0.99, 0.999, 1.0] {
            assert_eq!(back.value_at_quantile(quantile), histogram.value_at_quantile(quantile));
        }
    }
}
