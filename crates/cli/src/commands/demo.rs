// SPDX-License-Identifier: Apache-2.0
//! `kiruna demo`: the whole platform in one process, with a real producer and consumer and a line a second that says how
//! it goes. Ends with a summary; succeeds only when everything acknowledged was consumed.

use std::io::IsTerminal;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use client::{
    ConsumeFrom, Consumed, Message, Producer, ProducerConfig, PushConfig, PushConsumer, Subscription,
};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use protocol::names::{Group, TopicName};

use super::server::{Node, Roles, ServerArgs};
use crate::bench::percentiles;
use crate::config::Config;
use crate::exit;

const TOPIC: &str = "KirunaDemo";
/// How long the consumer may take to catch up at the end.
const CATCH_UP: Duration = Duration::from_secs(20);

/// Flags of `kiruna demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Ends after this many seconds; 0 runs until stopped.
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Messages per second.
    #[arg(long, default_value_t = 1000)]
    rate: u64,
}

/// What producer and consumer count.
#[derive(Default)]
struct Counts {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    /// Messages seen for the first time, and again.
    consumed: AtomicU64,
    repeated: AtomicU64,
    send: Latency,
    end_to_end: Latency,
    /// Which of this run's messages came, by number.
    seen: Mutex<Vec<bool>>,
}

struct Latency(Mutex<Histogram<u64>>);

impl Default for Latency {
    fn default() -> Latency {
        let histogram =
            Histogram::new_with_bounds(1_000, 60_000_000_000, 2).expect("the bounds are in order");
        Latency(Mutex::new(histogram))
    }
}

impl Latency {
    fn note(&self, took: Duration) {
        self.0.lock().saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// Runs the demo to its end.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    if args.rate == 0 {
        bail!("--rate is at least 1");
    }
    let mut config = args.server.load()?;
    take_free_ports(&mut config);
    let node = Node::start(&config, Roles::Standalone)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let outcome = runtime.block_on(traffic(&node, args));
    drop(runtime);
    node.stop();
    outcome
}

/// A port that somebody else uses becomes a free one; nobody should have to stop a server to see this.
fn take_free_ports(config: &mut Config) {
    for port in [&mut config.node.namesrv_port, &mut config.node.broker_port] {
        if *port != 0 && TcpListener::bind(("127.0.0.1", *port)).is_err() {
            eprintln!("port {port} is taken; using a free one");
            *port = 0;
        }
    }
}

