// SPDX-License-Identifier: Apache-2.0
//! Requests as RocketMQ's Java client writes them: names and their order in the header, escapes in the properties.

use protocol::batch::{self, Unit};

/// Appends a frame.
fn put(header: &str, body: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(4 + header.len() + body.len()).expect("a small frame");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&(header.len() as u32).to_be_bytes());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(body);
}

fn request(code: i32, fields: &str, opaque: u32, body: &[u8], out: &mut Vec<u8>) {
    let header = format!(
        concat!(
            r#"{{"code":{},"extFields":{{{}}},"flag":0,"language":"JAVA","opaque":{},"#,
            r#""serializeTypeCurrentRPC":"JSON","version":509}}"#
        ),
        code, fields, opaque
    );
    put(&header, body, out);
}

/// A request without fields.
pub(crate) fn plain(code: i32, opaque: u32, body: &[u8], out: &mut Vec<u8>) {
    request(code, "", opaque, body, out);
}

fn send_fields(topic: &str, queue: u32, properties: &str, is_batch: bool) -> String {
    format!(
        concat!(
            r#""a":"producers","b":"{}","c":"TBW102","d":"4","e":"{}","f":"0","g":"1700000000000","h":"0","#,
            r#""i":"{}","j":"0","k":"false","m":"{}","n":"broker""#
        ),
        topic, queue, properties, is_batch
    )
}

/// A send of one message.
pub(crate) fn send(topic: &str, queue: u32, opaque: u32, body: &[u8], out: &mut Vec<u8>) {
    let properties = format!(
        r"UNIQ_KEY\u00017F0000010000123400000000{opaque:08X}\u0002WAIT\u0001true\u0002TAGS\u0001TagA\u0002"
    );
    request(310, &send_fields(topic, queue, &properties, false), opaque, body, out);
}

/// A send of several messages in one request.
pub(crate) fn batch(topic: &str, messages: usize, opaque: u32, body: &[u8], out: &mut Vec<u8>) {
    let mut units = Vec::new();
    for number in 0..messages {
        let properties =
            format!("UNIQ_KEY\u{1}7F00000100001234{opaque:08X}{number:08X}\u{2}WAIT\u{1}true\u{2}");
        let unit = Unit { flag: 0, body, properties: properties.as_bytes() };
        batch::encode(&unit, &mut units).expect("a small message");
    }
    let properties = format!(r"UNIQ_KEY\u00017F0000010000123400000000{opaque:08X}\u0002WAIT\u0001true");
    request(320, &send_fields(topic, 0, &properties, true), opaque, &units, out);
}

/// What a push consumer asks, who said in its heartbeat what it wants; it waits if need be.
pub(crate) fn pull(topic: &str, from: u64, opaque: u32, out: &mut Vec<u8>) {
    let fields = format!(
        concat!(
            r#""consumerGroup":"consumers","topic":"{}","queueId":"0","queueOffset":"{}","maxMsgNums":"32","sysFlag":"2","#,
            r#""commitOffset":"0","suspendTimeoutMillis":"15000","subVersion":"0","expressionType":"TAG","#,
            r#""maxMsgBytes":"2147483647""#
        ),
        topic, from
    );
    request(11, &fields, opaque, b"", out);
}
