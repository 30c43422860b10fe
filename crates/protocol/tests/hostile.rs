// SPDX-License-Identifier: Apache-2.0
//! What does not belong on the wire: malformed, cut, oversized and merely odd frames, and what becomes of each.

use bytes::{BufMut, Bytes, BytesMut};
use expect_test::{Expect, expect};
use protocol::fields::FieldsOut;
use protocol::frame::{self, Decoder};
use protocol::pull::PullMessage;
use protocol::route::GetRouteInfo;
use protocol::{DecodeError, EncodeError, Fields, Frame, Head, Header, Serialization, TopicName, caps};

fn frame_of(form: u8, header: &[u8], body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32((4 + header.len() + body.len()) as u32);
    bytes.put_u32((u32::from(form) << 24) | header.len() as u32);
    bytes.put_slice(header);
    bytes.put_slice(body);
    bytes
}

fn read(form: u8, header: &[u8]) -> Result<Frame, DecodeError> {
    Ok(Decoder::default().next(&mut frame_of(form, header, b""))?.expect("the frame is whole"))
}

fn shown(form: u8, header: &[u8]) -> String {
    match read(form, header) {
        Ok(frame) => {
            let Frame { code, language, version, opaque, flag, remark, fields, .. } = frame;
            format!("{code} {language} v{version} #{opaque} f{flag} {remark:?} {fields:?}")
        }
        Err(refused) => refused.to_string(),
    }
}

fn check_json(headers: &[&[u8]], expect: Expect) {
    let lines: Vec<_> = headers.iter().map(|header| shown(0, header)).collect();
    expect.assert_eq(&lines.join("\n"));
}

