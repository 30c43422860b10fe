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
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Light queues are in the log: they move with it, and go on, from our server to Apache's store and back. */
class LightStoreTest {
    private static final String TOPIC = "Moved";
    private static final String A = "%LMQ%a";
    private static final String B = "%LMQ%b";

    @TempDir
    Path dir;

    static String shown(long at, MessageExt message) {
        return at + " " + new String(message.getBody(), StandardCharsets.UTF_8) + " " + message.getTopic() + "/" + message.getQueueOffset()
            + " " + message.getProperty(MessageConst.PROPERTY_INNER_MULTI_DISPATCH) + " " + message.getProperty("INNER_MULTI_QUEUE_OFFSET");
    }

    @Test
    void apacheFindsOurLightQueuesAndWeFindApaches() throws Exception {
        Path ours = Files.createDirectories(dir.resolve("ours"));
        List<String> inA;
        List<String> inB;
        try (Kiruna server = Kiruna.start(ours)) {
            Kiruna.run("topic", "create", TOPIC, "--queues", "1", "-n", server.namesrv);
            DefaultMQProducer producer = StoreTest.producer(server.namesrv);
            for (int i = 0; i < 14; i++) {
                Message message = new Message(TOPIC, ("ours-" + i).getBytes(StandardCharsets.UTF_8));
                message.putUserProperty(MessageConst.PROPERTY_INNER_MULTI_DISPATCH, i % 4 == 0 ? B + "," + A : A);
                producer.send(message);
            }
            producer.shutdown();
            inA = pulled(server.namesrv, A, 14);
            inB = pulled(server.namesrv, B, 4);
            server.stop();
        }
        assertEquals("12 ours-12 Moved/12 %LMQ%b,%LMQ%a 3,12", inA.get(12));

        Path theirs = dir.resolve("theirs");
        StoreTest.moveLog(ours, theirs);
        try (ApacheStore store = new ApacheStore(theirs)) {
            assertEquals(inA, store.light(A), "what Apache's queues lead to");
            assertEquals(inB, store.light(B));
            for (int i = 0; i < 9; i++) {
                MessageExtBrokerInner message = StoreTest.inner(TOPIC, 0, "theirs-" + i, 10);
                message.setBody(("theirs-" + i).getBytes(StandardCharsets.UTF_8));
                MessageAccessor.putProperty(message, MessageConst.PROPERTY_INNER_MULTI_DISPATCH, B);
                message.setPropertiesString(MessageDecoder.messageProperties2String(message.getProperties()));
                assertEquals(14 + i, store.append(message));
            }
            inB = store.light(B);
            assertEquals(13, inB.size());
        }

        Path back = dir.resolve("back");
        StoreTest.moveLog(theirs, back);
        try (Kiruna server = Kiruna.start(back)) {
            Kiruna.run("topic", "create", TOPIC, "--queues", "1", "-n", server.namesrv);
            assertEquals(inA, pulled(server.namesrv, A, 14));
            assertEquals(inB, pulled(server.namesrv, B, 13));
            DefaultMQProducer producer = StoreTest.producer(server.namesrv);
            Message message = new Message(TOPIC, "goes on".getBytes(StandardCharsets.UTF_8));
            message.putUserProperty(MessageConst.PROPERTY_INNER_MULTI_DISPATCH, A + "," + B);
            producer.send(message);
            producer.shutdown();
            assertEquals("13 goes on Moved/23 %LMQ%a,%LMQ%b 14,13", pulled(server.namesrv, B, 14).get(13));
            server.stop();
        }
    }

    private static List<String> pulled(String namesrv, String name, int wanted) throws Exception {
        String broker = StoreTest.broker(namesrv);
        DefaultMQPullConsumer consumer = StoreTest.puller(namesrv);
        consumer.getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory().updateTopicRouteInfoFromNameServer(TOPIC);
        try {
            MessageQueue queue = new MessageQueue(name, broker, 0);
            List<String> found = new ArrayList<>();
            for (int i = 0; i < 200 && found.size() < wanted; i++) {
                PullResult result = consumer.pull(queue, "*", found.size(), 5);
                if (result.getPullStatus() != PullStatus.FOUND) {
                    Thread.sleep(50);
                    continue;
                }
                for (MessageExt message : result.getMsgFoundList()) {
                    found.add(shown(found.size(), message));
                }
                assertEquals(found.size(), result.getNextBeginOffset());
            }
            assertEquals(wanted, found.size(), name);
            return found;
        } finally {
            consumer.shutdown();
        }
    }
}
