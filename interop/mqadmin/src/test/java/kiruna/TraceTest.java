// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static kiruna.Tools.await;
import static kiruna.Tools.mqadmin;
import static kiruna.Tools.name;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;

/** Clients that are asked to trace write into the broker's trace topic, and what they wrote is found by the message's id. */
class TraceTest {
    private static final String TOPIC = name("TT");
    private static final String GROUP = name("TG");

    @Test
    void sentAndConsumedAndDecided() throws Exception {
        mqadmin("updateTopic", "-c", Tools.clusterAndBroker()[0], "-t", TOPIC, "-r", "1", "-w", "1");
        await("the route", () -> mqadmin("topicRoute", "-t", TOPIC).contains("\"readQueueNums\":1"));
        Set<String> failedOnce = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(GROUP);
        consumer.setEnableTrace(true);
        consumer.setNamesrvAddr(Tools.NAMESRV);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setInstanceName(name("i"));
        consumer.subscribe(TOPIC, "*");
        consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
            boolean isNew = failedOnce.add(batch.get(0).getKeys());
            context.setDelayLevelWhenNextConsume(1);
            return isNew ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        DefaultMQProducer producer = new DefaultMQProducer(name("TP"));
        producer.setEnableTrace(true);
        producer.setNamesrvAddr(Tools.NAMESRV);
        producer.setInstanceName(name("i"));
        producer.start();
        SendResult sent = producer.send(new Message(TOPIC, "tag", "tracedKey", "traced".getBytes()));
        String id = sent.getMsgId();
        await("the send and both attempts to consume", () -> {
            String traced = mqadmin("queryMsgTraceById", "-i", id);
            return Pattern.compile("(?m)^Pub\\s+TP_\\S+.*success\\s*$").matcher(traced).find()
                    && Pattern.compile("(?m)^Sub\\s+" + GROUP + ".*success\\s*$").matcher(traced).find()
                    && Pattern.compile("(?m)^Sub\\s+" + GROUP + ".*failed\\s*$").matcher(traced).find();
        });
        TransactionMQProducer transactions = new TransactionMQProducer(name("TX"));
        transactions.setEnableTrace(true);
        transactions.setNamesrvAddr(Tools.NAMESRV);
        transactions.setInstanceName(name("i"));
        transactions.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        transactions.start();
        String decided = transactions.sendMessageInTransaction(new Message(TOPIC, "tag", "decidedKey", "traced".getBytes()), null).getMsgId();
        await("the decision", () -> {
            String bodies = mqadmin("printMsg", "-t", "RMQ_SYS_TRACE_TOPIC", "-d", "true");
            return bodies.contains("EndTransaction\u0001") && bodies.contains(decided);
        });
        String traced = mqadmin("queryMsgTraceById", "-i", decided);
        assertTrue(Pattern.compile("(?m)^Pub\\s+TX_\\S+").matcher(traced).find(), traced);
        transactions.shutdown();
        producer.shutdown();
        consumer.shutdown();
        System.out.println("TRACED " + id + " " + decided);
    }
}
