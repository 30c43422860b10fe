// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;

/** A request that waits for its reply: the asking client gets it pushed by the broker. */
class RequestTest {
    private static final long LIMIT = 30_000;

    /** Answers every request with its body and a mark, and keeps what became of the answers. */
    private static final class Answering implements AutoCloseable {
        final BlockingQueue<SendResult> sent = new LinkedBlockingQueue<>();
        final Set<String> asked = ConcurrentHashMap.newKeySet();
        private final Cluster cluster = new Cluster();

        Answering(String topic) throws Exception {
            DefaultMQProducer producer = cluster.producer();
            var consumer = cluster.consumer(Cluster.name("G"));
            consumer.subscribe(topic, "*");
            consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
                for (MessageExt request : batch) {
                    String body = new String(request.getBody());
                    asked.add(body.length() > 100 ? "long" : body);
                    try {
                        Message reply = MessageUtil.createReplyMessage(request, ("re: " + body).getBytes());
                        reply.putUserProperty("mark", "mine");
                        sent.add(producer.send(reply, 10_000));
                    } catch (Exception e) {
                        throw new IllegalStateException(e);
                    }
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
        }

        @Override
        public void close() throws Exception {
            cluster.close();
        }
    }

    @Test
    void aRequestGetsItsReply() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            try (Answering answering = new Answering(topic)) {
                DefaultMQProducer producer = cluster.producer();
                Message request = new Message(topic, "what?".getBytes());
                Message reply = producer.request(request, LIMIT);
                assertEquals("re: what?", new String(reply.getBody()));
                assertEquals("mine", reply.getUserProperty("mark"));
                assertEquals("reply", reply.getProperty("MSG_TYPE"));
                assertEquals(request.getProperty("CORRELATION_ID"), reply.getProperty("CORRELATION_ID"));
                assertNotNull(reply.getProperty("PUSH_REPLY_TIME"));
                assertTrue(reply.getTopic().endsWith("_REPLY_TOPIC"), reply.getTopic());
                SendResult sent = answering.sent.poll(10, TimeUnit.SECONDS);
                assertNotNull(sent);
                assertTrue(sent.getMessageQueue().getTopic().endsWith("_REPLY_TOPIC"));
                for (int i = 0; i < 20; i++) {
                    Message one = producer.request(new Message(topic, ("q" + i).getBytes()), LIMIT);
                    assertEquals("re: q" + i, new String(one.getBody()));
                }
            }
        }
    }

    @Test
    void aLongReplyTravelsCompressed() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            try (Answering answering = new Answering(topic)) {
                String body = "abc".repeat(20_000);
                Message reply = cluster.producer().request(new Message(topic, body.getBytes()), LIMIT);
                assertEquals("re: " + body, new String(reply.getBody()));
                assertEquals(Set.of("long"), answering.asked);
            }
        }
    }

    @Test
    void aRequestMayGoOnMeanwhile() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            try (Answering answering = new Answering(topic)) {
                DefaultMQProducer producer = cluster.producer();
                for (String body : new String[] {"one", "two"}) {
                    // The official client calls back with nothing if its send is answered before the reply is there.
                    Message reply = ask(producer, topic, body).get(LIMIT, TimeUnit.MILLISECONDS);
                    assertTrue(reply == null || new String(reply.getBody()).equals("re: " + body));
                    assertNotNull(answering.sent.poll(10, TimeUnit.SECONDS), "the reply was taken");
                }
                assertEquals(Set.of("one", "two"), answering.asked);
            }
        }
    }

    private static CompletableFuture<Message> ask(DefaultMQProducer producer, String topic, String body) throws Exception {
        CompletableFuture<Message> answer = new CompletableFuture<>();
        producer.request(new Message(topic, body.getBytes()), new RequestCallback() {
            @Override
            public void onSuccess(Message message) {
                answer.complete(message);
            }

            @Override
            public void onException(Throwable e) {
                answer.completeExceptionally(e);
            }
        }, LIMIT);
        return answer;
    }

    @Test
    void nobodyAnswersInTime() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            assertThrows(RequestTimeoutException.class, () -> producer.request(new Message(topic, "?".getBytes()), 1500));
        }
    }

    private static String replyTopic(Cluster cluster) throws Exception {
        return cluster.admin().examineBrokerClusterInfo().getClusterAddrTable().keySet().iterator().next() + "_REPLY_TOPIC";
    }

    private static Message reply(String topic, String client) {
        Message reply = new Message(topic, "late".getBytes());
        MessageAccessor.putProperty(reply, "MSG_TYPE", "reply");
        MessageAccessor.putProperty(reply, "CORRELATION_ID", "nobody knows it");
        if (client != null) {
            MessageAccessor.putProperty(reply, "REPLY_TO_CLIENT", client);
        }
        return reply;
    }

    @Test
    void aReplyForNobodyIsRefusedAndStored() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = replyTopic(cluster);
            DefaultMQProducer producer = cluster.producer();
            producer.setRetryTimesWhenSendFailed(0);
            long before = stored(cluster, topic);
            refused(producer, reply(topic, "10.0.0.1@gone"), "push reply message fail, channel of <10.0.0.1@gone> not found.");
            refused(producer, reply(topic, null), "reply message properties[REPLY_TO_CLIENT] is null");
            Cluster.await("both in the log", () -> {
                try {
                    return stored(cluster, topic) >= before + 2;
                } catch (Exception e) {
                    return false;
                }
            });
        }
    }

    private static void refused(DefaultMQProducer producer, Message reply, String why) {
        var failed = assertThrows(MQClientException.class, () -> producer.send(reply));
        MQBrokerException refused = (MQBrokerException) failed.getCause();
        assertEquals(1, refused.getResponseCode());
        assertEquals(why, refused.getErrorMessage());
    }

    private static long stored(Cluster cluster, String topic) throws Exception {
        long[] total = {0};
        cluster.admin().examineTopicStats(topic).getOffsetTable().values().forEach(queue -> total[0] += queue.getMaxOffset());
        return total[0];
    }

    /** A client that waits for something else takes the push, so its replier is told that all is well. */
    @Test
    void aReplyThatCameTooLateIsTaken() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            DefaultMQProducer asking = cluster.producer();
            assertThrows(RequestTimeoutException.class, () -> asking.request(new Message(topic, "?".getBytes()), 3000));
            DefaultMQProducer producer = cluster.producer();
            String client = asking.getDefaultMQProducerImpl().getMqClientFactory().getClientId();
            SendResult sent = producer.send(reply(replyTopic(cluster), client));
            assertNotNull(sent);
            assertNull(sent.getTransactionId());
        }
    }
}
