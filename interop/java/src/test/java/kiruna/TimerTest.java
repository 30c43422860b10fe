// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;

/** Messages with a delivery time of their own, and taking them back. What 4.9 clients have no method for they say by properties. */
class TimerTest {
    private static Message message(String topic, String body) {
        return new Message(topic, body.getBytes());
    }

    private static Message timed(String topic, String body, String property, long value) {
        Message message = message(topic, body);
        MessageAccessor.putProperty(message, property, Long.toString(value));
        return message;
    }

    private static boolean isNew() {
        try {
            Message.class.getMethod("setDelayTimeMs", long.class);
            return true;
        } catch (NoSuchMethodException e) {
            return false;
        }
    }

    private static Message set(Message message, String method, long value) throws Exception {
        Message.class.getMethod(method, long.class).invoke(message, value);
        return message;
    }

    private static String handle(SendResult result) throws Exception {
        return (String) SendResult.class.getMethod("getRecallHandle").invoke(result);
    }

    /** The same handle, but for another topic. */
    private static String readdressed(String handle, String topic, String other) {
        String words = new String(Base64.getUrlDecoder().decode(handle), StandardCharsets.UTF_8);
        return Base64.getUrlEncoder().encodeToString(words.replace(" " + topic + " ", " " + other + " ").getBytes(StandardCharsets.UTF_8));
    }

    private static String recall(DefaultMQProducer producer, String topic, String handle) throws Throwable {
        try {
            var method = DefaultMQProducer.class.getMethod("recallMessage", String.class, String.class);
            return (String) method.invoke(producer, topic, handle);
        } catch (InvocationTargetException e) {
            throw e.getCause();
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
    void everyWayToSayWhenIsNeverEarly() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            DefaultMQProducer producer = cluster.producer();
            Cluster.Inbox inbox = inbox(cluster, topic);
            Map<String, Long> due = new HashMap<>();
            long start = System.currentTimeMillis();
            producer.send(timed(topic, "seconds", "TIMER_DELAY_SEC", 2));
            due.put("seconds", start + 2000);
            producer.send(timed(topic, "milliseconds", "TIMER_DELAY_MS", 2500));
            due.put("milliseconds", start + 2500);
            producer.send(timed(topic, "time", "TIMER_DELIVER_MS", start + 3000));
            due.put("time", start + 3000);
            if (isNew()) {
                producer.send(set(message(topic, "setDelayTimeSec"), "setDelayTimeSec", 2));
                due.put("setDelayTimeSec", start + 2000);
                producer.send(set(message(topic, "setDelayTimeMs"), "setDelayTimeMs", 2700));
                due.put("setDelayTimeMs", start + 2700);
                producer.send(set(message(topic, "setDeliverTimeMs"), "setDeliverTimeMs", start + 3300));
                due.put("setDeliverTimeMs", start + 3300);
            }
            producer.send(timed(topic, "past", "TIMER_DELIVER_MS", start - 60_000));
            due.put("past", 0L);
            while (!due.isEmpty()) {
                MessageExt got = inbox.messages.poll(60, TimeUnit.SECONDS);
                assertNotNull(got, "still waiting for " + due);
                Long wanted = due.remove(new String(got.getBody()));
                assertNotNull(wanted, "a message that came twice, or from elsewhere");
                assertTrue(got.getStoreTimestamp() >= wanted, new String(got.getBody()) + " came early");
                assertTrue(got.getStoreTimestamp() < wanted + 5000 || wanted == 0, "late");
                assertEquals(topic, got.getTopic());
                assertEquals(wanted == 0 ? null : topic, got.getProperty("REAL_TOPIC"));
            }
        }
    }

    @Test
    void tooFarAheadIsRefused() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            for (String property : new String[] {"TIMER_DELAY_MS", "TIMER_DELIVER_MS"}) {
                Message message = timed(topic, "x", property, Long.MAX_VALUE / 2);
                var refused = assertThrows(MQBrokerException.class, () -> producer.send(message));
                assertEquals(13, refused.getResponseCode(), property);
            }
            Message illegal = message(topic, "x");
            MessageAccessor.putProperty(illegal, "TIMER_DELAY_SEC", "soon");
            assertEquals(13, assertThrows(MQBrokerException.class, () -> producer.send(illegal)).getResponseCode());
        }
    }

    @Test
    void aMessageThatIsTakenBackNeverComes() throws Throwable {
        assumeTrue(isNew(), "this client cannot recall");
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            String other = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            Cluster.Inbox inbox = inbox(cluster, topic);
            assertNull(handle(producer.send(message(topic, "plain"))));
            Message level = message(topic, "level");
            level.setDelayTimeLevel(1);
            assertNull(handle(producer.send(level)));
            SendResult gone = producer.send(set(message(topic, "gone"), "setDelayTimeMs", 5000));
            SendResult kept = producer.send(set(message(topic, "kept"), "setDelayTimeMs", 5000));
            assertNotNull(handle(gone));
            assertNotNull(handle(kept));
            assertEquals(gone.getMsgId(), recall(producer, topic, handle(gone)));
            var mismatch = assertThrows(MQBrokerException.class, () -> recall(producer, other, handle(kept)));
            assertEquals(604, mismatch.getResponseCode());
            // A handle for the other topic, with the id of a message of this one: success, and the message comes all the same.
            assertEquals(kept.getMsgId(), recall(producer, other, readdressed(handle(kept), topic, other)));
            for (String expected : new String[] {"plain", "level", "kept"}) {
                MessageExt got = inbox.messages.poll(60, TimeUnit.SECONDS);
                assertNotNull(got, expected);
                assertEquals(expected, new String(got.getBody()));
            }
            assertNull(inbox.messages.poll(2, TimeUnit.SECONDS));
            var late = assertThrows(MQBrokerException.class, () -> recall(producer, topic, handle(kept)));
            assertEquals(604, late.getResponseCode());
        }
    }
}
