// SPDX-License-Identifier: Apache-2.0
//! Requests and answers, both ways, on one connection.

use super::support::*;
use bytes::Bytes;
use protocol::Serialization;
use protocol::frame::RESPONSE;
use remoting::{CallError, ClientConfig};
use std::time::Duration;

#[tokio::test]
async fn pipelined_frames_are_answered_in_order() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    let frames: Vec<u8> =
        (0..3000).flat_map(|n| encode(n, false, &Echo(n as u32), &vec![n as u8; n as usize % 700])).collect();
    // In odd pieces, so that frames are cut anywhere.
    let (mut reader, input) = (0, frames.chunks(7001));
    for piece in input {
        raw.send(piece).await;
    }
    while reader < 3000 {
        let frame = raw.next().await.expect("an answer");
        assert_eq!((frame.opaque, frame.code, frame.is_response()), (reader, 0, true));
        assert_eq!(frame.decode::<Number>().expect("a header"), Number(reader as u32));
        assert_eq!(frame.body, vec![reader as u8; reader as usize % 700]);
        reader += 1;
    }
}

#[tokio::test]
async fn what_waits_is_overtaken_and_answered_when_ready() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    let all =
        [encode(1, false, &Wait(1), b""), encode(2, false, &Poll(0), b""), encode(3, false, &Echo(3), b"")]
            .concat();
    raw.send(&all).await;
    assert_eq!(raw.next().await.expect("the echo").opaque, 3);
    site.hall.waiting.reaches(2).await;
    site.hall.open.advance(1);
    assert_eq!(raw.next().await.expect("the poll").opaque, 2);
    site.hall.open.advance(2);
    assert_eq!(raw.next().await.expect("the wait").opaque, 1);
}

#[tokio::test]
async fn requests_of_one_read_are_worked_on_together_and_before_what_follows() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    let mut bad = encode(4, false, &Gather(4), b"");
    let name = bad.windows(6).position(|part| part == b"number").expect("its field");
    bad[name] = b'x';
    let all = [
        encode(0, false, &Gather(0), b""),
        encode(1, false, &Gather(1), b""),
        encode(2, false, &Gather(2), b""),
        bad,
        encode(6, false, &Gather(6), b""),
        encode(7, false, &Echo(7), b""),
        encode(8, true, &Gather(8), b""),
        encode(10, false, &Gather(10), b""),
    ]
    .concat();
    raw.send(&all).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        let frame = raw.next().await.expect("an answer");
        seen.push((frame.opaque, frame.code, String::from_utf8_lossy(&frame.body).into_owned()));
    }
    let row = |opaque, code, body: &str| (opaque, code, body.to_owned());
    let together = [0, 2, 6].map(|opaque| row(opaque, 0, "0 1 2 6"));
    // One read takes all of these few bytes; only a refused header is answered before its turn.
    assert_eq!(seen[0], row(4, 1, ""));
    assert_eq!(seen[1..4], together);
    assert_eq!(seen[4..], [row(7, 0, ""), row(10, 0, "8 10")]);
    site.hall.open.advance(2);
    assert_eq!(raw.next().await.expect("what had to wait").opaque, 1);
    // More than one turn takes, each in its place.
    let many: Vec<u8> = (0..500).flat_map(|n| encode(2 * n, false, &Gather(2 * n as u32), b"")).collect();
    raw.send(&many).await;
    for n in 0..500 {
        assert_eq!(raw.next().await.expect("an answer").opaque, 2 * n);
    }
}

#[tokio::test]
async fn requests_of_two_classes_do_not_part_each_other() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    let turn = |from: i32| -> Vec<u8> {
        let both = |n: i32| {
            let one_way = n == from + 4;
            [encode(n, false, &Gather(n as u32), b""), encode(n + 1, one_way, &Aside(n as u32 + 1), b"")]
                .concat()
        };
        (0..4).flat_map(|n| both(from + 2 * n)).collect()
    };
    // Twice: what gathers stays. What is worked on alone comes behind all of them.
    for from in [0, 100] {
        raw.send(&[turn(from), encode(from + 9, false, &Echo(9), b"")].concat()).await;
        let mut seen = Vec::new();
        for _ in 0..8 {
            let frame = raw.next().await.expect("an answer");
            seen.push((frame.opaque - from, String::from_utf8_lossy(&frame.body).into_owned()));
        }
        let gathered = [0, 2, 4, 6].map(|n| (from + n).to_string()).join(" ");
        let aside = [1, 3, 5, 7].map(|n| format!("{}{}", from + n, if n == 5 { "!" } else { "" })).join(" ");
        let row = |opaque: i32, body: &str| (opaque, body.to_owned());
        assert_eq!(seen[..4], [0, 2, 4, 6].map(|n| row(n, &gathered)));
        assert_eq!(seen[4..7], [1, 3, 7].map(|n| row(n, &aside)));
        assert_eq!(seen[7].0, 9);
    }
}

