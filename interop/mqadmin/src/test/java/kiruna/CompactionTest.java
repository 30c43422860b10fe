// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/**
 * Topics that keep the latest message of each key. Apache's broker needs compactionCqMappedFileSize=4600,
 * compactionMappedFileSize=23000 and compactionScheduleInternal=1000 to do it within a test.
 */
@SuppressWarnings("deprecation")
class CompactionTest {
    private static final int KEYS = 5;

    private static Message message(String topic, int number) {
        String body = "v" + number + "-" + "x".repeat(200);
        return new Message(topic, "t", "k" + number % KEYS, body.getBytes());
    }

    private static int number(byte[] body) {
        String text = new String(body);
        return Integer.parseInt(text.substring(1, text.indexOf('-')));
    }

    private static void push(String topic, Map<String, Integer> latest) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(Tools.name("COMPACT_G"));
        consumer.setNamesrvAddr(Tools.NAMESRV);
        consumer.setInstanceName(Tools.name("i"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
            batch.forEach(message -> latest.merge(message.getKeys(), number(message.getBody()), Math::max));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        try {
            Tools.await("the latest of each key", () -> latest.size() == KEYS && latest.values().stream().allMatch(n -> n >= 300 - KEYS));
        } finally {
            consumer.shutdown();
        }
    }

    /** Everything from an offset on, as long as the broker says that there is more. */
    private static List<MessageExt> pull(DefaultMQPullConsumer consumer, MessageQueue queue, long from) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        for (int round = 0; round < 1000; round++) {
            PullResult result = consumer.pull(queue, "*", from, 32);
            if (result.getPullStatus() == PullStatus.NO_NEW_MSG) {
                return all;
            }
            assertTrue(result.getPullStatus() == PullStatus.FOUND || result.getPullStatus() == PullStatus.NO_MATCHED_MSG, "at " + from + ": " + result);
            assertTrue(result.getNextBeginOffset() > from, "a reader gets on: " + result);
            if (result.getPullStatus() == PullStatus.FOUND) {
                all.addAll(result.getMsgFoundList());
            }
            from = result.getNextBeginOffset();
        }
        throw new AssertionError("no end");
    }

    private static void check(List<MessageExt> found, long from) {
        Map<String, Integer> latest = new HashMap<>();
        long before = from - 1;
        for (MessageExt message : found) {
            assertTrue(message.getQueueOffset() > before, "offsets rise");
            before = message.getQueueOffset();
            assertEquals(before, number(message.getBody()), "each message has the offset that it had");
            latest.put(message.getKeys(), number(message.getBody()));
        }
        assertEquals(KEYS, latest.size(), "each key is there");
        assertTrue(latest.values().stream().allMatch(n -> n >= 300 - KEYS), "with its latest message: " + latest);
    }

    @Test
    void theLatestOfEachKeyIsThereAndTheOthersGo() throws Exception {
        String[] cluster = Tools.clusterAndBroker();
        String topic = Tools.name("COMPACT");
        String made = Tools.mqadmin("updateTopic", "-b", cluster[1], "-t", topic, "-r", "1", "-w", "1", "-a", "+cleanup.policy=COMPACTION");
        assertTrue(made.contains("success"), made);
        DefaultMQProducer producer = Tools.producer();
        DefaultMQPullConsumer puller = new DefaultMQPullConsumer(Tools.name("COMPACT_G"));
        puller.setNamesrvAddr(Tools.NAMESRV);
        puller.setInstanceName(Tools.name("i"));
        puller.start();
        try {
            Tools.await("the route", () -> {
                try {
                    return !producer.fetchPublishMessageQueues(topic).isEmpty();
                } catch (Exception e) {
                    return false;
                }
            });
            MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(new Message(topic, "no key".getBytes())));
            assertEquals(13, refused.getResponseCode());
            assertTrue(refused.getErrorMessage().contains("Required message key is missing"), refused.getErrorMessage());
            for (int number = 0; number < 300; number++) {
                producer.send(message(topic, number));
            }
            push(topic, new ConcurrentHashMap<>());
            MessageQueue queue = puller.fetchSubscribeMessageQueues(topic).iterator().next();
            check(pull(puller, queue, 0), 0);
            Tools.await("messages that are not the latest of their key to go", () -> pull(puller, queue, 0).size() < 300);
            List<MessageExt> left = pull(puller, queue, 0);
            check(left, 0);
            // From the middle of what is gone.
            check(pull(puller, queue, 1), 1);
            push(topic, new ConcurrentHashMap<>());
            String again = Tools.mqadmin("updateTopic", "-b", cluster[1], "-t", topic, "-a", "+cleanup.policy=DELETE");
            assertFalse(again.contains("success"), "it is fixed: " + again);
        } finally {
            puller.shutdown();
            producer.shutdown();
        }
    }
}
