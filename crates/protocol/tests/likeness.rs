// SPDX-License-Identifier: Apache-2.0
//! A decoder learns from the headers of its connection what it need not read again. Whatever came before on a connection,
//! a frame is the one that a decoder reads which never saw another.

use bytes::{BufMut, BytesMut};
use protocol::Frame;
use protocol::frame::Decoder;
use protocol::request::{DecodeError, Header};
use protocol::send::{SendBatchMessage, SendMessage, SendMessageV2};

/// A send as the Java client writes it.
fn send(queue: &str, born: &str, properties: &str, opaque: &str) -> String {
    format!(
        concat!(
            r#"{{"code":310,"extFields":{{"a":"group","b":"topic","c":"TBW102","d":"4","e":"{}","f":"0","g":"{}","h":"0","#,
            r#""i":"{}","j":"0","k":"false","m":"false","n":"broker"}},"flag":0,"language":"JAVA","opaque":{},"#,
            r#""serializeTypeCurrentRPC":"JSON","version":509}}"#
        ),
        queue, born, properties, opaque
    )
}

fn framed(header: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32(header.len() as u32 + 4 + 4);
    bytes.put_u32(header.len() as u32);
    bytes.put_slice(header);
    bytes.put_slice(b"body");
    bytes
}

fn read(decoder: &mut Decoder, header: &[u8]) -> Result<Frame, DecodeError> {
    decoder.next(&mut framed(header)).map(|frame| frame.expect("it is whole"))
}

/// Everything that a frame says, and what the typed headers of sends read from it.
fn shown(frame: &Result<Frame, DecodeError>) -> String {
    let Ok(frame) = frame else { return format!("{frame:?}") };
    let (short, long) = (frame.decode::<SendMessageV2>(), frame.decode::<SendMessage>());
    format!("{frame:?}\n{short:?}\n{long:?}\n{:?}", frame.decode::<SendBatchMessage>())
}

/// Reads headers as one connection sends them; returns how many were read by what was learned, and of how many
/// the typed header too.
fn check(headers: &[impl AsRef<[u8]>]) -> (usize, usize) {
    let mut decoder = Decoder::default();
    let mut model: Option<(u32, SendMessageV2)> = None;
    let (mut learned, mut renewals) = (0, 0);
    for header in headers {
        let header = header.as_ref();
        let text = String::from_utf8_lossy(header);
        let (found, expected) = (read(&mut decoder, header), read(&mut Decoder::default(), header));
        assert_eq!(shown(&found), shown(&expected), "{text}");
        let Ok(frame) = found else { continue };
        let Some(number) = frame.fields.likeness() else { continue };
        learned += 1;
        let full = SendMessageV2::decode(&frame.fields);
        if let Some((of, model)) = &model
            && *of == number
        {
            if let Some(renewed) = model.renewed(&frame.fields) {
                assert_eq!(Ok(renewed), full, "{text}");
                renewals += 1;
            }
        } else if let Ok(header) = full {
            model = Some((number, header));
        }
    }
    (learned, renewals)
}

#[test]
fn sends_that_follow_one_another_are_read_once() {
    // the queue varies from one to the next, then the time: what varied once may do so again
    let properties = |n: usize| format!(r"UNIQ_KEY\u0001AC1E{:04}\u0002TAGS\u0001a\u0002", n / 2);
    let header =
        |n: usize| send(&(n / 2).to_string(), &n.div_ceil(2).to_string(), &properties(n), &n.to_string());
    let headers: Vec<String> = (0..20).map(header).collect();
    // one is read before anything is learned, and one each until all that varies has varied
    assert_eq!(check(&headers), (20 - 4, 20 - 5));
}

#[test]
fn values_may_be_anything() {
    let values = [
        "",
        "1",
        "-1",
        "007",
        "12345678901234567890",
        "x",
        r"\u0001",
        r"\\",
        r#"\""#,
        r#"\\\""#,
        r"\x",
        r"\ud83d\ude00",
        "\u{fc}",
        "\u{1}",
        "1\u{1}2",
        "{",
        r#"},"flag":1"#,
        r#"","a":"odd"#,
        r#"\"},\"opaque\":7"#,
        "a b",
        "null",
    ];
    let mut headers: Vec<String> =
        (0..6).map(|n| send(&n.to_string(), &n.to_string(), &n.to_string(), &n.to_string())).collect();
    for value in values {
        headers.push(send(value, "1", "p", "1"));
        headers.push(send("1", value, "p", "1"));
        headers.push(send("1", "1", value, "1"));
        headers.push(send("1", "1", "p", value));
        headers.push(send(value, value, value, "5"));
    }
    let (learned, renewed) = check(&headers);
    assert!(learned > 70 && renewed > 20, "{learned} {renewed}");
}

