// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageBatch;
import org.apache.rocketmq.common.message.MessageClientIDSetter;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

/** Topics that keep batches together (queue.type=BatchCQ). */
@SuppressWarnings("deprecation")
class InnerBatchTest {
    private static boolean takesApart() {
        try {
            TopicConfig.class.getMethod("setAttributes", Map.class);
            return true;
        } catch (NoSuchMethodException e) {
            return false;
        }
    }

    /** A batch with an id, which those of clients before 5.0 do not have by themselves. */
    private static MessageBatch whole(List<Message> list) {
        MessageBatch batch = MessageBatch.generateFromList(list);
        list.forEach(MessageClientIDSetter::setUniqID);
        MessageClientIDSetter.setUniqID(batch);
        batch.setBody(batch.encode());
        return batch;
    }

    private static DefaultMQPullConsumer puller(Cluster cluster, String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(Cluster.NAMESRV);
        consumer.setInstanceName(Cluster.name("i"));
        consumer.start();
        cluster.also(consumer::shutdown);
        return consumer;
    }

    /** Makes a topic that keeps batches together, also with clients that know no attributes of topics. */
    private static String topic(Cluster cluster, int queues) throws Exception {
        String topic = Cluster.name("B");
        HashMap<String, String> fields = new HashMap<>(Map.of("topic", topic, "defaultTopic", "TBW102", "perm", "6", "topicFilterType", "SINGLE_TAG",
            "topicSysFlag", "0", "order", "false", "attributes", "+queue.type=BatchCQ"));
        fields.put("readQueueNums", Integer.toString(queues));
        fields.put("writeQueueNums", Integer.toString(queues));
        RemotingCommand request = RemotingCommand.createRequestCommand(17, null);
        request.setExtFields(fields);
        DefaultMQAdminExt admin = cluster.admin();
        String broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().values().iterator().next().selectBrokerAddr();
        var client = puller(cluster, Cluster.name("G")).getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory().getMQClientAPIImpl();
        RemotingCommand answer = client.getRemotingClient().invokeSync(broker, request, 5000);
        assertEquals(0, answer.getCode(), answer.getRemark());
        Cluster.await("the route of " + topic, () -> {
            try {
                return !admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty();
            } catch (Exception e) {
                return false;
            }
        });
        return topic;
    }

    private static List<Message> messages(String topic, String tag, String... bodies) {
        List<Message> list = new ArrayList<>();
        for (String body : bodies) {
            list.add(new Message(topic, tag, body, body.getBytes()));
        }
        return list;
    }

    private static String body(MessageExt message) {
        return new String(message.getBody());
    }

    private static void stored(DefaultMQPullConsumer consumer, MessageQueue queue, long end) throws Exception {
        Cluster.await(end + " messages in " + queue, () -> {
            try {
                return consumer.maxOffset(queue) == end;
            } catch (Exception e) {
                throw new AssertionError(e);
            }
        });
    }

    @Test
    void aBatchIsOneRecordAndTakesAnOffsetForEachMessage() throws Exception {
        assumeTrue(takesApart(), "4.9 clients do not take batches apart");
        try (Cluster cluster = new Cluster()) {
            String topic = topic(cluster, 2);
            DefaultMQProducer producer = cluster.producer();
            DefaultMQPullConsumer consumer = puller(cluster, Cluster.name("G"));
            MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
            Set<String> ids = new TreeSet<>();
            for (int i = 0; i < 12; i++) {
                String[] bodies = new String[7];
                for (int j = 0; j < 7; j++) {
                    bodies[j] = Integer.toString(i * 7 + j);
                }
                SendResult sent = producer.send(messages(topic, "t", bodies), queue);
                assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
                assertEquals(i * 7, sent.getQueueOffset());
                assertEquals(queue, sent.getMessageQueue());
                assertEquals(1, sent.getMsgId().split(",").length);
                assertEquals(1, sent.getOffsetMsgId().split(",").length);
                ids.add(sent.getMsgId());
            }
            assertEquals(12, ids.size());
            stored(consumer, queue, 84);
            assertEquals(0, consumer.minOffset(queue));
            // From inside a batch: it comes whole, whoever asks, and never a part of one.
            Map<Long, MessageExt> found = new TreeMap<>();
            long next = 5;
            while (next < 84) {
                PullResult pulled = consumer.pull(queue, "*", next, 16);
                assertEquals(PullStatus.FOUND, pulled.getPullStatus());
                assertEquals(0, pulled.getNextBeginOffset() % 7);
                assertEquals(84, pulled.getMaxOffset());
                assertEquals(14, pulled.getMsgFoundList().size(), "two batches fit, three do not");
                pulled.getMsgFoundList().forEach(message -> found.put(message.getQueueOffset(), message));
                next = pulled.getNextBeginOffset();
            }
            assertEquals(84, found.size());
            found.forEach((offset, message) -> {
                assertEquals(Long.toString(offset), body(message));
                assertEquals(body(message), message.getKeys());
                assertEquals("t", message.getTags());
                assertEquals(topic, message.getTopic());
                assertEquals(queue.getQueueId(), message.getQueueId());
                MessageExt first = found.get(offset / 7 * 7);
                assertEquals(first.getStoreTimestamp(), message.getStoreTimestamp());
                assertEquals(first.getCommitLogOffset(), message.getCommitLogOffset());
                assertTrue(message.getMsgId().equals(first.getMsgId()) == (first == message), "each has an id of its own");
            });
            PullResult one = consumer.pull(queue, "*", 83, 1);
            assertEquals(7, one.getMsgFoundList().size());
            assertEquals(84, one.getNextBeginOffset());
            assertEquals(PullStatus.NO_NEW_MSG, consumer.pull(queue, "*", 84, 1).getPullStatus());
        }
    }

