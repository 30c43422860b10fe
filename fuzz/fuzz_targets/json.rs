// SPDX-License-Identifier: Apache-2.0
//! Any text as JSON: no panic; a body that was read is written in both forms and read again as the same; what serde_json
//! accepts means the same here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::body::*;
use protocol::json;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn body<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let Ok(value) = json::from_slice::<T>(data) else { return };
    for text in [json::to_vec(&value), json::to_vec_fastjson(&value)] {
        let again: T = json::from_slice(&text).expect("what was written is read");
        assert_eq!(again, value, "{}", String::from_utf8_lossy(&text));
    }
}

/// Members that are null count as absent here.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// serde_json's own reader of floats is inexact in the last place, and -0 is a float there.
fn has_floats(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().any(has_floats),
        Value::Array(list) => list.iter().any(has_floats),
        Value::Number(number) => number.is_f64(),
        _ => false,
    }
}

fuzz_target!(|data: &[u8]| {
    body::<HeartbeatData>(data);
    body::<TopicRouteData>(data);
    body::<ConsumeStats>(data);
    body::<ConsumerRunningInfo>(data);
    body::<RegisterBrokerBody>(data);
    body::<SubscriptionGroupWrapper>(data);
    body::<ConsumerOffsetSerializeWrapper>(data);
    body::<TopicConfigAndQueueMapping>(data);
    let ours = json::from_slice::<Value>(data);
    if let Ok(theirs) = serde_json::from_slice::<Value>(data)
        && !has_floats(&theirs)
    {
        match ours {
            // Where a name stands twice and one value is null, the other one counts here.
            Ok(ours) => {
                let unique = serde_json::to_vec(&theirs).expect("a value is written");
                let ours_again = json::from_slice::<Value>(&unique).expect("standard JSON is read");
                assert_eq!(ours_again, without_nulls(theirs));
                drop(ours);
            }
            Err(error) => assert!(error.what.contains("too deeply"), "{error}"),
        }
    }
});
