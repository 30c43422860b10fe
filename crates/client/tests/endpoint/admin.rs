// SPDX-License-Identifier: Apache-2.0
//! Admin calls: what was made is seen, what was changed has changed, what was deleted is gone.

use client::Message;
use protocol::QueueOffset;
use protocol::body::{CMResult, SubscriptionGroupConfig, TopicConfig};
use protocol::codes::ResponseCode;

use crate::cluster::{Cluster, accept, numbered, send_numbers, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_made_changed_measured_and_deleted() {
    let Some(cluster) = Cluster::find().await else { return };
    let admin = &cluster.admin;
    let topic = cluster.topic("made", 3).await;
    let master = admin.masters(None).await.unwrap().remove(0);
    assert!(admin.topics().await.unwrap().contains(&topic));
    assert!(admin.topics_of_cluster(&master.cluster).await.unwrap().contains(&topic));
    assert_eq!(admin.topic_config(&master.address, &topic).await.unwrap().write_queue_nums, 3);
    admin.put_topic(Some(&master.cluster), &TopicConfig::new(topic.clone(), 5, 6)).await.unwrap();
    let configs = admin.topic_configs(&master.address).await.unwrap();
    assert_eq!(configs.topic_config_table[&topic].read_queue_nums, 5);

    let producer = cluster.producer("made-p").await;
    let sent = producer.send(Message::new(topic.clone(), "x")).await.unwrap();
    let stats = admin.topic_stats(&topic).await.unwrap();
    let total: i64 = stats.offset_table.0.iter().map(|(_, offset)| offset.max_offset).sum();
    assert_eq!((stats.offset_table.0.len(), total), (5, 1));
    until("the producer is known", async || {
        let found = admin.producer_connections(&master.address, &cluster.group("made-p")).await;
        found.is_ok_and(|found| found.connection_set[0].client_id == producer.client_id())
    })
    .await;
    producer.shutdown().await;

    admin.delete_topic(None, &topic).await.unwrap();
    until("the route is gone", async || admin.route(&topic).await.is_err()).await;
    assert!(admin.message_at(&sent.queue, sent.offset).await.is_err());
    let nowhere = admin.put_topic(Some("no such cluster"), &TopicConfig::new(topic, 1, 6)).await;
    assert!(matches!(nowhere, Err(client::AdminError::NoCluster(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_made_watched_moved_and_deleted() {
    let Some(cluster) = Cluster::find().await else { return };
    let admin = &cluster.admin;
    let topic = cluster.topic("moved", 2).await;
    let group = cluster.group("moved-c");
    let config =
        SubscriptionGroupConfig { group_name: group.clone(), retry_max_times: 3, ..Default::default() };
    let master = admin.put_group(None, &config).await.unwrap().remove(0);
    assert!(admin.groups().await.unwrap().contains(&group));
    assert_eq!(admin.group_config(&master.address, &group).await.unwrap().retry_max_times, 3);
    let absent = admin.consumer_connections(&group).await.unwrap_err();
    assert_eq!(absent.refusal(), Some(ResponseCode::CONSUMER_NOT_ONLINE));

    let producer = cluster.producer("moved-p").await;
    send_numbers(&producer, &topic, 0..10).await;
    let (consumer, mut heard) = accept(cluster.push(&group), &topic).await;
    assert_eq!(heard.bodies(10).await, numbered(0..10));
    let connections = admin.consumer_connections(&group).await.unwrap();
    assert_eq!(connections.connection_set[0].client_id, consumer.client_id());
    assert!(connections.subscription_table.contains_key(&topic));
    until("all is committed", async || {
        admin.progress(&group, Some(&topic)).await.is_ok_and(|p| p.lag() == 0 && p.queues.len() == 2)
    })
    .await;
    assert!(admin.groups_of_topic(&topic).await.unwrap().contains(&group));
    assert!(admin.topics_of_group(&group).await.unwrap().contains(&topic));

    let info = admin.running_info(&group, consumer.client_id()).await.unwrap();
    assert_eq!(info.subscription_set.len(), 2);
    let queue = producer.queues(&topic).await.unwrap().remove(0);
    let message = admin.message_at(&queue, QueueOffset(0)).await.unwrap();
    let done = admin.consume_directly(&group, consumer.client_id(), &message).await.unwrap();
    assert_eq!(done.consume_result, Some(CMResult::Success));
    assert_eq!(heard.next().await.offset_id(), message.offset_id());

    let moved = admin.reset_offset(&group, &topic, Some(stdx::Timestamp(0)), true).await.unwrap();
    assert_eq!(moved.values().copied().collect::<Vec<_>>(), [QueueOffset(0); 2]);
    // What waits in a long poll learns of it with the next message.
    for queue in producer.queues(&topic).await.unwrap() {
        producer.send_to(Message::new(topic.clone(), "more"), &queue).await.unwrap();
    }
    heard.all(numbered(0..10).into_iter().collect()).await;
    consumer.shutdown().await;
    let span = admin.time_span(&group, &topic).await.unwrap();
    assert_eq!(span.len(), 2);
    admin.delete_group(None, &group, true).await.unwrap();
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_and_name_servers_show_and_change_their_settings() {
    let Some(cluster) = Cluster::find().await else { return };
    let admin = &cluster.admin;
    let master = admin.masters(None).await.unwrap().remove(0);
    let config = admin.broker_config(&master.address).await.unwrap();
    assert_eq!(config["brokerName"], master.broker.as_str());
    let changed = if config["maxMessageSize"] == "4194304" { "4194303" } else { "4194304" };
    admin.update_broker_config(&master.address, &[("maxMessageSize", changed)]).await.unwrap();
    assert_eq!(admin.broker_config(&master.address).await.unwrap()["maxMessageSize"], changed);
    let before = config["maxMessageSize"].clone();
    admin.update_broker_config(&master.address, &[("maxMessageSize", &before)]).await.unwrap();
    assert!(admin.runtime_info(&master.address).await.unwrap().contains_key("bootTimestamp"));
    assert_eq!(admin.master_address(&master.broker).await.unwrap(), master.address);
    assert!(!admin.name_server_configs().await.unwrap()[0].1.is_empty());

    let (space, key) = (cluster.name("space"), "key");
    admin.put_kv(&space, key, "value").await.unwrap();
    assert_eq!(admin.get_kv(&space, key).await.unwrap().as_deref(), Some("value"));
    assert_eq!(admin.list_kv(&space).await.unwrap().table[key], "value");
    admin.delete_kv(&space, key).await.unwrap();
    assert_eq!(admin.get_kv(&space, key).await.unwrap(), None);
}
