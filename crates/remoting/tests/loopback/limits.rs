// SPDX-License-Identifier: Apache-2.0
//! Budgets and deadlines of the server.

use super::support::*;
use remoting::ServerConfig;
use std::time::Duration;

#[tokio::test]
async fn a_connection_over_its_own_share_is_told_to_slow_down() {
    let site = Site::open(ServerConfig { bytes_per_connection: 10_000, ..config() });
    let mut raw = site.raw().await;
    let frames: Vec<u8> = (1..=4).flat_map(|n| encode(n, false, &Wait(0), &[0; 4000])).collect();
    raw.send(&frames).await;
    for opaque in [3, 4] {
        let busy = raw.next().await.expect("an answer");
        assert_eq!((busy.opaque, busy.code), (opaque, 215));
        assert!(busy.remark.is_some_and(|text| text.starts_with("[REJECTREQUEST]")));
    }
    assert!((8000..9000).contains(&site.server.usage().waiting_bytes));
    // What does not wait, and long polls, still enter; others are not concerned.
    raw.send(&[encode(5, false, &Poll(0), &[0; 1000]), encode(6, false, &Echo(6), &[0; 1000])].concat())
        .await;
    assert_eq!(raw.next().await.expect("an answer").opaque, 6);
    site.is_well().await;
    site.hall.open.advance(1);
    let mut ended: Vec<i32> = Vec::new();
    for _ in 0..3 {
        ended.push(raw.next().await.expect("an answer").opaque);
    }
    ended.sort_unstable();
    assert_eq!(ended, [1, 2, 5]);
    raw.send(&encode(7, false, &Wait(0), &[0; 9000])).await;
    assert_eq!(raw.next().await.expect("room again").code, 0);
}

