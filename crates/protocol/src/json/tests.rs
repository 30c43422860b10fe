// SPDX-License-Identifier: Apache-2.0
//! Both dialects, read and written; hostile text.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Place {
    broker_name: String,
    queue_id: i32,
    topic: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Everything {
    addresses: BTreeMap<i64, String>,
    list: Vec<i64>,
    names: BTreeMap<String, String>,
    offsets: ObjectMap<Place, i64>,
    on: bool,
    remark: Option<String>,
    tps: f64,
}

fn read(text: &str) -> Result<Everything, JsonError> {
    from_slice(text.as_bytes())
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&match read(text) {
        Ok(value) => String::from_utf8(to_vec(&value)).unwrap(),
        Err(error) => error.to_string(),
    });
}

fn place(queue_id: i32) -> Place {
    Place { broker_name: "b".into(), queue_id, topic: "t".into() }
}

#[test]
fn both_forms_are_written() {
    let value = Everything {
        addresses: BTreeMap::from([(0, "10.0.0.1:10911".into()), (-1, "x".into())]),
        names: BTreeMap::from([("a\"\\\n\u{1}é".into(), "v".into())]),
        offsets: ObjectMap(vec![(place(0), 123), (place(1), 456)]),
        tps: 1.0,
        ..Everything::default()
    };
    let text = String::from_utf8(to_vec_fastjson(&value)).unwrap();
    expect![[r#"{"addresses":{-1:"x",0:"10.0.0.1:10911"},"list":[],"names":{"a\"\\\n\u0001é":"v"},"offsets":{{"brokerName":"b","queueId":0,"topic":"t"}:123,{"brokerName":"b","queueId":1,"topic":"t"}:456},"on":false,"tps":1.0}"#]].assert_eq(&text);
    assert_eq!(read(&text).unwrap(), value);
    let text = String::from_utf8(to_vec(&value)).unwrap();
    expect![[r#"{"addresses":{"-1":"x","0":"10.0.0.1:10911"},"list":[],"names":{"a\"\\\n\u0001é":"v"},"offsets":{"{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"t\"}":123,"{\"brokerName\":\"b\",\"queueId\":1,\"topic\":\"t\"}":456},"on":false,"tps":1.0}"#]].assert_eq(&text);
    assert_eq!(read(&text).unwrap(), value);
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
}

#[test]
fn absent_and_null_are_the_same() {
    assert_eq!(to_vec(&Some(1)), b"1");
    assert_eq!(to_vec(&None::<i32>), b"null");
    assert_eq!(to_vec(&f64::NAN), b"null");
    let map = BTreeMap::from([("a", None), ("b", Some(1)), ("c", None), ("d", Some(2)), ("e", None)]);
    assert_eq!(to_vec(&map), br#"{"b":1,"d":2}"#);
    assert_eq!(to_vec(&Some("null")), br#""null""#);
    assert_eq!(
        read(r#"{"list":null,"on":null,"names":{"a":null,"b":"c"},"addresses":null}"#).unwrap().names.len(),
        1
    );
}

#[test]
fn the_dialect_is_read() {
    check("{}", expect![[r#"{"addresses":{},"list":[],"names":{},"offsets":{},"on":false,"tps":0.0}"#]]);
    check(
        " {\n'addresses' : { 0:'a', \"1\":'b' , -2 : \"c\"},on:true,tps:3,list:[1,2,],,names:{a:1,b:true,1:{x:[1]}}}\r\n",
        expect![[
            r#"{"addresses":{"-2":"c","0":"a","1":"b"},"list":[1,2],"names":{"1":"{x:[1]}","a":"1","b":"true"},"offsets":{},"on":true,"tps":3.0}"#
        ]],
    );
    check(
        r#"{"offsets":{{"brokerName":"b","queueId":7,"topic":"t"} : "12"},"on":"true","list":["5",6.0,1e3],"unknown":{{1:2}:[{}],"x":[[null]]}}"#,
        expect![[
            r#"{"addresses":{},"list":[5,6,1000],"names":{},"offsets":{"{\"brokerName\":\"b\",\"queueId\":7,\"topic\":\"t\"}":12},"on":true,"tps":0.0}"#
        ]],
    );
    check(
        r#"{"remark":"\u0041\uD83E\uDD80\uD83Ex\uDC00\x41\7\'\/\v","names":{"raw	tab":"
"}}"#,
        expect![[
            r#"{"addresses":{},"list":[],"names":{"raw\ttab":"\n"},"offsets":{},"on":false,"remark":"A🦀�x�A\u0007'/\u000B","tps":0.0}"#
        ]],
    );
}

#[test]
fn faults_are_named_with_their_place() {
    check("", expect!["JSON, byte 0: the text ends too early"]);
    check("{", expect!["JSON, byte 1: the text ends too early"]);
    check("[]", expect!["JSON, byte 0: an object is expected"]);
    check("{} x", expect!["JSON, byte 3: something follows the value"]);
    check(r#"{"list":[1 2]}"#, expect!["JSON, byte 11: a comma is missing"]);
    check(r#"{"list":1}"#, expect!["JSON, byte 8: an array is expected"]);
    check(r#"{"list":[x]}"#, expect![[r#"JSON, byte 10: "x" is not a number that fits here"#]]);
    check(
        r#"{"list":[99999999999999999999]}"#,
        expect![[r#"JSON, byte 29: "99999999999999999999" is not a number that fits here"#]],
    );
    check(r#"{"on":7}"#, expect!["JSON, byte 7: true or false is expected"]);
    check(r#"{"remark":"\q"}"#, expect!["JSON, byte 12: an unknown escape"]);
    check(r#"{"remark":"a"#, expect!["JSON, byte 11: a string does not end"]);
    check(r#"{"addresses":{x:"a"}}"#, expect!["JSON, byte 16: a number is expected as key"]);
    check(r#"{"offsets":{3:1}}"#, expect!["JSON, byte 14: key: an object is expected"]);
    check(r#"{"remark" "a"}"#, expect!["JSON, byte 10: a colon is expected"]);
    assert_eq!(from_slice::<Everything>(b"{\xFF}").unwrap_err(), JsonError::new(1, "not UTF-8"));
}

#[test]
fn depth_and_size_are_capped() {
    for open in ["[", "{a:", "{{a:"] {
        let text = format!("{{x:{}", open.repeat(100_000));
        assert!(read(&text).unwrap_err().what.contains("nested too deeply"), "{open}");
    }
    let deepest = format!("{{x:{}{}}}", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
    read(&deepest).unwrap();
    let text = vec![b' '; MAX_LEN + 1];
    assert_eq!(from_slice::<Everything>(&text).unwrap_err().what, "text is too long");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Colour {
    #[serde(rename = "RED")]
    Red,
    #[serde(rename = "BLUE")]
    Blue,
}

#[test]
fn enums_stand_by_name() {
    let map = BTreeMap::from([("a", Colour::Red), ("b", Colour::Blue)]);
    let text = to_vec(&map);
    assert_eq!(text, br#"{"a":"RED","b":"BLUE"}"#);
    assert_eq!(from_slice::<BTreeMap<&str, Colour>>(&text).unwrap(), map);
    let long = "é".repeat(10_000);
    assert!(from_slice::<Colour>(long.as_bytes()).unwrap_err().what.len() <= 300);
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9 \"'\\\\{}:,\u{1}\n]{0,12}", any::<String>()]
}

fn any_everything() -> impl Strategy<Value = Everything> {
    (
        proptest::collection::btree_map(any::<i64>(), any_text(), 0..4),
        proptest::collection::vec(any::<i64>(), 0..4),
        proptest::collection::btree_map(any_text(), any_text(), 0..4),
        proptest::collection::vec(((any_text(), any::<i32>(), any_text()), any::<i64>()), 0..4),
        any::<bool>(),
        proptest::option::of(any_text()),
        (-1000..1000i32).prop_map(|n| f64::from(n) / 8.0),
    )
        .prop_map(|(addresses, list, names, offsets, on, remark, tps)| Everything {
            addresses,
            list,
            names,
            offsets: offsets
                .into_iter()
                .map(|((broker_name, queue_id, topic), v)| (Place { broker_name, queue_id, topic }, v))
                .collect(),
            on,
            remark,
            tps,
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in any_everything()) {
        prop_assert_eq!(&from_slice::<Everything>(&to_vec_fastjson(&value)).unwrap(), &value);
        let standard = to_vec(&value);
        prop_assert_eq!(&from_slice::<Everything>(&standard).unwrap(), &value);
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&standard).is_ok());
    }

    #[test]
    fn standard_json_means_the_same_here(value in any_everything()) {
        let standard = to_vec(&value);
        let theirs: serde_json::Value = serde_json::from_slice(&standard).unwrap();
        let ours: serde_json::Value = from_slice(&standard).unwrap();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn any_text_is_survived(text in "[ -~\u{1}é]{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = read(&text);
        let _ = from_slice::<serde_json::Value>(text.as_bytes());
        let _ = from_slice::<Everything>(&bytes);
    }

    #[test]
    fn a_damaged_body_is_survived(value in any_everything(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = to_vec_fastjson(&value);
        let at = at.index(text.len());
        text[at] = byte;
        let _ = from_slice::<Everything>(&text);
        let _ = from_slice::<Everything>(&text[..at]);
    }
}
