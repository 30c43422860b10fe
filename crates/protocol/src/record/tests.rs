// SPDX-License-Identifier: Apache-2.0
//! Records: round trips, lying lengths, flipped bits, scans that stay inside their slice.

use core::net::SocketAddr;

use proptest::prelude::*;
use stdx::Timestamp;

use super::*;

fn host(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn topic(text: &str) -> TopicName {
    TopicName::stored(text)
}

fn message<'a>(topic: &'a TopicName, body: &'a [u8], properties: &'a [u8]) -> Message<'a> {
    Message {
        topic,
        queue: QueueId(3),
        flag: -7,
        sys_flag: 0,
        born_at: Timestamp(1_700_000_000_001),
        born_host: host("10.1.2.3:4567"),
        store_host: host("127.0.0.1:10911"),
        reconsume: 2,
        prepared: LogOffset(99),
        body,
        properties,
    }
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, &mut out).unwrap();
    patch(&mut out, LogOffset(1 << 33), QueueOffset(42), Timestamp(1_700_000_000_999));
    out
}

fn same(record: &Record<'_>, message: &Message<'_>) {
    assert_eq!(record.topic(), message.topic.as_str());
    assert_eq!(record.queue(), message.queue);
    assert_eq!(record.flag(), message.flag);
    assert_eq!(record.sys_flag() & !0x30, message.sys_flag & !0x30);
    assert_eq!(record.born_at(), message.born_at);
    assert_eq!(record.born_host(), message.born_host);
    assert_eq!(record.store_host(), message.store_host);
    assert_eq!(record.reconsume(), message.reconsume);
    assert_eq!(record.prepared(), message.prepared);
    assert_eq!(record.body(), message.body);
    assert_eq!(record.properties(), message.properties);
    assert_eq!(properties_of(record.raw()), Some(record.properties_text()));
    record.verify_crc().unwrap();
}

#[test]
fn a_record_reads_back_as_written() {
    let topic = topic("orders");
    let message = message(&topic, b"hello", b"TAGS\x01red\x02KEYS\x01a b\x02");
    let bytes = encoded(&message);
    assert_eq!(bytes.len(), encoded_len(&message));
    let record = Record::parse(&bytes).unwrap();
    same(&record, &message);
    assert_eq!(record.queue_offset(), QueueOffset(42));
    assert_eq!(record.log_offset(), LogOffset(1 << 33));
    assert_eq!(record.stored_at(), Timestamp(1_700_000_000_999));
    assert_eq!(record.tag(), Some("red"));
    assert_eq!(record.tag_hash(), i64::from(string_hash("red")));
    assert_eq!(record.property("KEYS"), Some("a b"));
    assert_eq!(record.property("NONE"), None);
    assert_eq!(record.raw(), bytes);
}

#[test]
fn the_smallest_record_has_the_smallest_length() {
    let topic = topic("");
    let message = message(&topic, b"", b"");
    assert_eq!(encoded(&message).len(), MIN_LEN);
    assert_eq!(Record::parse(&encoded(&message)).unwrap().tag_hash(), 0);
}

#[test]
fn the_version_follows_the_topic_length() {
    for (len, magic) in [(1, MAGIC_V1), (127, MAGIC_V1), (128, MAGIC_V2), (255, MAGIC_V2)] {
        let topic = topic(&"t".repeat(len));
        let message = message(&topic, b"x", b"");
        let bytes = encoded(&message);
        assert_eq!(bytes[4..8], magic.to_be_bytes());
        same(&Record::parse(&bytes).unwrap(), &message);
    }
}

#[test]
fn hosts_set_their_bits() {
    let cases = [
        ("1.2.3.4:1", "5.6.7.8:2", 0),
        ("[::1]:1", "5.6.7.8:2", BORN_HOST_V6),
        ("1.2.3.4:1", "[fe80::1]:65535", STORE_HOST_V6),
        ("[::1]:1", "[::2]:2", BORN_HOST_V6 | STORE_HOST_V6),
    ];
    for (born, store, bits) in cases {
        let topic = topic("t");
        // The flag says the opposite on purpose: the addresses decide.
        let message = Message {
            born_host: host(born),
            store_host: host(store),
            sys_flag: (0x30 ^ bits) | COMPRESSED,
            ..message(&topic, b"body", b"A\x01b\x02")
        };
        let bytes = encoded(&message);
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(record.sys_flag(), bits | COMPRESSED);
        assert_eq!(record.stored_at(), Timestamp(1_700_000_000_999));
        same(&record, &message);
    }
}

