// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

class ConsumeTest {
    @Test
    void aLongPollAnswersWhenTheMessageComes() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            Cluster.Inbox inbox = start(cluster, Cluster.name("G"), topic, "*");
            producer.send(new Message(topic, "warm".getBytes()));
            inbox.awaitBodies(Set.of("warm"));
            TimeUnit.SECONDS.sleep(1);
            for (int i = 0; i < 5; i++) {
                long before = System.nanoTime();
                producer.send(new Message(topic, ("m" + i).getBytes()));
                inbox.awaitBodies(Set.of("m" + i));
                assertTrue(System.nanoTime() - before < 2_000_000_000L, "a parked pull is woken, not polled");
            }
        }
    }

    @Test
    void membersOfAGroupShareTheQueuesAndTakeOver() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(8);
            String group = Cluster.name("G");
            DefaultMQProducer producer = cluster.producer();
            Map<String, Set<Integer>> queues = new ConcurrentHashMap<>();
            Set<String> bodies = ConcurrentHashMap.newKeySet();
            List<DefaultMQPushConsumer> members = new ArrayList<>();
            for (String member : List.of("a", "b")) {
                queues.put(member, ConcurrentHashMap.newKeySet());
                DefaultMQPushConsumer consumer = cluster.consumer(group);
                consumer.subscribe(topic, "*");
                consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
                    for (MessageExt message : batch) {
                        queues.get(member).add(message.getQueueId());
                        bodies.add(new String(message.getBody()));
                    }
                    return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
                });
                consumer.start();
                members.add(consumer);
            }
            DefaultMQAdminExt admin = cluster.admin();
            Cluster.await("two members", () -> {
                try {
                    return admin.examineConsumerConnectionInfo(group).getConnectionSet().size() == 2;
                } catch (Exception e) {
                    return false;
                }
            });
            Cluster.await("an even split", () -> {
                queues.values().forEach(Set::clear);
                try {
                    for (int i = 0; i < 32; i++) {
                        producer.send(new Message(topic, ("x" + System.nanoTime()).getBytes()));
                    }
                    TimeUnit.MILLISECONDS.sleep(300);
                } catch (Exception e) {
                    return false;
                }
                return queues.get("a").size() == 4 && queues.get("b").size() == 4
                        && Collections.disjoint(queues.get("a"), queues.get("b"));
            });
            members.get(0).shutdown();
            Set<String> wanted = new HashSet<>();
            for (int i = 0; i < 64; i++) {
                wanted.add("after" + i);
                producer.send(new Message(topic, ("after" + i).getBytes()));
            }
            Cluster.await("the other to take over", () -> bodies.containsAll(wanted));
        }
    }

    @Test
    void aRestartedGroupGoesOnWhereItStopped() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            String group = Cluster.name("G");
            DefaultMQProducer producer = cluster.producer();
            Cluster.Inbox first = new Cluster.Inbox();
            DefaultMQPushConsumer consumer = cluster.consumer(group);
            consumer.subscribe(topic, "*");
            consumer.setMessageListener(first);
            consumer.start();
            producer.send(new Message(topic, "one".getBytes()));
            first.awaitBodies(Set.of("one"));
            consumer.shutdown();
            producer.send(new Message(topic, "two".getBytes()));
            Cluster.Inbox second = start(cluster, group, topic, "*");
            second.awaitBodies(Set.of("two"));
            assertEquals(Set.of("two"), second.bodies);
        }
    }

    @Test
    void tagsSelectExactly() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            // "Aa" and "BB" have the same Java hash.
            for (String tag : List.of("Aa", "BB", "C", "Aa", "BB", "C")) {
                producer.send(new Message(topic, tag, (tag + System.nanoTime()).getBytes()));
            }
            producer.send(new Message(topic, "end".getBytes()));
            Cluster.Inbox one = start(cluster, Cluster.name("G"), topic, "Aa");
            Cluster.Inbox two = start(cluster, Cluster.name("G"), topic, "BB || C");
            Cluster.await("two", () -> one.messages.size() == 2);
            Cluster.await("four", () -> two.messages.size() == 4);
            TimeUnit.MILLISECONDS.sleep(500);
            assertTrue(one.messages.stream().allMatch(m -> m.getTags().equals("Aa")));
            assertTrue(two.messages.stream().noneMatch(m -> m.getTags().equals("Aa")));
            // The raw pull too: the server filters, not only the client.
            DefaultMQPullConsumer pull = new DefaultMQPullConsumer(Cluster.name("G"));
            pull.setNamesrvAddr(Cluster.NAMESRV);
            pull.setInstanceName(Cluster.name("i"));
            pull.start();
            cluster.also(pull::shutdown);
            MessageQueue queue = pull.fetchSubscribeMessageQueues(topic).iterator().next();
            PullResult result = pull.pull(queue, "Aa", 0, 32);
            assertEquals(PullStatus.FOUND, result.getPullStatus());
            assertEquals(2, result.getMsgFoundList().size());
            assertTrue(result.getNextBeginOffset() > 0 && result.getMaxOffset() == 7);
        }
    }

    @Test
    void broadcastReachesEveryMember() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            String group = Cluster.name("G");
            List<Cluster.Inbox> inboxes = new ArrayList<>();
            for (int i = 0; i < 2; i++) {
                Cluster.Inbox inbox = new Cluster.Inbox();
                DefaultMQPushConsumer consumer = cluster.consumer(group);
                Cluster.broadcast(consumer);
                consumer.subscribe(topic, "*");
                consumer.setMessageListener(inbox);
                consumer.start();
                inboxes.add(inbox);
            }
            DefaultMQProducer producer = cluster.producer();
            Set<String> sent = new HashSet<>();
            for (int i = 0; i < 10; i++) {
                sent.add("b" + i);
                producer.send(new Message(topic, ("b" + i).getBytes()));
            }
            for (Cluster.Inbox inbox : inboxes) {
                inbox.awaitBodies(sent);
            }
        }
    }

    @Test
    void orderHoldsThroughRebalances() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(4);
            String group = Cluster.name("G");
            DefaultMQProducer producer = cluster.producer();
            Map<Integer, List<Integer>> seen = new ConcurrentHashMap<>();
            AtomicInteger inside = new AtomicInteger();
            Set<Integer> busy = ConcurrentHashMap.newKeySet();
            MessageListenerOrderly listener = (batch, context) -> {
                for (MessageExt message : batch) {
                    if (!busy.add(message.getQueueId())) {
                        inside.incrementAndGet();
                    }
                    List<Integer> queue = seen.computeIfAbsent(message.getQueueId(), q -> new CopyOnWriteArrayList<>());
                    int number = Integer.parseInt(new String(message.getBody()));
                    if (queue.isEmpty() || queue.get(queue.size() - 1) < number) {
                        queue.add(number);
                    } else if (!queue.contains(number)) {
                        inside.addAndGet(1000);
                    }
                    busy.remove(message.getQueueId());
                }
                return ConsumeOrderlyStatus.SUCCESS;
            };
            DefaultMQPushConsumer one = orderly(cluster, group, topic, listener);
            one.start();
            int total = 400;
            DefaultMQPushConsumer two = null;
            for (int i = 0; i < total; i++) {
                int key = i;
                producer.send(new Message(topic, String.valueOf(i).getBytes()),
                        (queues, m, arg) -> queues.get(((Integer) arg) % queues.size()), key);
                if (i == total / 3) {
                    two = orderly(cluster, group, topic, listener);
                    two.start();
                }
                if (i == 2 * total / 3) {
                    one.shutdown();
                }
            }
            Cluster.await("all in order", java.time.Duration.ofSeconds(90),
                    () -> seen.values().stream().mapToInt(List::size).sum() == total);
            assertEquals(0, inside.get(), "no overlap and no inversion");
            for (Map.Entry<Integer, List<Integer>> entry : seen.entrySet()) {
                assertEquals(total / 4, entry.getValue().size());
            }
        }
    }

    @Test
    void aFailedMessageIsRetriedThenDeadLetteredWhole() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            String group = Cluster.name("G");
            DefaultMQProducer producer = cluster.producer();
            List<Integer> attempts = new CopyOnWriteArrayList<>();
            DefaultMQPushConsumer consumer = cluster.consumer(group);
            consumer.setMaxReconsumeTimes(2);
            consumer.subscribe(topic, "*");
            consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
                context.setDelayLevelWhenNextConsume(1);
                attempts.add(batch.get(0).getReconsumeTimes());
                assertEquals(topic, batch.get(0).getTopic());
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            });
            consumer.start();
            Message message = new Message(topic, "tag", "the-key", "fails".getBytes());
            message.putUserProperty("mine", "kept");
            String id = producer.send(message).getMsgId();
            String dead = "%DLQ%" + group;
            DefaultMQAdminExt admin = cluster.admin();
            MessageExt[] found = new MessageExt[1];
            Cluster.await("the dead letter", () -> {
                try {
                    DefaultMQPullConsumer pull = new DefaultMQPullConsumer(Cluster.name("G"));
                    pull.setNamesrvAddr(Cluster.NAMESRV);
                    pull.setInstanceName(Cluster.name("i"));
                    pull.start();
                    try {
                        MessageQueue queue = pull.fetchSubscribeMessageQueues(dead).iterator().next();
                        PullResult result = pull.pull(queue, "*", 0, 32);
                        if (result.getPullStatus() == PullStatus.FOUND) {
                            found[0] = result.getMsgFoundList().get(0);
                        }
                    } finally {
                        pull.shutdown();
                    }
                    return found[0] != null;
                } catch (Exception e) {
                    return false;
                }
            });
            assertEquals(List.of(0, 1, 2), attempts);
            assertEquals("fails", new String(found[0].getBody()));
            assertEquals("kept", found[0].getUserProperty("mine"));
            assertEquals("the-key", found[0].getKeys());
            assertEquals("tag", found[0].getTags());
            assertEquals(topic, found[0].getProperty("RETRY_TOPIC"));
            assertNotNull(admin.examineTopicRouteInfo("%RETRY%" + group));
            assertEquals(id, found[0].getProperty("UNIQ_KEY"));
        }
    }

    @Test
    void delayLevelsAreNeverEarly() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            Cluster.Inbox inbox = start(cluster, Cluster.name("G"), topic, "*");
            DefaultMQProducer producer = cluster.producer();
            Message message = new Message(topic, "late".getBytes());
            message.setDelayTimeLevel(2);
            long before = System.currentTimeMillis();
            producer.send(message);
            MessageExt got = inbox.messages.poll(20, TimeUnit.SECONDS);
            assertNotNull(got);
            long took = System.currentTimeMillis() - before;
            assertTrue(took >= 5_000 && took < 9_000, "took " + took);
            assertEquals(topic, got.getTopic());
        }
    }

    @Test
    void consumeFromTimestampAndLastAreKept() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            producer.send(new Message(topic, "old".getBytes()));
            TimeUnit.MILLISECONDS.sleep(1500);
            long middle = System.currentTimeMillis();
            producer.send(new Message(topic, "new".getBytes()));
            DefaultMQAdminExt admin = cluster.admin();
            MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
            Cluster.await("dispatch", () -> {
                try {
                    return admin.maxOffset(queue) == 2;
                } catch (Exception e) {
                    return false;
                }
            });
            assertEquals(1, admin.searchOffset(queue, middle));
            assertEquals(0, admin.minOffset(queue));
            DefaultMQPushConsumer consumer = cluster.consumer(Cluster.name("G"));
            Cluster.broadcast(consumer);
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
            Cluster.Inbox inbox = new Cluster.Inbox();
            consumer.subscribe(topic, "*");
            consumer.setMessageListener(inbox);
            consumer.start();
            TimeUnit.SECONDS.sleep(2);
            producer.send(new Message(topic, "newest".getBytes()));
            inbox.awaitBodies(Set.of("newest"));
            assertEquals(Set.of("newest"), inbox.bodies);
        }
    }

    @Test
    void litePullAssignsSeeksAndCommits() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            DefaultMQProducer producer = cluster.producer();
            for (int i = 0; i < 20; i++) {
                producer.send(new Message(topic, ("l" + i).getBytes()));
            }
            String group = Cluster.name("G");
            DefaultLitePullConsumer lite = new DefaultLitePullConsumer(group);
            lite.setNamesrvAddr(Cluster.NAMESRV);
            lite.setInstanceName(Cluster.name("i"));
            lite.setAutoCommit(false);
            lite.start();
            cluster.also(lite::shutdown);
            Collection<MessageQueue> queues = lite.fetchMessageQueues(topic);
            lite.assign(queues);
            for (MessageQueue queue : queues) {
                // The client interrupts its own pull in flight to seek and may lose its connection to that.
                Cluster.await("a seek", () -> {
                    try {
                        lite.seek(queue, 0);
                        return true;
                    } catch (Exception e) {
                        return false;
                    }
                });
            }
            Set<String> got = new HashSet<>();
            Cluster.await("twenty", () -> {
                lite.poll(200).forEach(m -> got.add(new String(m.getBody())));
                return got.size() == 20;
            });
            lite.commitSync();
            DefaultMQAdminExt admin = cluster.admin();
            Cluster.await("the commit", () -> {
                try {
                    return queues.stream().mapToLong(q -> {
                        try {
                            return lite.committed(q);
                        } catch (Exception e) {
                            return 0;
                        }
                    }).sum() == 20;
                } catch (Exception e) {
                    return false;
                }
            });
            assertNotNull(admin);
        }
    }

    @Test
    void aGroupCanBeResetByTime() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            String group = Cluster.name("G");
            DefaultMQProducer producer = cluster.producer();
            Cluster.Inbox inbox = start(cluster, group, topic, "*");
            for (int i = 0; i < 5; i++) {
                producer.send(new Message(topic, ("r" + i).getBytes()));
            }
            Cluster.await("five", () -> inbox.messages.size() == 5);
            DefaultMQAdminExt admin = cluster.admin();
            admin.resetOffsetByTimestamp(topic, group, 0, true);
            // A pull that is parked sees the move when it ends, and 4.9 then rests for 10 s and waits for a rebalance.
            Cluster.await("five again", java.time.Duration.ofSeconds(150), () -> inbox.messages.size() >= 10);
        }
    }

    private static DefaultMQPushConsumer orderly(
            Cluster cluster, String group, String topic, MessageListenerOrderly listener) throws Exception {
        DefaultMQPushConsumer consumer = cluster.consumer(group);
        consumer.subscribe(topic, "*");
        consumer.setMessageListener(listener);
        return consumer;
    }

    private static Cluster.Inbox start(Cluster cluster, String group, String topic, String tags) throws Exception {
        Cluster.Inbox inbox = new Cluster.Inbox();
        DefaultMQPushConsumer consumer = cluster.consumer(group);
        consumer.subscribe(topic, tags);
        consumer.setMessageListener(inbox);
        consumer.start();
        return inbox;
    }
}
