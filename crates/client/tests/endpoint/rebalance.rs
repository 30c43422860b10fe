// SPDX-License-Identifier: Apache-2.0
//! Members of a group that come, go and die share the queues, and nothing is lost on the way.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, accept, numbered, send_numbers, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_and_the_one_that_stays_takes_over() {
    let Some(cluster) = Cluster::find().await else { return };
    let topic = cluster.topic("share", 8).await;
    let producer = cluster.producer("share-p").await;
    let group = cluster.group("share-c");
    let (one, mut heard_one) = accept(cluster.push(&group), &topic).await;
    let (two, mut heard_two) = accept(cluster.push(&group), &topic).await;
    let held = async |client: &str| match cluster.admin.running_info(&group, client).await {
        Ok(info) => info.mq_table.0.iter().filter(|(queue, _)| queue.topic == topic).count(),
        Err(_) => 0,
    };
    until("four queues each", async || held(one.client_id()).await == 4 && held(two.client_id()).await == 4)
        .await;
    send_numbers(&producer, &topic, 0..80).await;
    let (first, second) = tokio::join!(heard_one.bodies(40), heard_two.bodies(40));
    let mut all = [first, second].concat();
    all.sort();
    assert_eq!(all, numbered(0..80));

    one.shutdown().await;
    send_numbers(&producer, &topic, 80..160).await;
    assert_eq!(heard_two.bodies(80).await, numbered(80..160));

    // A member that dies says nothing; its connections tell.
    let (three, mut heard_three) = accept(cluster.push(&group), &topic).await;
    until("four queues each again", async || {
        held(three.client_id()).await == 4 && held(two.client_id()).await == 4
    })
    .await;
    drop(two);
    send_numbers(&producer, &topic, 160..240).await;
    let mut left: BTreeSet<String> = numbered(160..240).into_iter().collect();
    while let Ok(message) = heard_two.0.try_recv() {
        left.remove(&crate::cluster::text(&message));
    }
    heard_three.all(left).await;
    three.shutdown().await;
    producer.shutdown().await;
}
