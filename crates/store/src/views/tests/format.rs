// SPDX-License-Identifier: Apache-2.0
//! The examples in `docs/format` are what the code writes.

use super::*;
use crate::arena::{self, Arena, Part};
use crate::checkpoint;
use crate::disk::read_exact_at;
use crate::keys::KeyEntry;
use crate::keys::run::{self, Run};

/// The bytes of the `index`-th example of a document: hexadecimal digits up to `|`, which begins a remark.
fn example(document: &str, index: usize) -> Vec<u8> {
    let block = document.split("```hex\n").nth(index + 1).unwrap().split("```").next().unwrap();
    let digits: String = block.lines().map(|line| line.split('|').next().unwrap()).collect();
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn assert_same(found: &[u8], document: &str, index: usize) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    assert_eq!(hex(found), hex(&example(document, index)));
}

fn bytes_of(disk: &SimDisk, path: &str, at: u64, len: Option<usize>) -> Vec<u8> {
    let file = disk.open(path.as_ref(), crate::disk::OpenMode::Read).unwrap();
    let len = len.unwrap_or_else(|| (file.len().unwrap() - at) as usize);
    let mut bytes = vec![0; len];
    read_exact_at(&*file, &mut bytes, at).unwrap();
    bytes
}

fn empty_disk() -> (SimDisk, Arc<dyn Disk>) {
    let disk = SimDisk::new(1);
    disk.create_dir("/v".as_ref()).unwrap();
    (disk.clone(), Arc::new(disk))
}

#[test]
fn queue() {
    let document = include_str!("../../../../../docs/format/queue.md");
    let (sim, disk) = empty_disk();
    let shape = ArenaShape { top_class: 8, first_blocks: 1, max_blocks: 2 };
    let arena = Arena::open("/v".as_ref(), &disk, shape, 0).unwrap();
    let part = arena.take(0).unwrap();
    assert_eq!(part, Part { unit: 0, class: 0 });
    let entry = Entry { log: LogOffset(0x10_0000), size: 111, tag_hash: record::tag_hash("red") };
    arena.write(part, 0, &entry);
    let path = format!("/v/{}", arena::name(0));
    assert_same(&bytes_of(&sim, &path, 0, Some(32)), document, 0);
    assert_same(&bytes_of(&sim, &path, 4096, Some(20)), document, 1);
}

#[test]
fn keys() {
    let document = include_str!("../../../../../docs/format/keys.md");
    let (sim, disk) = empty_disk();
    let entry = |key: &str, log: u64, stored_at: i64| KeyEntry {
        hash: crate::keys::hash::of_key(crate::keys::hash::of_topic("orders"), key.as_bytes()),
        log,
        stored_at,
    };
    let mut entries = vec![entry("a", 4096, 1_700_000_000_000), entry("a", 8192, 1_700_000_002_500)];
    Run::create("/v".as_ref(), &disk, 7, &mut entries).unwrap();
    assert_same(&bytes_of(&sim, &format!("/v/{}", run::name(7)), 0, None), document, 0);
}

#[test]
fn facts() {
    let document = include_str!("../../../../../docs/format/facts.md");
    let changes = [
        FactChange { kind: FactKind(16), key: b"orders".to_vec(), value: Some(b"{}".to_vec()) },
        FactChange { kind: FactKind(17), key: b"old".to_vec(), value: None },
        FactChange::remove_topic("t"),
        FactChange::queue_next("idle", 3, 42),
    ];
    assert_same(&change::encode(&changes), document, 0);
}

#[test]
fn checkpoint() {
    let document = include_str!("../../../../../docs/format/checkpoint.md");
    let mut story = Story::new(SimDisk::new(1));
    story.fact("k", Some("v"));
    story.checkpoint();
    story.send("orders", 3, "KEYS=a;");
    story.checkpoint();
    let path = format!("/views/{}", checkpoint::name(1));
    assert_same(&bytes_of(&story.disk, &path, 0, None), document, 0);
}