#[tokio::test]
async fn what_waits_is_dropped_with_its_connection() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    raw.send(&[encode(1, false, &Poll(1), b""), encode(2, false, &Wait(1), b"")].concat()).await;
    site.hall.waiting.reaches(2).await;
    assert_eq!(site.hall.left.get(), 0);
    drop(raw);
    site.hall.left.reaches(2).await;
    site.hall.closed.reaches(1).await;
    let usage = site.server.usage();
    assert_eq!((usage.waiting, usage.waiting_bytes), (0, 0));
}

#[tokio::test]
async fn one_way_requests_are_done_and_not_answered() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    let one_way = [
        encode(1, true, &Echo(1), b""),
        encode(2, true, &Refuse(2), b""),
        encode(3, true, &Unknown(3), b""),
        encode(4, true, &Wait(0), b""),
    ];
    raw.send(&one_way.concat()).await;
    site.hall.echoed.reaches(1).await;
    site.hall.open.advance(1);
    site.hall.left.reaches(1).await;
    raw.send(&encode(5, false, &Echo(5), b"")).await;
    assert_eq!(raw.next().await.expect("the only answer").opaque, 5);
}

#[tokio::test]
async fn refusals_say_why() {
    let site = Site::open(config());
    let connection = site.dial().await;
    let refused = within(connection.call(&Refuse(17), (), PATIENCE)).await.expect("an answer");
    assert_eq!(
        (refused.code().0, refused.remark().map(|text| text.to_string())),
        (17, Some("because it was asked to".into()))
    );
    let error = refused.ok().expect_err("a refusal");
    assert_eq!(error.refusal().map(|code| code.0), Some(17));

    let unknown = within(connection.call(&Unknown(1), (), PATIENCE)).await.expect("an answer");
    assert_eq!(unknown.code().0, 3);
    assert!(unknown.remark().is_some_and(|text| text.contains("1999")), "{:?}", unknown.remark());
}

#[tokio::test]
async fn a_header_that_cannot_be_read_is_refused_by_the_name_of_its_field() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    let header =
        br#"{"code":1001,"language":"JAVA","version":1,"opaque":9,"flag":0,"extFields":{"number":"x"}}"#;
    let mut frame = (header.len() as u32 + 4).to_be_bytes().to_vec();
    frame.extend((header.len() as u32).to_be_bytes());
    frame.extend(header);
    raw.send(&frame).await;
    let answer = raw.next().await.expect("an answer");
    assert_eq!((answer.opaque, answer.code), (9, 1));
    assert!(answer.remark.as_ref().is_some_and(|text| text.contains("number")), "{:?}", answer.remark);
    raw.send(&encode(10, false, &Echo(1), b"")).await;
    assert_eq!(raw.next().await.expect("the connection goes on").opaque, 10);
}

#[tokio::test]
async fn the_server_calls_its_client_back() {
    let site = Site::open(config());
    let connection = site.dial().await;
    let calls = (0..100).map(|n| connection.call(&AskBack(n), vec![n as u8; 5000], PATIENCE));
    for (n, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        let (header, body) = within(call).await.expect("an answer").ok().expect("success");
        assert_eq!((header, body), (Number(n as u32 + 1), Bytes::from(vec![n as u8; 5000])));
    }
}

#[tokio::test]
async fn the_server_tells_its_client_without_an_answer() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    raw.send(&encode(1, false, &NotifyBack(5), b"")).await;
    let (told, answer) = (raw.next().await.expect("the notice"), raw.next().await.expect("the answer"));
    assert_eq!((told.code, told.is_one_way(), told.is_response()), (1001, true, false));
    assert_eq!((answer.opaque, answer.is_response()), (1, true));
}

#[tokio::test]
async fn large_bodies_arrive_whole_in_both_directions() {
    let site = Site::open(config());
    let connection = site.dial().await;
    let body: Bytes = (0..6_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    let echo = connection.call(&Echo(1), body.clone(), PATIENCE);
    let fills: Vec<_> = (0..8).map(|_| connection.call(&Fill(3_000_001), (), PATIENCE)).collect();
    assert_eq!(within(echo).await.expect("an answer").body(), &body);
    for fill in fills {
        let filled = within(fill).await.expect("an answer");
        assert_eq!(filled.body().len(), 3_000_001);
        assert!(filled.body().iter().enumerate().all(|(n, byte)| *byte == n as u8));
    }
}

#[test]
fn many_callers_on_many_threads_share_one_connection() {
    let site = Site::open(config());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (client, address) = (site.client(), site.address());
        let callers: Vec<_> = (0..200_u32)
            .map(|n| {
                let (client, address) = (client.clone(), address.clone());
                tokio::spawn(async move {
                    for round in 0..20 {
                        let number = n * 100 + round;
                        let answer =
                            client.call(&address, &Echo(number), (), PATIENCE).await.expect("an answer");
                        assert_eq!(answer.header().expect("a header"), Number(number));
                    }
                })
            })
            .collect();
        for caller in callers {
            within(caller).await.expect("a caller without panic");
        }
        assert_eq!(site.server.usage().connections, 1);
    });
}