#[test]
fn another_header_is_read_in_full() {
    let usual = |n: usize| send(&n.to_string(), "1", "p", &n.to_string());
    let other = [
        usual(3).replace("\"flag\":0", "\"flag\":2"),
        usual(3).replace("\"topic\"", "\"other\""),
        usual(3).replace("\"n\":\"broker\"", "\"n\":\"broker\",\"z\":\"odd\""),
        usual(3).replace("\"n\":\"broker\"", "\"n\":\"broker\",\"e\":\"7\""),
        usual(3).replace("\"code\":310", "\"code\":10"),
        usual(3).replace("\"version\":509}", "\"version\":509,\"opaque\":9}"),
        usual(3).replace("\"version\":509}", "\"version\":509,\"remark\":\"odd\"}"),
        usual(3).replace("\"version\":509}", "\"version\":509} "),
        usual(3).replace("\"version\":509}", "\"version\":5099}"),
        usual(3).replace("{\"code\"", "{ \"code\""),
        usual(3)[..100].to_owned(),
        "{}".to_owned(),
    ];
    for other in other {
        let mut headers: Vec<String> = (0..5).map(usual).collect();
        headers.push(other.clone());
        headers.extend((0..3).map(usual));
        // and as the one that is learned from
        headers.extend((0..8).map(|n| other.replace("\"e\":\"3\"", &format!("\"e\":\"{n}\""))));
        assert!(check(&headers).0 >= 2, "{other}");
    }
}

#[test]
fn what_varies_too_much_is_left_alone() {
    let header = |n: usize| {
        let fields: Vec<String> =
            (0..12).map(|field| format!("\"f{field}\":\"{}\"", n * (field + 1))).collect();
        format!(r#"{{"code":310,"extFields":{{{}}},"opaque":{n}}}"#, fields.join(","))
    };
    assert_eq!(check(&(0..40).map(header).collect::<Vec<_>>()), (0, 0));
    // two kinds of request in turn
    let turns: Vec<String> = (0..40)
        .map(|n: usize| match n % 2 {
            0 => send("0", "1", "p", &n.to_string()),
            _ => format!(r#"{{"code":11,"extFields":{{"topic":"t"}},"opaque":{n}}}"#),
        })
        .collect();
    assert_eq!(check(&turns), (0, 0));
}

/// Headers damaged at random, each between whole ones.
#[test]
fn a_damaged_header_is_judged_as_if_it_came_first() {
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let bytes = b"\"\\{},:0123456789abcdefghijklmnu \x01\x80\xffopaque";
    let (mut learned, mut renewed) = (0, 0);
    for round in 0..1_000 {
        let whole = |n: usize| {
            send(&(n % 5).to_string(), &n.to_string(), &format!(r"K\u0001{n}\u0002"), &n.to_string())
        };
        let mut headers: Vec<Vec<u8>> = (round..round + 4).map(|n| whole(n).into_bytes()).collect();
        for n in 0..4 {
            let mut damaged = whole(n).into_bytes();
            for _ in 0..=random(3) {
                let at = random(damaged.len());
                match random(4) {
                    0 => drop(damaged.remove(at)),
                    1 => damaged.insert(at, bytes[random(bytes.len())]),
                    2 => {
                        let part = damaged[at..(at + random(20)).min(damaged.len())].to_vec();
                        damaged.splice(at..at, part);
                    }
                    _ => damaged[at] = bytes[random(bytes.len())],
                }
            }
            headers.extend([damaged, whole(round + n).into_bytes()]);
        }
        let (one, other) = check(&headers);
        (learned, renewed) = (learned + one, renewed + other);
    }
    assert!(learned > 3_000 && renewed > 2_000, "{learned} {renewed}");
}
