// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;

class SendTest {
    @Test
    void everyWayToSendArrivesOnce() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(4);
            DefaultMQProducer producer = cluster.producer();
            Cluster.Inbox inbox = new Cluster.Inbox();
            var consumer = cluster.consumer(Cluster.name("G"));
            consumer.subscribe(topic, "*");
            consumer.setMessageListener(inbox);
            consumer.start();

            Set<String> sent = new HashSet<>();
            SendResult sync = producer.send(message(topic, "sync", sent));
            assertEquals(SendStatus.SEND_OK, sync.getSendStatus());
            assertNotNull(sync.getOffsetMsgId());
            CountDownLatch done = new CountDownLatch(20);
            AtomicReference<Throwable> failure = new AtomicReference<>();
            for (int i = 0; i < 20; i++) {
                producer.send(message(topic, "async" + i, sent), new SendCallback() {
                    @Override
                    public void onSuccess(SendResult result) {
                        done.countDown();
                    }

                    @Override
                    public void onException(Throwable e) {
                        failure.set(e);
                        done.countDown();
                    }
                });
            }
            assertTrue(done.await(20, TimeUnit.SECONDS));
            assertEquals(null, failure.get());
            for (int i = 0; i < 10; i++) {
                producer.sendOneway(message(topic, "oneway" + i, sent));
            }
            List<Message> batch = new ArrayList<>();
            for (int i = 0; i < 32; i++) {
                batch.add(message(topic, "batch" + i, sent));
            }
            SendResult batched = producer.send(batch);
            assertEquals(32, batched.getMsgId().split(",").length);
            assertEquals(32, batched.getOffsetMsgId().split(",").length);
            for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
                SendResult result = producer.send(message(topic, "queue" + queue.getQueueId(), sent), queue);
                assertEquals(queue.getQueueId(), result.getMessageQueue().getQueueId());
            }
            SendResult selected = producer.send(
                    message(topic, "selected", sent), (queues, m, arg) -> queues.get((Integer) arg), 2);
            assertEquals(2, selected.getMessageQueue().getQueueId());

            inbox.awaitBodies(sent);
            assertEquals(sent.size(), inbox.messages.size());
        }
    }

    @Test
    void whatWasSentComesBackWhole() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            byte[] body = new byte[200_000];
            new Random(7).nextBytes(body);
            Arrays.fill(body, 0, 100_000, (byte) 'a');
            Message message = new Message(topic, "tagé", "key1 key2", body);
            message.setFlag(42);
            message.putUserProperty("quote", "a \"b\" \\ c\n\t日本 \uD83D\uDE00");
            SendResult sent = producer.send(message);

            Cluster.Inbox inbox = new Cluster.Inbox();
            var consumer = cluster.consumer(Cluster.name("G"));
            consumer.subscribe(topic, "*");
            consumer.setMessageListener(inbox);
            consumer.start();
            MessageExt got = inbox.messages.poll(90, TimeUnit.SECONDS);
            assertNotNull(got);
            assertArrayEquals(body, got.getBody());
            assertEquals("tagé", got.getTags());
            assertEquals("key1 key2", got.getKeys());
            assertEquals(42, got.getFlag());
            assertEquals("a \"b\" \\ c\n\t日本 \uD83D\uDE00", got.getUserProperty("quote"));
            assertEquals(sent.getMsgId(), got.getMsgId());
            assertEquals(sent.getQueueOffset(), got.getQueueOffset());
            assertEquals(topic, got.getTopic());
            assertEquals(0, got.getReconsumeTimes());
            assertTrue(got.getStoreTimestamp() >= got.getBornTimestamp() - 1000);
        }
    }

    @Test
    void anUnknownTopicIsCreatedOnFirstSend() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = Cluster.name("AUTO");
            DefaultMQProducer producer = cluster.producer();
            SendResult result = producer.send(new Message(topic, "hello".getBytes()));
            assertEquals(SendStatus.SEND_OK, result.getSendStatus());
            DefaultMQAdminExt admin = cluster.admin();
            Cluster.await("the route", () -> {
                try {
                    return admin.examineTopicRouteInfo(topic).getQueueDatas().get(0).getWriteQueueNums() == 4;
                } catch (Exception e) {
                    return false;
                }
            });
        }
    }

    @Test
    void whatIsRefusedSaysWhy() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            producer.setMaxMessageSize(8 << 20);
            producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
            MQBrokerException tooLarge = assertThrows(
                    MQBrokerException.class, () -> producer.send(new Message(topic, new byte[(4 << 20) + 1])));
            assertEquals(13, tooLarge.getResponseCode());
            assertThrows(MQClientException.class, () -> producer.send(new Message("bad topic!", new byte[1])));
            MessageQueue missing = new MessageQueue(
                    topic, producer.fetchPublishMessageQueues(topic).get(0).getBrokerName(), 77);
            assertEquals(29, assertThrows(
                    MQBrokerException.class, () -> producer.send(new Message(topic, new byte[1]), missing)).getResponseCode());
        }
    }

    @Test
    void messagesAreFoundByIdUniqueIdAndKey() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            DefaultMQProducer producer = cluster.producer();
            String key = Cluster.name("K");
            SendResult sent = producer.send(new Message(topic, "t", key + " other", "find me".getBytes()));
            producer.send(new Message(topic, "t", "unrelated", "not me".getBytes()));
            DefaultMQAdminExt admin = cluster.admin();
            assertEquals("find me", new String(admin.viewMessage(topic, sent.getOffsetMsgId()).getBody()));
            Cluster.await("the unique id", () -> {
                try {
                    return "find me".equals(new String(admin.viewMessage(topic, sent.getMsgId()).getBody()));
                } catch (Exception e) {
                    return false;
                }
            });
            var found = admin.queryMessage(topic, key, 10, 0, System.currentTimeMillis() + 10_000).getMessageList();
            assertEquals(1, found.size());
            assertEquals("find me", new String(found.get(0).getBody()));
        }
    }

    private static Message message(String topic, String body, Set<String> sent) {
        sent.add(body);
        return new Message(topic, body.getBytes());
    }
}
