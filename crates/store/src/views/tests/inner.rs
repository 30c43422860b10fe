// SPDX-License-Identifier: Apache-2.0
//! Inner batches among the views: one record at several offsets, also over the edge of an arena part, when the disk is
//! full, and when the offset of a time or the bounds of a record are asked for.

use super::*;

fn whole(count: u64) -> String {
    format!("TAGS=t;INNER_NUM={count};")
}

fn shown(story: &Story) -> String {
    story.views().find_queue("t", QueueId(0)).map_or("none".to_owned(), |queue| format!("{queue:?}"))
}

#[test]
fn each_offset_leads_to_the_record_that_holds_it() {
    let mut story = Story::new(SimDisk::new(1));
    story.send("t", 0, "");
    story.send("t", 0, &whole(3));
    story.send("t", 0, &whole(1));
    story.send("t", 0, "");
    // More than the largest part holds.
    story.send("t", 0, &whole(2500));
    story.send("t", 0, &whole(2));
    story.check();
    let queue = story.views().find_queue("t", QueueId(0)).unwrap();
    let bounds = |at: u64| {
        let views = story.views();
        (views.batch_start(&queue, QueueOffset(at)).0, views.batch_end(&queue, QueueOffset(at)).0)
    };
    for (start, end) in [(0, 1), (1, 4), (4, 5), (5, 6), (6, 2506), (2506, 2508)] {
        for at in [start, (start + end) / 2, end - 1] {
            assert_eq!(bounds(at), (start, end), "the record with offset {at}");
        }
    }
    story.checkpoint();
    let disk = story.disk.cut_power();
    assert!(story.reopen(disk).from_checkpoint);
    story.check();
    story.check_rebuilt();
    story.send("t", 0, &whole(2));
    story.check();
}

#[test]
fn a_batch_that_found_no_room_becomes_visible_whole_when_it_is_tried_again() {
    let mut story = Story::new(SimDisk::new(1));
    let (mut refused, mut end) = (0, 0);
    for count in [700, 3, 2000, 40, 1500, 3000] {
        let at = story.append("t", 0, &whole(count), b"x");
        let mut capacity = story.disk.used();
        story.disk.set_capacity(capacity);
        while story.dispatch(at).is_err() {
            refused += 1;
            assert!(shown(&story).starts_with(&format!("t/0 0..{end} ")), "{}", shown(&story));
            capacity += 256;
            story.disk.set_capacity(capacity);
            assert!(refused < 100_000, "there is room by now");
        }
        end += count;
        assert_eq!(shown(&story), format!("t/0 0..{end} next {end}"));
    }
    assert!(refused > 0, "the disk was never full");
    story.disk.set_capacity(u64::MAX);
    story.check();
    story.check_rebuilt();
}

#[test]
fn a_lost_batch_is_a_hole_of_its_size_and_a_kept_one_goes_whole() {
    let mut story = Story::new(SimDisk::new(1));
    let places: Vec<u64> = [4, 5, 6].map(|count| story.send("t", 0, &whole(count))).to_vec();
    story.log.remove(&places[1]);
    let disk = story.disk.kill();
    story.reopen(disk);
    story.check();
    let queue = story.views().find_queue("t", QueueId(0)).unwrap();
    assert_eq!(story.views().batch_start(&queue, QueueOffset(8)).0, 8, "a hole is nobody's");
    assert_eq!(story.views().batch_end(&queue, QueueOffset(3)).0, 4);
    assert_eq!(story.views().batch_start(&queue, QueueOffset(9)).0, 9);
    story.retain(places[0] + 1);
    assert_eq!(shown(&story), "t/0 9..15 next 15");
    story.retain(places[2] + 1);
    assert_eq!(shown(&story), "t/0 15..15 next 15");
}

#[test]
fn a_time_leads_to_the_first_message_of_a_batch() {
    let mut story = Story::new(SimDisk::new(1));
    let places: Vec<u64> = [3, 4, 1, 5].map(|count| story.send("t", 0, &whole(count))).to_vec();
    let time = |index: usize| Record::parse(&story.log[&places[index]]).unwrap().stored_at().0;
    let ask = |time, boundary| story.offset_by_time("t", 0, time, boundary);
    for (index, start) in [(0, 0), (1, 3), (2, 7), (3, 8)] {
        assert_eq!(ask(time(index), Boundary::Lower), start);
        assert_eq!(ask(time(index) + 1, Boundary::Upper), start);
    }
    assert_eq!(ask(time(3) + 1, Boundary::Lower), 13, "nothing is that new");
    assert_eq!(ask(time(0) - 1, Boundary::Upper), 0);
}
