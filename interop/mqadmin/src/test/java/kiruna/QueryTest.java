// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static kiruna.Tools.await;
import static kiruna.Tools.mqadmin;
import static kiruna.Tools.name;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Messages are found again: by each of their names, by place, by time and tag, and only those that were asked for. */
class QueryTest {
    private static final String TOPIC = name("QT");
    private static DefaultMQProducer producer;
    private static String brokerName;
    private static SendResult one;
    private static SendResult other;

    @BeforeAll
    static void someMessages() throws Exception {
        String[] found = Tools.clusterAndBroker();
        brokerName = found[2];
        mqadmin("updateTopic", "-c", found[0], "-t", TOPIC, "-r", "2", "-w", "2");
        await("the route", () -> mqadmin("topicRoute", "-t", TOPIC).contains("\"readQueueNums\":2"));
        producer = Tools.producer();
        // "Aa" and "BB" have one hash in Java.
        one = send("red", "keyAa second", "the first body", 0);
        other = send("blue", "keyBB", "another body", 1);
        assertEquals(SendStatus.SEND_OK, other.getSendStatus());
        await("the index", () -> mqadmin("queryMsgByUniqueKey", "-i", other.getMsgId(), "-t", TOPIC).contains("keyBB"));
    }

    private static SendResult send(String tag, String keys, String body, int queue) throws Exception {
        return producer.send(new Message(TOPIC, tag, keys, body.getBytes()), new MessageQueue(TOPIC, brokerName, queue));
    }

    @AfterAll
    static void stop() {
        producer.shutdown();
    }

    @Test
    void byKeyAndNothingThatOnlySharesItsHash() {
        for (String key : List.of("keyAa", "second")) {
            String found = mqadmin("queryMsgByKey", "-t", TOPIC, "-k", key);
            assertTrue(found.contains(one.getMsgId()) && !found.contains(other.getMsgId()), found);
        }
        String found = mqadmin("queryMsgByKey", "-t", TOPIC, "-k", "keyBB");
        assertTrue(found.contains(other.getMsgId()) && !found.contains(one.getMsgId()), found);
        String none = mqadmin("queryMsgByKey", "-t", TOPIC, "-k", "keyBb");
        assertFalse(none.contains(one.getMsgId()) || none.contains(other.getMsgId()), none);
        long tomorrow = System.currentTimeMillis() + 86_400_000;
        String later = mqadmin("queryMsgByKey", "-t", TOPIC, "-k", "second", "-b", String.valueOf(tomorrow));
        assertFalse(later.contains(one.getMsgId()), later);
    }

    @Test
    void byEachOfItsIdsAndByItsPlace() {
        String byId = mqadmin("queryMsgById", "-i", one.getOffsetMsgId(), "-t", TOPIC, "-f", "UTF-8");
        assertTrue(byId.contains("the first body") && byId.contains("red") && byId.contains("WARN: No Consumer"), byId);
        String byUnique = mqadmin("queryMsgByUniqueKey", "-i", one.getMsgId(), "-t", TOPIC);
        assertTrue(byUnique.contains("keyAa second") && byUnique.contains("red"), byUnique);
        String unknown = mqadmin("queryMsgByUniqueKey", "-i", one.getMsgId().replaceAll("....$", "FFFF"), "-t", TOPIC);
        assertFalse(unknown.contains("keyAa"), unknown);
        String byOffset = mqadmin("queryMsgByOffset", "-t", TOPIC, "-b", brokerName, "-i", "1", "-o", "0", "-f", "UTF-8");
        assertTrue(byOffset.contains("another body") && byOffset.contains("blue"), byOffset);
    }

    @Test
    void byTimeAndTagAndQueue() {
        String all = mqadmin("printMsg", "-t", TOPIC);
        assertTrue(all.contains("the first body") && all.contains("another body"), all);
        String red = mqadmin("printMsg", "-t", TOPIC, "-s", "red");
        assertTrue(red.contains("the first body") && !red.contains("another body"), red);
        String later = mqadmin("printMsg", "-t", TOPIC, "-b", String.valueOf(System.currentTimeMillis() + 60_000));
        assertFalse(later.contains("the first body"), later);
        String queue = mqadmin("printMsgByQueue", "-t", TOPIC, "-a", brokerName, "-i", "1", "-p", "true", "-d", "true", "-f", "true");
        assertTrue(queue.contains("another body") && !queue.contains("the first body"), queue);
        assertTrue(queue.matches("(?s).*Tag: blue\\s+Count: 1.*"), queue);
    }
}