#[tokio::test]
async fn a_full_server_sheds_data_first_and_says_so() {
    let site = Site::open(ServerConfig { bytes_total: 10_000, ..config() });
    let (mut one, mut other) = (site.raw().await, site.raw().await);
    one.send(&encode(1, false, &Wait(0), &[0; 7800])).await;
    site.holds(1).await;
    other.send(&encode(2, false, &Wait(0), &[0; 200])).await;
    let busy = other.next().await.expect("an answer");
    assert_eq!((busy.opaque, busy.code), (2, 2));
    assert!(busy.remark.is_some_and(|text| text.starts_with("[REJECTREQUEST]")));
    // What keeps clients alive still enters.
    other.send(&encode(3, false, &Echo(3), &[0; 200])).await;
    assert_eq!(other.next().await.expect("an answer").code, 0);
    drop(one);
    site.hall.left.reaches(1).await;
    site.hall.closed.reaches(1).await;
    site.hall.open.advance(1);
    other.send(&encode(4, false, &Wait(0), &[0; 200])).await;
    assert_eq!(other.next().await.expect("an answer").code, 0);
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_given_up() {
    let site = Site::open(ServerConfig { request_deadline: Duration::from_millis(50), ..config() });
    let mut raw = site.raw().await;
    raw.send(&[encode(1, false, &Poll(0), b""), encode(2, false, &Wait(0), b"x")].concat()).await;
    let given_up = raw.next().await.expect("an answer");
    assert_eq!((given_up.opaque, given_up.code), (2, 2));
    assert!(given_up.remark.is_some_and(|text| text.starts_with("[TIMEOUT_CLEAN_QUEUE]")));
    site.hall.left.reaches(1).await;
    assert_eq!(site.server.usage().waiting, 1);
    site.hall.open.advance(1);
    assert_eq!(raw.next().await.expect("the long poll").opaque, 1);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_neither_served_on_nor_kept() {
    let config = ServerConfig { write_deadline: Duration::from_millis(300), ..config() };
    let unsent = config.unsent_per_connection as u64;
    let site = Site::open(config);
    let mut raw = site.raw().await;
    let frames: Vec<u8> = (0..2000).flat_map(|n| encode(n, false, &Fill(1 << 20), b"")).collect();
    raw.send(&frames).await;
    site.hall.closed.reaches(1).await;
    // The kernel's own buffers take some before the peer's slowness is seen.
    let kernel = 16 << 20;
    assert!(site.hall.filled.get() <= (unsent + kernel) / (1 << 20) + 2, "{}", site.hall.filled.get());
    site.is_well().await;
}

#[tokio::test]
async fn a_slow_but_steady_reader_is_kept() {
    let site = Site::open(ServerConfig { write_deadline: Duration::from_secs(2), ..config() });
    let mut raw = site.raw().await;
    let size = 8 << 20;
    let frames: Vec<u8> = (0..6).flat_map(|n| encode(n, false, &Fill(size), b"")).collect();
    raw.send(&frames).await;
    for opaque in 0..6 {
        let frame = raw.next().await.expect("an answer");
        assert_eq!((frame.opaque, frame.body.len()), (opaque, size as usize));
    }
}

#[tokio::test]
async fn long_polls_that_end_together_are_answered_without_a_pause() {
    let site = Site::open(config());
    let mut raw = site.raw().await;
    let size = 300 << 10;
    for opaque in 0..12 {
        raw.send(&encode(opaque, false, &Poll(0), &vec![0; size])).await;
    }
    site.holds(12).await;
    site.hall.open.advance(1);
    // More than may be unsent at a time, so the task stops in the middle; it must not sleep over the rest.
    let answers = async {
        for _ in 0..12 {
            assert_eq!(raw.next().await.expect("an answer").body.len(), size);
        }
    };
    tokio::time::timeout(Duration::from_secs(4), answers).await.expect("no pause");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_waiting_one_is_not() {
    let site = Site::open(ServerConfig { idle: Duration::from_millis(500), ..config() });
    let (mut idle, mut waiting) = (site.raw().await, site.raw().await);
    waiting.send(&encode(1, false, &Poll(0), b"")).await;
    assert!(idle.next().await.is_none());
    site.hall.closed.reaches(1).await;
    site.hall.open.advance(1);
    assert_eq!(waiting.next().await.expect("the long poll").opaque, 1);
}

#[tokio::test]
async fn bytes_without_a_frame_do_not_keep_a_connection() {
    let site = Site::open(ServerConfig { idle: Duration::from_millis(200), ..config() });
    let mut raw = site.raw().await;
    let frame = encode(1, false, &Echo(1), &[0; 5000]);
    let dribble = async {
        use tokio::io::AsyncWriteExt;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for byte in frame.chunks(1) {
            ticks.tick().await;
            if raw.stream.write_all(byte).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = dribble => {}
        () = site.hall.closed.reaches(1) => {}
    }
    assert_eq!((site.hall.closed.get(), site.hall.echoed.get()), (1, 0));
}

#[tokio::test]
async fn connections_go_where_the_fewest_are() {
    let site = Site::open(config());
    let (mut kept, mut at) = (Vec::new(), std::collections::BTreeMap::new());
    for turn in 1..=4 {
        // Somebody asks one thing and goes, as clients do that look for a route.
        let mut asks = site.raw().await;
        asks.send(&encode(1, false, &Echo(1), b"")).await;
        assert!(asks.next().await.is_some());
        drop(asks);
        site.hall.closed.reaches(turn).await;
        let mut stays = site.raw().await;
        stays.send(&encode(1, false, &Where(1), b"")).await;
        let answer = stays.next().await.expect("an answer");
        *at.entry(answer.body).or_insert(0) += 1;
        kept.push(stays);
    }
    assert_eq!(at.into_values().collect::<Vec<_>>(), [2, 2]);
}

#[tokio::test]
async fn connections_are_limited() {
    let site = Site::open(ServerConfig { max_connections: 2, ..config() });
    let (mut one, mut two) = (site.raw().await, site.raw().await);
    for raw in [&mut one, &mut two] {
        raw.send(&encode(1, false, &Echo(1), b"")).await;
        assert!(raw.next().await.is_some());
    }
    assert!(site.raw().await.next().await.is_none());
    drop(one);
    site.hall.closed.reaches(1).await;
    within(async {
        while site.server.usage().connections > 1 {
            tokio::task::yield_now().await
        }
    })
    .await;
    site.is_well().await;
}
