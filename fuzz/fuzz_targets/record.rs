// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a piece of a log: no panic, nothing past the slice, and a record that was read is written again as the
//! same bytes but for its checksum, which is made anew.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::TopicName;
use protocol::filter::Filter;
use protocol::inner;
use protocol::record::{self, Message, Record, Scan};

fn rewritten(record: &Record<'_>) -> Vec<u8> {
    let topic = TopicName::stored(record.topic().to_owned());
    let message = Message {
        topic: &topic,
        queue: record.queue(),
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_at: record.born_at(),
        born_host: record.born_host(),
        store_host: record.store_host(),
        reconsume: record.reconsume(),
        prepared: record.prepared(),
        body: record.body(),
        properties: record.properties(),
    };
    let mut out = Vec::new();
    record::encode(&message, &mut out).expect("what was read fits");
    record::patch(&mut out, record.log_offset(), record.queue_offset(), record.stored_at());
    out
}

fn look(record: &Record<'_>) {
    let mut out = rewritten(record);
    let again = Record::parse(&out).expect("what was written is read");
    again.verify_crc().expect("a fresh checksum holds");
    assert_eq!(
        (again.body(), again.topic(), again.properties()),
        (record.body(), record.topic(), record.properties())
    );
    assert_eq!((again.stored_at(), again.log_offset()), (record.stored_at(), record.log_offset()));
    // A short topic in a version 2 record, or a mapped address, is written in its shorter form.
    if out.len() == record.len() && out[4..8] == record.raw()[4..8] && out[36..40] == record.raw()[36..40] {
        out[8..12].copy_from_slice(&record.raw()[8..12]);
        assert_eq!(out, record.raw());
    }
    assert!((1..=inner::MESSAGES_MAX as u64).contains(&inner::taken(record)));
    assert!(inner::find(record, "a").is_none() || inner::is_wrapped(record));
    for expression in ["*", "a || b"] {
        let filter = Filter::parse("TAG", expression).expect("a valid expression");
        assert!(filter.by_entry(record.tag_hash()) || !filter.by_record(record));
    }
}

fuzz_target!(|data: &[u8]| {
    match record::scan(data) {
        Scan::Record(record) => assert!(record.len() <= data.len()),
        Scan::Blank { len } => assert!(len >= record::BLANK_MIN),
        Scan::End | Scan::Bad(_) => {}
    }
    record::iterate(data).flatten().for_each(|record| look(&record));
    // Most random bytes have no magic; with one and a size they get further.
    if let Some((choice, rest)) = data.split_first().filter(|(_, rest)| rest.len() >= 8) {
        let mut bytes = rest.to_vec();
        let magic = if choice & 1 == 0 { record::MAGIC_V1 } else { record::MAGIC_V2 };
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_be_bytes());
        bytes[4..8].copy_from_slice(&magic.to_be_bytes());
        if let Ok(record) = Record::parse(&bytes) {
            look(&record);
        }
    }
});
