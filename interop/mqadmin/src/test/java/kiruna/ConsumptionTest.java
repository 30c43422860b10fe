// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static kiruna.Tools.await;
import static kiruna.Tools.clientId;
import static kiruna.Tools.mqadmin;
import static kiruna.Tools.name;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** An operator moves, stops, copies and looks into consumers, online and offline. */
class ConsumptionTest {
    private static DefaultMQProducer producer;
    private static String cluster;
    private static String broker;
    private static String brokerName;

    @BeforeAll
    static void aProducer() throws Exception {
        String[] found = Tools.clusterAndBroker();
        cluster = found[0];
        broker = found[1];
        brokerName = found[2];
        producer = Tools.producer();
    }

    @AfterAll
    static void stop() {
        producer.shutdown();
    }

    /** A topic with one queue and ten messages, and a group that exists. */
    private static final class Scene {
        final String topic = name("CT");
        final String group = name("CG");
        final List<String> seen = new CopyOnWriteArrayList<>();
        final MessageQueue queue = new MessageQueue(topic, brokerName, 0);
        SendResult fifth;

        Scene() throws Exception {
            mqadmin("updateTopic", "-c", cluster, "-t", topic, "-r", "1", "-w", "1");
            mqadmin("updateSubGroup", "-c", cluster, "-g", group);
            await("the route", () -> mqadmin("topicRoute", "-t", topic).contains("\"readQueueNums\":1"));
            for (int i = 0; i < 10; i++) {
                SendResult sent = producer.send(new Message(topic, "tag", "key" + i, ("body" + i).getBytes()), queue);
                if (i == 5) {
                    fifth = sent;
                }
                Thread.sleep(5);
            }
        }

