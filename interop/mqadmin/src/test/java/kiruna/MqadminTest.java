// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;

/** The commands an operator types every day, with what they print checked. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class MqadminTest {
    static final String NAMESRV = Tools.NAMESRV;
    private static final String RUN = Long.toString(System.currentTimeMillis() % 10_000_000, 36);
    private static final String TOPIC = "A_" + RUN;
    private static final String GROUP = "AG_" + RUN;
    private static final String PRODUCERS = "AP_" + RUN;
    private static final Set<String> consumed = ConcurrentHashMap.newKeySet();
    private static DefaultMQProducer producer;
    private static DefaultMQPushConsumer consumer;
    private static String cluster;
    private static String broker;

    @BeforeAll
    static void aClusterWithTraffic() throws Exception {
        String list = admin("clusterList");
        Matcher row = Pattern.compile("(?m)^(\\S+)\\s+(\\S+)\\s+0\\s+(\\S+:\\d+)").matcher(list);
        assertTrue(row.find(), list);
        cluster = row.group(1);
        broker = row.group(3);
        String created = admin("updateTopic", "-c", cluster, "-t", TOPIC, "-r", "4", "-w", "4", "-a", "+message.type=NORMAL");
        assertTrue(created.contains("create topic to " + broker + " success"), created);
        admin("updateSubGroup", "-c", cluster, "-g", GROUP);
        producer = new DefaultMQProducer(PRODUCERS);
        producer.setNamesrvAddr(NAMESRV);
        producer.start();
        consumer = new DefaultMQPushConsumer(GROUP);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(TOPIC, "*");
        consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
            batch.forEach(message -> consumed.add(new String(message.getBody())));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        for (int i = 0; i < 20; i++) {
            producer.send(new Message(TOPIC, "tag", "key" + i, ("body" + i).getBytes()));
        }
        await("the consumer", () -> consumed.size() == 20);
    }

    @AfterAll
    static void stop() {
        producer.shutdown();
        consumer.shutdown();
    }

    @Test
    @Order(1)
    void clusterListShowsTheBroker() {
        String list = admin("clusterList");
        assertTrue(list.contains(cluster) && list.contains(broker), list);
        assertTrue(Pattern.compile("V\\d_\\d_\\d").matcher(list).find(), list);
    }

    @Test
    @Order(2)
    void topicsAreListedRoutedAndCounted() {
        assertTrue(admin("topicList").contains(TOPIC));
        assertTrue(admin("topicList", "-c").contains(cluster));
        String route = admin("topicRoute", "-t", TOPIC);
        assertTrue(route.contains("\"writeQueueNums\":4") && route.contains(broker), route);
        String status = admin("topicStatus", "-t", TOPIC);
        long total = 0;
        Matcher row = Pattern.compile("(?m)^\\S+\\s+(\\d+)\\s+(\\d+)\\s+(\\d+)\\s").matcher(status);
        while (row.find()) {
            total += Long.parseLong(row.group(3)) - Long.parseLong(row.group(2));
        }
        assertEquals(20, total, status);
        assertTrue(admin("topicClusterList", "-t", TOPIC).contains(cluster));
    }

    @Test
    @Order(2)
    void theKindOfATopicIsSetChangedAndRefused() {
        String topic = "K_" + RUN;
        for (String kind : new String[] {"FIFO", "DELAY", "TRANSACTION", "PRIORITY", "LITE", "NORMAL"}) {
            String set = admin("updateTopic", "-b", broker, "-t", topic, "-a", "+message.type=" + kind);
            assertTrue(set.contains("success"), set);
        }
        for (String wrong : new String[] {"+message.type=fifo", "+nonesuch=1", "+reserve.time=1,-queue.type", "+cleanup.policy=COMPACTION", "+message.type=MIXED"}) {
            String refused = admin("updateTopic", "-b", broker, "-t", topic, "-a", wrong);
            assertFalse(refused.contains("success"), wrong + ": " + refused);
        }
        assertTrue(admin("updateTopic", "-b", broker, "-t", topic, "-a", "+reserve.time=1,-message.type").contains("success"));
    }

    @Test
    @Order(3)
    void consumerProgressAndConnections() throws Exception {
        await("progress", () -> {
            String progress = admin("consumerProgress", "-g", GROUP);
            return progress.contains(TOPIC) && Pattern.compile("Diff Total: 0").matcher(progress).find();
        });
        assertTrue(admin("consumerProgress").contains(GROUP));
        String connection = admin("consumerConnection", "-g", GROUP);
        assertTrue(connection.contains("CLUSTERING") && connection.contains(TOPIC), connection);
        assertTrue(admin("producerConnection", "-g", PRODUCERS, "-t", TOPIC).contains("JAVA"));
        assertTrue(admin("consumerStatus", "-g", GROUP, "-i", consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId())
                .contains("PROP_CONSUMER_START_TIMESTAMP"));
    }

    @Test
    @Order(4)
    void messagesAreFound() throws Exception {
        var sent = producer.send(new Message(TOPIC, "tag", "needle", "in the hay".getBytes()));
        String byId = admin("queryMsgById", "-i", sent.getOffsetMsgId(), "-t", TOPIC);
        assertTrue(byId.contains(TOPIC) && byId.contains("needle"), byId);
        await("the index", () -> admin("queryMsgByUniqueKey", "-i", sent.getMsgId(), "-t", TOPIC).contains("needle"));
        String byKey = admin("queryMsgByKey", "-k", "needle", "-t", TOPIC);
        assertTrue(byKey.contains(sent.getMsgId()), byKey);
        String byOffset = admin("queryMsgByOffset", "-t", TOPIC, "-b", sent.getMessageQueue().getBrokerName(), "-i",
                String.valueOf(sent.getMessageQueue().getQueueId()), "-o", String.valueOf(sent.getQueueOffset()));
        assertTrue(byOffset.contains("needle"), byOffset);
    }

    @Test
    @Order(5)
    void messagesAreSentAndConsumedByHand() throws Exception {
        String sent = admin("sendMessage", "-t", TOPIC, "-p", "by hand", "-k", "hand");
        assertTrue(sent.contains("SEND_OK"), sent);
        await("the message", () -> consumed.contains("by hand"));
        String got = admin("consumeMessage", "-t", TOPIC, "-g", GROUP + "_2", "-c", "40");
        assertTrue(got.contains("body0") || got.contains("Body"), got);
    }

    @Test
    @Order(6)
    void theBrokerTellsOfItselfAndTakesSettings() {
        String status = admin("brokerStatus", "-b", broker);
        for (String key : List.of("bootTimestamp", "brokerVersionDesc", "commitLogMaxOffset", "putTps", "getTransferredTps", "runtime")) {
            assertTrue(status.contains(key), key + " in " + status);
        }
        assertTrue(admin("getBrokerConfig", "-b", broker).contains("brokerName"));
        String update = admin("updateBrokerConfig", "-b", broker, "-k", "autoCreateTopicEnable", "-v", "true");
        assertTrue(update.contains("success"), update);
        String stats = admin("statsAll", "-t", TOPIC);
        assertTrue(stats.contains(TOPIC), stats);
    }

    @Test
    @Order(7)
    void aGroupIsResetAndCloned() throws Exception {
        String reset = admin("resetOffsetByTime", "-g", GROUP, "-t", TOPIC, "-s", "0");
        assertTrue(reset.contains(TOPIC) || reset.contains("broker-a") || reset.contains("offset"), reset);
        assertFalse(reset.contains("Exception"), reset);
        String group = GROUP + "_C";
        admin("updateSubGroup", "-c", cluster, "-g", group);
        String cloned = admin("cloneGroupOffset", "-s", GROUP, "-d", group, "-t", TOPIC);
        assertTrue(cloned.contains("clone group offset success"), cloned);
    }

    @Test
    @Order(8)
    void writePermissionIsTakenAndGiven() {
        String name = admin("clusterList").lines().filter(line -> line.contains(broker)).findFirst().orElseThrow().trim().split("\\s+")[1];
        assertTrue(admin("wipeWritePerm", "-b", name, "-n", NAMESRV).contains("OK"));
        assertTrue(admin("topicRoute", "-t", TOPIC).contains("\"perm\":4"));
        assertTrue(admin("addWritePerm", "-b", name, "-n", NAMESRV).contains("OK"));
        assertTrue(admin("topicRoute", "-t", TOPIC).contains("\"perm\":6"));
    }

    @Test
    @Order(9)
    void keyValuesAndNamesrvConfig() {
        admin("updateKvConfig", "-s", "space", "-k", "k", "-v", "v" + RUN);
        admin("deleteKvConfig", "-s", "space", "-k", "k");
        assertTrue(admin("getNamesrvConfig").contains("listenPort") || admin("getNamesrvConfig").contains("="));
    }

    @Test
    @Order(10)
    void whatIsDeletedIsGone() throws Exception {
        String doomed = TOPIC + "_D";
        admin("updateTopic", "-c", cluster, "-t", doomed);
        await("the topic", () -> admin("topicList").contains(doomed));
        String deleted = admin("deleteTopic", "-c", cluster, "-t", doomed);
        assertTrue(deleted.contains("success"), deleted);
        await("its end", () -> !admin("topicList").contains(doomed));
        admin("deleteSubGroup", "-c", cluster, "-g", GROUP + "_C", "-r", "true");
        await("the group's end", () -> !admin("consumerProgress").contains(GROUP + "_C"));
    }

    static void await(String what, Tools.Done done) throws Exception {
        Tools.await(what, done);
    }

    static String admin(String command, String... args) {
        return Tools.mqadmin(command, args);
    }
}
