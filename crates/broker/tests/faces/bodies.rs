// SPDX-License-Identifier: Apache-2.0
//! Bodies that are too large to be looked into.

use bytes::Bytes;
use protocol::admin::broker::UpdateBrokerConfig;
use protocol::admin::group::{UpdateAndCreateSubscriptionGroup, UpdateAndCreateSubscriptionGroupList};
use protocol::admin::topic::UpdateAndCreateTopicList;
use protocol::heartbeat::{CheckClientConfig, Heartbeat};
use protocol::lock::{LockBatchQueues, UnlockBatchQueues};
use protocol::request::Request;

use crate::site::{Peer, Site};

/// Sends a body of spaces that is one byte too long, then one that just fits.
async fn check<R: Request>(peer: &Peer, request: &R, what: &str, max: usize) {
    let refused = peer.call(request, vec![b' '; max + 1]).await.err().expect("it is refused");
    assert_eq!(refused, format!("29 the {what} is {} bytes long, at most {max} are read", max + 1));
    let outcome = peer.call(request, vec![b' '; max]).await.err().unwrap_or_default();
    assert!(!outcome.contains("bytes long"), "{what}: {outcome}");
}

#[tokio::test]
async fn every_kind_of_body_has_its_limit() {
    let site = Site::new();
    let peer = site.client("c").await;
    check(&peer, &Heartbeat, "heartbeat", 4 << 20).await;
    check(&peer, &CheckClientConfig, "filter to check", 256 << 10).await;
    check(&peer, &LockBatchQueues, "list of queues", 8 << 20).await;
    check(&peer, &UnlockBatchQueues, "list of queues", 8 << 20).await;
    check(&peer, &UpdateAndCreateSubscriptionGroup, "group", 256 << 10).await;
    check(&peer, &UpdateAndCreateSubscriptionGroupList, "list of groups", 8 << 20).await;
    check(&peer, &UpdateAndCreateTopicList, "list of topics", 8 << 20).await;
    check(&peer, &UpdateBrokerConfig, "list of settings", 256 << 10).await;
    let answer = peer.connection.call(&Heartbeat, Bytes::from_static(b"{"), crate::site::PATIENCE).await;
    assert_eq!(answer.expect("an answer").code().0, 29, "the connection lives on");
}
