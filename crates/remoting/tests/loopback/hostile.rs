// SPDX-License-Identifier: Apache-2.0
//! Peers that do not play along: half-open, random, oversized, of another protocol, and very many of them.

use super::support::*;
use protocol::frame::RESPONSE;
use remoting::ServerConfig;
use stdx::Rng;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn two_thousand_half_open_connections_harm_nobody() {
    let site = Site::open(config());
    let frame = encode(1, false, &Echo(1), &[0; 3000]);
    let mut open = Vec::new();
    for n in 0..2000 {
        let mut raw = site.raw().await;
        // Some silent, some in the middle of the length, of the header, of the body, some with a huge length.
        let part: &[u8] = match n % 5 {
            0 => b"",
            1 => &frame[..3],
            2 => &frame[..40],
            3 => &frame[..2000],
            _ => &[0, 0xFF, 0xFF, 0, 0, 0, 0, 50, b'{'],
        };
        raw.send(part).await;
        open.push(raw);
        if n % 400 == 0 {
            site.is_well().await;
        }
    }
    within(async {
        while site.server.usage().connections < 2000 {
            tokio::task::yield_now().await
        }
    })
    .await;
    site.is_well().await;
    // None of them was given up: each may still go on.
    let rest = open.iter_mut().enumerate().find(|(n, _)| n % 5 == 3).expect("a half frame").1;
    rest.send(&frame[2000..]).await;
    assert_eq!(rest.next().await.expect("an answer").opaque, 1);
}

#[tokio::test]
async fn random_bytes_close_their_connection_and_nothing_else() {
    let site = Site::open(config());
    let mut rng = Rng::new(20261121);
    let good = encode(1, false, &Echo(1), &[0; 300]);
    for round in 0..400 {
        let mut raw = site.raw().await;
        let mut bytes = match round % 3 {
            0 => (0..rng.below(3000)).map(|_| rng.next() as u8).collect(),
            // A length that is believed, then noise.
            1 => {
                let noise: Vec<u8> = (0..rng.below(200)).map(|_| rng.next() as u8).collect();
                [&(noise.len() as u32).to_be_bytes()[..], &noise].concat()
            }
            // A frame with some of its bytes changed.
            _ => good.clone(),
        };
        if round % 3 == 2 {
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next() as u8;
            }
        }
        // The server may close while we still write.
        let _ = raw.stream.write_all(&bytes).await;
        let _ = raw.stream.shutdown().await;
        let mut answers = 0;
        while let Some(frame) = raw.next().await {
            assert!(frame.is_response());
            answers += 1;
        }
        assert!(answers <= 1 + bytes.len() / 12);
    }
    site.hall.closed.reaches(400).await;
    site.is_well().await;
}

#[tokio::test]
async fn frames_above_the_limit_close_the_connection() {
    let site = Site::open(ServerConfig { max_frame: 10_000, ..config() });
    let mut raw = site.raw().await;
    raw.send(&encode(1, false, &Echo(1), &[0; 9000])).await;
    assert_eq!(raw.next().await.expect("one that fits").body.len(), 9000);
    raw.send(&10_000_u32.to_be_bytes()).await;
    assert!(raw.next().await.is_none());
    site.is_well().await;
}

#[tokio::test]
async fn what_was_asked_before_the_garbage_is_answered() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    raw.send(&[encode(1, false, &Echo(1), b""), vec![0xFF; 64]].concat()).await;
    assert_eq!(raw.next().await.expect("the answer").opaque, 1);
    assert!(raw.next().await.is_none());
}

#[tokio::test]
async fn tls_and_http_are_turned_away() {
    let site = Site::open(config());
    for hello in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
    {
        let mut raw = site.raw().await;
        raw.send(hello).await;
        assert!(raw.next().await.is_none());
    }
    site.is_well().await;
}

#[tokio::test]
async fn answers_nobody_asked_for_are_dropped() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    for opaque in [0, 1, 77, -1, i32::MIN, i32::MAX] {
        let frame = encode_as(RESPONSE, opaque, &Echo(1), b"");
        raw.send(&frame).await;
    }
    raw.send(&encode(2, false, &Echo(2), b"")).await;
    assert_eq!(raw.next().await.expect("the connection goes on").opaque, 2);
    assert_eq!(site.hall.echoed.get(), 1);
}
