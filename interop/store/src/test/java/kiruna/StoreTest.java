// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageExtBrokerInner;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A commit log moves from our server to Apache's store and back, and from Apache's store to our server. */
class StoreTest {
    private static final String TOPIC = "Moved";
    private static final String GROUP = "MovedGroup";
    private static final String RETRY = "%RETRY%" + GROUP;
    private static final int QUEUES = 4;
    private static final int DELAY_LEVEL = 9;

    @TempDir
    Path dir;

    @Test
    void apacheOpensOurLogAndWeOpenItAgain() throws Exception {
        Path ours = Files.createDirectories(dir.resolve("ours"));
        List<SendResult> acknowledged = new ArrayList<>();
        Map<String, MessageExt> served;
        try (Kiruna server = Kiruna.start(ours)) {
            Kiruna.run("topic", "create", TOPIC, "--queues", Integer.toString(QUEUES), "-n", server.namesrv);
            sendEverything(server.namesrv, acknowledged);
            served = sentBack(server.namesrv);
            served.putAll(pulled(server.namesrv, TOPIC, acknowledged.size() + 1));
            server.stop();
        }
        long records = Kiruna.verified(ours);
        assertTrue(files(ours) >= 3, "the log takes several files, " + files(ours));

        Path theirs = dir.resolve("theirs");
        moveLog(ours, theirs);
        Map<String, MessageExt> all;
        long next;
        try (ApacheStore store = new ApacheStore(theirs)) {
            Map<String, MessageExt> found = store.messages();
            all = new TreeMap<>(found);
            assertEquals(records, found.size(), "records in the log, and messages that Apache's queues lead to");
            assertSame(served, found);
            for (SendResult sent : acknowledged) {
                MessageQueue queue = sent.getMessageQueue();
                MessageExt message = found.get(queue.getTopic() + "/" + queue.getQueueId() + "/" + sent.getQueueOffset());
                assertEquals(sent.getOffsetMsgId().split(",")[0], MessageDecoder.createMessageId(message.getStoreHost(), message.getCommitLogOffset()));
            }
            assertEquals(1, store.found(TOPIC, "key-17"), "Apache's index of our log");
            assertEquals(10, store.found(TOPIC, "shared"));
            MessageExt delayed = found.get("SCHEDULE_TOPIC_XXXX/" + (DELAY_LEVEL - 1) + "/0");
            assertEquals(TOPIC, delayed.getProperty(MessageConst.PROPERTY_REAL_TOPIC));
            assertEquals(delayed.getStoreTimestamp() + 300_000, store.due(DELAY_LEVEL, 0), "when it is due");
            next = served.values().stream().filter(message -> message.getTopic().equals(TOPIC) && message.getQueueId() == 0).count();
            for (int i = 0; i < 150; i++) {
                assertEquals(next + i, store.append(inner(TOPIC, 0, "apache-" + i, 40_000)), "the queue goes on");
            }
        }

        Path later = dir.resolve("later");
        moveLog(ours, later);
        Files.delete(later.resolve("commitlog").resolve("0".repeat(20)));
        try (ApacheStore store = new ApacheStore(later)) {
            all.values().removeIf(message -> message.getCommitLogOffset() < Kiruna.SEGMENT);
            Map<String, MessageExt> found = store.messages();
            assertEquals(all.keySet(), found.keySet(), "what Apache finds when retention took the oldest file");
            assertSame(all, found);
        }

        Path back = dir.resolve("back");
        moveLog(theirs, back);
        assertEquals(records + 150, Kiruna.verified(back));
        try (Kiruna server = Kiruna.start(back)) {
            Map<String, MessageExt> again = pulled(server.namesrv, TOPIC, acknowledged.size() + 1 + 150);
            for (int i = 0; i < 150; i++) {
                MessageExt message = again.remove(TOPIC + "/0/" + (next + i));
                assertEquals("apache-" + i, message.getKeys());
            }
            again.putAll(pulled(server.namesrv, RETRY, 1));
            assertSame(again, served);
            server.stop();
        }
    }