        DefaultMQPushConsumer consume() throws Exception {
            return Tools.consumer(group, topic, (batch, context) -> {
                batch.forEach(message -> seen.add(new String(message.getBody())));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        }

        /** Consumer offset of the one queue, as the tool shows it; -1 when it shows none. */
        long progress(String group) {
            Matcher row = Pattern.compile("(?m)^" + topic + "\\s+\\S+\\s+0\\s+(\\d+)\\s+(\\d+)").matcher(mqadmin("consumerProgress", "-g", group));
            return row.find() ? Long.parseLong(row.group(2)) : -1;
        }

        void awaitAll() throws Exception {
            await("ten messages", () -> seen.size() >= 10);
            await("their commit", () -> progress(group) == 10);
        }
    }

    @Test
    void aConsumerOnlineIsSentToAnOffsetAndToATime() throws Exception {
        Scene scene = new Scene();
        DefaultMQPushConsumer consumer = scene.consume();
        scene.awaitAll();
        scene.seen.clear();
        String moved = mqadmin("resetOffsetByTime", "-g", scene.group, "-t", scene.topic, "-s", "0", "-b", broker, "-q", "0", "-o", "7");
        assertTrue(moved.contains("reset consumer offset to 7"), moved);
        await("what lies behind offset 7", () -> scene.seen.containsAll(List.of("body7", "body8", "body9")));
        assertFalse(scene.seen.contains("body6"), scene.seen.toString());
        await("its commit", () -> scene.progress(scene.group) == 10);
        scene.seen.clear();
        String time = String.valueOf(storedAt(scene));
        String reset = mqadmin("resetOffsetByTime", "-g", scene.group, "-t", scene.topic, "-s", time);
        assertTrue(Pattern.compile("(?m)^\\S+\\s+0\\s+5\\s*$").matcher(reset).find(), reset);
        await("what was stored since", () -> scene.seen.contains("body5") && scene.seen.contains("body9"));
        assertFalse(scene.seen.contains("body4"), scene.seen.toString());
        consumer.shutdown();
    }

    @Test
    void aGroupThatIsOfflineIsMovedAndBeginsThere() throws Exception {
        Scene scene = new Scene();
        DefaultMQPushConsumer consumer = scene.consume();
        scene.awaitAll();
        consumer.shutdown();
        await("its farewell", () -> !mqadmin("consumerConnection", "-g", scene.group).contains("CLUSTERING"));
        scene.seen.clear();
        String reset = mqadmin("resetOffsetByTime", "-g", scene.group, "-t", scene.topic, "-s", String.valueOf(storedAt(scene)));
        assertTrue(Pattern.compile("(?m)^\\S+\\s+0\\s+5\\s*$").matcher(reset).find(), reset);
        consumer = scene.consume();
        await("what was stored since", () -> scene.seen.size() >= 5);
        Thread.sleep(500);
        assertEquals(List.of("body5", "body6", "body7", "body8", "body9"), scene.seen.stream().sorted().distinct().collect(java.util.stream.Collectors.toList()));
        consumer.shutdown();
    }

    @Test
    void whatPiledUpIsSkipped() throws Exception {
        Scene scene = new Scene();
        String skipped = mqadmin("skipAccumulatedMessage", "-g", scene.group, "-t", scene.topic);
        assertTrue(Pattern.compile("(?m)^\\S+\\s+0\\s+10\\s*$").matcher(skipped).find(), skipped);
        DefaultMQPushConsumer consumer = scene.consume();
        producer.send(new Message(scene.topic, "tag", "after".getBytes()), scene.queue);
        await("the next message", () -> scene.seen.contains("after"));
        assertEquals(List.of("after"), List.copyOf(scene.seen));
        consumer.shutdown();
    }

    /** Where the broker does not move groups itself, it tells their members to (220), and asks them where they stand (221). */
    @Test
    void membersMoveThemselvesWhereTheBrokerDoesNot() throws Exception {
        Scene scene = new Scene();
        DefaultMQPushConsumer consumer = scene.consume();
        scene.awaitAll();
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(Tools.NAMESRV);
        admin.setInstanceName(name("i"));
        admin.start();
        // No command of mqadmin asks this.
        assertEquals(Map.of(clientId(consumer), Map.of(scene.queue, 10L)), admin.getConsumeStatus(scene.topic, scene.group, ""));
        admin.shutdown();
        mqadmin("updateBrokerConfig", "-b", broker, "-k", "useServerSideResetOffset", "-v", "false");
        try {
            scene.seen.clear();
            String reset = mqadmin("resetOffsetByTime", "-g", scene.group, "-t", scene.topic, "-s", String.valueOf(storedAt(scene)));
            assertTrue(Pattern.compile("(?m)^\\S+\\s+0\\s+5\\s*$").matcher(reset).find(), reset);
            await("what was stored since", () -> scene.seen.contains("body5") && scene.seen.contains("body9"));
            assertFalse(scene.seen.contains("body4"), scene.seen.toString());
        } finally {
            mqadmin("updateBrokerConfig", "-b", broker, "-k", "useServerSideResetOffset", "-v", "true");
            consumer.shutdown();
        }
    }

    @Test
    void aGroupIsStoppedAndGoesOn() throws Exception {
        Scene scene = new Scene();
        DefaultMQPushConsumer consumer = scene.consume();
        scene.awaitAll();
        mqadmin("updateSubGroup", "-c", cluster, "-g", scene.group, "-s", "false");
        String config = mqadmin("getConsumerConfig", "-g", scene.group);
        assertTrue(Pattern.compile("consumeEnable\\s*=\\s*false").matcher(config).find(), config);
        for (int i = 0; i < 5; i++) {
            producer.send(new Message(scene.topic, "tag", ("later" + i).getBytes()), scene.queue);
        }
        Thread.sleep(6000);
        assertTrue(scene.seen.stream().noneMatch(body -> body.startsWith("later")), scene.seen.toString());
        mqadmin("updateSubGroup", "-c", cluster, "-g", scene.group, "-s", "true");
        await("what came meanwhile", () -> scene.seen.stream().filter(body -> body.startsWith("later")).count() >= 5);
        consumer.shutdown();
    }

    @Test
    void aMessageIsConsumedByAClientOfChoice() throws Exception {
        Scene scene = new Scene();
        DefaultMQPushConsumer consumer = scene.consume();
        scene.awaitAll();
        scene.seen.clear();
        String byPlace = mqadmin("queryMsgById", "-i", scene.fifth.getOffsetMsgId(), "-t", scene.topic, "-g", scene.group, "-d", clientId(consumer));
        assertTrue(byPlace.contains("CR_SUCCESS"), byPlace);
        assertEquals(List.of("body5"), List.copyOf(scene.seen));
        String byId = mqadmin("queryMsgByUniqueKey", "-i", scene.fifth.getMsgId(), "-t", scene.topic, "-g", scene.group, "-d", clientId(consumer));
        assertTrue(byId.contains("CR_SUCCESS"), byId);
        assertEquals(List.of("body5", "body5"), List.copyOf(scene.seen));
        String info = mqadmin("consumerStatus", "-g", scene.group, "-i", clientId(consumer));
        assertTrue(info.contains("PROP_CONSUMER_START_TIMESTAMP") && info.contains(scene.topic), info);
        consumer.shutdown();
    }

    @Test
    void progressIsCopied() throws Exception {
        Scene scene = new Scene();
        DefaultMQPushConsumer consumer = scene.consume();
        scene.awaitAll();
        consumer.shutdown();
        String other = name("CG");
        mqadmin("updateSubGroup", "-c", cluster, "-g", other);
        String cloned = mqadmin("cloneGroupOffset", "-s", scene.group, "-d", other, "-t", scene.topic, "-o", "true");
        assertTrue(cloned.contains("clone group offset success"), cloned);
        scene.seen.clear();
        producer.send(new Message(scene.topic, "tag", "after".getBytes()), scene.queue);
        consumer = Tools.consumer(other, scene.topic, (batch, context) -> {
            batch.forEach(message -> scene.seen.add(new String(message.getBody())));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        await("the next message", () -> scene.seen.contains("after"));
        assertEquals(List.of("after"), List.copyOf(scene.seen));
        await("its commit", () -> scene.progress(other) == 11);
        consumer.shutdown();
    }

    private static long storedAt(Scene scene) {
        String shown = mqadmin("queryMsgByOffset", "-t", scene.topic, "-b", brokerName, "-i", "0", "-o", "5", "-f", "UTF-8");
        Matcher at = Pattern.compile("Store Timestamp:\\s+(\\d{4}-\\d\\d-\\d\\d) (\\d\\d:\\d\\d:\\d\\d),(\\d{3})").matcher(shown);
        assertTrue(at.find(), shown);
        var local = java.time.LocalDateTime.parse(at.group(1) + "T" + at.group(2) + "." + at.group(3));
        return local.atZone(java.time.ZoneId.systemDefault()).toInstant().toEpochMilli();
    }
}
