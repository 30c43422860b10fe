// SPDX-License-Identifier: Apache-2.0
//! Admin calls: what was made is seen, what was changed has changed, what was deleted is gone.

use client::{Message, PlannedMove, ResetScope, ResetTo, ScanQuery, Subscription};
use protocol::QueueOffset;
use protocol::body::{CMResult, SubscriptionGroupConfig, TopicConfig};
use protocol::codes::ResponseCode;

use crate::cluster::{Cluster, accept, numbered, send_numbers, text, until};

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

    let (scope, to) = (ResetScope::default(), ResetTo::Time(stdx::Timestamp(0)));
    let plan = admin.plan_reset(&group, &topic, &scope, to).await.unwrap();
    let again: u64 = plan.iter().map(PlannedMove::redelivered).sum();
    assert_eq!((plan.len(), again), (2, 10), "everything is done, and all of it would come again: {plan:?}");
    let first = plan.iter().filter_map(|planned| planned.first_again).min();
    let oldest = admin.message_at(&queue, QueueOffset(0)).await.unwrap().stored_at;
    assert!(first.is_some_and(|first| first <= oldest), "{plan:?}");
    assert_eq!(admin.progress(&group, Some(&topic)).await.unwrap().lag(), 0, "a plan moves nothing");
    let moved = admin.reset_to(&group, &topic, &scope, to).await.unwrap();
    let targets = plan.iter().map(|planned| (planned.queue.clone(), planned.target)).collect();
    assert_eq!(moved, targets, "what was planned was done");
    // What waits in a long poll learns of it with the next message.
    for queue in producer.queues(&topic).await.unwrap() {
        producer.send_to(Message::new(topic.clone(), "more"), &queue).await.unwrap();
    }
    heard.all(numbered(0..10).into_iter().collect()).await;
    until("all is committed again", async || {
        admin.progress(&group, Some(&topic)).await.is_ok_and(|p| p.lag() == 0)
    })
    .await;
    let holders = admin.holders(&group).await.unwrap();
    let of_topic = holders.iter().filter(|(queue, _)| queue.topic == topic);
    assert!(of_topic.clone().all(|(_, (client, _))| client == consumer.client_id()));
    assert_eq!(of_topic.count(), 2);
    let copy = cluster.group("moved-copy");
    let config = SubscriptionGroupConfig { group_name: copy.clone(), ..Default::default() };
    admin.put_group(None, &config).await.unwrap();
    admin.clone_progress(&group, &copy, &topic).await.unwrap();
    assert_eq!(admin.progress(&copy, Some(&topic)).await.unwrap().lag(), 0);

    admin.set_consuming(&group, false).await.unwrap();
    assert!(!admin.group_config(&master.address, &group).await.unwrap().consume_enable);
    let config =
        SubscriptionGroupConfig { group_name: group.clone(), retry_max_times: 3, ..Default::default() };
    admin.set_consuming(&group, true).await.unwrap();
    assert_eq!(admin.group_config(&master.address, &group).await.unwrap(), config, "nothing else changed");
    consumer.shutdown().await;
    let nobody = admin.set_consuming(&cluster.group("nobody"), false).await;
    assert!(matches!(nobody, Err(client::AdminError::NoGroup(_))), "{nobody:?}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_found_by_time_tag_and_words() {
    let Some(cluster) = Cluster::find().await else { return };
    let admin = &cluster.admin;
    let topic = cluster.topic("searched", 2).await;
    let producer = cluster.producer("searched-p").await;
    let mut sent = Vec::new();
    let queues = producer.queues(&topic).await.unwrap();
    for n in 0..80 {
        let message = Message::new(topic.clone(), format!("number {n} of many"));
        let message = message.tag(if n % 4 == 0 { "four" } else { "other" });
        let queue = &queues[n % 2];
        sent.push(producer.send_to(message, queue).await.unwrap());
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    producer.shutdown().await;
    let search = async |query: &ScanQuery| {
        let scanned = admin.scan(query).await.unwrap();
        let bodies: Vec<String> = scanned.messages.iter().map(text).collect();
        (bodies, scanned.looked_at, scanned.unseen)
    };
    let all = ScanQuery::new(Subscription::all(topic.clone()));
    until("all are visible", async || search(&all).await.0.len() == 80).await;
    assert_eq!(search(&all).await.0[7], "number 7 of many", "oldest first, over all queues");
    let tagged = ScanQuery::new(Subscription::tags(topic.clone(), "four"));
    assert_eq!(search(&tagged).await.0.len(), 20);
    let words = ScanQuery { contains: Some(b"er 17 of".to_vec()), ..all.clone() };
    assert_eq!(search(&words).await, (vec!["number 17 of many".to_owned()], 80, vec![]));
    let at = async |n: usize| admin.message_at(&sent[n].queue, sent[n].offset).await.unwrap().stored_at;
    let span = ScanQuery { begin: at(10).await, end: at(19).await, ..all.clone() };
    let found = search(&span).await.0;
    assert!(
        found.contains(&"number 10 of many".to_owned()) && found.contains(&"number 19 of many".to_owned())
    );
    assert!(found.len() <= 12, "the clock has milliseconds: {found:?}");
    let short = ScanQuery { look_at: 1, contains: Some(b"nowhere".to_vec()), ..all.clone() };
    let (found, looked_at, unseen) = search(&short).await;
    let left: Vec<_> = queues.iter().map(|queue| (queue.clone(), QueueOffset(32))).collect();
    assert_eq!((found, looked_at, unseen), (vec![], 64, left), "one turn, and where it would go on");
    let few = ScanQuery { max: 3, ..all };
    assert_eq!(search(&few).await.0[..3], ["number 0 of many", "number 1 of many", "number 2 of many"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_ours_tells_the_journey_of_a_message() {
    let Some(cluster) = Cluster::find().await else { return };
    let admin = &cluster.admin;
    let topic = cluster.topic("traced", 1).await;
    let group = cluster.group("traced-c");
    let producer = cluster.producer("traced-p").await;
    let sent = producer.send(Message::new(topic.clone(), "x")).await.unwrap();
    let journeys = match admin.journeys(&sent.id, None).await {
        // Apache's broker does not know the question.
        Err(error) if error.refusal() == Some(ResponseCode::REQUEST_CODE_NOT_SUPPORTED) => return,
        journeys => journeys.unwrap(),
    };
    assert_eq!((journeys.len(), journeys[0].1.topic.as_str()), (1, topic.as_str()));
    let (consumer, mut heard) = accept(cluster.push(&group), &topic).await;
    heard.next().await;
    until("it is acknowledged", async || {
        let hops = admin.journeys(&sent.id, Some(&topic)).await.unwrap().remove(0).1.hops;
        let of_group = |what: &str| {
            hops.iter().any(|hop| hop.what == what && hop.group.as_deref() == Some(group.as_str()))
        };
        let client = hops.iter().find(|hop| hop.what == "given").and_then(|hop| hop.client.as_deref());
        of_group("given") && of_group("acknowledged") && client == Some(consumer.client_id())
    })
    .await;
    let unknown = admin.journeys("no such message", Some(&topic)).await;
    assert!(matches!(unknown, Err(client::AdminError::NoMessage)), "{unknown:?}");
    consumer.shutdown().await;
    producer.shutdown().await;
}
