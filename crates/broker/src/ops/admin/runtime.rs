// SPDX-License-Identifier: Apache-2.0
//! The run-time figures of a broker as a table of texts. Called by the face of 28. The exporter takes the texts apart
//! without looking twice: a missing name or another form costs it the whole broker, so every name of Apache's table is
//! here, with 0 where this broker has no such thing (thread pools, timer wheel, transient pool).

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::frame;
use protocol::names::{LogOffset, QueueId, SCHEDULE_TOPIC};
use protocol::record::Record;
use stdx::{Times, Timestamp};

use crate::Broker;
use crate::rates::Morning;

/// Nanoseconds of a millisecond.
const NANOS: u64 = 1_000_000;

/// Names and texts.
type Table = BTreeMap<String, String>;

/// The upper bounds of the classes of sends by the time they took, in milliseconds; one more class has the rest.
const CLASS_BOUNDS: [u64; 12] = [1, 10, 50, 100, 200, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 10_000];
/// The labels of the classes, as the exporter expects them.
const CLASS_LABELS: [&str; CLASS_BOUNDS.len() + 1] = [
    "[<=0ms]",
    "[0~10ms]",
    "[10~50ms]",
    "[50~100ms]",
    "[100~200ms]",
    "[200~500ms]",
    "[500ms~1s]",
    "[1~2s]",
    "[2~3s]",
    "[3~4s]",
    "[4~5s]",
    "[5~10s]",
    "[10s~]",
];
/// The thread pools of Apache's broker; requests here wait in the sockets' own queues.
const POOLS: [&str; 5] = ["send", "pull", "litePull", "query", "ack"];
/// The spans of rates, in seconds.
const SPANS: [usize; 3] = [10, 60, 600];

impl Broker {
    /// What this broker measures, name by name.
    pub(crate) async fn runtime(&self, now: Timestamp) -> Table {
        let earliest = self.earliest().await;
        let mut table = Table::new();
        self.put_identity(&mut table, now);
        self.put_traffic(&mut table);
        self.put_store(&mut table);
        put(&mut table, "earliestMessageTimeStamp", earliest.map_or(-1, |at| at.0));
        self.put_delays(&mut table);
        put_absent(&mut table);
        table
    }

    fn put_identity(&self, table: &mut Table, now: Timestamp) {
        let started = self.rates.started_at;
        put(table, "bootTimestamp", started);
        put(table, "startAcceptSendRequestTimeStamp", 0);
        put(table, "runtime", age(now.since(started)));
        put(table, "brokerActive", self.store.poisoned().is_none());
        put(table, "brokerVersion", frame::VERSION);
        put(table, "brokerVersionDesc", "V5_5_0");
    }

    fn put_traffic(&self, table: &mut Table) {
        let totals = self.counts.now();
        put(table, "putMessageTimesTotal", totals.sent_messages);
        put(table, "putMessageSizeTotal", totals.sent_bytes);
        put(table, "putMessageAverageSize", decimal(share(totals.sent_bytes, totals.sent_messages)));
        put(table, "putMessageFailedTimes", self.store.metrics().busy.get());
        put(table, "expiredMessagesPassed", self.store.metrics().expired.get());
        put_times(table, &self.stages.sends.read(), &self.stages.pulls.read());
        self.rates.with_seconds(|seconds| {
            let rate = |read: &dyn Fn(usize) -> f64| SPANS.map(|span| decimal(read(span))).join(" ");
            let found = |span| seconds.found(span).unwrap_or_default();
            let missed = |span| seconds.missed(span).unwrap_or_default();
            put(table, "putTps", rate(&|span| seconds.puts(span).unwrap_or_default()));
            put(table, "getFoundTps", rate(&found));
            put(table, "getMissTps", rate(&missed));
            put(table, "getTotalTps", rate(&|span| found(span) + missed(span)));
            put(table, "getTransferredTps", rate(&|span| seconds.given(span).unwrap_or_default()));
            let Morning { yesterday, today, .. } = seconds.morning();
            put(table, "msgPutTotalYesterdayMorning", yesterday.0);
            put(table, "msgPutTotalTodayMorning", today.0);
            put(table, "msgGetTotalYesterdayMorning", yesterday.1);
            put(table, "msgGetTotalTodayMorning", today.1);
        });
        put(table, "msgPutTotalTodayNow", totals.sent_messages);
        put(table, "msgGetTotalTodayNow", totals.pulled_messages);
    }

    fn put_store(&self, table: &mut Table) {
        let marks = self.store.watermarks();
        let usage = self.store.usage();
        let unflushed = marks.written.get().saturating_sub(marks.durable.get());
        put(table, "commitLogMinOffset", usage.log.0);
        put(table, "commitLogMaxOffset", usage.log.1);
        put(table, "dispatchBehindBytes", marks.written.get().saturating_sub(marks.dispatched.get()));
        put(table, "remainHowManyDataToFlush", bytes(unflushed));
        let (total, free) = usage.disk.map_or((0, 0), |disk| (disk.total, disk.free));
        let used = usage.disk.map_or(0.0, |disk| disk.used_ratio());
        put(table, "commitLogDiskRatio", decimal(used));
        table.insert(format!("commitLogDiskRatio_{}", self.store.dir().display()), decimal(used));
        put(table, "consumeQueueDiskRatio", decimal(used));
        put(table, "commitLogDirCapacity", format!("Total : {}, Free : {}.", bytes(total), bytes(free)));
    }

