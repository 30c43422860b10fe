// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

/** Kinds of messages and topics: the attributes of topics, priorities, message groups. */
class KindTest {
    private static Message message(String topic, String body, String... properties) {
        Message message = new Message(topic, body.getBytes());
        for (int i = 0; i < properties.length; i += 2) {
            MessageAccessor.putProperty(message, properties[i], properties[i + 1]);
        }
        return message;
    }

    /** Sets a topic with attributes; 4.9 clients do not know of any. */
    private static int set(DefaultMQAdminExt admin, String topic, Map<String, String> attributes) throws Exception {
        TopicConfig config = new TopicConfig(topic, 4, 4, 6);
        TopicConfig.class.getMethod("setAttributes", Map.class).invoke(config, attributes);
        String broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().values().iterator().next().selectBrokerAddr();
        try {
            admin.createAndUpdateTopicConfig(broker, config);
            return 0;
        } catch (MQClientException refused) {
            return refused.getResponseCode();
        }
    }

    @SuppressWarnings("unchecked")
    private static Map<String, String> attributes(DefaultMQAdminExt admin, String topic) throws Exception {
        String broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().values().iterator().next().selectBrokerAddr();
        TopicConfig config = admin.examineTopicConfig(broker, topic);
        try {
            return (Map<String, String>) TopicConfig.class.getMethod("getAttributes").invoke(config);
        } catch (InvocationTargetException e) {
            throw new AssertionError(e);
        }
    }

    private static boolean knowsAttributes() {
        try {
            TopicConfig.class.getMethod("setAttributes", Map.class);
            return true;
        } catch (NoSuchMethodException e) {
            return false;
        }
    }

    @Test
    void attributesAreAddedChangedRemovedAndRefused() throws Exception {
        assumeTrue(knowsAttributes(), "4.9 clients know no attributes");
        try (Cluster cluster = new Cluster()) {
            DefaultMQAdminExt admin = cluster.admin();
            String topic = Cluster.name("T");
            assertEquals(0, set(admin, topic, Map.of("+message.type", "FIFO", "+cleanup.policy", "DELETE")));
            assertEquals(Map.of("message.type", "FIFO", "cleanup.policy", "DELETE"), attributes(admin, topic));
            for (String kind : new String[] {"UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "PRIORITY", "LITE"}) {
                assertEquals(0, set(admin, topic, Map.of("+message.type", kind)));
                assertEquals(kind, attributes(admin, topic).get("message.type"));
            }
            assertEquals(0, set(admin, topic, Map.of("+lite.topic.expiration", "30", "+reserve.time", "1")));
            assertEquals(29, set(admin, topic, Map.of("+message.type", "MIXED")));
            assertEquals(1, set(admin, topic, Map.of("+message.type", "fifo")));
            assertEquals(1, set(admin, topic, Map.of("+cleanup.policy", "COMPACTION")), "it is fixed");
            assertEquals(1, set(admin, topic, Map.of("+lite.topic.expiration", "43201")));
            assertEquals(1, set(admin, topic, Map.of("-queue.type", "")), "it is not there");
            assertEquals(1, set(admin, topic, Map.of("+nonesuch", "1")));
            assertEquals(1, set(admin, Cluster.name("T"), Map.of("-message.type", "")), "the topic is new");
            assertEquals(0, set(admin, topic, Map.of("-message.type", "", "-reserve.time", "")));
            assertEquals(Map.of("cleanup.policy", "DELETE", "lite.topic.expiration", "30"), attributes(admin, topic));
        }
    }

    /** Brokers do not look whether a message is of its topic's kind; proxies do. */
    @Test
    void aBrokerTakesEveryKindInEveryTopic() throws Exception {
        assumeTrue(knowsAttributes(), "4.9 clients know no attributes");
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(4);
            assertEquals(0, set(cluster.admin(), topic, Map.of("+message.type", "FIFO")));
            DefaultMQProducer producer = cluster.producer();
            Cluster.Inbox inbox = inbox(cluster, topic);
            producer.send(message(topic, "plain"));
            producer.send(message(topic, "delayed", "DELAY", "1"));
            producer.send(message(topic, "urgent", "_SYS_MSG_PRIORITY_", "1"));
            inbox.awaitBodies(List.of("plain", "delayed", "urgent"));
        }
    }

