// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullCallback;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/** Light queues, as a bridge to another protocol uses them. Apache's broker needs enableLmq and enableMultiDispatch. */
@SuppressWarnings("deprecation")
class LightTest {
    private static final String LIST = MessageConst.PROPERTY_INNER_MULTI_DISPATCH;
    private static final String OFFSETS = "INNER_MULTI_QUEUE_OFFSET";

    private static Message message(String topic, String tag, String body, String... lights) {
        Message message = new Message(topic, tag, body.getBytes());
        message.putUserProperty(LIST, String.join(",", lights));
        return message;
    }

    /** A consumer that reads queues which no name server knows, from the broker that the parent topic is on. */
    private static DefaultMQPullConsumer consumer(Cluster cluster, String group, String parent) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(Cluster.NAMESRV);
        consumer.setInstanceName(Cluster.name("i"));
        consumer.start();
        cluster.also(consumer::shutdown);
        consumer.getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory().updateTopicRouteInfoFromNameServer(parent);
        return consumer;
    }

    private static String light(String what) {
        return "%LMQ%" + Cluster.name(what);
    }

    /** What the record says its offset in a light queue is. */
    private static long offset(MessageExt message, String light) {
        List<String> names = Arrays.asList(message.getProperty(LIST).split(","));
        return Long.parseLong(message.getProperty(OFFSETS).split(",")[names.indexOf(light)]);
    }

    private static List<MessageExt> all(DefaultMQPullConsumer consumer, MessageQueue queue, String tag) throws Exception {
        List<MessageExt> found = new ArrayList<>();
        long from = consumer.minOffset(queue);
        while (from < consumer.maxOffset(queue)) {
            PullResult pulled = consumer.pull(queue, tag, from, 7);
            if (pulled.getPullStatus() == PullStatus.FOUND) {
                found.addAll(pulled.getMsgFoundList());
            }
            assertTrue(pulled.getNextBeginOffset() > from, pulled.toString());
            from = pulled.getNextBeginOffset();
        }
        return found;
    }

    @Test
    void aMessageIsStoredOnceAndReadFromEachLightQueue() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String parent = cluster.topic(2);
            DefaultMQProducer producer = cluster.producer();
            String a = light("a");
            String b = light("b");
            List<String> inA = new ArrayList<>();
            List<String> inB = new ArrayList<>();
            String broker = null;
            for (int i = 0; i < 24; i++) {
                boolean both = i % 2 == 0;
                Message message = message(parent, i % 3 == 0 ? "red" : "blue", "m" + i, both ? new String[] {b, a} : new String[] {a});
                if (i == 5) {
                    MessageAccessor.putProperty(message, OFFSETS, "9999");
                }
                SendResult sent = producer.send(message);
                broker = sent.getMessageQueue().getBrokerName();
                inA.add("m" + i);
                if (both) {
                    inB.add("m" + i);
                }
            }
            DefaultMQPullConsumer consumer = consumer(cluster, Cluster.name("G"), parent);
            for (var expected : List.of(java.util.Map.entry(a, inA), java.util.Map.entry(b, inB))) {
                MessageQueue queue = new MessageQueue(expected.getKey(), broker, 0);
                Cluster.await("all messages of " + queue, () -> {
                    try {
                        return consumer.maxOffset(queue) == expected.getValue().size();
                    } catch (Exception e) {
                        throw new AssertionError(e);
                    }
                });
                assertEquals(0, consumer.minOffset(queue));
                List<MessageExt> found = all(consumer, queue, "*");
                List<String> bodies = new ArrayList<>();
                for (MessageExt message : found) {
                    assertEquals(bodies.size(), offset(message, expected.getKey()));
                    assertEquals(parent, message.getTopic());
                    bodies.add(new String(message.getBody()));
                }
                assertEquals(expected.getValue(), bodies);
            }
            List<MessageExt> red = all(consumer, new MessageQueue(a, broker, 0), "red");
            assertEquals(8, red.size());
            long stored = 0;
            for (MessageQueue queue : producer.fetchPublishMessageQueues(parent)) {
                stored += consumer.maxOffset(queue);
            }
            assertEquals(24, stored, "each is stored once");
        }
    }

    @Test
    void aReaderThatWaitsIsWokenAndProgressIsKept() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String parent = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            String a = light("a");
            String broker = producer.send(message(parent, "t", "first", a)).getMessageQueue().getBrokerName();
            MessageQueue queue = new MessageQueue(a, broker, 0);
            DefaultMQPullConsumer consumer = consumer(cluster, light("G"), parent);
            CompletableFuture<PullResult> woken = new CompletableFuture<>();
            consumer.pullBlockIfNotFound(queue, "*", 1, 32, new PullCallback() {
                @Override
                public void onSuccess(PullResult result) {
                    woken.complete(result);
                }

                @Override
                public void onException(Throwable e) {
                    woken.completeExceptionally(e);
                }
            });
            TimeUnit.MILLISECONDS.sleep(500);
            producer.send(message(parent, "t", "other", light("b")));
            producer.send(message(parent, "t", "second", light("c"), a));
            PullResult pulled = woken.get(10, TimeUnit.SECONDS);
            assertEquals(PullStatus.FOUND, pulled.getPullStatus());
            assertEquals("second", new String(pulled.getMsgFoundList().get(0).getBody()));
            assertEquals(2, pulled.getNextBeginOffset());
            consumer.updateConsumeOffset(queue, 2);
            consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persist(queue);
            Cluster.await("the progress of " + queue, () -> {
                try {
                    return consumer.fetchConsumeOffset(queue, true) == 2;
                } catch (Exception e) {
                    throw new AssertionError(e);
                }
            });
        }
    }

    @Test
    void aDelayedMessageIsInItsLightQueuesWhenItsTimeHasCome() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String parent = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            String a = light("a");
            Message later = message(parent, "t", "later", a);
            later.setDelayTimeLevel(2);
            String broker = producer.send(later).getMessageQueue().getBrokerName();
            producer.send(message(parent, "t", "now", a));
            MessageQueue queue = new MessageQueue(a, broker, 0);
            DefaultMQPullConsumer consumer = consumer(cluster, Cluster.name("G"), parent);
            Cluster.await("both messages of " + queue, () -> {
                try {
                    return consumer.maxOffset(queue) == 2;
                } catch (Exception e) {
                    throw new AssertionError(e);
                }
            });
            List<MessageExt> found = all(consumer, queue, "*");
            assertEquals("now", new String(found.get(0).getBody()));
            assertEquals("later", new String(found.get(1).getBody()));
            assertEquals(1, offset(found.get(1), a));
        }
    }
}