#[tokio::test]
async fn shutdown_finishes_what_is_under_way_and_drops_long_polls() {
    let site = Site::open(config());
    let address = site.address();
    let connection = site.dial().await;
    let wait = connection.call(&Wait(0), (), PATIENCE);
    let poll = connection.call(&Poll(9), (), PATIENCE);
    site.hall.waiting.reaches(2).await;
    let Site { hall, server, .. } = site;
    let closing = tokio::task::spawn_blocking(move || server.shutdown(PATIENCE));
    // Closed to newcomers first.
    within(async { while tokio::net::TcpStream::connect(&address).await.is_ok() {} }).await;
    hall.open.advance(1);
    assert_eq!(within(wait).await.expect("the answer").code().0, 0);
    assert!(matches!(within(poll).await, Err(CallError::Closed { .. })));
    within(closing).await.expect("it ends");
    hall.closed.reaches(1).await;
    assert_eq!(hall.left.get(), 2);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let site = Site::open(config());
    let connection = site.dial().await;
    let wait = connection.call(&Wait(0), (), PATIENCE);
    site.hall.waiting.reaches(1).await;
    let Site { hall, server, .. } = site;
    let closing = tokio::task::spawn_blocking(move || server.shutdown(Duration::from_millis(50)));
    assert!(within(wait).await.is_err());
    within(closing).await.expect("it ends");
    assert_eq!(hall.left.get(), 1);
}

#[tokio::test]
async fn an_answer_too_large_for_any_frame_becomes_a_refusal() {
    let site = Site::open(config());
    let connection = site.dial().await;
    let answer = within(connection.call(&Fill(17 << 20), (), PATIENCE)).await.expect("an answer");
    assert_eq!(answer.code().0, 1);
    site.is_well().await;
}

#[tokio::test]
async fn two_ends_that_both_send_much_do_not_wait_for_each_other() {
    let site = Site::open(config());
    let client = site.client_with(ClientConfig { unsent: 32 << 20, ..ClientConfig::default() });
    let connection = client.dial(&site.address()).await.expect("a connection");
    // More than either end holds and the kernel in between, in both directions at once; the last is over the limit.
    let sizes = [1 << 20; 31].into_iter().chain([15 << 20]);
    let call = |size: usize| connection.call(&Echo(size as u32), vec![7; size], PATIENCE);
    let calls: Vec<_> = sizes.map(|size| (size, call(size))).collect();
    for (size, call) in calls {
        assert_eq!(within(call).await.expect("an answer").body().len(), size);
    }
}

#[tokio::test]
async fn shutdown_refuses_newcomers_and_still_hears_answers() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    raw.send(&encode(1, false, &AskBack(5), b"")).await;
    let asked = raw.next().await.expect("the question back");
    assert_eq!((asked.code, asked.is_response()), (1001, false));
    let Site { server, .. } = site;
    let closing = tokio::task::spawn_blocking(move || server.shutdown(PATIENCE));
    let mut opaque = 1;
    let refused = async {
        loop {
            opaque += 1;
            raw.send(&encode(opaque, false, &Echo(1), b"")).await;
            let answer = raw.next().await.expect("an answer");
            if answer.code != 0 {
                return answer.code;
            }
        }
    };
    assert_eq!(within(refused).await, 14);
    raw.send(&encode_as(RESPONSE, asked.opaque, &Success(6), b"late")).await;
    let answer = raw.next().await.expect("the answer");
    assert_eq!((answer.opaque, answer.code, &answer.body[..]), (1, 0, &b"late"[..]));
    assert!(raw.next().await.is_none());
    within(closing).await.expect("it ends");
}

#[tokio::test]
async fn binary_headers_are_answered_in_kind() {
    let site = Site::open(config());
    let config = ClientConfig { serialization: Serialization::RocketMq, ..ClientConfig::default() };
    let connection = site.client_with(config).dial(&site.address()).await.expect("a connection");
    let answer = within(connection.call(&Echo(8), vec![1; 3000], PATIENCE)).await.expect("an answer");
    assert_eq!(answer.frame().serialization, Serialization::RocketMq);
    assert_eq!((answer.header().expect("a header"), answer.body().len()), (Number(8), 3000));
    let large = connection.call(&Large(1), (), PATIENCE).await.err().expect("16 bits for a code");
    assert!(matches!(large, CallError::Encode { code: 200_050, .. }) && large.is_unsent());
}