    @Test
    void aPushConsumerGetsEachMessageOnceAndItsProgressCountsMessages() throws Exception {
        assumeTrue(takesApart(), "4.9 clients do not take batches apart");
        try (Cluster cluster = new Cluster()) {
            String topic = topic(cluster, 4);
            String group = Cluster.name("G");
            DefaultMQProducer producer = cluster.producer();
            Cluster.Inbox inbox = new Cluster.Inbox();
            DefaultMQPushConsumer consumer = cluster.consumer(group);
            consumer.subscribe(topic, "*");
            consumer.setMessageListener(inbox);
            consumer.start();
            List<String> wanted = new ArrayList<>();
            for (int i = 0; i < 30; i++) {
                String[] bodies = new String[1 + i * 3];
                for (int j = 0; j < bodies.length; j++) {
                    bodies[j] = i + "-" + j;
                    wanted.add(bodies[j]);
                }
                producer.send(messages(topic, "t", bodies));
            }
            inbox.awaitBodies(wanted);
            TimeUnit.SECONDS.sleep(1);
            assertEquals(wanted.size(), inbox.messages.size(), "each once");
            DefaultMQAdminExt admin = cluster.admin();
            Cluster.await("the progress of " + group, () -> {
                try {
                    var stats = admin.examineConsumeStats(group, topic);
                    long consumed = stats.getOffsetTable().values().stream().mapToLong(offset -> offset.getConsumerOffset()).sum();
                    return consumed == wanted.size() && stats.computeTotalDiff() == 0;
                } catch (Exception e) {
                    return false;
                }
            });
            long stored = admin.examineTopicStats(topic).getOffsetTable().values().stream().mapToLong(offset -> offset.getMaxOffset()).sum();
            assertEquals(wanted.size(), stored);
        }
    }

    @Test
    void aMessageThatIsSentAloneIsThereToo() throws Exception {
        assumeTrue(takesApart(), "4.9 clients do not take batches apart");
        try (Cluster cluster = new Cluster()) {
            String topic = topic(cluster, 1);
            DefaultMQProducer producer = cluster.producer();
            DefaultMQPullConsumer consumer = puller(cluster, Cluster.name("G"));
            MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
            assertEquals(0, producer.send(new Message(topic, "t", "alone".getBytes())).getQueueOffset());
            assertEquals(1, producer.send(messages(topic, "t", "a", "b")).getQueueOffset());
            assertEquals(3, producer.send(new Message(topic, "t", "behind".getBytes())).getQueueOffset());
            stored(consumer, queue, 4);
            List<String> found = new ArrayList<>();
            consumer.pull(queue, "*", 0, 32).getMsgFoundList().forEach(message -> found.add(message.getQueueOffset() + body(message)));
            assertEquals(List.of("0alone", "1a", "2b", "3behind"), found);
            consumer.pull(queue, "t", 0, 32).getMsgFoundList().forEach(message -> found.add(body(message)));
            assertEquals(List.of("alone", "behind"), found.subList(4, found.size()), "a batch has no tag of its own");
        }
    }

    /** A broker looks at the tag of the batch, a client then at the tags in it. */
    @Test
    void tagsOfABatchAndInIt() throws Exception {
        assumeTrue(takesApart(), "4.9 clients do not take batches apart");
        try (Cluster cluster = new Cluster()) {
            String topic = topic(cluster, 1);
            DefaultMQProducer producer = cluster.producer();
            DefaultMQPullConsumer consumer = puller(cluster, Cluster.name("G"));
            MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
            producer.send(messages(topic, "red", "silent"));
            List<Message> list = messages(topic, "red", "r1", "r2");
            list.addAll(messages(topic, "blue", "b1"));
            MessageBatch batch = whole(list);
            batch.setTags("red");
            producer.send((Message) batch);
            stored(consumer, queue, 4);
            PullResult red = consumer.pull(queue, "red", 0, 32);
            List<String> found = new ArrayList<>();
            red.getMsgFoundList().forEach(message -> found.add(message.getQueueOffset() + body(message)));
            assertEquals(List.of("1r1", "2r2"), found);
            assertEquals(4, red.getNextBeginOffset());
            assertEquals(PullStatus.NO_MATCHED_MSG, consumer.pull(queue, "blue", 0, 32).getPullStatus());
        }
    }