    @Test
    void weOpenTheLogThatApacheWrote() throws Exception {
        Path theirs = dir.resolve("theirs");
        Files.createDirectories(theirs);
        Map<String, MessageExt> found;
        try (ApacheStore store = new ApacheStore(theirs)) {
            for (int i = 0; i < 500; i++) {
                long at = store.append(inner(TOPIC, i % QUEUES, "key-" + i, i % 10 == 0 ? 200_000 : 100 + i));
                assertEquals(i / QUEUES, at);
            }
            store.append(inner("L".repeat(127), 0, "long", 10));
            found = store.messages();
        }
        assertEquals(501, found.size());
        Path ours = dir.resolve("ours");
        moveLog(theirs, ours);
        assertEquals(501, Kiruna.verified(ours), "records that our tools find in Apache's log");
        assertTrue(files(ours) >= 2, "the log takes several files");
        try (Kiruna server = Kiruna.start(ours)) {
            // Apache's log does not tell topics; an operator makes them again.
            Kiruna.run("topic", "create", TOPIC, "--queues", Integer.toString(QUEUES), "-n", server.namesrv);
            found.keySet().removeIf(place -> !place.startsWith(TOPIC + "/"));
            assertSame(found, pulled(server.namesrv, TOPIC, 500));
            DefaultMQProducer producer = producer(server.namesrv);
            SendResult sent = producer.send(new Message(TOPIC, "goes on".getBytes(StandardCharsets.UTF_8)), new MessageQueue(TOPIC, broker(server.namesrv), 1));
            producer.shutdown();
            assertEquals(125, sent.getQueueOffset(), "the queue goes on");
            server.stop();
        }
    }

    private static void assertSame(Map<String, MessageExt> wanted, Map<String, MessageExt> found) {
        List<String> different = wanted.entrySet().stream()
            .map(entry -> {
                MessageExt other = found.get(entry.getKey());
                String want = Shown.of(entry.getValue());
                String have = other == null ? "nothing" : Shown.of(other);
                return want.equals(have) ? null : "wanted " + want + "\nfound  " + have;
            })
            .filter(text -> text != null)
            .collect(Collectors.toList());
        assertTrue(different.isEmpty(), () -> different.size() + " differ, such as\n" + different.get(0));
    }

