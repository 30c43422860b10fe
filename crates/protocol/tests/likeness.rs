// SPDX-License-Identifier: Apache-2.0
//! A decoder learns from the headers of its connection what it need not read again. Whatever came before on a connection,
//! a frame is the one that a decoder reads which never saw another.

use bytes::{BufMut, BytesMut};
use protocol::Frame;
use protocol::frame::Decoder;
use protocol::request::{DecodeError, Request};
use protocol::send::{SendBatchMessage, SendMessage, SendMessageV2};
use protocol::transaction::EndTransaction;

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

/// The same with the long names, in the order of Java's map.
fn long_send(queue: &str, born: &str, properties: &str, opaque: &str) -> String {
    format!(
        concat!(
            r#"{{"code":10,"extFields":{{"queueId":"{}","bornTimestamp":"{}","batch":"false","reconsumeTimes":"0","#,
            r#""producerGroup":"group","defaultTopic":"TBW102","topic":"topic","flag":"0","sysFlag":"0","#,
            r#""defaultTopicQueueNums":"4","properties":"{}"}},"flag":0,"language":"GO","opaque":{},"#,
            r#""serializeTypeCurrentRPC":"JSON","version":317}}"#
        ),
        queue, born, properties, opaque
    )
}

/// A decision about a transaction.
fn end(queue_offset: &str, log_offset: &str, id: &str, opaque: &str) -> String {
    format!(
        concat!(
            r#"{{"code":37,"extFields":{{"topic":"topic","msgId":"{}","producerGroup":"group","#,
            r#""tranStateTableOffset":"{}","commitLogOffset":"{}","commitOrRollback":"8","transactionId":"{}","#,
            r#""fromTransactionCheck":"false","bname":"b"}},"flag":2,"language":"JAVA","opaque":{},"#,
            r#""serializeTypeCurrentRPC":"JSON","version":509}}"#
        ),
        id, queue_offset, log_offset, id, opaque
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

/// Everything that a frame says, and what the typed headers of sends and decisions read from it.
fn shown(frame: &Result<Frame, DecodeError>) -> String {
    let Ok(frame) = frame else { return format!("{frame:?}") };
    let (short, long) = (frame.decode::<SendMessageV2>(), frame.decode::<SendMessage>());
    let (batch, end) = (frame.decode::<SendBatchMessage>(), frame.decode::<EndTransaction>());
    format!("{frame:?}\n{short:?}\n{long:?}\n{batch:?}\n{end:?}")
}

/// The typed headers that were read last, each with the number of what it is like, as they are kept for each code.
struct Kept<R>(Option<(u32, R)>);

impl<R: Request + Clone + PartialEq + std::fmt::Debug> Kept<R> {
    /// Reads the typed header, anew or from the one that is kept. True when that was possible.
    fn read(&mut self, frame: &Frame, number: u32) -> bool {
        let full = R::decode(&frame.fields);
        if let Some((of, model)) = &self.0
            && *of == number
        {
            let renewed = model.renewed(&frame.fields);
            renewed.iter().for_each(|renewed| assert_eq!(Ok(renewed), full.as_ref(), "{frame:?}"));
            return renewed.is_some();
        }
        if let Ok(header) = full {
            self.0 = Some((number, header));
        }
        false
    }
}

/// Reads headers as one connection sends them; returns how many were read by what was learned, and of how many
/// the typed header too.
fn check(headers: &[impl AsRef<[u8]>]) -> (usize, usize) {
    let mut decoder = Decoder::default();
    let (mut short, mut long, mut end) =
        (Kept::<SendMessageV2>(None), Kept::<SendMessage>(None), Kept::<EndTransaction>(None));
    let (mut learned, mut renewals) = (0, 0);
    for header in headers {
        let header = header.as_ref();
        let text = String::from_utf8_lossy(header);
        let (found, expected) = (read(&mut decoder, header), read(&mut Decoder::default(), header));
        assert_eq!(shown(&found), shown(&expected), "{text}");
        let Ok(frame) = found else { continue };
        let Some(number) = frame.fields.likeness() else { continue };
        learned += 1;
        renewals += usize::from(match frame.code {
            10 => long.read(&frame, number),
            37 => end.read(&frame, number),
            _ => short.read(&frame, number),
        });
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
    // more kinds of request in turn than are known at a time
    let turns: Vec<String> = (0..40)
        .map(|n: usize| format!(r#"{{"code":{},"extFields":{{"topic":"t{n}"}},"opaque":{n}}}"#, n % 7))
        .collect();
    assert_eq!(check(&turns), (0, 0));
}

#[test]
fn kinds_that_come_in_turns_are_known_side_by_side() {
    let texts = |n: usize| (n.to_string(), (n * 7).to_string(), format!("AC1E{n:04}"));
    let header = |kind: usize, n: usize| {
        let (small, large, id) = texts(n);
        match kind {
            0 => send(&small, &large, &id, &small),
            1 => end(&small, &large, &id, &small),
            _ => long_send(&small, &large, &id, &small),
        }
    };
    // one by one, and in runs
    for run in [1, 2, 30] {
        for kinds in [2, 3] {
            let headers: Vec<String> = (0..600).map(|n| header(n / run % kinds, n)).collect();
            let (learned, renewed) = check(&headers);
            // of each kind three are read in full: the first, the one that is kept, and the one that differs from it
            assert_eq!(
                (learned, renewed),
                (600 - 3 * kinds, 600 - 4 * kinds),
                "{kinds} kinds in runs of {run}"
            );
        }
    }
    // a stray one of a known code does no harm
    let stray = |n: usize| end("1", "2", "3", "4").replace("\"bname\"", &format!("\"odd{n}\""));
    let headers: Vec<String> =
        (0..600).map(|n| if n % 50 == 49 { stray(n) } else { header(n / 10 % 2, n) }).collect();
    assert_eq!(check(&headers).0, 600 - 3 * 2 - 12);
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
