// SPDX-License-Identifier: Apache-2.0
//! Light queues among the views: tried again after a full disk, behind damage, saved and replayed.

use super::*;

fn list(names: &str, offsets: &str) -> String {
    format!("TAGS=t;INNER_MULTI_DISPATCH={names};INNER_MULTI_QUEUE_OFFSET={offsets};")
}

fn shown(story: &Story, name: &str) -> String {
    story.views().find_queue(name, QueueId(0)).map_or("none".to_owned(), |queue| format!("{queue:?}"))
}

#[test]
fn a_record_that_found_no_room_is_in_each_queue_once_when_it_is_tried_again() {
    let mut story = Story::new(SimDisk::new(1));
    let mut refused = 0;
    for round in 0..200u64 {
        let names: Vec<String> = (0..8).map(|n| format!("%LMQ%{round}-{n}")).collect();
        let at = story.append("t", 0, &list(&names.join(","), "0,0,0,0,0,0,0,0"), b"x");
        let mut capacity = story.disk.used();
        story.disk.set_capacity(capacity);
        while story.dispatch(at).is_err() {
            refused += 1;
            capacity += 256;
            story.disk.set_capacity(capacity);
            assert!(refused < 100_000, "there is room by now");
        }
        for name in names {
            assert_eq!(shown(&story, &name), format!("{name}/0 0..1 next 1"));
        }
    }
    assert!(refused > 0, "the disk was never full");
    assert_eq!(shown(&story, "t"), "t/0 0..200 next 200");
    story.views().check().unwrap();
}

#[test]
fn light_queues_are_saved_and_replayed_alike() {
    let mut story = Story::new(SimDisk::new(1));
    story.send("t", 0, &list("%LMQ%a,%LMQ%b", "0,0"));
    story.checkpoint();
    story.send("t", 1, &list("%LMQ%b", "1"));
    story.remove_topic("%LMQ%a");
    story.send("t", 0, &list("%LMQ%a,%LMQ%b", "0,2"));
    let seen = |story: &Story| ["%LMQ%a", "%LMQ%b"].map(|name| shown(story, name));
    let before = seen(&story);
    assert_eq!(before, ["%LMQ%a/0 0..1 next 1", "%LMQ%b/0 0..3 next 3"]);
    let disk = story.disk.kill();
    story.reopen(disk);
    assert_eq!(seen(&story), before);
    story.checkpoint();
    let disk = story.disk.cut_power();
    story.reopen(disk);
    assert_eq!((seen(&story), story.views().light_count()), (before, 2));
}

#[test]
fn an_offset_that_goes_back_behind_damage_says_that_the_queue_began_anew() {
    let story = Story::new(SimDisk::new(1));
    let apply = |at: u64, offsets: &str, queue_offset: u64, is_torn: bool| {
        let topic = TopicName::stored("t");
        let host: SocketAddr = "127.0.0.1:10911".parse().unwrap();
        let text = list("%LMQ%a,%LMQ%a,%LMQ%b", offsets).replace('=', "\x01").replace(';', "\x02");
        let message = Message {
            topic: &topic,
            queue: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at: Timestamp(1),
            born_host: host,
            store_host: host,
            reconsume: 0,
            prepared: LogOffset(0),
            body: b"x",
            properties: text.as_bytes(),
        };
        let mut bytes = Vec::new();
        record::encode(&message, &mut bytes).unwrap();
        record::patch(&mut bytes, LogOffset(at), QueueOffset(queue_offset), Timestamp(2));
        story.views().replay(&Record::parse(&bytes).unwrap(), LogOffset(at), is_torn).unwrap();
    };
    story.views().applied.lock().is_live = false;
    apply(5000, "7,7,0", 0, false);
    apply(6000, "8,8,1", 1, true);
    assert_eq!(shown(&story, "%LMQ%a"), "%LMQ%a/0 7..9 next 9", "listed twice is no offset that goes back");
    apply(7000, "0,0,4", 2, true);
    assert_eq!(shown(&story, "%LMQ%a"), "%LMQ%a/0 0..1 next 1");
    assert_eq!(shown(&story, "%LMQ%b"), "%LMQ%b/0 0..5 next 5");
    apply(8000, "0,0,5", 3, false);
    assert_eq!(shown(&story, "%LMQ%a"), "%LMQ%a/0 0..1 next 1", "without damage it is a copy");
}