    static DefaultMQProducer producer(String namesrv) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("MovedProducer");
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName(Long.toString(System.nanoTime()));
        producer.start();
        return producer;
    }

    static String broker(String namesrv) throws Exception {
        DefaultMQPullConsumer consumer = puller(namesrv);
        try {
            return consumer.fetchSubscribeMessageQueues(TOPIC).iterator().next().getBrokerName();
        } finally {
            consumer.shutdown();
        }
    }

    /** One of every kind that a client can send, and enough for several files. */
    private static void sendEverything(String namesrv, List<SendResult> acknowledged) throws Exception {
        DefaultMQProducer producer = producer(namesrv);
        try {
            for (int i = 0; i < 200; i++) {
                Message message = new Message(TOPIC, i % 3 == 0 ? "" : "tag" + i % 5, i < 10 ? "key-" + i + " shared" : "key-" + i, i, random(i, 20 + i), true);
                message.putUserProperty("name", "värde " + i + " \u65e5\u672c");
                    acknowledged.add(producer.send(message));
            }
            List<Message> batch = new ArrayList<>();
            for (int i = 0; i < 30; i++) {
                batch.add(new Message(TOPIC, "batch", "in-batch-" + i, ("part " + i).getBytes(StandardCharsets.UTF_8)));
            }
            SendResult together = producer.send(batch);
            for (int i = 0; i < 30; i++) {
                SendResult one = new SendResult(together.getSendStatus(), together.getMsgId().split(",")[i], together.getOffsetMsgId().split(",")[i],
                    together.getMessageQueue(), together.getQueueOffset() + i);
                acknowledged.add(one);
            }
            for (CompressionType type : CompressionType.values()) {
                producer.setCompressType(type);
                acknowledged.add(producer.send(new Message(TOPIC, "compressed", "by-" + type, "again and again ".repeat(2000).getBytes(StandardCharsets.UTF_8))));
            }
            producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
            for (int i = 0; i < 300; i++) {
                acknowledged.add(producer.send(new Message(TOPIC, "large", "large-" + i, random(i, 64_000))));
            }
            Message soon = new Message(TOPIC, "delayed", "soon", "a second".getBytes(StandardCharsets.UTF_8));
            soon.setDelayTimeLevel(1);
            producer.send(soon);
            Message late = new Message(TOPIC, "delayed", "late", "five minutes".getBytes(StandardCharsets.UTF_8));
            late.setDelayTimeLevel(DELAY_LEVEL);
            producer.send(late);
        } finally {
            producer.shutdown();
        }
    }

    /** A consumer fails once; returns what is in its retry topic then. */
    private static Map<String, MessageExt> sentBack(String namesrv) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(GROUP);
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(TOPIC, "tag1");
        consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            boolean fails = batch.get(0).getReconsumeTimes() == 0 && batch.get(0).getKeys().equals("key-31");
            return fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        try {
            return pulled(namesrv, RETRY, 1);
        } finally {
            consumer.shutdown();
        }
    }

    static DefaultMQPullConsumer puller(String namesrv) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("MovedAudit");
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(Long.toString(System.nanoTime()));
        consumer.start();
        return consumer;
    }

    /** Every message of a topic as a client gets it. */
    private static Map<String, MessageExt> pulled(String namesrv, String topic, int wanted) throws Exception {
        DefaultMQPullConsumer consumer = puller(namesrv);
        try {
            Map<String, MessageExt> found = new TreeMap<>();
            long end = System.nanoTime() + 20_000_000_000L;
            while (found.size() < wanted) {
                assertTrue(System.nanoTime() < end, topic + " has " + found.size() + " of " + wanted);
                for (MessageQueue queue : queues(consumer, topic)) {
                    pull(consumer, queue, found);
                }
            }
            assertEquals(wanted, found.size(), topic);
            return found;
        } finally {
            consumer.shutdown();
        }
    }

    /** None as long as the name server does not know the topic. */
    private static Set<MessageQueue> queues(DefaultMQPullConsumer consumer, String topic) throws InterruptedException {
        try {
            return consumer.fetchSubscribeMessageQueues(topic);
        } catch (MQClientException unknown) {
            Thread.sleep(50);
            return Set.of();
        }
    }

    private static void pull(DefaultMQPullConsumer consumer, MessageQueue queue, Map<String, MessageExt> found) throws Exception {
        PullResult result = consumer.pull(queue, "*", 0, 32);
        while (result.getPullStatus() == PullStatus.FOUND) {
            for (MessageExt message : result.getMsgFoundList()) {
                found.put(queue.getTopic() + "/" + queue.getQueueId() + "/" + message.getQueueOffset(), message);
            }
            result = consumer.pull(queue, "*", result.getNextBeginOffset(), 32);
        }
    }

    private static byte[] random(int seed, int length) {
        byte[] bytes = new byte[length];
        new Random(seed).nextBytes(bytes);
        return bytes;
    }

    static MessageExtBrokerInner inner(String topic, int queue, String key, int length) {
        MessageExtBrokerInner message = new MessageExtBrokerInner();
        message.setTopic(topic);
        message.setQueueId(queue);
        message.setKeys(key);
        message.setTags("tag");
        message.setBody(random(key.hashCode(), length));
        MessageAccessor.putProperty(message, MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, "UNIQUE" + key);
        message.setPropertiesString(MessageDecoder.messageProperties2String(message.getProperties()));
        message.setBornTimestamp(System.currentTimeMillis());
        message.setBornHost(new InetSocketAddress("127.0.0.1", 1234));
        message.setStoreHost(new InetSocketAddress("127.0.0.1", 10911));
        return message;
    }

    /** What an operator does: the files of the log, and nothing else, into an empty directory. */
    static void moveLog(Path from, Path to) throws IOException {
        Files.createDirectories(to.resolve("commitlog"));
        try (Stream<Path> files = Files.list(from.resolve("commitlog"))) {
            for (Path file : (Iterable<Path>) files::iterator) {
                Files.copy(file, to.resolve("commitlog").resolve(file.getFileName()));
            }
        }
    }

    private static long files(Path data) throws IOException {
        try (Stream<Path> files = Files.list(data.resolve("commitlog"))) {
            return files.count();
        }
    }
}