async fn traffic(node: &Node, args: &DemoArgs) -> Result<()> {
    let (Some(namesrv), Some(broker)) = (node.namesrv_addr(), node.broker_addr()) else {
        bail!("a demo runs a name server and a broker");
    };
    println!("{}", welcome(&namesrv.to_string(), &broker.to_string()));
    let counts = Arc::new(Counts::default());
    let begun = Instant::now();
    let producer = Arc::new(
        Producer::start(ProducerConfig::new(Group::parse("demo-producer")?, &namesrv.to_string())).await?,
    );
    let consumer = consume(&namesrv.to_string(), begun, counts.clone()).await?;
    let end = (args.seconds > 0).then(|| begun + Duration::from_secs(args.seconds));
    let stopped = exit::signal();
    tokio::pin!(stopped);
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    let mut report = Reporter::new(begun);
    let mut sent = 0;
    loop {
        tokio::select! {
            signal = &mut stopped => { signal?; break }
            _ = tick.tick() => {}
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        let due = (begun.elapsed().as_secs_f64() * args.rate as f64) as u64;
        while sent < due {
            tokio::spawn(send(producer.clone(), sent, begun, counts.clone()));
            sent += 1;
        }
        report.progress(&counts);
    }
    finish(&counts, sent).await;
    if let Some(producer) = Arc::into_inner(producer) {
        producer.shutdown().await;
    }
    consumer.shutdown().await;
    summary(&counts, begun.elapsed())
}

async fn send(producer: Arc<Producer>, number: u64, begun: Instant, counts: Arc<Counts>) {
    let started = Instant::now();
    let stamp = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let body = format!("{number} {stamp} hello from the far north");
    let topic = TopicName::parse(TOPIC).expect("the demo's topic has a good name");
    match producer.send(Message::new(topic, body.into_bytes())).await {
        Ok(_) => {
            counts.send.note(started.elapsed());
            counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => {
            tracing::warn!(%error, "a message was not sent");
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn consume(namesrv: &str, begun: Instant, counts: Arc<Counts>) -> Result<PushConsumer> {
    // A group of its own for each run, beginning now, so that an earlier run's messages do not count.
    let group = Group::parse(format!("demo-consumer-{}", std::process::id()))?;
    let mut config = PushConfig::new(group, namesrv);
    let run = stdx::SystemClock::new().now();
    config.from = ConsumeFrom::Time(run);
    config.batch = 32;
    let listener = move |delivery: client::Delivery| {
        let counts = counts.clone();
        async move {
            for message in delivery.iter().filter(|message| message.born_at >= run) {
                note(&counts, begun, &message.body);
            }
            Consumed::Done
        }
    };
    let subscription = Subscription::all(TopicName::parse(TOPIC)?);
    Ok(PushConsumer::start(config, &[subscription], listener).await?)
}

fn note(counts: &Counts, begun: Instant, body: &[u8]) {
    let text = String::from_utf8_lossy(body);
    let mut numbers = text.split(' ').map_while(|word| word.parse::<u64>().ok());
    let (Some(number), Some(stamp)) = (numbers.next(), numbers.next()) else { return };
    counts.end_to_end.note(begun.elapsed().saturating_sub(Duration::from_nanos(stamp)));
    let mut seen = counts.seen.lock();
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    if index >= seen.len() {
        seen.resize(index + 1, false);
    }
    let counter = if std::mem::replace(&mut seen[index], true) { &counts.repeated } else { &counts.consumed };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Waits until every send has an answer and everything acknowledged has come.
async fn finish(counts: &Counts, sent: u64) {
    let end = Instant::now() + CATCH_UP;
    while Instant::now() < end {
        let acknowledged = counts.acknowledged.load(Ordering::Relaxed);
        let answered = acknowledged + counts.failed.load(Ordering::Relaxed);
        if answered >= sent && counts.consumed.load(Ordering::Relaxed) >= acknowledged {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Prints a line a second.
struct Reporter {
    begun: Instant,
    last: Instant,
    acknowledged: u64,
    consumed: u64,
}

impl Reporter {
    fn new(begun: Instant) -> Reporter {
        Reporter { begun, last: begun, acknowledged: 0, consumed: 0 }
    }

    fn progress(&mut self, counts: &Counts) {
        let past = self.last.elapsed();
        if past < Duration::from_secs(1) {
            return;
        }
        let acknowledged = counts.acknowledged.load(Ordering::Relaxed);
        let consumed = counts.consumed.load(Ordering::Relaxed);
        let rate = |now: u64, before: u64| (now - before) as f64 / past.as_secs_f64();
        let quantile = |latency: &Latency, at: f64| {
            format!("{:.1?}", Duration::from_nanos(latency.0.lock().value_at_quantile(at)))
        };
        let line = format!(
            "{:>4} s  sent {:>6.0}/s  consumed {:>6.0}/s  lag {:>4}  send p50 {} p99 {}  end to end p50 {} p99 {}",
            self.begun.elapsed().as_secs(),
            rate(acknowledged, self.acknowledged),
            rate(consumed, self.consumed),
            acknowledged.saturating_sub(consumed),
            quantile(&counts.send, 0.5),
            quantile(&counts.send, 0.99),
            quantile(&counts.end_to_end, 0.5),
            quantile(&counts.end_to_end, 0.99),
        );
        if std::io::stdout().is_terminal() {
            print!("\r\x1b[K{line}");
            let _ = std::io::Write::flush(&mut std::io::stdout());
        } else {
            println!("{line}");
        }
        (self.last, self.acknowledged, self.consumed) = (Instant::now(), acknowledged, consumed);
    }
}

fn summary(counts: &Counts, took: Duration) -> Result<()> {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (acknowledged, consumed, failed) =
        (read(&counts.acknowledged), read(&counts.consumed), read(&counts.failed));
    println!("\n\nsummary after {:.0} s", took.as_secs_f64());
    println!(
        "  acknowledged {acknowledged}, failed {failed}, consumed {consumed}, delivered again {}",
        read(&counts.repeated)
    );
    println!("  send        {}", percentiles(&counts.send.0.lock()));
    println!("  end to end  {}", percentiles(&counts.end_to_end.0.lock()));
    if consumed < acknowledged {
        bail!("{} acknowledged messages were not consumed within {CATCH_UP:?}", acknowledged - consumed);
    }
    println!("  everything that was acknowledged was consumed");
    Ok(())
}

fn welcome(namesrv: &str, broker: &str) -> String {
    format!(
        "\
KirunaMQ is running in this process.

  name server  {namesrv}
  broker       {broker}

Point any RocketMQ client at the name server:

  Java    producer.setNamesrvAddr(\"{namesrv}\");
  Go      producer.WithNameServer([]string{{\"{namesrv}\"}})
  Rust    Producer::start(ProducerConfig::new(group, \"{namesrv}\")).await?
  Shell   kiruna pub hello hi -n {namesrv}      kiruna sub hello -n {namesrv}
  Tools   mqadmin clusterList -n {namesrv}

Ctrl-C ends the demo.
"
    )
}
