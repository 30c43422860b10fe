// SPDX-License-Identifier: Apache-2.0
//! Whole frames against bytes derived by hand from the format: both header forms, both directions.

use bytes::{BufMut, Bytes, BytesMut};
use protocol::frame::{self, Decoder, ONE_WAY, RESPONSE};
use protocol::properties::Properties;
use protocol::send::{SendHeader, SendMessage, SendMessageV2, SendReply};
use protocol::{Frame, Group, Head, Header, Language, QueueId, QueueOffset, Serialization, TopicName};
use stdx::Timestamp;

fn framed<H: Header>(head: &Head<'_>, header: &H, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    frame::encode(head, header, body.len(), &mut out).expect("it fits");
    out.put_slice(body);
    out
}

fn whole(mut bytes: BytesMut) -> Frame {
    let frame = Decoder::default().next(&mut bytes).expect("a good frame").expect("a whole frame");
    assert!(bytes.is_empty());
    frame
}

fn send_header() -> SendHeader {
    SendHeader {
        group: Group::stored("producers"),
        topic: TopicName::stored("orders"),
        default_topic: Some(TopicName::stored("TBW102")),
        default_queues: 4,
        queue: Some(QueueId(3)),
        sys_flag: 0,
        born_at: Timestamp(1_700_000_000_123),
        flag: 7,
        properties: Properties::from_iter([("KEYS", "k \"1\""), ("TAGS", "größe")]),
        reconsume: 0,
        unit: false,
        max_reconsume: None,
        batch: false,
    }
}

#[test]
fn a_send_is_read_as_it_was_written() {
    for serialization in [Serialization::Json, Serialization::RocketMq] {
        let head = Head { code: 310, opaque: 42, version: 513, serialization, ..Head::default() };
        let frame = whole(framed(&head, &SendMessageV2(send_header()), b"hello"));
        assert_eq!((frame.code, frame.opaque, frame.version, frame.flag), (310, 42, 513, 0));
        assert_eq!((frame.language, frame.serialization), (Language::JAVA, serialization));
        assert_eq!(&frame.body[..], b"hello");
        assert_eq!(frame.decode::<SendMessageV2>().expect("a send").0, send_header());
        // the same frame holds no long names, so it is no send with long names
        let wrong = frame.decode::<SendMessage>().expect_err("no long names");
        assert_eq!(wrong.to_string(), "required field producerGroup is missing (at byte 0)");
    }
}

#[test]
fn the_json_answer_has_the_bytes_that_apache_clients_read() {
    let head = Head {
        code: 0,
        opaque: 9,
        flag: RESPONSE,
        version: 513,
        remark: Some("fine\n\u{1}"),
        ..Head::default()
    };
    let reply = SendReply {
        message_id: "0A".into(),
        queue: QueueId(2),
        queue_offset: QueueOffset(77),
        transaction_id: None,
        batch_id: None,
        recall_handle: None,
        region: Some("DefaultRegion".into()),
        trace: Some(true),
    };
    let json = concat!(
        r#"{"code":0,"extFields":{"msgId":"0A","queueId":"2","queueOffset":"77","#,
        r#""MSG_REGION":"DefaultRegion","TRACE_ON":"true"},"flag":1,"language":"JAVA","opaque":9,"#,
        r#""remark":"fine\n\u0001","serializeTypeCurrentRPC":"JSON","version":513}"#
    );
    let mut wanted = BytesMut::new();
    wanted.put_u32(4 + json.len() as u32);
    wanted.put_u32(json.len() as u32);
    wanted.put_slice(json.as_bytes());
    assert_eq!(framed(&head, &reply, b""), wanted);
}

#[test]
fn the_binary_request_has_the_bytes_of_the_format() {
    let head = Head {
        code: 105,
        opaque: 0x0102_0304,
        flag: ONE_WAY,
        version: 401,
        language: Language::GO,
        remark: None,
        serialization: Serialization::RocketMq,
    };
    let request = protocol::route::GetRouteInfo { topic: TopicName::stored("T1"), standard_json: true };
    let mut wanted = BytesMut::new();
    let fields = b"\x00\x05topic\x00\x00\x00\x02T1\x00\x16acceptStandardJsonOnly\x00\x00\x00\x04true";
    let header_length = 21 + fields.len() as u32;
    wanted.put_u32(4 + header_length + 2);
    wanted.put_u32(0x0100_0000 | header_length);
    wanted.put_slice(b"\x00\x69\x09\x01\x91\x01\x02\x03\x04\x00\x00\x00\x02\x00\x00\x00\x00");
    wanted.put_u32(fields.len() as u32);
    wanted.put_slice(fields);
    wanted.put_slice(b"{}");
    let got = framed(&head, &request, b"{}");
    assert_eq!(got, wanted);
    let frame = whole(got);
    assert!(frame.is_one_way() && !frame.is_response());
    assert_eq!(frame.language, Language::GO);
    assert_eq!(frame.body, Bytes::from_static(b"{}"));
    assert_eq!(frame.decode::<protocol::route::GetRouteInfo>(), Ok(request));
}
