// SPDX-License-Identifier: Apache-2.0
//! What the metrics port tells: each stage with its histogram, and totals under the names that RocketMQ gives them.
//! `docs/ops/metrics.md` has a line for each; a test holds the two together.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use stdx::Times;

use super::Sources;
use super::told::Told;

/// Steps of a decade, in whose tenths bounds are counted.
const STEPS: [u64; 6] = [10, 15, 20, 30, 50, 70];
/// The decades from a microsecond on.
const DECADES: u32 = 7;
const NANOS: f64 = 1e9;

type Stage = (&'static str, fn(&Sources) -> Times);

/// The whole time within the server, by kind of request.
const REQUESTS: [Stage; 3] = [
    ("send", |from| from.broker.stages().sends.read()),
    ("pull", |from| from.broker.stages().pulls.read()),
    ("other", |from| from.broker.stages().others.read()),
];

/// The parts of that time, and the work behind it.
const STAGES: [Stage; 13] = [
    ("queueing", |from| from.broker.stages().queueing.read()),
    ("append_wait", |from| from.broker.store().metrics().stages.append_wait.read()),
    ("append", |from| from.broker.store().metrics().stages.append.read()),
    ("append_roll", |from| from.broker.store().metrics().stages.roll.read()),
    ("append_make_room", |from| from.broker.store().metrics().stages.make_room.read()),
    ("settle", |from| from.broker.store().metrics().stages.settle.read()),
    ("write_out", |from| from.broker.stages().write_out.read()),
    ("drain", |from| from.broker.store().metrics().stages.drain.read()),
    ("flush", |from| from.broker.store().metrics().stages.flush.read()),
    ("dispatch", |from| from.broker.store().metrics().stages.dispatch.read()),
    ("cold_read", |from| from.broker.store().metrics().stages.cold_read.read()),
    ("checkpoint", |from| from.broker.store().metrics().stages.checkpoint.read()),
    ("remove_segment", |from| from.broker.store().metrics().stages.remove.read()),
];

/// Everything that took time, for `kiruna stages`.
pub(super) fn told(from: &Sources) -> Vec<Told> {
    let all = REQUESTS.iter().chain(&STAGES);
    let mut told: Vec<Told> = all.map(|(name, read)| Told::new(name, &read(from))).collect();
    told.push(Told::new("hiccup", &from.hiccups.overslept.read()));
    told
}

/// A number that is read when it is asked for.
struct Figure {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    unit: Option<Unit>,
    read: fn(&Sources) -> u64,
}

fn figures() -> [Figure; 11] {
    let figure = |name, help, kind, unit, read| Figure { name, help, kind, unit, read };
    let counter = MetricType::Counter;
    let gauge = MetricType::Gauge;
    [
        figure("rocketmq_messages_in", "Messages stored for clients.", counter, None, |from| {
            from.broker.counts().now().sent_messages
        }),
        figure("rocketmq_throughput_in", "Bytes of the records stored for clients.", counter, None, |from| {
            from.broker.counts().now().sent_bytes
        }),
        figure("rocketmq_messages_out", "Messages given to consumers.", counter, None, |from| {
            from.broker.counts().now().pulled_messages
        }),
        figure(
            "rocketmq_throughput_out",
            "Bytes of the records given to consumers.",
            counter,
            None,
            |from| from.broker.counts().now().pulled_bytes,
        ),
        figure(
            "rocketmq_storage_flush_behind",
            "Bytes of the log that a power cut would take.",
            gauge,
            Some(Unit::Bytes),
            |from| {
                let marks = from.broker.store().watermarks();
                marks.written.get().saturating_sub(marks.durable.get())
            },
        ),
        figure(
            "rocketmq_storage_dispatch_behind",
            "Bytes of the log that consumers cannot see yet.",
            gauge,
            Some(Unit::Bytes),
            |from| {
                let marks = from.broker.store().watermarks();
                marks.written.get().saturating_sub(marks.dispatched.get())
            },
        ),
        figure("kiruna_log", "Bytes of the log that are kept.", gauge, Some(Unit::Bytes), |from| {
            let marks = from.broker.store().watermarks();
            marks.written.get().saturating_sub(marks.start.get())
        }),
        figure(
            "kiruna_appends_refused",
            "Appends refused because the disk was behind.",
            counter,
            None,
            |from| from.broker.store().metrics().busy.get(),
        ),
        figure(
            "kiruna_segments_removed",
            "Segments of the log that retention removed.",
            counter,
            None,
            |from| from.broker.store().metrics().segments_removed.get(),
        ),
        figure("kiruna_waiting_pulls", "Long polls that wait for messages.", gauge, None, |from| {
            from.broker.waiting_pulls() as u64
        }),
        figure(
            "kiruna_pauses",
            "Times in which nothing went on for more than a millisecond.",
            counter,
            None,
            |from| from.hiccups.ledger().seen(),
        ),
    ]
}

/// What is told to Prometheus.
#[derive(Debug)]
pub(super) struct Page {
    from: Sources,
    /// The upper bounds of buckets in nanoseconds.
    bounds: Vec<u64>,
}

impl Page {
    pub(super) fn new(from: Sources) -> Page {
        let decade = |power| STEPS.map(|step| step * 10u64.pow(power) * 100);
        Page { from, bounds: (0..DECADES).flat_map(decade).chain([10_000_000_000]).collect() }
    }

    fn histogram(&self, times: &Times, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        let mut before = 0;
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(self.bounds.len() + 1);
        for bound in &self.bounds {
            let end = times.up_to(*bound);
            buckets.push((*bound as f64 / NANOS, end - before));
            before = end;
        }
        let count = times.count();
        buckets.push((f64::INFINITY, count - before));
        encoder.encode_histogram::<NoLabelSet>(times.sum() as f64 / NANOS, count, &buckets, None)
    }

    fn histograms(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        (label, stages): (&str, &[Stage]),
    ) -> Result<(), Error> {
        let mut family =
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        stages.iter().try_for_each(|(value, read)| {
            let labels = [(label, *value)];
            self.histogram(&read(&self.from), family.encode_family(&labels)?)
        })
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let requests = (
            "kiruna_request",
            "Time from the read that brought a request until its answer was ready to be written, by kind of request; \
             long polls that had to wait are left out.",
        );
        self.histograms(&mut encoder, requests, ("kind", &REQUESTS))?;
        let stages = ("kiruna_stage", "Time that parts of the work take, by stage.");
        self.histograms(&mut encoder, stages, ("stage", &STAGES))?;
        let help = "By how much a thread overslept that sleeps a moment again and again: so long nothing could go on.";
        let hiccup =
            encoder.encode_descriptor("kiruna_hiccup", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        self.histogram(&self.from.hiccups.overslept.read(), hiccup)?;
        let config = self.from.broker.config();
        let identity = &config.identity;
        let node =
            [("cluster", &identity.cluster[..]), ("node_type", "broker"), ("node_id", &identity.name[..])];
        for Figure { name, help, kind, unit, read } in figures() {
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            let mut metric = metric.encode_family(&node)?;
            match kind {
                MetricType::Counter => {
                    metric.encode_counter::<NoLabelSet, u64, u64>(&read(&self.from), None)?
                }
                _ => metric.encode_gauge(&(read(&self.from) as i64))?,
            }
        }
        Ok(())
    }
}
