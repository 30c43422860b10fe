// SPDX-License-Identifier: Apache-2.0
//! Money moves between two ledgers by transactions through a real server, which is killed with `kill -9` at random moments,
//! while producers die at random moments too: in the end what left one ledger has reached the other, once. A few thousand
//! transfers here; `cargo xtask bank --transfers N` makes as many as wanted on the release build.

#[path = "server/running.rs"]
mod running;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{
    Admin, ClientConfig, Message, Outcome, ProducerConfig, PullConfig, PullConsumer, Received, RetryLimits,
    Sent, Subscription, TransactionProducer, TransactionQuery,
};
use parking_lot::Mutex;
use protocol::body::TopicConfig;
use protocol::names::{Group, QueueOffset, TopicName};
use stdx::Rng;

use running::Running;

/// Questions come soon.
const SETTINGS: [&str; 2] = ["transaction_timeout=500", "transaction_check_interval=500"];
const TOPIC: &str = "Transfers";
/// Transfers under way at a time.
const TELLERS: usize = 16;

/// What the producer's database says of a transfer. It is durable; the producers are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Paid(i64),
    /// Somebody asked before it was paid: it never will be.
    Refused,
}

#[derive(Default)]
struct Payer {
    entries: Mutex<BTreeMap<u64, Entry>>,
    next: AtomicU64,
    asked: AtomicU64,
    unpaid: AtomicU64,
}

impl Payer {
    /// The local transaction: pays, unless the transfer was refused meanwhile.
    fn pay(&self, transfer: u64, amount: i64) -> Outcome {
        match self.entries.lock().entry(transfer).or_insert(Entry::Paid(amount)) {
            Entry::Paid(_) => Outcome::Commit,
            Entry::Refused => Outcome::Rollback,
        }
    }

    /// Answers a broker.
    fn asked(&self, half: &Received) -> Outcome {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (transfer, _) = parse(&half.body);
        match self.entries.lock().entry(transfer).or_insert(Entry::Refused) {
            Entry::Paid(_) => Outcome::Commit,
            Entry::Refused => Outcome::Rollback,
        }
    }
}

fn parse(body: &[u8]) -> (u64, i64) {
    let text = str::from_utf8(body).expect("a body of this test");
    let (transfer, amount) = text.split_once(' ').expect("two numbers");
    (transfer.parse().expect("a number"), amount.parse().expect("an amount"))
}

fn topic() -> TopicName {
    TopicName::parse(TOPIC).expect("a good name")
}

fn config(namesrv: &str) -> ProducerConfig {
    // A send that is tried again may be stored twice, which is no fault of transactions.
    let retry = RetryLimits { attempts: 1, timeout: Duration::from_secs(3) };
    ProducerConfig { retry, ..ProducerConfig::new(Group::parse("payers").expect("a good name"), namesrv) }
}

async fn start(namesrv: &str, payer: &Arc<Payer>) -> Option<TransactionProducer> {
    let desk = payer.clone();
    let check = move |half: Received| std::future::ready(desk.asked(&half));
    let producer = TransactionProducer::start(config(namesrv), check).await.ok()?;
    // Brokers ask those they know, and a producer makes itself known where its topics are.
    let end = Instant::now() + Duration::from_secs(10);
    while producer.producer().queues(&topic()).await.is_err() {
        if Instant::now() > end {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Some(producer)
}

/// Makes one transfer after the other, until there are enough or its process dies.
async fn transfer(producer: Arc<TransactionProducer>, payer: Arc<Payer>, transfers: u64) {
    let mut failed = 0;
    // The server is gone when nothing is answered any more: further transfers are left to those who come then.
    while failed < 2 {
        let number = payer.next.fetch_add(1, Ordering::Relaxed);
        if number >= transfers {
            return;
        }
        let mut rng = Rng::new(number);
        let amount = rng.below(1_000) as i64 + 1;
        let message = Message::new(topic(), format!("{number} {amount}").into_bytes());
        let book = payer.clone();
        let local = move |_: &Sent| {
            let outcome = match rng.below(20) {
                // Dies before it pays.
                0 => Outcome::Unknown,
                // Dies behind that, and nobody is told.
                1 => {
                    book.pay(number, amount);
                    Outcome::Unknown
                }
                // The local transaction fails.
                2 => {
                    book.entries.lock().entry(number).or_insert(Entry::Refused);
                    Outcome::Rollback
                }
                _ => book.pay(number, amount),
            };
            std::future::ready(outcome)
        };
        // A half message that was not acknowledged may be stored all the same: nothing is paid for it.
        if producer.send(message, local).await.is_err() {
            payer.unpaid.fetch_add(1, Ordering::Relaxed);
            failed += 1;
        }
    }
}

/// Works with one server until it or the producers die, or all is done. The server dies under their hands after `kill`.
fn live(server: &Running, payer: &Arc<Payer>, transfers: u64, rng: &mut Rng, kill: Option<Duration>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let length = Duration::from_millis(100 + rng.below(900));
    runtime.block_on(async {
        let pid = server.child.id().to_string();
        if let Some(after) = kill {
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                Command::new("kill").args(["-9", &pid]).status().expect("kill runs");
            });
        }
        let Some(producer) = start(server.face("namesrv="), payer).await else { return };
        let producer = Arc::new(producer);
        let tellers: Vec<_> = (0..TELLERS)
            .map(|_| tokio::spawn(transfer(producer.clone(), payer.clone(), transfers)))
            .collect();
        let all = async {
            for teller in tellers {
                let _ = teller.await;
            }
        };
        let _ = tokio::time::timeout(length, all).await;
    });
    // Whatever it was at: nobody tells anybody anything any more.
    runtime.shutdown_background();
}