#[test]
fn a_mapped_address_is_stored_as_ipv4() {
    let topic = topic("t");
    let message = Message { born_host: host("[::ffff:10.0.0.9]:80"), ..message(&topic, b"", b"") };
    let bytes = encoded(&message);
    let record = Record::parse(&bytes).unwrap();
    assert_eq!(record.sys_flag() & BORN_HOST_V6, 0);
    assert_eq!(record.born_host(), host("10.0.0.9:80"));
}

#[test]
fn too_long_parts_are_refused() {
    let name = topic("t");
    let long = vec![b'p'; 32768];
    let mut out = vec![7];
    let error = encode(&message(&name, b"", &long), &mut out).unwrap_err();
    assert_eq!(error, RecordError::TooLong { part: "properties", len: 32768, limit: 32767 });
    assert_eq!(out, [7], "a refused message leaves nothing behind");
    encode(&message(&name, b"", &long[..32767]), &mut out).unwrap();
    let body = vec![0; MAX_LEN];
    assert!(matches!(
        encode(&message(&name, &body, b""), &mut Vec::new()),
        Err(RecordError::TooLong { part: "record", .. })
    ));
}

#[test]
fn the_checksum_loses_its_sign_bit() {
    // The plain CRC-32 of "a" is 0xe8b7be43.
    assert_eq!(body_crc(b"a"), 0x68b7_be43);
    assert_eq!(body_crc(b""), 0);
}

#[test]
fn hashes_are_javas() {
    let cases = [
        ("", 0),
        ("TagA", 2_598_919),
        ("Aa", 2112),
        ("BB", 2112),
        ("标签", 857_175),
        ("🦀", 1_772_802),
        ("polygenelubricants", i32::MIN),
    ];
    for (text, hash) in cases {
        assert_eq!(string_hash(text), hash, "{text}");
    }
    assert_eq!(tag_hash("polygenelubricants"), -2_147_483_648);
}

#[test]
fn odd_properties_are_read_as_java_reads_them() {
    let name = topic("t");
    let text = b"A\x01first\x02\x01noname\x02B\x01\x02C\x02A\x01second\x02D\x01x\x01y\x02E\x01end";
    let bytes = encoded(&message(&name, b"", text));
    let record = Record::parse(&bytes).unwrap();
    assert_eq!(record.property("A"), Some("second"));
    assert_eq!(record.property("B"), None);
    assert_eq!(record.property("C"), None);
    assert_eq!(record.property("D"), Some("x\u{1}y"));
    assert_eq!(record.property("E"), Some("end"));
    let cut = encoded(&message(&name, b"", b"A\x01b\x02C\x01\xFF\x02D\x01e\x02"));
    let record = Record::parse(&cut).unwrap();
    assert_eq!(record.properties_text(), "A\u{1}b\u{2}C\u{1}");
    assert_eq!((record.property("A"), record.property("D")), (Some("b"), None));
}

#[test]
fn a_scan_tells_what_is_there() {
    let name = topic("t");
    let bytes = encoded(&message(&name, b"hello", b""));
    assert!(matches!(scan(&bytes), Scan::Record(record) if record.body() == b"hello"));
    assert!(matches!(scan(&[0; 64]), Scan::End));
    assert!(matches!(scan(&[]), Scan::End));
    assert!(matches!(scan(&bytes[..bytes.len() - 1]), Scan::End));
    assert!(matches!(scan(&blank(4096)), Scan::Blank { len: 4096 }));
    assert!(matches!(scan(&[0, 0, 0, 7, 0xCB, 0xD4, 0x31, 0x94]), Scan::Bad(RecordError::Size { size: 7 })));
    assert!(matches!(scan(b"not a record"), Scan::Bad(RecordError::Magic { .. })));
}

