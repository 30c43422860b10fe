// SPDX-License-Identifier: Apache-2.0
//! A loaded server is killed with `kill -9` again and again, and a ledger of everything it acknowledged is held against
//! what it has afterwards. Three cycles here; `cargo xtask kill --cycles N` runs as many as wanted on the release build.
//! Checked: nothing acknowledged is lost or changed, no queue offset stands for two messages, and committed progress
//! moves back by no more than the documented window.

#[path = "server/running.rs"]
mod running;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Message, Producer, ProducerConfig, PullConfig, PullConsumer, Queue, Subscription};
use parking_lot::Mutex;
use protocol::names::{Group, QueueOffset, TopicName};
use stdx::Rng;

use running::Running;

const TOPIC: &str = "KillLoop";
const PRODUCERS: usize = 4;
/// How old a commit has to be to survive `kill -9`: progress becomes part of the log each second; the rest is slack for
/// a busy machine.
const WINDOW: Duration = Duration::from_secs(3);

fn kill(mut server: Running) {
    server.child.kill().expect("a child can be killed");
    server.child.wait().expect("a killed child ends");
}

/// Everything the server has promised, over all cycles.
#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    acknowledged: Mutex<HashMap<(u32, u64), u64>>,
    /// Commits that were answered: when, which queue, how far.
    committed: Mutex<Vec<(Instant, u32, u64)>>,
}

impl Ledger {
    fn note(&self, queue: u32, offset: u64, number: u64) {
        let before = self.acknowledged.lock().insert((queue, offset), number);
        assert_eq!(before, None, "offset {offset} of queue {queue} was given to {before:?} and to {number}");
    }
}

fn topic() -> TopicName {
    TopicName::parse(TOPIC).expect("a good name")
}

fn group(name: &str) -> Group {
    Group::parse(name).expect("a good name")
}

async fn produce(namesrv: String, ledger: Arc<Ledger>) {
    let Ok(producer) = Producer::start(ProducerConfig::new(group("kill-producer"), &namesrv)).await else {
        return;
    };
    loop {
        let number = ledger.next.fetch_add(1, Ordering::Relaxed);
        let body = format!("{number}:{}", "x".repeat((number % 700) as usize));
        // A failed send is unknown, never absent: nothing is noted.
        if let Ok(sent) = producer.send(Message::new(topic(), body.into_bytes())).await {
            ledger.note(sent.queue.id.0, sent.offset.0, number);
        }
    }
}

async fn commit(namesrv: String, ledger: Arc<Ledger>) {
    let Ok(consumer) = PullConsumer::start(PullConfig::new(group("kill-consumer"), &namesrv)).await else {
        return;
    };
    let Ok(queues) = consumer.queues(&topic()).await else { return };
    loop {
        for queue in &queues {
            let Ok(end) = consumer.end_offset(queue).await else { continue };
            if consumer.commit(queue, end).await.is_ok() {
                ledger.committed.lock().push((Instant::now(), queue.id.0, end.0));
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn check_progress(namesrv: &str, ledger: &Ledger, killed: Instant) {
    let consumer = PullConsumer::start(PullConfig::new(group("kill-consumer"), namesrv))
        .await
        .expect("a consumer starts");
    for queue in queues(&consumer).await {
        let found =
            consumer.committed(&queue).await.expect("progress can be asked for").map_or(0, |offset| offset.0);
        let notes = ledger.committed.lock();
        let of_queue = || notes.iter().filter(|(_, id, _)| *id == queue.id.0);
        let due = of_queue()
            .filter(|(when, ..)| *when + WINDOW < killed)
            .map(|(_, _, offset)| *offset)
            .max()
            .unwrap_or(0);
        assert!(
            found >= due,
            "queue {}: progress fell to {found}, {due} was committed long before",
            queue.id.0
        );
        let most = of_queue().map(|(_, _, offset)| *offset).max().unwrap_or(0);
        assert!(
            found <= most,
            "queue {}: progress is {found}, nobody committed more than {most}",
            queue.id.0
        );
    }
    consumer.shutdown().await;
}

/// The topic's queues, once the broker has registered them.
async fn queues(consumer: &PullConsumer) -> Vec<Queue> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match consumer.queues(&topic()).await {
            Ok(queues) if !queues.is_empty() => return queues,
            outcome => assert!(Instant::now() < end, "no route of {TOPIC}: {outcome:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Reads every queue from its beginning and holds it against the ledger.
async fn check_messages(namesrv: &str, ledger: &Ledger) -> usize {
    let consumer =
        PullConsumer::start(PullConfig::new(group("kill-audit"), namesrv)).await.expect("a consumer starts");
    let mut found: HashMap<(u32, u64), u64> = HashMap::new();
    let queues = queues(&consumer).await;
    consumer.assign(&Subscription::all(topic()), &queues).await.expect("queues can be assigned");
    for queue in &queues {
        consumer.seek(queue, QueueOffset(0)).expect("the queue is assigned");
        let end = consumer.end_offset(queue).await.expect("the end can be asked for");
        while consumer.position(queue).is_some_and(|position| position < end) {
            let pulled = consumer.pull(queue, Duration::from_secs(1)).await.expect("messages can be pulled");
            for message in pulled.messages.iter() {
                let text = String::from_utf8_lossy(&message.body).into_owned();
                let (number, filler) = text.split_once(':').expect("a body of this test");
                let number = number.parse().expect("a number");
                assert_eq!(filler.len() as u64, number % 700, "message {number} changed");
                let before = found.insert((queue.id.0, message.offset.0), number);
                assert!(before.is_none(), "offset {} of queue {} came twice", message.offset.0, queue.id.0);
            }
        }
    }
    consumer.shutdown().await;
    for (place, number) in ledger.acknowledged.lock().iter() {
        assert_eq!(
            found.get(place),
            Some(number),
            "acknowledged message {number} at (queue, offset) {place:?}"
        );
    }
    found.len()
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let cycles = std::env::var("KIRUNA_KILL_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let ledger = Arc::new(Ledger::default());
    let mut rng = Rng::new(cycles);
    for cycle in 0..cycles {
        let server = Running::start(&data, &[]);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        for _ in 0..PRODUCERS {
            runtime.spawn(produce(server.face("namesrv=").to_owned(), ledger.clone()));
        }
        runtime.spawn(commit(server.face("namesrv=").to_owned(), ledger.clone()));
        let before = ledger.acknowledged.lock().len();
        runtime.block_on(async {
            let least = Instant::now() + Duration::from_millis(500 + rng.below(1500));
            let most = least + Duration::from_secs(30);
            while Instant::now() < least || ledger.acknowledged.lock().len() == before {
                assert!(Instant::now() < most, "cycle {cycle}: nothing was acknowledged");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        kill(server);
        let killed = Instant::now();
        runtime.shutdown_timeout(Duration::from_secs(5));
        let again = Running::start(&data, &[]);
        let audit = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        audit.block_on(check_progress(again.face("namesrv="), &ledger, killed));
        if cycle + 1 == cycles || cycle % 10 == 9 {
            let found = audit.block_on(check_messages(again.face("namesrv="), &ledger));
            let acknowledged = ledger.acknowledged.lock().len();
            println!("cycle {}: {acknowledged} acknowledged, {found} found", cycle + 1);
        }
        kill(again);
    }
}