    @Test
    void aMessageThatFailsIsTriedAgainWithoutTheOthers() throws Exception {
        assumeTrue(takesApart(), "4.9 clients do not take batches apart");
        try (Cluster cluster = new Cluster()) {
            String topic = topic(cluster, 1);
            DefaultMQProducer producer = cluster.producer();
            Map<String, Integer> times = new ConcurrentHashMap<>();
            Map<String, String> ids = new ConcurrentHashMap<>();
            List<String> wrong = new ArrayList<>();
            DefaultMQPushConsumer consumer = cluster.consumer(Cluster.name("G"));
            consumer.subscribe(topic, "*");
            consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
                MessageExt message = batch.get(0);
                int time = times.merge(body(message), 1, Integer::sum);
                String id = ids.putIfAbsent(body(message), message.getMsgId());
                if (message.getReconsumeTimes() != time - 1 || !message.getTopic().equals(topic) || id != null && !id.equals(message.getMsgId())) {
                    wrong.add(message.toString());
                }
                context.setDelayLevelWhenNextConsume(1);
                return time == 1 && body(message).startsWith("fails") ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
            producer.send(messages(topic, "t", "a", "fails1", "b", "fails2", "c"));
            Cluster.await("second tries, have " + times, () -> times.getOrDefault("fails1", 0) == 2 && times.getOrDefault("fails2", 0) == 2);
            TimeUnit.SECONDS.sleep(2);
            assertEquals(Map.of("a", 1, "b", 1, "c", 1, "fails1", 2, "fails2", 2), times);
            assertEquals(List.of(), wrong);
        }
    }

    @Test
    void offsetsByTimeAndMessagesById() throws Exception {
        assumeTrue(takesApart(), "4.9 clients do not take batches apart");
        try (Cluster cluster = new Cluster()) {
            String topic = topic(cluster, 1);
            DefaultMQProducer producer = cluster.producer();
            DefaultMQPullConsumer consumer = puller(cluster, Cluster.name("G"));
            MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
            SendResult first = producer.send(messages(topic, "t", "a", "b", "c"));
            TimeUnit.MILLISECONDS.sleep(50);
            long between = System.currentTimeMillis();
            TimeUnit.MILLISECONDS.sleep(50);
            producer.send(messages(topic, "t", "d", "e"));
            TimeUnit.MILLISECONDS.sleep(50);
            producer.send(messages(topic, "t", "f"));
            stored(consumer, queue, 6);
            assertEquals(3, consumer.searchOffset(queue, between));
            assertEquals(0, consumer.searchOffset(queue, between - 60_000));
            // The batch, which is what is stored under this id; its messages are found by it alone.
            for (String id : List.of(first.getMsgId(), first.getOffsetMsgId())) {
                MessageExt whole = cluster.admin().viewMessage(topic, id);
                assertEquals("3", whole.getProperty("INNER_NUM"));
                assertEquals("0", whole.getProperty("INNER_BASE"));
                assertEquals(first.getMsgId(), whole.getProperty("UNIQ_KEY"));
                assertEquals(0, whole.getQueueOffset());
            }
            assertEquals(6, cluster.admin().examineTopicStats(topic).getOffsetTable().get(queue).getMaxOffset());
        }
    }

    /** As with Apache: it is given what is stored, one message with all of them in its body. */
    @Test
    void aClientThatDoesNotKnowBatchesGetsTheWholeAsOneMessage() throws Exception {
        assumeTrue(!takesApart(), "5.x clients take batches apart");
        try (Cluster cluster = new Cluster()) {
            String topic = topic(cluster, 1);
            DefaultMQProducer producer = cluster.producer();
            DefaultMQPullConsumer consumer = puller(cluster, Cluster.name("G"));
            MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
            SendResult apart = producer.send(messages(topic, "t", "a", "b"));
            assertEquals(2, apart.getOffsetMsgId().split(",").length, "its own batches are taken apart");
            SendResult sent = producer.send((Message) whole(messages(topic, "t", "one", "two", "three")));
            assertEquals(2, sent.getQueueOffset());
            assertEquals(1, sent.getOffsetMsgId().split(",").length);
            stored(consumer, queue, 5);
            assertEquals("b", body(consumer.pull(queue, "*", 1, 1).getMsgFoundList().get(0)));
            PullResult pulled = consumer.pull(queue, "*", 3, 32);
            assertEquals(1, pulled.getMsgFoundList().size());
            assertEquals(5, pulled.getNextBeginOffset());
            MessageExt whole = pulled.getMsgFoundList().get(0);
            assertEquals("3", whole.getProperty("INNER_NUM"));
            assertTrue(body(whole).contains("two"));
            assertNotEquals("two", body(whole));
        }
    }
}
