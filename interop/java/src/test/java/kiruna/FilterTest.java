// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

/** SQL92 as consumers write it. Against Apache's server it takes {@code enablePropertyFilter=true}. */
class FilterTest {
    /** Bodies and the properties they come with. */
    private static final Map<String, Map<String, String>> MESSAGES = new LinkedHashMap<>();

    static {
        MESSAGES.put("one", Map.of("a", "1", "b", "x", "c", "yes"));
        MESSAGES.put("ten", Map.of("a", "10", "b", "y"));
        MESSAGES.put("eleven", Map.of("a", "11", "b", "x", "c", "no"));
        MESSAGES.put("half", Map.of("a", "1.5", "b", "z"));
        MESSAGES.put("word", Map.of("a", "word", "b", "x"));
        MESSAGES.put("none", Map.of("c", "TRUE"));
    }

    private static void sendAll(DefaultMQProducer producer, String topic) throws Exception {
        for (var message : MESSAGES.entrySet()) {
            Message out = new Message(topic, message.getKey().getBytes());
            message.getValue().forEach(out::putUserProperty);
            producer.send(out);
        }
    }

    @Test
    void aPushConsumerGetsWhatItsExpressionChooses() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            Map<String, Set<String>> wanted = new LinkedHashMap<>();
            wanted.put("a BETWEEN 1 AND 10 AND b IN ('x','y') AND c IS NOT NULL", Set.of("one"));
            wanted.put("a > 1", Set.of("ten", "eleven"));
            wanted.put("NOT (a > 1)", Set.of("one"));
            wanted.put("a > 1.2", Set.of("ten", "eleven", "half"));
            wanted.put("a IS NULL OR b = 'z'", Set.of("none", "half"));
            wanted.put("c = TRUE", Set.of("none"));
            wanted.put("b <> 'x'", Set.of("ten", "half"));
            wanted.put("b not in ('x')", Set.of("ten", "half"));
            wanted.put("a = 'word' OR c = 'no'", Set.of("word", "eleven"));
            Map<String, Cluster.Inbox> inboxes = new LinkedHashMap<>();
            for (String expression : wanted.keySet()) {
                Cluster.Inbox inbox = new Cluster.Inbox();
                DefaultMQPushConsumer consumer = cluster.consumer(Cluster.name("G"));
                consumer.subscribe(topic, MessageSelector.bySql(expression));
                consumer.setMessageListener(inbox);
                consumer.start();
                inboxes.put(expression, inbox);
            }
            sendAll(cluster.producer(), topic);
            for (var one : wanted.entrySet()) {
                inboxes.get(one.getKey()).awaitBodies(one.getValue());
            }
            TimeUnit.SECONDS.sleep(2);
            for (var one : wanted.entrySet()) {
                assertEquals(new TreeSet<>(one.getValue()), new TreeSet<>(inboxes.get(one.getKey()).bodies), one.getKey());
            }
        }
    }

    @Test
    void aBrokenExpressionStopsTheConsumerAtItsStart() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            for (String expression : List.of("a >", "a BETWEEN 10 AND 1", "a IN (1)", "a > 'x'", "a = NULL", "(a = 1")) {
                DefaultMQPushConsumer consumer = cluster.consumer(Cluster.name("G"));
                consumer.subscribe(topic, MessageSelector.bySql(expression));
                consumer.setMessageListener(new Cluster.Inbox());
                MQClientException refused = assertThrows(MQClientException.class, consumer::start, expression);
                assertTrue(String.valueOf(refused.getErrorMessage() + refused.getMessage()).contains("CODE: 23")
                        || refused.getResponseCode() == 23, expression + ": " + refused);
            }
        }
    }

    @Test
    void pullsBringTheirExpressionAlong() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            sendAll(cluster.producer(), topic);
            DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(Cluster.name("G"));
            consumer.setNamesrvAddr(Cluster.NAMESRV);
            consumer.setInstanceName(Cluster.name("i"));
            consumer.start();
            cluster.also(consumer::shutdown);
            MessageQueue queue = consumer.fetchSubscribeMessageQueues(topic).iterator().next();
            Cluster.await("the messages", () -> {
                try {
                    return consumer.maxOffset(queue) == MESSAGES.size();
                } catch (Exception e) {
                    return false;
                }
            });
            // Until its first heartbeat the client believes that the broker is too old for this.
            PullResult[] first = new PullResult[1];
            Cluster.await("a first pull", () -> {
                try {
                    first[0] = consumer.pull(queue, MessageSelector.bySql("a BETWEEN 10 AND 11"), 0, 32);
                    return true;
                } catch (Exception e) {
                    return false;
                }
            });
            PullResult found = first[0];
            assertEquals(PullStatus.FOUND, found.getPullStatus());
            Set<String> bodies = new HashSet<>();
            for (MessageExt message : found.getMsgFoundList()) {
                bodies.add(new String(message.getBody()));
            }
            assertEquals(Set.of("ten", "eleven"), bodies);
            assertEquals(MESSAGES.size(), found.getNextBeginOffset());
            PullResult none = consumer.pull(queue, MessageSelector.bySql("a = 999999"), 0, 32);
            assertEquals(PullStatus.NO_MATCHED_MSG, none.getPullStatus());
            assertEquals(MESSAGES.size(), none.getNextBeginOffset());
        }
    }

    @Test
    void aLitePullConsumerSubscribesWithAnExpression() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            sendAll(cluster.producer(), topic);
            DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(Cluster.name("G"));
            consumer.setNamesrvAddr(Cluster.NAMESRV);
            consumer.setInstanceName(Cluster.name("i"));
            consumer.setConsumeFromWhere(org.apache.rocketmq.common.consumer.ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            consumer.subscribe(topic, MessageSelector.bySql("b = 'x' AND a < 100"));
            consumer.start();
            cluster.also(consumer::shutdown);
            Set<String> bodies = new TreeSet<>();
            Cluster.await("its messages", () -> {
                consumer.poll(1000).forEach(message -> bodies.add(new String(message.getBody())));
                return bodies.size() >= 2;
            });
            consumer.poll(2000).forEach(message -> bodies.add(new String(message.getBody())));
            assertEquals(Set.of("one", "eleven"), bodies);
        }
    }

    @Test
    void aGroupThatWantsNothingOfWhatCameDoesNotLag() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            String group = Cluster.name("G");
            Cluster.Inbox inbox = new Cluster.Inbox();
            DefaultMQPushConsumer consumer = cluster.consumer(group);
            consumer.setPersistConsumerOffsetInterval(500);
            consumer.subscribe(topic, MessageSelector.bySql("a = 999"));
            consumer.setMessageListener(inbox);
            consumer.start();
            DefaultMQProducer producer = cluster.producer();
            for (int i = 0; i < 50; i++) {
                Message message = new Message(topic, ("m" + i).getBytes());
                message.putUserProperty("a", Integer.toString(i));
                producer.send(message);
            }
            DefaultMQAdminExt admin = cluster.admin();
            Cluster.await("no lag", () -> {
                try {
                    var stats = admin.examineConsumeStats(group).getOffsetTable();
                    long there = 0;
                    long left = 0;
                    for (var queue : stats.entrySet()) {
                        if (queue.getKey().getTopic().equals(topic)) {
                            there += queue.getValue().getBrokerOffset();
                            left += queue.getValue().getBrokerOffset() - queue.getValue().getConsumerOffset();
                        }
                    }
                    return there == 50 && left == 0;
                } catch (Exception e) {
                    return false;
                }
            });
            assertTrue(inbox.bodies.isEmpty());
        }
    }
}
