// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;

/** Consumers that leave it to the broker which queues they read, and how mqadmin says that a group pulls. */
class AssignmentTest {
    /** Apache's broker serves POP; ours refuses to set it. */
    private static final boolean APACHE = System.getenv("KIRUNA_TEST_APACHE") != null;

    private static DefaultMQPushConsumer member(String group, String topic, Set<String> seen) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(Tools.NAMESRV);
        consumer.setInstanceName(Tools.name("i"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setClientRebalance(false);
        consumer.subscribe(topic, "*");
        consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
            batch.forEach(message -> seen.add(new String(message.getBody())));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    /** The queues that a member reads now: it has none but those that its broker named. */
    private static Set<MessageQueue> queues(DefaultMQPushConsumer consumer, String topic) {
        Set<MessageQueue> queues = new HashSet<>();
        for (MessageQueue queue : consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet()) {
            if (queue.getTopic().equals(topic)) {
                queues.add(queue);
            }
        }
        return queues;
    }

    @Test
    void theBrokerSharesTheQueuesOut() throws Exception {
        String[] cluster = Tools.clusterAndBroker();
        String topic = Tools.name("ASSIGN");
        String group = Tools.name("ASSIGN_G");
        Tools.mqadmin("updateTopic", "-c", cluster[0], "-t", topic, "-r", "4", "-w", "4");
        Tools.mqadmin("updateSubGroup", "-c", cluster[0], "-g", group);
        String set = Tools.mqadmin("setConsumeMode", "-b", cluster[1], "-t", topic, "-g", group, "-m", "PULL");
        assertTrue(set.contains("consume mode[PULL]"), set);

        DefaultMQProducer producer = Tools.producer();
        Set<String> seen = ConcurrentHashMap.newKeySet();
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        try {
            members.add(member(group, topic, seen));
            members.add(member(group, topic, seen));
            Tools.await("two queues each", () -> members.stream().allMatch(one -> queues(one, topic).size() == 2));
            Set<MessageQueue> all = new HashSet<>(queues(members.get(0), topic));
            all.addAll(queues(members.get(1), topic));
            assertEquals(4, all.size(), "no queue has two readers");
            Tools.await("a message in", () -> {
                try {
                    producer.send(new Message(topic, "first".getBytes()));
                    return true;
                } catch (Exception e) {
                    return false;
                }
            });
            for (int n = 0; n < 40; n++) {
                producer.send(new Message(topic, ("m" + n).getBytes()));
            }
            Tools.await("all messages", () -> seen.size() == 41);
            members.remove(1).shutdown();
            Tools.await("the rest is the other's", () -> queues(members.get(0), topic).size() == 4);
        } finally {
            members.forEach(DefaultMQPushConsumer::shutdown);
            producer.shutdown();
        }
    }

    @Test
    void aModeIsSetOnlyWhereItCanBeServed() {
        String[] cluster = Tools.clusterAndBroker();
        String topic = Tools.name("MODE");
        String group = Tools.name("MODE_G");
        Tools.mqadmin("updateTopic", "-c", cluster[0], "-t", topic);
        Tools.mqadmin("updateSubGroup", "-c", cluster[0], "-g", group);
        String nowhere = Tools.mqadmin("setConsumeMode", "-b", cluster[1], "-t", topic + "x", "-g", group, "-m", "PULL");
        assertFalse(nowhere.contains("success"), nowhere);
        String made = Tools.mqadmin("setConsumeMode", "-b", cluster[1], "-t", topic, "-g", group + "x", "-m", "PULL");
        assertTrue(made.contains("success"), "a group comes into being: " + made);
        String pop = Tools.mqadmin("setConsumeMode", "-b", cluster[1], "-t", topic, "-g", group, "-m", "POP", "-q", "2");
        assertEquals(APACHE, pop.contains("success"), pop);
        String pull = Tools.mqadmin("setConsumeMode", "-c", cluster[0], "-t", topic, "-g", group, "-m", "PULL");
        assertTrue(pull.contains("success"), pull);
    }
}
