// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;

/** Half messages, decisions, and the questions of the broker to producers that do not decide. */
class TransactionTest {
    /** Decides by the body of the message: at once, and again when it is asked. */
    static final class Books implements TransactionListener {
        final Function<String, LocalTransactionState> first;
        final Function<String, LocalTransactionState> asked;
        final BlockingQueue<MessageExt> questions = new LinkedBlockingQueue<>();
        final Set<String> askedAbout = ConcurrentHashMap.newKeySet();

        Books(Function<String, LocalTransactionState> first, Function<String, LocalTransactionState> asked) {
            this.first = first;
            this.asked = asked;
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object arg) {
            return first.apply(new String(message.getBody()));
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            questions.add(message);
            String body = new String(message.getBody());
            askedAbout.add(body);
            return asked.apply(body);
        }
    }

    private static LocalTransactionState byName(String body) {
        return body.startsWith("commit") ? LocalTransactionState.COMMIT_MESSAGE
                : body.startsWith("rollback") ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
    }

    private static TransactionMQProducer producer(Cluster cluster, String group, Books books) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(group);
        producer.setNamesrvAddr(Cluster.NAMESRV);
        producer.setInstanceName(Cluster.name("i"));
        producer.setTransactionListener(books);
        producer.start();
        cluster.also(producer::shutdown);
        return producer;
    }

    private static Cluster.Inbox consume(Cluster cluster, String topic) throws Exception {
        Cluster.Inbox inbox = new Cluster.Inbox();
        var consumer = cluster.consumer(Cluster.name("G"));
        consumer.subscribe(topic, "*");
        consumer.setMessageListener(inbox);
        consumer.start();
        return inbox;
    }

    @Test
    void committedMessagesArriveWholeAndOthersDoNot() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(4);
            Cluster.Inbox inbox = consume(cluster, topic);
            String group = Cluster.name("PG");
            TransactionMQProducer producer = producer(cluster, group, new Books(TransactionTest::byName, TransactionTest::byName));
            Message message = new Message(topic, "tag", "key1 key2", "commit 1".getBytes());
            message.putUserProperty("mine", "yes");
            message.setFlag(7);
            TransactionSendResult sent = producer.sendMessageInTransaction(message, null);
            assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
            assertEquals(LocalTransactionState.COMMIT_MESSAGE, sent.getLocalTransactionState());
            assertEquals(sent.getMsgId(), sent.getTransactionId());
            producer.sendMessageInTransaction(new Message(topic, "rollback 1".getBytes()), null);
            producer.sendMessageInTransaction(new Message(topic, "commit 2".getBytes()), null);
            inbox.awaitBodies(List.of("commit 1", "commit 2"));
            MessageExt seen = inbox.messages.stream().filter(m -> new String(m.getBody()).equals("commit 1")).findFirst().get();
            assertEquals(sent.getMsgId(), seen.getMsgId());
            assertEquals(topic, seen.getTopic());
            assertEquals("tag", seen.getTags());
            assertEquals("key1 key2", seen.getKeys());
            assertEquals("yes", seen.getUserProperty("mine"));
            assertEquals(7, seen.getFlag());
            assertEquals(8, seen.getSysFlag() & 0xC);
            assertEquals(0, seen.getReconsumeTimes());
            assertTrue(seen.getPreparedTransactionOffset() > 0);
            assertEquals(group, seen.getProperty("PGROUP"));
            assertEquals("true", seen.getProperty("TRAN_MSG"));
            assertNull(seen.getProperty("REAL_TOPIC"));
            assertNull(seen.getProperty("REAL_QID"));
            assertEquals(sent.getMsgId(), seen.getProperty("__transactionId__"));
            TimeUnit.SECONDS.sleep(1);
            assertEquals(Set.of("commit 1", "commit 2"), inbox.bodies);
            assertEquals(2, inbox.messages.size());
        }
    }

    @Test
    void whoDoesNotKnowIsAskedAndAnswers() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            Cluster.Inbox inbox = consume(cluster, topic);
            String group = Cluster.name("PG");
            Books books = new Books(body -> LocalTransactionState.UNKNOW, TransactionTest::byName);
            TransactionMQProducer producer = producer(cluster, group, books);
            TransactionSendResult sent = producer.sendMessageInTransaction(new Message(topic, "t", "commit later".getBytes()), null);
            producer.sendMessageInTransaction(new Message(topic, "t", "rollback later".getBytes()), null);
            Cluster.await("both questions", () -> books.askedAbout.containsAll(List.of("commit later", "rollback later")));
            inbox.awaitBodies(List.of("commit later"));
            MessageExt asked = books.questions.stream().filter(m -> new String(m.getBody()).equals("commit later")).findFirst().get();
            assertEquals(sent.getTransactionId(), asked.getTransactionId());
            assertEquals(sent.getMsgId(), asked.getProperty("UNIQ_KEY"));
            // The id that names the place of the half message in the log.
            assertTrue(asked.getMsgId().matches("[0-9A-F]{32}"), asked.getMsgId());
            assertEquals(topic, asked.getTopic());
            assertEquals(sent.getMessageQueue().getQueueId(), asked.getQueueId());
            // Apache stores a half message anew when it asks about it.
            assertTrue(asked.getQueueOffset() >= sent.getQueueOffset());
            assertEquals(group, asked.getProperty("PGROUP"));
            assertNotNull(asked.getProperty("TRANSACTION_CHECK_TIMES"));
            TimeUnit.SECONDS.sleep(2);
            assertEquals(Set.of("commit later"), inbox.bodies);
        }
    }

    @Test
    void anotherProducerOfTheGroupIsAskedWhenOneDied() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            Cluster.Inbox inbox = consume(cluster, topic);
            String group = Cluster.name("PG");
            Books forgetful = new Books(body -> LocalTransactionState.UNKNOW, body -> LocalTransactionState.UNKNOW);
            Books careful = new Books(TransactionTest::byName, TransactionTest::byName);
            TransactionMQProducer dies = producer(cluster, group, forgetful);
            dies.sendMessageInTransaction(new Message(topic, "commit of the dead".getBytes()), null);
            dies.sendMessageInTransaction(new Message(topic, "rollback of the dead".getBytes()), null);
            dies.shutdown();
            TransactionMQProducer lives = producer(cluster, group, careful);
            // A producer says which group it is of with its heartbeat, which needs a broker it knows.
            lives.sendMessageInTransaction(new Message(topic, "commit of the living".getBytes()), null);
            inbox.awaitBodies(List.of("commit of the dead", "commit of the living"));
            Cluster.await("the other question", () -> careful.askedAbout.contains("rollback of the dead"));
            assertFalse(inbox.bodies.contains("rollback of the dead"));
            assertFalse(forgetful.askedAbout.contains("rollback of the dead") && careful.askedAbout.isEmpty());
        }
    }

    @Test
    void producersOfOtherGroupsAreNotAsked() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(2);
            Cluster.Inbox inbox = consume(cluster, topic);
            Books mine = new Books(body -> LocalTransactionState.UNKNOW, TransactionTest::byName);
            Books others = new Books(TransactionTest::byName, TransactionTest::byName);
            TransactionMQProducer producer = producer(cluster, Cluster.name("PG"), mine);
            TransactionMQProducer other = producer(cluster, Cluster.name("PG"), others);
            other.sendMessageInTransaction(new Message(topic, "commit other".getBytes()), null);
            producer.sendMessageInTransaction(new Message(topic, "commit mine".getBytes()), null);
            inbox.awaitBodies(List.of("commit mine", "commit other"));
            assertFalse(others.askedAbout.contains("commit mine"));
        }
    }
}
