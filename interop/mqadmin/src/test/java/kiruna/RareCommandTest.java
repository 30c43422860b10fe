// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static kiruna.Tools.await;
import static kiruna.Tools.mqadmin;
import static kiruna.Tools.name;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The commands that are typed now and then. The tool tells of a failure elsewhere, so each is known by what it prints when it works. */
class RareCommandTest {
    private static final String TOPIC = name("RT");
    private static final String GROUP = name("RG");
    private static DefaultMQProducer producer;
    private static DefaultMQPushConsumer consumer;
    private static String cluster;
    private static String broker;
    private static String brokerName;
    private static SendResult sent;

    @TempDir
    Path dir;

    @BeforeAll
    static void aConsumerAtWork() throws Exception {
        String[] found = Tools.clusterAndBroker();
        cluster = found[0];
        broker = found[1];
        brokerName = found[2];
        mqadmin("updateTopic", "-c", cluster, "-t", TOPIC, "-r", "2", "-w", "2");
        await("the route", () -> mqadmin("topicRoute", "-t", TOPIC).contains("\"readQueueNums\":2"));
        producer = Tools.producer();
        sent = producer.send(new Message(TOPIC, "tag", "key", "body".getBytes()), new MessageQueue(TOPIC, brokerName, 1));
        consumer = Tools.consumer(GROUP, TOPIC, (batch, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
    }

    @AfterAll
    static void stop() {
        consumer.shutdown();
        producer.shutdown();
    }

    private static void prints(String wanted, String command, String... arguments) {
        String printed = mqadmin(command, arguments);
        assertTrue(Pattern.compile(wanted).matcher(printed).find(), command + " printed " + printed);
    }

    @Test
    void producersAreListed() throws Exception {
        String group = producer.getProducerGroup();
        await("the producer", () -> mqadmin("producer", "-b", broker).contains("producer group (" + group + ") instance : "));
    }

    @Test
    void sendsAreTimed() {
        prints("Avg RT: \\d+\\.\\d\\d", "checkMsgSendRT", "-t", TOPIC, "-a", "5", "-s", "64");
        // The command makes a topic named like the broker by sending to it.
        prints("SEND_OK", "sendMsgStatus", "-b", brokerName, "-s", "64", "-c", "3");
    }

    @Test
    void entriesOfAQueueAreShown() {
        prints("max: [1-9]\\d*, min: 0", "queryCq", "-t", TOPIC, "-q", "1", "-i", "0", "-c", "5", "-b", broker, "-g", GROUP);
        prints("======+", "queryCq", "-t", TOPIC, "-q", "1", "-i", "0", "-c", "5", "-b", broker);
    }

    @Test
    void topicsAndGroupsComeFromFiles() throws Exception {
        String topic = name("RLT");
        Path topics = Files.writeString(dir.resolve("topics"), "[{\"topicName\":\"" + topic + "1\",\"readQueueNums\":3,\"writeQueueNums\":3,\"perm\":6},"
                + "{\"topicName\":\"" + topic + "2\",\"readQueueNums\":1,\"writeQueueNums\":1,\"perm\":4}]");
        prints("submit batch of topic config", "updateTopicList", "-b", broker, "-f", topics.toString());
        await("three queues", () -> mqadmin("topicRoute", "-t", topic + "1").contains("\"readQueueNums\":3"));
        await("a read-only one", () -> mqadmin("topicRoute", "-t", topic + "2").contains("\"perm\":4"));
        String group = name("RLG");
        Path groups = Files.writeString(dir.resolve("groups"), "[{\"groupName\":\"" + group + "1\",\"retryMaxTimes\":7},{\"groupName\":\"" + group + "2\"}]");
        prints("submit batch of", "updateSubGroupList", "-b", broker, "-f", groups.toString());
        await("both groups", () -> Pattern.compile("retryMaxTimes\\s*=\\s*7").matcher(mqadmin("getConsumerConfig", "-g", group + "1")).find()
                && mqadmin("getConsumerConfig", "-g", group + "2").contains(group + "2"));
    }

    @Test
    void permissionAndOrderAreSet() throws Exception {
        String topic = name("RPT");
        mqadmin("updateTopic", "-c", cluster, "-t", topic, "-r", "1", "-w", "1");
        await("the route", () -> mqadmin("topicRoute", "-t", topic).contains("\"perm\":6"));
        prints("from 6 to 4 in " + broker + " success", "updateTopicPerm", "-b", broker, "-t", topic, "-p", "4");
        await("the permission", () -> mqadmin("topicRoute", "-t", topic).contains("\"perm\":4"));
        prints("update orderConf success", "updateOrderConf", "-t", topic, "-v", brokerName + ":1", "-m", "put");
        prints("get orderConf success.*" + brokerName + ":1", "updateOrderConf", "-t", topic, "-m", "get");
        prints("delete orderConf success", "updateOrderConf", "-t", topic, "-m", "delete");
    }

    @Test
    void theBrokerCleansUp() {
        for (String command : new String[] {"cleanExpiredCQ", "cleanUnusedTopic", "deleteExpiredCommitLog"}) {
            prints("success", command, "-b", broker);
        }
    }

    @Test
    void everythingIsExported() {
        prints("export .* success", "exportMetadata", "-c", cluster, "-f", dir.resolve("metadata").toString());
        prints("export .* success", "exportMetadata", "-b", broker, "-t", "-f", dir.resolve("topics").toString());
        prints("export .* success", "exportConfigs", "-c", cluster, "-f", dir.resolve("configs").toString());
        prints("export .* success", "exportMetrics", "-c", cluster, "-f", dir.resolve("metrics").toString());
    }

    @Test
    void queuesAreSharedOutOnPaper() {
        prints("\"192.0.2.1\"", "allocateMQ", "-t", TOPIC, "-i", "192.0.2.1,192.0.2.2");
    }

    @Test
    void theBrokerTellsOfItsReplicasAndColdReaders() {
        prints("#MasterAddr\\s+" + broker, "haStatus", "-b", broker);
        prints("has no cold ctr table|runtimeTable|coldReadSumSize", "getColdDataFlowCtrInfo", "-b", broker);
    }

    @Test
    void aMessageIsFoundByItsIdAndTellsWhoHadIt() throws Exception {
        await("its consumption", () -> mqadmin("queryMsgById", "-i", sent.getOffsetMsgId(), "-t", TOPIC).contains("CONSUMED"));
        prints("CONSUMED", "queryMsgByUniqueKey", "-i", sent.getMsgId(), "-t", TOPIC, "-a");
    }
}