#[test]
fn sizes_that_cannot_be_are_damage() {
    let name = topic("t");
    let bytes = encoded(&message(&name, b"hello", b""));
    for size in [1, 90, -1, MAX_LEN as i32 + 1, i32::MAX] {
        let mut lying = bytes.clone();
        lying[..4].copy_from_slice(&size.to_be_bytes());
        assert!(
            matches!(scan(&lying), Scan::Bad(RecordError::Size { size: found }) if found == size),
            "{size}"
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let size = longer.len();
    longer[..4].copy_from_slice(&(size as u32).to_be_bytes());
    let sum = RecordError::Sum { size, parts: bytes.len() };
    assert!(matches!(scan(&longer), Scan::Bad(error) if error == sum));
}

#[test]
fn a_body_is_walked_record_by_record() {
    let name = topic("t");
    let mut body = Vec::new();
    for text in ["one", "two", "three"] {
        body.extend(encoded(&message(&name, text.as_bytes(), b"")));
    }
    let bodies: Vec<_> = iterate(&body).map(|record| record.unwrap().body().to_vec()).collect();
    assert_eq!(bodies, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    let cut: Vec<_> = iterate(&body[..body.len() - 1]).collect();
    assert_eq!(cut.len(), 3);
    assert!(matches!(cut[2], Err(RecordError::Short { .. })));
}

#[test]
fn every_truncation_is_seen() {
    let name = topic("some-topic");
    let bytes = encoded(&message(&name, b"a body of some length", b"K\x01v\x02"));
    for len in 0..bytes.len() {
        assert!(Record::parse(&bytes[..len]).is_err(), "cut at {len}");
        // The same cut, with a size field that agrees with it: the parts no longer add up.
        let mut lying = bytes[..len].to_vec();
        if let Some(size) = lying.first_chunk_mut::<4>() {
            *size = (len as u32).to_be_bytes();
        }
        assert!(Record::parse(&lying).is_err(), "cut at {len} with a matching size");
    }
}

#[test]
fn every_flipped_bit_is_harmless_and_body_flips_are_caught() {
    let name = topic("some-topic");
    let message = message(&name, b"a body of some length", b"K\x01v\x02");
    let bytes = encoded(&message);
    let body = 88..88 + message.body.len();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let _ = scan(&flipped);
            if let Ok(record) = Record::parse(&flipped) {
                assert!(!body.contains(&at) || record.verify_crc().is_err(), "byte {at} bit {bit}");
                let _ = record.tag_hash();
                assert_eq!(properties_of(&flipped), Some(record.properties_text()), "byte {at} bit {bit}");
            }
        }
    }
}

fn any_host() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>()
            .prop_map(SocketAddr::from)
            .prop_filter("mapped", |host| { host.ip().to_canonical() == host.ip() })
    ]
}

proptest! {
    #[test]
    fn any_message_round_trips(
        name in "[a-zA-Z0-9%|_-]{1,255}",
        body in proptest::collection::vec(any::<u8>(), 0..2000),
        properties in proptest::collection::vec(any::<u8>(), 0..300),
        numbers in any::<(u32, i32, i32, i64, i32, u64)>(),
        born_host in any_host(),
        store_host in any_host(),
    ) {
        let topic = topic(&name);
        let (queue, flag, sys_flag, born_at, reconsume, prepared) = numbers;
        let message = Message {
            topic: &topic, queue: QueueId(queue), flag, sys_flag, born_at: Timestamp(born_at), born_host, store_host,
            reconsume, prepared: LogOffset(prepared), body: &body, properties: &properties,
        };
        let bytes = encoded(&message);
        prop_assert_eq!(bytes.len(), encoded_len(&message));
        same(&Record::parse(&bytes).unwrap(), &message);
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400), magic in 0..3usize) {
        let mut bytes = bytes;
        if bytes.len() >= 8 {
            bytes[4..8].copy_from_slice(&[MAGIC_V1, MAGIC_V2, MAGIC_BLANK][magic].to_be_bytes());
            let len = bytes.len() as u32;
            bytes[..4].copy_from_slice(&len.to_be_bytes());
        }
        let _ = scan(&bytes);
        let _ = properties_of(&bytes);
        prop_assert!(iterate(&bytes).count() <= 8);
    }
}
