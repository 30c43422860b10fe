// SPDX-License-Identifier: Apache-2.0
//! Many queues with a few messages each: what they cost, by the views' own accounting.

use super::*;
use crate::disk::FileDisk;

#[test]
fn a_hundred_thousand_queues_stay_small() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(FileDisk);
    let config = ViewsConfig::new(dir.path().join("views"));
    let open = || Views::open(config.clone(), &disk, LogOffset(0)).unwrap().0;
    let views = open();
    let mut at = 0;
    let mut bytes = Vec::new();
    for offset in 0..2 {
        for n in 0..100_000u32 {
            let topic = TopicName::stored(format!("topic-of-some-length-{}", n / 4));
            let record = record_of(&topic, n % 4, offset, at, &mut bytes);
            views.apply(&record, LogOffset(at), None).unwrap();
            at += record.len() as u64;
        }
        views.checkpoint(LogOffset(at)).unwrap();
    }
    let usage = views.usage();
    println!("{usage}");
    let on_disk = usage.arena.bytes - usage.arena.free_bytes + usage.checkpoint_bytes.0;
    let memory = usage.queue_memory / usage.queues;
    println!("{memory} bytes of memory and {} of files for each queue", on_disk / usage.queues as u64);
    assert_eq!((usage.queues, usage.entries, usage.topics), (100_000, 200_000, 25_000));
    assert!(memory < 400, "{memory} bytes of memory a queue");
    assert!(on_disk / 100_000 < 300, "{on_disk} bytes of files");
    assert!(usage.descriptors() < 64 && usage.mappings() < 64);
    drop(views);
    let views = open();
    assert_eq!(views.applied().0, at);
    let again = views.usage();
    assert_eq!((again.queues, again.entries), (usage.queues, usage.entries));
}

fn record_of<'a>(topic: &TopicName, queue: u32, offset: u64, at: u64, bytes: &'a mut Vec<u8>) -> Record<'a> {
    let host: SocketAddr = "127.0.0.1:10911".parse().unwrap();
    let message = Message {
        topic,
        queue: QueueId(queue),
        flag: 0,
        sys_flag: 0,
        born_at: Timestamp(0),
        born_host: host,
        store_host: host,
        reconsume: 0,
        prepared: LogOffset(0),
        body: b"",
        properties: b"",
    };
    bytes.clear();
    record::encode(&message, bytes).unwrap();
    record::patch(bytes, LogOffset(at), QueueOffset(offset), Timestamp(1));
    Record::parse(bytes).unwrap()
}
