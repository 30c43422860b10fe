// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageExtBrokerInner;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Inner batches are in the log: they move with it, and go on, from our server to Apache's store and back. */
class InnerBatchStoreTest {
    private static final String TOPIC = "Moved";

    @TempDir
    Path dir;

    private static List<Message> batch(int first, int count) {
        List<Message> list = new ArrayList<>();
        for (int i = first; i < first + count; i++) {
            list.add(new Message(TOPIC, Integer.toString(i).getBytes(StandardCharsets.UTF_8)));
        }
        return list;
    }

    /** What a record says of itself, and what is in it. */
    static String shown(MessageExt message) throws Exception {
        StringBuilder text = new StringBuilder(message.getQueueOffset() + " " + message.getProperty("INNER_BASE") + " " + message.getProperty("INNER_NUM"));
        List<MessageExt> inside = new ArrayList<>();
        MessageDecoder.decodeMessage(message, inside);
        inside.forEach(one -> text.append(' ').append(new String(one.getBody(), StandardCharsets.UTF_8)));
        return text.toString();
    }

    private static void create(Kiruna server) throws Exception {
        Kiruna.run("topic", "create", TOPIC, "--queues", "1", "--attribute", "queue.type=BatchCQ", "-n", server.namesrv);
    }

    @Test
    void apacheFindsOurBatchesAndWeFindApaches() throws Exception {
        Path ours = Files.createDirectories(dir.resolve("ours"));
        List<String> expected = new ArrayList<>();
        int next = 0;
        try (Kiruna server = Kiruna.start(ours)) {
            create(server);
            DefaultMQProducer producer = StoreTest.producer(server.namesrv);
            for (int count : new int[] {1, 8, 3, 100, 2}) {
                assertEquals(next, producer.send(batch(next, count)).getQueueOffset());
                expected.add(line(next, count));
                next += count;
            }
            producer.shutdown();
            assertEquals(next, pulled(server.namesrv, next));
            server.stop();
        }
        long records = Kiruna.verified(ours);

        Path theirs = dir.resolve("theirs");
        StoreTest.moveLog(ours, theirs);
        try (ApacheStore store = new ApacheStore(theirs, TOPIC)) {
            assertEquals(expected, store.batches(TOPIC), "what Apache's queue leads to");
            for (int count : new int[] {5, 1, 40}) {
                MessageExtBrokerInner message = StoreTest.inner(TOPIC, 0, "theirs-" + next, 10);
                List<Message> list = batch(next, count);
                message.setBody(MessageDecoder.encodeMessages(list));
                message.setSysFlag(MessageSysFlag.INNER_BATCH_FLAG | MessageSysFlag.NEED_UNWRAP_FLAG);
                MessageAccessor.putProperty(message, MessageConst.PROPERTY_INNER_NUM, Integer.toString(count));
                message.setPropertiesString(MessageDecoder.messageProperties2String(message.getProperties()));
                assertEquals(next, store.append(message));
                expected.add(line(next, count));
                next += count;
            }
            assertEquals(expected, store.batches(TOPIC));
        }

        Path back = dir.resolve("back");
        StoreTest.moveLog(theirs, back);
        assertEquals(records + 3, Kiruna.verified(back));
        try (Kiruna server = Kiruna.start(back)) {
            assertEquals(next, pulled(server.namesrv, next));
            DefaultMQProducer producer = StoreTest.producer(server.namesrv);
            assertEquals(next, producer.send(batch(next, 4)).getQueueOffset(), "offsets go on");
            assertEquals(next + 4, producer.send(batch(next + 4, 1).get(0)).getQueueOffset());
            next += 5;
            producer.shutdown();
            assertEquals(next, pulled(server.namesrv, next));
            server.stop();
        }
        Kiruna.run("store", "rebuild", "--data-dir", back.toString());
        try (Kiruna server = Kiruna.start(back)) {
            assertEquals(next, pulled(server.namesrv, next));
            server.stop();
        }
    }

    private static String line(int first, int count) {
        StringBuilder text = new StringBuilder(first + " " + first + " " + count);
        for (int i = first; i < first + count; i++) {
            text.append(' ').append(i);
        }
        return text.toString();
    }

    /** Pulls until `wanted` messages came, each at the offset that its body names; returns how many came. */
    private static long pulled(String namesrv, int wanted) throws Exception {
        String broker = StoreTest.broker(namesrv);
        DefaultMQPullConsumer consumer = StoreTest.puller(namesrv);
        try {
            MessageQueue queue = new MessageQueue(TOPIC, broker, 0);
            long found = 0;
            for (int i = 0; i < 200 && found < wanted; i++) {
                PullResult result = consumer.pull(queue, "*", found, 32);
                if (result.getPullStatus() != PullStatus.FOUND) {
                    Thread.sleep(50);
                    continue;
                }
                for (MessageExt message : result.getMsgFoundList()) {
                    assertEquals(found, message.getQueueOffset());
                    assertEquals(Long.toString(found++), new String(message.getBody(), StandardCharsets.UTF_8));
                }
                assertEquals(found, result.getNextBeginOffset());
            }
            return found;
        } finally {
            consumer.shutdown();
        }
    }
}
