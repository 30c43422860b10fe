// SPDX-License-Identifier: Apache-2.0
//! Any values under the field names that requests know, read as every typed request: no panic, the JSON and
//! the binary form say the same, and what was read survives being written.
#![no_main]

include!("../../crates/protocol/tests/requests/list.rs");

use std::fmt::Debug;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use protocol::frame::{self, Decoder};
use protocol::{DecodeError, Fields, FieldsOut, Head, Header, Request, Serialization};

/// The names that requests use most.
const NAMES: &[&str] = &[
    "consumerGroup",
    "topic",
    "queueId",
    "queueOffset",
    "maxMsgNums",
    "sysFlag",
    "commitOffset",
    "subVersion",
    "suspendTimeoutMillis",
    "producerGroup",
    "defaultTopic",
    "defaultTopicQueueNums",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "unitMode",
    "maxReconsumeTimes",
    "batch",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "k",
    "l",
    "m",
    "n",
    "group",
    "offset",
    "delayLevel",
    "timestamp",
    "brokerName",
    "brokerAddr",
    "clusterName",
    "brokerId",
    "namespace",
    "key",
    "value",
    "readQueueNums",
    "writeQueueNums",
    "perm",
    "clientID",
    "clientId",
    "tranStateTableOffset",
    "commitLogOffset",
    "commitOrRollback",
    "msgId",
    "statsName",
    "statsKey",
    "srcGroup",
    "destGroup",
    "compareGroup",
    "cluster",
    "boundaryType",
    "isForce",
    "groupName",
    "recallHandle",
];

/// Fields as the fuzzer gave them.
struct Given(Vec<(String, String)>);

impl Header for Given {
    fn decode(_: &Fields) -> Result<Given, DecodeError> {
        Ok(Given(Vec::new()))
    }
    fn encode(&self, out: &mut FieldsOut<'_>) {
        self.0.iter().for_each(|(name, value)| out.put_text(name, value));
    }
}

fn written<H: Header>(header: &H, serialization: Serialization) -> Fields {
    let mut out = BytesMut::new();
    let head = Head { code: 1, serialization, ..Head::default() };
    frame::encode(&head, header, 0, &mut out).expect("small enough");
    Decoder::default().next(&mut out).expect("good").expect("whole").fields
}

fn check<R: Request + Debug + PartialEq>(json: &Fields, binary: &Fields) {
    let read = R::decode(json);
    let other = R::decode(binary);
    assert_eq!(read.as_ref().ok(), other.as_ref().ok(), "{}", R::NAME);
    let Ok(request) = read else { return };
    for form in [Serialization::Json, Serialization::RocketMq] {
        let again = R::decode(&written(&request, form)).expect("what was written can be read");
        let third = R::decode(&written(&again, form)).expect("and again");
        assert_eq!(again, third, "{}", R::NAME);
        let _ = R::Reply::decode(json);
    }
}

/// A request's check, its type forgotten.
type Check = fn(&Fields, &Fields);

macro_rules! checks {
    ($($request:path),* $(,)?) => { &[$(check::<$request>),*] };
}

const CHECKS: &[Check] = every_request!(checks);

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    let pairs = data.split(|byte| *byte == 0xff).filter_map(|part| {
        let (name, value) = part.split_first()?;
        let known = NAMES.get(usize::from(*name)).map(|name| (*name).to_owned());
        // what is empty is null in the binary form and not in JSON, so the two may differ there
        let value = String::from_utf8_lossy(value).into_owned();
        (!value.is_empty()).then_some((known.unwrap_or_else(|| char::from(*name).to_string()), value))
    });
    let given = Given(pairs.collect());
    let json = written(&given, Serialization::Json);
    let binary = written(&given, Serialization::RocketMq);
    CHECKS[usize::from(*which) % CHECKS.len()](&json, &binary);
});