/// Answers questions until nothing is open.
async fn settle(server: &Running, payer: &Arc<Payer>) {
    let producer = start(server.face("namesrv="), payer).await.expect("the server is there");
    let admin = Admin::start(ClientConfig::new(server.face("namesrv="))).await.expect("the server is there");
    let end = Instant::now() + Duration::from_secs(120);
    let query = TransactionQuery { max: 1, ..TransactionQuery::default() };
    loop {
        let open: u64 =
            admin.transactions(&query).await.expect("a list").iter().map(|(_, list)| list.open).sum();
        if open == 0 {
            break;
        }
        assert!(Instant::now() < end, "{open} transactions stay open although a producer answers");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    admin.close();
    producer.shutdown().await;
}

/// The consumer's database, from everything that was delivered: amounts by transfer.
async fn collect(server: &Running) -> BTreeMap<u64, i64> {
    let group = Group::parse("payees").expect("a good name");
    let consumer =
        PullConsumer::start(PullConfig::new(group, server.face("namesrv="))).await.expect("a consumer");
    let queues = consumer.queues(&topic()).await.expect("the topic has a route");
    consumer.assign(&Subscription::all(topic()), &queues).await.expect("queues can be assigned");
    let mut seen = BTreeMap::new();
    for queue in &queues {
        consumer.seek(queue, QueueOffset(0)).expect("the queue is assigned");
        let end = consumer.end_offset(queue).await.expect("the end can be asked for");
        while consumer.position(queue).is_some_and(|position| position < end) {
            let pulled = consumer.pull(queue, Duration::from_secs(1)).await.expect("messages can be pulled");
            for message in pulled.messages.iter() {
                let (transfer, amount) = parse(&message.body);
                let before = seen.insert(transfer, amount);
                assert!(before.is_none(), "transfer {transfer} was delivered twice");
            }
        }
    }
    consumer.shutdown().await;
    seen
}

#[test]
fn what_left_one_ledger_reached_the_other() {
    let transfers = std::env::var("KIRUNA_BANK_TRANSFERS").ok().and_then(|text| text.parse().ok());
    let transfers: u64 = transfers.unwrap_or(2_000);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let payer = Arc::new(Payer::default());
    let mut rng = Rng::new(transfers);
    let (mut kills, mut deaths) = (0, 0);
    let mut server = Running::start(&data, &SETTINGS);
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    one.block_on(async {
        let admin =
            Admin::start(ClientConfig::new(server.face("namesrv="))).await.expect("the server is there");
        let topic = TopicConfig::new(topic(), 4, 6);
        admin.put_topic(None, &topic).await.expect("it is made");
        admin.close();
    });
    let limit = Instant::now() + Duration::from_secs(60 + transfers / 20);
    while payer.next.load(Ordering::Relaxed) < transfers || kills == 0 || deaths == 0 {
        assert!(
            Instant::now() < limit,
            "{} of {transfers} transfers were begun",
            payer.next.load(Ordering::Relaxed)
        );
        if rng.chance(2) {
            let kill = Duration::from_millis(50 + rng.below(600));
            live(&server, &payer, transfers, &mut rng, Some(kill));
            drop(server);
            server = Running::start(&data, &SETTINGS);
            kills += 1;
        } else {
            live(&server, &payer, transfers, &mut rng, None);
            deaths += 1;
        }
    }
    one.block_on(settle(&server, &payer));
    drop(server);
    let server = Running::start(&data, &SETTINGS);
    let payee = one.block_on(collect(&server));
    let entries = payer.entries.lock();
    let paid: BTreeMap<u64, i64> = entries
        .iter()
        .filter_map(|(transfer, entry)| match entry {
            Entry::Paid(amount) => Some((*transfer, *amount)),
            Entry::Refused => None,
        })
        .collect();
    let (left, reached): (i64, i64) = (paid.values().sum(), payee.values().sum());
    println!(
        "{transfers} transfers, {kills} kills of the server, {deaths} deaths of producers: {} paid, {} delivered; {left} left \
         one ledger, {reached} reached the other; {} questions were answered, {} half messages not acknowledged",
        paid.len(),
        payee.len(),
        payer.asked.load(Ordering::Relaxed),
        payer.unpaid.load(Ordering::Relaxed),
    );
    let lost: Vec<_> = paid.keys().filter(|transfer| !payee.contains_key(transfer)).take(9).collect();
    let wrong: Vec<_> = payee.keys().filter(|transfer| !paid.contains_key(transfer)).take(9).collect();
    assert!(lost.is_empty(), "paid and not delivered: {lost:?}");
    assert!(wrong.is_empty(), "delivered and not paid: {wrong:?}");
    assert_eq!(left, reached, "the sums agree");
}