    private static Cluster.Inbox inbox(Cluster cluster, String topic) throws Exception {
        Cluster.Inbox inbox = new Cluster.Inbox();
        var consumer = cluster.consumer(Cluster.name("G"));
        consumer.subscribe(topic, "*");
        consumer.setMessageListener(inbox);
        consumer.start();
        return inbox;
    }

    @Test
    void thePriorityIsTheQueueUnlessTheMessageIsOfAnotherKind() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(4);
            DefaultMQProducer producer = cluster.producer();
            Object[][] rows = {
                {"p0", 0, new String[] {"_SYS_MSG_PRIORITY_", "0"}, "0"},
                {"p2", 2, new String[] {"_SYS_MSG_PRIORITY_", "2"}, "2"},
                {"p9", 3, new String[] {"_SYS_MSG_PRIORITY_", "9"}, "9"},
                {"in order", 1, new String[] {"_SYS_MSG_PRIORITY_", "2", "__SHARDINGKEY", "k"}, null},
                {"below", 1, new String[] {"_SYS_MSG_PRIORITY_", "-3"}, "-3"},
                {"no number", 1, new String[] {"_SYS_MSG_PRIORITY_", "high"}, "high"},
                {"later", 1, new String[] {"_SYS_MSG_PRIORITY_", "2", "DELAY", "1"}, null},
            };
            Cluster.Inbox inbox = inbox(cluster, topic);
            List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
            MessageQueue asked = queues.stream().filter(queue -> queue.getQueueId() == 1).findFirst().orElseThrow();
            List<String> bodies = new ArrayList<>();
            for (Object[] row : rows) {
                SendResult sent = producer.send(message(topic, (String) row[0], (String[]) row[2]), asked);
                assertEquals(row[1], sent.getMessageQueue().getQueueId(), (String) row[0]);
                bodies.add((String) row[0]);
            }
            inbox.awaitBodies(bodies);
            for (MessageExt got : inbox.messages) {
                Object[] row = List.of(rows).stream().filter(one -> one[0].equals(new String(got.getBody()))).findFirst().orElseThrow();
                assertEquals(row[1], got.getQueueId(), new String(got.getBody()));
                if (row[3] == null) {
                    assertNull(got.getProperty("_SYS_MSG_PRIORITY_"), new String(got.getBody()));
                } else {
                    assertEquals(row[3], got.getProperty("_SYS_MSG_PRIORITY_"), new String(got.getBody()));
                }
            }
        }
    }

    /** Messages of one group go to one queue by the client's choice, and the group travels with them. */
    @Test
    void theGroupOfAMessageTravelsWithIt() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(4);
            DefaultMQProducer producer = cluster.producer();
            Cluster.Inbox inbox = inbox(cluster, topic);
            List<String> bodies = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                String group = "group" + i % 3;
                producer.send(message(topic, "m" + i, "__SHARDINGKEY", group),
                        (queues, message, key) -> queues.get(Math.abs(key.hashCode()) % queues.size()), group);
                bodies.add("m" + i);
            }
            inbox.awaitBodies(bodies);
            assertTrue(inbox.messages.stream().allMatch(got ->
                    got.getProperty("__SHARDINGKEY").equals("group" + Integer.parseInt(new String(got.getBody()).substring(1)) % 3)));
            for (int g = 0; g < 3; g++) {
                String group = "group" + g;
                long queues = inbox.messages.stream().filter(got -> got.getProperty("__SHARDINGKEY").equals(group))
                        .map(MessageExt::getQueueId).distinct().count();
                assertEquals(1, queues, group);
            }
        }
    }
}
