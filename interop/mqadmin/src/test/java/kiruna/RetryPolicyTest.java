// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.Test;

/** Retry policies as updateSubGroup sets them, and as an unmodified consumer then sees its failed messages again. */
class RetryPolicyTest {
    private static final String NAMESRV = MqadminTest.NAMESRV;
    private static final String RUN = Long.toString(System.nanoTime() % 10_000_000, 36);

    @Test
    void aPolicyIsObeyed() throws Exception {
        obeys("RX", "{\"type\":\"EXPONENTIAL\",\"exponentialRetryPolicy\":{\"initial\":300,\"max\":1000,\"multiplier\":2}}",
                300, 600, 1000);
        obeys("RC", "{\"type\":\"CUSTOMIZED\",\"customizedRetryPolicy\":{\"next\":[1,1,400,800,1200]}}", 400, 800, 1200);
    }

    private static void obeys(String name, String policy, long... waits) throws Exception {
        String topic = name + "_T_" + RUN;
        String group = name + "_G_" + RUN;
        String cluster = "DefaultCluster";
        MqadminTest.admin("updateTopic", "-c", cluster, "-t", topic, "-r", "1", "-w", "1");
        String set = MqadminTest.admin("updateSubGroup", "-c", cluster, "-g", group, "-r", "3", "-p", policy);
        assertTrue(set.contains("success"), set);
        List<Long> waited = new CopyOnWriteArrayList<>();
        AtomicLong failed = new AtomicLong();
        List<Integer> attempts = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setInstanceName(group);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setMaxReconsumeTimes(3);
        consumer.setPollNameServerInterval(1000);
        consumer.subscribe(topic, "*");
        consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
            // From one failure to the moment at which the next try is there; the clocks are the same.
            waited.add(batch.get(0).getStoreTimestamp() - failed.getAndSet(System.currentTimeMillis()));
            attempts.add(batch.get(0).getReconsumeTimes());
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        DefaultMQProducer producer = new DefaultMQProducer(name + "_P_" + RUN);
        producer.setNamesrvAddr(NAMESRV);
        producer.setInstanceName(name + "_P_" + RUN);
        producer.start();
        try {
            MqadminTest.await("the route", () -> {
                try {
                    producer.send(new Message(topic, "fails".getBytes()));
                    return true;
                } catch (Exception e) {
                    return false;
                }
            });
            MqadminTest.await("all attempts", () -> attempts.size() == 4);
        } finally {
            consumer.shutdown();
            producer.shutdown();
        }
        assertEquals(List.of(0, 1, 2, 3), new ArrayList<>(attempts));
        for (int i = 0; i < waits.length; i++) {
            long wait = waited.get(i + 1);
            assertTrue(wait >= waits[i] && wait < waits[i] + 5000, "retry " + i + " came after " + wait + " ms");
        }
    }
}
