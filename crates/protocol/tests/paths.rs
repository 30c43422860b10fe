// SPDX-License-Identifier: Apache-2.0
//! A JSON header is read on one of two ways: a short one for what SDKs write, a strict one for everything else. A blank
//! behind a brace forces the strict one, for the header or for its fields, so both can be compared: they must see the
//! same header, or both none, and read the same send from it. What the short way has not looked at may turn out to be
//! unreadable when it is read: that counts as none.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;
use protocol::Frame;
use protocol::frame::Decoder;
use protocol::send::SendMessageV2;

/// What Java, Go and we write for a send, an answer and a heartbeat; and what nobody writes.
const HEADERS: [&str; 6] = [
    r#"{"code":310,"extFields":{"a":"producers","b":"orders","c":"TBW102","d":"4","e":"3","f":"0","g":"1700000000123","h":"0","i":"UNIQ_KEY\u00017F000001\u0002WAIT\u0001true\u0002","j":"0","k":"false","m":"false"},"flag":0,"language":"JAVA","opaque":1888888888,"serializeTypeCurrentRPC":"JSON","version":513}"#,
    r#"{"code":0,"language":"GO","version":317,"opaque":7,"flag":1,"remark":"","extFields":{"queueId":"1","msgId":"0A"}}"#,
    r#"{"code":34,"flag":0,"language":"RUST","opaque":0,"version":513}"#,
    r#"{"code":11,"extFields":{"topic":"größe","queueOffset":"-1","x":"\uD83D\uDE00\"\\"},"opaque":2147483647}"#,
    r#"{"extFields":{"a":"1","a":"2"},"code":1,"code":2,"extFields":{"b":"\u0007"}}"#,
    r#"{"code":-1,"version":0,"flag":3,"language":"","serializeTypeCurrentRPC":"ROCKETMQ"}"#,
];

fn read(header: &[u8]) -> Option<Frame> {
    let mut bytes = BytesMut::new();
    bytes.put_u32(4 + header.len() as u32);
    bytes.put_u32(header.len() as u32);
    bytes.put_slice(header);
    Decoder::default().next(&mut bytes).ok().flatten()
}

fn agree(header: &[u8]) {
    let strict = with_blank(header, 1);
    let strict_fields = header.windows(12).position(|part| part == b"\"extFields\":").map(|at| at + 13);
    let strict_fields = strict_fields.map_or(strict.clone(), |at| with_blank(header, at));
    let told = |frame: &Frame| {
        let fields: Result<Vec<_>, _> = frame.fields.iter().collect();
        let send = frame.decode::<SendMessageV2>().map_err(|error| error.what);
        let shown = String::from_utf8_lossy(header);
        assert!(
            fields.is_ok() || send.is_err(),
            "{shown} is read although its fields are unreadable: {send:?}"
        );
        let head = (frame.code, frame.opaque, frame.flag, frame.version, frame.language);
        Some((head, frame.remark.clone(), fields.ok()?, send))
    };
    let [short, strict, strict_fields] =
        [header, &strict, &strict_fields].map(|header| read(header).as_ref().and_then(told));
    let shown = String::from_utf8_lossy(header);
    assert_eq!(short, strict, "{shown}");
    assert_eq!(short, strict_fields, "{shown}");
}

fn with_blank(header: &[u8], at: usize) -> Vec<u8> {
    let at = at.min(header.len());
    header[..at].iter().chain(b" ").chain(&header[at..]).copied().collect()
}

#[test]
fn both_ways_see_the_same_header() {
    for header in HEADERS {
        assert!(read(header.as_bytes()).is_some(), "{header}");
        agree(header.as_bytes());
        (0..header.len()).for_each(|end| agree(&header.as_bytes()[..end]));
    }
}

#[test]
fn every_byte_in_a_value_is_seen_alike() {
    for place in [r"orders", r"\u00017F"] {
        let at = HEADERS[0].find(place).expect("it is there") + 1;
        for byte in 0..0x80 {
            for next in b"\"\\/bfnrtu0x" {
                let mut header = HEADERS[0].as_bytes().to_vec();
                header.splice(at..at, [byte, *next]);
                agree(&header);
            }
        }
    }
}

proptest! {
    #[test]
    fn both_ways_agree_on_damaged_headers(
        which in 0..HEADERS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut header = HEADERS[which].as_bytes().to_vec();
        for (place, byte, kind) in changes {
            let at = 1 + place.index(header.len() - 1);
            // mostly bytes that mean something
            let byte = if byte < 200 { b"\"\\:,{}0123 u"[usize::from(byte) % 12] } else { byte };
            match kind {
                0 => header[at] = byte,
                1 => header.insert(at, byte),
                _ => drop(header.remove(at)),
            }
        }
        agree(&header);
    }
}
