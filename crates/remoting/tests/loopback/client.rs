// SPDX-License-Identifier: Apache-2.0
//! What callers are told when things go wrong, and how they recover.

use super::support::*;
use remoting::{CallError, ClientConfig};
use std::time::Duration;

#[tokio::test]
async fn a_call_without_an_answer_times_out_and_its_late_answer_is_dropped() {
    let site = Site::open(config());
    let connection = site.dial().await;
    let late = within(connection.call(&Wait(0), (), Duration::from_millis(20))).await;
    assert!(matches!(late, Err(CallError::Timeout { code: 1002, .. })));
    site.hall.waiting.reaches(1).await;
    site.hall.open.advance(1);
    site.hall.left.reaches(1).await;
    for n in 0..200 {
        let answer = within(connection.call(&Echo(n), (), PATIENCE)).await.expect("an answer");
        assert_eq!(answer.header().expect("a header"), Number(n));
    }
}

#[tokio::test]
async fn timeouts_come_in_the_order_of_their_deadlines() {
    let site = Site::open(config());
    let connection = site.dial().await;
    let far = connection.call(&Wait(0), (), PATIENCE);
    let near = connection.call(&Wait(0), (), Duration::from_millis(30));
    assert!(matches!(within(near).await, Err(CallError::Timeout { .. })));
    site.hall.open.advance(1);
    assert!(within(far).await.is_ok());
}

#[tokio::test]
async fn a_lost_connection_ends_its_calls_and_the_next_call_makes_a_new_one() {
    let site = Site::open(config());
    let address = site.address();
    let client =
        site.client_with(ClientConfig { backoff_most: Duration::from_millis(50), ..ClientConfig::default() });
    let connection = client.connect(&address).await.expect("a connection");
    let call = connection.call(&Wait(0), (), PATIENCE);
    site.hall.waiting.reaches(1).await;
    drop(site);
    assert!(matches!(within(call).await, Err(CallError::Closed { code: 1002, .. })));
    within(connection.closed()).await;
    assert!(!connection.is_open());
    assert!(matches!(connection.call(&Echo(1), (), PATIENCE).await, Err(CallError::Closed { .. })));
    assert!(matches!(connection.notify(&Echo(1), ()), Err(CallError::Closed { .. })));

    let down = client.call(&address, &Echo(1), (), PATIENCE).await.err().expect("nobody listens");
    assert!(matches!(&down, CallError::Connect { .. }) && down.is_unsent());
    assert!(down.to_string().contains(&address), "{down}");

    let _site = Site::open_at(&address, config());
    let again = async {
        loop {
            match client.call(&address, &Echo(2), (), PATIENCE).await {
                Ok(answer) => return answer,
                Err(error) => assert!(matches!(error, CallError::Connect { .. }), "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(within(again).await.header().expect("a header"), Number(2));
}

#[tokio::test]
async fn calls_in_flight_are_limited() {
    let site = Site::open(config());
    let client = site.client_with(ClientConfig { in_flight: 3, ..ClientConfig::default() });
    let connection = client.dial(&site.address()).await.expect("a connection");
    let calls: Vec<_> = (0..3).map(|_| connection.call(&Wait(0), (), PATIENCE)).collect();
    let more = connection.call(&Echo(1), (), PATIENCE).await.err().expect("too many");
    assert!(matches!(more, CallError::TooMany { in_flight: 3, .. }) && more.is_unsent());
    drop(calls);
    let answer = within(connection.call(&Echo(1), (), PATIENCE)).await;
    assert_eq!(answer.expect("room again").header().expect("a header"), Number(1));
}

#[tokio::test]
async fn unsent_bytes_are_limited() {
    let site = Site::open(config());
    let client = site.client_with(ClientConfig { unsent: 1 << 20, ..ClientConfig::default() });
    let connection = client.dial(&site.address()).await.expect("a connection");
    // The connection's task has no turn before the first await, so all of it stays unsent.
    let calls: Vec<_> = (0..64).map(|n| connection.call(&Echo(n), vec![0; 64 << 10], PATIENCE)).collect();
    let mut taken = 0;
    for call in calls {
        match within(call).await {
            Ok(_) => taken += 1,
            Err(error) => assert!(matches!(error, CallError::TooMany { .. }), "{error}"),
        }
    }
    // Each takes 64 KiB and a header, and the one that passes the limit is still taken.
    assert_eq!(taken, 16);
}

#[tokio::test]
async fn callers_share_one_attempt_to_connect() {
    let site = Site::open(config());
    let (client, address) = (site.client(), site.address());
    let calls = (0..50).map(|n| {
        let (client, address) = (client.clone(), address.clone());
        tokio::spawn(async move {
            client.call(&address, &Echo(n), (), PATIENCE).await.map(|answer| answer.code().0)
        })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(within(call).await.expect("no panic").expect("an answer"), 0);
    }
    assert_eq!(site.server.usage().connections, 1);
    drop(client);
    site.hall.closed.reaches(1).await;
}