#[test]
fn odd_but_good_json_headers_are_read() {
    check_json(
        &[
            br#"{"code":10}"#,
            b" {\t\"code\" :\r\n 10 , \"flag\":1 } \n",
            br#"{"code":10,"code":11,"extFields":{"a":"1"},"extFields":{"a":"2","a":"3"}}"#,
            br#"{"code":10,"remark":null,"extFields":null,"language":null,"version":null,"opaque":null}"#,
            br#"{"code":10,"extFields":{}}"#,
            br#"{"code":-1,"extFields":{"n":1,"f":-1.5e3,"t":true,"o":{"x":[1,{}]},"z":null,"":""}}"#,
            r#"{"code":1,"remark":"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00ä😀"}"#.as_bytes(),
            br#"{"c\u006fde":5,"langu\u0061ge":"G\u004f","extFields":{"\u0061":"b\u0001"}}"#,
            br#"{"language":"COBOL","code":2147483647,"opaque":-2147483648,"suspended":false}"#,
            br#"{"code":1,"more":{"a":[[],{},[{"b":null}]],"c":"}]"},"serializeTypeCurrentRPC":"JSON"}"#,
        ],
        expect![[r##"
            10 JAVA v0 #0 f0 None {}
            10 JAVA v0 #0 f1 None {}
            11 JAVA v0 #0 f0 None {"a": "2", "a": "3"}
            10 JAVA v0 #0 f0 None {}
            10 JAVA v0 #0 f0 None {}
            -1 JAVA v0 #0 f0 None {"n": "1", "f": "-1.5e3", "t": "true", "o": "{\"x\":[1,{}]}", "": ""}
            1 JAVA v0 #0 f0 Some("\"\\/\u{8}\u{c}\n\r\tä😀ä😀") {}
            5 GO v0 #0 f0 None {"a": "b\u{1}"}
            2147483647 OTHER v0 #-2147483648 f0 None {}
            1 JAVA v0 #0 f0 None {}"##]],
    );
}

#[test]
fn malformed_json_headers_are_refused_by_name_and_place() {
    check_json(
        &[
            b"",
            b"[]",
            b"{",
            br#"{"code"}"#,
            br#"{"code":}"#,
            br#"{"code":1"#,
            br#"{"code":1,}"#,
            br#"{,"code":1}"#,
            br#"{"code":1 "flag":1}"#,
            br#"{"code":1}}"#,
            br#"{code:1}"#,
            br#"{'code':1}"#,
            b"{\"code\":1,\"remark\":\"\xff\"}",
            b"{\"code\":1,\"remark\":\"\x01\"}",
            br#"{"code":1,"remark":"open"#,
            br#"{"code":1,"remark":"\"#,
            br#"{"code":1,"remark":"\x"}"#,
            br#"{"code":1,"remark":"\u12"}"#,
            br#"{"code":1,"remark":"\u+123"}"#,
            br#"{"code":1,"remark":"\ud800"}"#,
            br#"{"code":1,"remark":"\udc00"}"#,
            br#"{"code":1,"remark":"\ud800\u0041"}"#,
            br#"{"code":1,"remark":"\ud800\ud800"}"#,
            br#"{"code":1,"remark":7}"#,
            br#"{"code":1,"language":9}"#,
            br#"{"code":1,"extFields":[]}"#,
            br#"{"code":1,"extFields":"x"}"#,
            br#"{"code":1,"extFields":{"a"}}"#,
            br#"{"code":1,"extFields":{"a":"b"}"#,
            br#"{"code":1,"more":[1,}"#,
            br#"{"code":1,"more":[1}"#,
            br#"{"code":1,"more":{"a":1]}"#,
            br#"{"flag":1}"#,
            br#"{"code":"1"}"#,
            br#"{"code":1.0}"#,
            br#"{"code":01}"#,
            br#"{"code":+1}"#,
            br#"{"code":1e}"#,
            br#"{"code":1.}"#,
            br#"{"code":nul}"#,
            br#"{"code":true}"#,
            br#"{"code":2147483648}"#,
            br#"{"code":99999999999999999999999999}"#,
        ],
        expect![[r#"
            JSON header is not an object (at byte 0)
            JSON header is not an object (at byte 0)
            expected a quoted member name (at byte 1)
            expected ':' after a member name (at byte 7)
            expected a value (at byte 8)
            expected ',' or '}' after a member (at byte 9)
            expected a quoted member name (at byte 10)
            expected a quoted member name (at byte 1)
            expected ',' or '}' after a member (at byte 10)
            more text after the header (at byte 10)
            expected a quoted member name (at byte 1)
            expected a quoted member name (at byte 1)
            JSON header is not UTF-8 (at byte 20)
            control character in a string (at byte 20)
            unterminated string (at byte 24)
            unterminated string (at byte 20)
            unknown escape in a string (at byte 20)
            a \u escape needs four hexadecimal digits (at byte 20)
            a \u escape needs four hexadecimal digits (at byte 20)
            lone surrogate in a string (at byte 20)
            lone surrogate in a string (at byte 20)
            lone surrogate in a string (at byte 20)
            lone surrogate in a string (at byte 20)
            remark is not text (at byte 19)
            language is not a name (at byte 21)
            extFields is not an object (at byte 22)
            extFields is not an object (at byte 22)
            expected ':' after a member name (at byte 26)
            expected ',' or '}' after a member (at byte 31)
            expected a value (at byte 20)
            expected ',' or the end of an object or array (at byte 19)
            expected ',' or the end of an object or array (at byte 23)
            JSON header has no code (at byte 0)
            expected a number (at byte 8)
            not a 32-bit integer (at byte 8)
            expected a value (at byte 8)
            expected a value (at byte 8)
            expected a value (at byte 8)
            expected a value (at byte 8)
            expected a value (at byte 8)
            not a 32-bit integer (at byte 8)
            not a 32-bit integer (at byte 8)
            not a 32-bit integer (at byte 8)"#]],
    );
}

#[test]
fn deep_nesting_ends_at_the_cap() {
    let nested = |depth: usize| {
        let header = format!("{{\"code\":1,\"more\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        shown(0, header.as_bytes())
    };
    assert_eq!(nested(caps::MAX_NESTING), "1 JAVA v0 #0 f0 None {}");
    assert_eq!(nested(caps::MAX_NESTING + 1), "nested too deeply (at byte 81)");
    assert_eq!(nested(100_000), "nested too deeply (at byte 81)");
}

/// Code 11, Go, version 401, opaque 1, no flag.
const FIXED: &[u8] = b"\x00\x0b\x09\x01\x91\x00\x00\x00\x01\x00\x00\x00\x00";

#[test]
fn binary_headers_are_read_to_their_last_byte() {
    let lines: Vec<_> = [
        &b"\x00\x00\x00\x00\x00\x00\x00\x00"[..],
        b"\x00\x00\x00\x02ok\x00\x00\x00\x08\x00\x01a\x00\x00\x00\x01b",
        // an empty value is null
        b"\x00\x00\x00\x00\x00\x00\x00\x0f\x00\x01a\x00\x00\x00\x00\x00\x01b\x00\x00\x00\x01c",
        b"\x00\x00\x00\x00\x00\x00\x00\x00more",
        b"\x00\x00\x00\x00\x00\x00\x00\x04",
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x00\x00\x00\x01\xff\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\xff\xff\xff\xff",
        b"\x00\x00\x00\x00\x00\x00\x00\x08\xff\xffa\x00\x00\x00\x01b",
        b"\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01a\xff\xff\xff\xffb",
        b"\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01a\x00\x00\x00\x02b",
        b"\x00\x00\x00\x00\x00\x00\x00\x08\x00\x01a\x00\x00\x00\x01\xe4",
    ]
    .iter()
    .map(|rest| shown(1, &[FIXED, rest].concat()))
    .collect();
    expect![[r#"
        11 GO v401 #1 f0 None {}
        11 GO v401 #1 f0 Some("ok") {"a": "b"}
        11 GO v401 #1 f0 None {"b": "c"}
        ext fields do not end with the header (at byte 17)
        ext fields do not end with the header (at byte 17)
        cut off before ext fields (at byte 17)
        negative length (at byte 13)
        length beyond the header (at byte 13)
        text is not UTF-8 (at byte 13)
        ext fields do not end with the header (at byte 17)
        negative length (at byte 21)
        negative length (at byte 21)
        length beyond the header (at byte 21)
        text is not UTF-8 (at byte 21)"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn every_cut_of_a_binary_header_is_refused() {
    let whole = [FIXED, b"\x00\x00\x00\x02ok\x00\x00\x00\x08\x00\x01a\x00\x00\x00\x01b"].concat();
    assert!(read(1, &whole).is_ok());
    for cut in 0..whole.len() {
        assert!(read(1, &whole[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn lengths_are_judged_before_anything_is_waited_for() {
    let mut decoder = Decoder::new(1000);
    let mut judge = |bytes: &[u8]| match decoder.next(&mut BytesMut::from(bytes)) {
        Ok(frame) => format!("{:?}", frame.map(|frame| frame.code)),
        Err(refused) => refused.to_string(),
    };
    expect!["None"].assert_eq(&judge(b""));
    expect!["None"].assert_eq(&judge(b"\x00\x00\x00"));
    expect!["negative frame length (at byte 0)"].assert_eq(&judge(b"\xff\xff\xff\xff"));
    expect!["frame too short for a header length (at byte 0)"].assert_eq(&judge(b"\x00\x00\x00\x03"));
    expect!["None"].assert_eq(&judge(&996_u32.to_be_bytes()));
    expect!["frame longer than allowed (at byte 0)"].assert_eq(&judge(&997_u32.to_be_bytes()));
    expect!["None"].assert_eq(&judge(b"\x00\x00\x00\x10\x00\x00\x00\x0c"));
    expect!["header longer than its frame (at byte 5)"]
        .assert_eq(&judge(b"\x00\x00\x00\x10\x00\x00\x00\x0d"));
    expect!["header longer than its frame (at byte 5)"]
        .assert_eq(&judge(b"\x00\x00\x00\x10\x01\xff\xff\xff"));
    expect!["unknown header form (at byte 4)"].assert_eq(&judge(b"\x00\x00\x00\x10\x02\x00\x00\x0c"));
}

#[test]
fn frames_come_out_whole_however_the_bytes_come_in() {
    let mut stream = frame_of(0, br#"{"code":1}"#, b"first");
    stream.extend_from_slice(&frame_of(1, &[FIXED, &[0; 8]].concat(), b""));
    stream.extend_from_slice(&frame_of(0, br#"{"code":3}"#, b"third"));
    let mut decoder = Decoder::default();
    let mut input = BytesMut::new();
    let mut got = Vec::new();
    for byte in &stream {
        input.put_u8(*byte);
        while let Some(frame) = decoder.next(&mut input).expect("good frames") {
            got.push((frame.code, frame.body));
        }
    }
    let text = Bytes::from_static;
    assert_eq!(got, [(1, text(b"first")), (11, text(b"")), (3, text(b"third"))]);
}

#[test]
fn bad_fields_are_named() {
    let pull = |fields: &str| {
        let header = format!("{{\"code\":11,\"extFields\":{{{fields}}}}}");
        let frame = read(0, header.as_bytes()).expect("a good frame");
        frame.decode::<PullMessage>().map(|pull| format!("{pull:?}")).unwrap_or_else(|e| e.to_string())
    };
    const REST: &str = r#""queueOffset":"5","maxMsgNums":"32","sysFlag":"2""#;
    let lines = [
        pull(""),
        pull(r#""consumerGroup":"g","topic":"t""#),
        pull(&format!(r#""consumerGroup":"","topic":"t","queueId":"0",{REST}"#)),
        pull(&format!(r#""consumerGroup":"g","topic":"t","queueId":"x",{REST}"#)),
        pull(&format!(r#""consumerGroup":"g","topic":"t","queueId":"-1",{REST}"#)),
        pull(&format!(r#""consumerGroup":"g","topic":"t","queueId":"2147483648",{REST}"#)),
        pull(&format!(r#""consumerGroup":"g","topic":"t","queueId":{{}},{REST}"#)),
        pull(&format!(
            r#""consumerGroup":"g","topic":"t","queueId":0,{REST},"queueId":7,"commitOffset":"-1","bname":"b","subscription":"""#
        )),
    ];
    expect![[r#"
        required field consumerGroup is missing (at byte 0)
        required field maxMsgNums is missing (at byte 0)
        field consumerGroup is not a name: "" (at byte 18)
        field queueId is not of type i32: "x" (at byte 44)
        PullMessage { group: "g", topic: "t", queue: 4294967295, from: 5, max_messages: 32, sys_flag: 2, commit: None, suspend: None, subscription: None, sub_version: 0, expression_type: None, max_bytes: None, request_source: None, proxied_client: None }
        field queueId is not of type i32: "2147483648" (at byte 44)
        field queueId is not of type i32: "{}" (at byte 43)
        PullMessage { group: "g", topic: "t", queue: 7, from: 5, max_messages: 32, sys_flag: 2, commit: None, suspend: None, subscription: None, sub_version: 0, expression_type: None, max_bytes: None, request_source: None, proxied_client: None }"#]].assert_eq(&lines.join("\n"));
}

/// A header of one long field.
struct Long(usize);

impl Header for Long {
    fn decode(_: &Fields) -> Result<Long, DecodeError> {
        Ok(Long(0))
    }
    fn encode(&self, out: &mut FieldsOut<'_>) {
        out.put_text("long", &"x".repeat(self.0));
    }
}

/// A header of one field with a long name.
struct LongName(usize);

impl Header for LongName {
    fn decode(_: &Fields) -> Result<LongName, DecodeError> {
        Ok(LongName(0))
    }
    fn encode(&self, out: &mut FieldsOut<'_>) {
        out.put_text(&"x".repeat(self.0), "value");
    }
}

#[test]
fn what_does_not_fit_is_not_written() {
    fn refused<H: Header>(head: Head<'_>, header: &H, body: usize) -> EncodeError {
        let mut out = BytesMut::from(&b"before"[..]);
        let refused = frame::encode(&head, header, body, &mut out).expect_err("it does not fit");
        assert_eq!(&out[..], b"before", "what was there stays as it was");
        refused
    }
    let binary = Head { serialization: Serialization::RocketMq, ..Head::default() };
    assert_eq!(refused(Head { code: 200_050, ..binary }, &(), 0), EncodeError::Code { code: 200_050 });
    assert_eq!(refused(Head { code: -40_000, ..binary }, &(), 0), EncodeError::Code { code: -40_000 });
    assert_eq!(refused(Head { version: 40_000, ..binary }, &(), 0), EncodeError::Version { version: 40_000 });
    assert_eq!(refused(binary, &LongName(32_768), 0), EncodeError::FieldName { length: 32_768 });
    for serialization in [Serialization::Json, Serialization::RocketMq] {
        let head = Head { serialization, ..Head::default() };
        let length = caps::MAX_HEADER;
        assert!(matches!(refused(head, &Long(length), 0), EncodeError::Header { length: l } if l > length));
        assert!(matches!(refused(head, &(), caps::MAX_FRAME), EncodeError::Frame { .. }));
    }
    // JSON carries every code
    let mut out = BytesMut::new();
    frame::encode(&Head { code: 200_050, ..Head::default() }, &(), 0, &mut out).expect("it fits");
    let frame = Decoder::default().next(&mut out).expect("good").expect("whole");
    assert_eq!(frame.code, 200_050);
}

#[test]
fn values_without_escapes_are_slices_of_the_frame() {
    let headers: [&[u8]; 2] = [
        br#"{"code":105,"extFields":{"topic":"plain"},"remark":"also"}"#,
        b"\x00\x69\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04also\x00\x00\x00\x10\x00\x05topic\x00\x00\x00\x05plain",
    ];
    for (form, header) in [0, 1].into_iter().zip(headers) {
        let mut input = frame_of(form, header, b"body");
        let inside = input.as_ptr_range();
        let frame = Decoder::default().next(&mut input).expect("good").expect("whole");
        let route: GetRouteInfo = frame.decode().expect("a route request");
        assert_eq!(route.topic, TopicName::stored("plain"));
        for part in [route.topic.text().as_bytes(), frame.remark.expect("a remark").as_bytes(), &frame.body] {
            assert!(inside.contains(&part.as_ptr()), "form {form}: copied");
        }
    }
}
