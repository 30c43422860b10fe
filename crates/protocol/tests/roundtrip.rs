// SPDX-License-Identifier: Apache-2.0
//! Whatever is written is read back, in both header forms; and our JSON reader agrees with another one
//! about what is a header.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;
use protocol::frame::{self, Decoder};
use protocol::properties::{self, Properties, PropertiesOut};
use protocol::pull::PullMessage;
use protocol::send::{SendHeader, SendMessage, SendMessageV2};
use protocol::{
    ByteStr, DecodeError, Fields, FieldsOut, Frame, Group, Head, Header, Language, QueueId, QueueOffset,
    Serialization, TopicName,
};
use std::time::Duration;
use stdx::Timestamp;

/// Any fields at all.
#[derive(Clone, Debug, PartialEq)]
struct Pairs(Vec<(String, String)>);

impl Header for Pairs {
    fn decode(fields: &Fields) -> Result<Pairs, DecodeError> {
        let pairs = fields.iter().map(|pair| pair.map(|(name, value)| (name.to_string(), value.to_string())));
        pairs.collect::<Result<_, _>>().map(Pairs)
    }
    fn encode(&self, out: &mut FieldsOut<'_>) {
        self.0.iter().for_each(|(name, value)| out.put_text(name, value));
    }
}

fn there_and_back<H: Header>(head: &Head<'_>, header: &H, body: &[u8]) -> Frame {
    let mut bytes = BytesMut::new();
    frame::encode(head, header, body.len(), &mut bytes).expect("it fits");
    bytes.put_slice(body);
    let frame = Decoder::default().next(&mut bytes).expect("a good frame").expect("a whole frame");
    assert!(bytes.is_empty());
    frame
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => any::<String>(),
        9 => "[ -~]{0,40}",
        9 => "[\u{0}-\u{20}\"\\\\/a]{0,20}",
        9 => Just("x".repeat(300)),
        9 => Just("größe 漢字 😀".to_owned()),
        // what lies behind it is out of reach of a 16-bit number
        1 => Just("y".repeat(70_000)),
    ]
}

/// Names as long as the binary form carries.
fn names() -> impl Strategy<Value = String> {
    text().prop_filter("too long a name", |name| name.len() < 1000)
}

fn forms() -> impl Strategy<Value = Serialization> {
    prop_oneof![Just(Serialization::Json), Just(Serialization::RocketMq)]
}

prop_compose! {
    fn sends()(
        group in "[a-zA-Z%|_-]{1,20}", topic in "\\PC{1,20}", default_topic in prop::option::of("[A-Z]{1,9}"),
        default_queues in 0..=i32::MAX as u32, queue in prop::option::of(0..=i32::MAX as u32),
        (sys_flag, flag, reconsume, born_at) in any::<(i32, i32, i32, i64)>(), properties in text(),
        (unit, batch, max_reconsume) in any::<(bool, bool, Option<i32>)>(),
    ) -> SendHeader {
        SendHeader {
            group: Group::stored(group), topic: TopicName::stored(topic),
            default_topic: default_topic.map(TopicName::stored), default_queues, queue: queue.map(QueueId),
            sys_flag, born_at: Timestamp(born_at), flag, properties: Properties::new(properties), reconsume,
            unit, max_reconsume, batch,
        }
    }
}

prop_compose! {
    fn pulls()(
        (group, topic) in ("[a-z]{1,20}", "[a-z]{1,20}"), queue in 0..=i32::MAX as u32,
        from in 0..=i64::MAX as u64, (max_messages, sys_flag, sub_version) in any::<(i32, i32, i64)>(),
        commit in 0..=i64::MAX as u64, suspend in 0..=i64::MAX as u64,
        subscription in prop::option::of("\\PC{1,20}"), max_bytes in prop::option::of(0..=i32::MAX as u32),
        request_source in any::<Option<i32>>(),
    ) -> PullMessage {
        PullMessage {
            group: Group::stored(group), topic: TopicName::stored(topic), queue: QueueId(queue),
            from: QueueOffset(from), max_messages, sys_flag, commit: Some(QueueOffset(commit)),
            suspend: Some(Duration::from_millis(suspend)), subscription: subscription.map(ByteStr::from),
            sub_version, expression_type: None, max_bytes, request_source, proxied_client: None,
        }
    }
}