    /// When the first record that is kept was stored.
    async fn earliest(&self) -> Option<Timestamp> {
        let start = LogOffset(self.store.watermarks().start.get());
        let record = self.store.record(start).await.ok()??;
        Record::parse(&record).ok().map(|record| record.stored_at())
    }

    fn put_delays(&self, table: &mut Table) {
        for (level, next) in (1..).zip(self.delay.positions()) {
            let queue = self.store.find_queue(SCHEDULE_TOPIC, QueueId(level - 1));
            let end = queue.map(|queue| queue.dispatched()).unwrap_or_default();
            table.insert(format!("scheduleMessageOffset_{level}"), format!("{next},{end}"));
        }
    }
}

/// What Apache's broker has and this one has not.
fn put_absent(table: &mut Table) {
    for pool in POOLS {
        for figure in ["ThreadPoolQueueSize", "ThreadPoolQueueCapacity", "ThreadPoolQueueHeadWaitTimeMills"] {
            table.insert(format!("{pool}{figure}"), "0".to_owned());
        }
    }
    for name in [
        "EndTransactionQueueSize",
        "EndTransactionThreadPoolQueueCapacity",
        "dispatchMaxBuffer",
        "pageCacheLockTimeMills",
        "remainTransientStoreBufferNumbs",
        "timerReadBehind",
        "timerOffsetBehind",
        "timerCongestNum",
    ] {
        put(table, name, 0);
    }
    put(table, "remainHowManyDataToCommit", bytes(0));
    put(table, "timerEnqueueTps", decimal(0.0));
    put(table, "timerDequeueTps", decimal(0.0));
}

/// How long sends took until their promise was kept, and pulls that did not have to wait for messages.
fn put_times(table: &mut Table, sends: &Times, pulls: &Times) {
    put(table, "putMessageEntireTimeMax", sends.longest() / NANOS);
    put(table, "getMessageEntireTimeMax", pulls.longest() / NANOS);
    put(table, "putMessageDistributeTime", classes(sends));
    for (name, share) in [("putLatency99", 0.99), ("putLatency999", 0.999)] {
        put(table, name, format!("{:.2}", sends.quantile(share) as f64 / NANOS as f64));
    }
}

fn put(table: &mut Table, name: &str, value: impl ToString) {
    table.insert(name.to_owned(), value.to_string());
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// A number as Java prints it: always with a point.
fn decimal(number: f64) -> String {
    format!("{number:?}")
}

/// `1.5 GiB`; a number, a space and a unit.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let power = ((63 - count.leading_zeros()) / 10).min(UNITS.len() as u32);
    format!("{:.1} {}", count as f64 / 1024f64.powi(power as i32), UNITS[power as usize - 1])
}

/// `[ 1 days, 2 hours, 3 minutes, 4 seconds ]`.
fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    format!("[ {days} days, {hours} hours, {} minutes, {} seconds ]", seconds / 60 % 60, seconds % 60)
}

/// `[<=0ms]:1 [0~10ms]:2 …`.
fn classes(times: &Times) -> String {
    let ends = CLASS_BOUNDS.map(|millis| times.up_to(millis * NANOS - 1)).into_iter().chain([times.count()]);
    let mut before = 0;
    let counts = ends.map(|end| end - std::mem::replace(&mut before, end));
    CLASS_LABELS.iter().zip(counts).map(|(label, count)| format!("{label}:{count} ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_form_that_tools_take_apart() {
        let shown = [0, 1023, 1024, 1536, 1 << 20, 3 << 30, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "3.0 GiB", "16.0 EiB"]);
        assert_eq!([decimal(0.0), decimal(2.5), decimal(100.0)], ["0.0", "2.5", "100.0"]);
        assert_eq!(age(Duration::from_secs(93_784)), "[ 1 days, 2 hours, 3 minutes, 4 seconds ]");
        let mut table = Table::new();
        let (sends, pulls) = (stdx::Histogram::default(), stdx::Histogram::default());
        sends.record(300_000, 997);
        sends.record(4 * NANOS, 2);
        sends.record(20_000 * NANOS, 1);
        pulls.record(7 * NANOS, 1);
        put_times(&mut table, &sends.read(), &pulls.read());
        let classes = &table["putMessageDistributeTime"];
        assert_eq!(classes.split_whitespace().count(), 13);
        assert!(classes.starts_with("[<=0ms]:997 [0~10ms]:2 [10~50ms]:0 ") && classes.ends_with("[10s~]:1 "));
        assert_eq!(table["putLatency99"].parse::<f64>().map(|at| (0.3..0.31).contains(&at)), Ok(true));
        assert_eq!(table["putLatency999"].parse::<f64>().map(|at| (4.0..4.13).contains(&at)), Ok(true));
        assert_eq!(
            (&table["putMessageEntireTimeMax"][..], &table["getMessageEntireTimeMax"][..]),
            ("20000", "7")
        );
    }

    #[test]
    fn nothing_that_the_exporter_reads_is_missing_among_the_absent() {
        let mut table = Table::new();
        put_absent(&mut table);
        assert_eq!(table["sendThreadPoolQueueHeadWaitTimeMills"], "0");
        assert_eq!(table["remainHowManyDataToCommit"], "0 B");
    }
}