proptest! {
    #[test]
    fn any_frame_comes_back(
        form in forms(), code in any::<i16>(), version in any::<i16>(), (opaque, flag) in any::<(i32, i32)>(),
        language in 0..14_u8, remark in prop::option::of(text()),
        pairs in prop::collection::vec((names(), text()), 0..30), body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let head = Head {
            code: code.into(), version: version.into(), opaque, flag, language: Language(language),
            remark: remark.as_deref(), serialization: form,
        };
        let frame = there_and_back(&head, &Pairs(pairs.clone()), &body);
        let binary = form == Serialization::RocketMq;
        // in the binary form what is empty is not there
        let kept = |text: &str| !binary || !text.is_empty();
        prop_assert_eq!((frame.code, frame.version), (i32::from(code), i32::from(version)));
        prop_assert_eq!((frame.opaque, frame.flag, frame.language), (opaque, flag, Language(language)));
        prop_assert_eq!(frame.remark.as_deref(), remark.as_deref().filter(|text| kept(text)));
        let wanted: Vec<_> = pairs.into_iter().filter(|(_, value)| kept(value)).collect();
        for (name, _) in &wanted {
            let last = wanted.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
            let got = frame.fields.get(name);
            prop_assert_eq!(got.as_deref(), last);
        }
        prop_assert_eq!(frame.decode::<Pairs>().map(|pairs| pairs.0), Ok(wanted));
        prop_assert_eq!(&frame.body[..], &body[..]);
    }

    #[test]
    fn sends_come_back_in_both_spellings(form in forms(), header in sends()) {
        let head = Head { serialization: form, ..Head::default() };
        let long = there_and_back(&head, &SendMessage(header.clone()), b"");
        prop_assert_eq!(long.decode::<SendMessage>().map(SendHeader::from), Ok(header.clone()));
        let short = there_and_back(&head, &SendMessageV2(header.clone()), b"");
        prop_assert_eq!(short.decode::<SendMessageV2>().map(SendHeader::from), Ok(header.clone()));
        // passed on as it came, it is still the same
        let passed = there_and_back(&head, &short.fields, b"");
        prop_assert_eq!(passed.decode::<SendMessageV2>().map(SendHeader::from), Ok(header));
    }

    #[test]
    fn pulls_come_back(form in forms(), header in pulls()) {
        let frame = there_and_back(&Head { serialization: form, ..Head::default() }, &header, b"");
        prop_assert_eq!(frame.decode::<PullMessage>(), Ok(header));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), form in 0..2_u8) {
        let mut framed = BytesMut::new();
        framed.put_u32(4 + bytes.len() as u32);
        framed.put_u32((u32::from(form) << 24) | bytes.len() as u32);
        framed.put_slice(&bytes);
        let _ = Decoder::default().next(&mut framed).map(|frame| frame.map(|frame| frame.decode::<Pairs>()));
    }

    #[test]
    fn our_json_reader_agrees_with_serde(
        tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..14), wrapped in any::<bool>(),
    ) {
        let inner = tokens.concat();
        let header = if wrapped { format!("{{\"code\":1,\"more\":{inner}}}") } else { inner };
        let mut framed = BytesMut::new();
        framed.put_u32(4 + header.len() as u32);
        framed.put_u32(header.len() as u32);
        framed.put_slice(header.as_bytes());
        let ours = Decoder::default().next(&mut framed);
        let theirs = serde_json::from_str::<serde_json::Value>(&header);
        match (&ours, &theirs) {
            (Ok(Some(frame)), Ok(theirs)) => prop_assert_eq!(theirs["code"].as_i64(), Some(frame.code.into())),
            (Ok(Some(_)), Err(e)) => prop_assert!(e.to_string().contains("out of range"), "{header}: {e}"),
            // what is JSON but refused by us is no header: a member has another type, or the code is missing
            (Err(_), Ok(theirs)) => prop_assert!(!is_header(theirs), "{header}: {ours:?}"),
            (Err(_), Err(_)) => {}
            (Ok(None), _) => prop_assert!(false, "the frame was whole"),
        }
    }

    #[test]
    fn properties_come_back(pairs in prop::collection::vec((text(), text()), 0..8)) {
        let mut out = PropertiesOut::default();
        pairs.iter().for_each(|(name, value)| out.push(name, value));
        let written = out.finish();
        let good: Vec<_> =
            pairs.iter().filter(|(name, value)| properties::fits(name, value)).cloned().collect();
        if good.len() == pairs.len() {
            let read: Vec<_> = written.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(read, good);
        }
        let kept = pairs.iter().filter(|(name, value)| !name.is_empty() && !value.is_empty()).count();
        prop_assert_eq!(written.iter().count(), kept, "one property never becomes two");
        if let Some((name, _)) = written.iter().next() {
            let mut out = PropertiesOut::from_text(written.as_str());
            out.set(name, "new");
            prop_assert_eq!(out.as_str().matches(&format!("{name}\u{1}new\u{2}")).count(), 1);
            prop_assert_eq!(out.get(name), Some("new"));
        }
    }
}

const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"code\"",
    "\"a\"",
    "\"extFields\"",
    "\"remark\"",
    "1",
    "-0",
    "0",
    "01",
    "2.5",
    "1e3",
    "-",
    "1.",
    "null",
    "true",
    "nul",
    "\"\\u00e4\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"",
    "\\",
    " ",
    "\n",
    "\"\\n\"",
    "\"\u{1}\"",
    "{\"a\":1}",
    "[1,2]",
    "{}",
    "[]",
    "{\"code\":7}",
    "\"code\":3",
    ",\"flag\":4",
];

/// Whether a JSON value has the types of a header.
fn is_header(value: &serde_json::Value) -> bool {
    let integer = |name: &str| match &value[name] {
        serde_json::Value::Null => true,
        number => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
    };
    let ints = ["code", "flag", "opaque", "version"].into_iter().all(integer);
    let texts =
        ["remark", "language"].into_iter().all(|name| value[name].is_null() || value[name].is_string());
    let fields = value["extFields"].is_null() || value["extFields"].is_object();
    value.is_object() && value["code"].is_i64() && ints && texts && fields
}
