// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.type.TypeReference;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.core.RocketMQLocalRequestCallback;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.apache.rocketmq.spring.support.RocketMQHeaders;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.springframework.messaging.MessagingException;
import org.springframework.messaging.support.MessageBuilder;

/** What needs an answer: requests, transactions, failures that are tried again. */
class DialogueTest {
    /** Clients 5.3.1 to 5.3.3 end the wait for an answer as soon as the question is sent, whatever the server does (apache/rocketmq#9608). */
    private static final String LATER_CLIENT = "laterClient";

    private static final RocketMQTemplate template = App.template();

    @Test
    @Tag(LATER_CLIENT)
    void requestsAreAnsweredInKind() {
        String topic = App.topic("answers");
        assertEquals("re: hello", template.sendAndReceive(topic + ":text", "hello", String.class));
        byte[] answer = template.sendAndReceive(topic + ":bytes", MessageBuilder.withPayload(new byte[] {1, 2, (byte) 200}).build(), byte[].class, 20000);
        assertArrayEquals(new byte[] {(byte) 0xFE, (byte) 0xFD, 55}, answer);
        Parcel parcel = new Parcel("Ada", "1.5", List.of("x"));
        assertEquals(new Parcel("not Ada", "1.55", List.of("x")), template.sendAndReceive(topic + ":parcel", parcel, Parcel.class, "one-key"));
        // The starter reads the class alone; what is inside is as Jackson has it without a type.
        Parcel.Wrapped<?> wrapped = template.sendAndReceive(topic + ":wrapped", parcel, new TypeReference<Parcel.Wrapped<Parcel>>() {}.getType(), 30000);
        assertEquals(Map.of("owner", "Ada", "price", 1.5, "contents", List.of("x"), "due", "2026-02-28"), wrapped.inside);
        assertEquals(3, wrapped.times);
    }

    @Test
    @Tag(LATER_CLIENT)
    void aDelayedRequestIsAnsweredToo() {
        long before = System.currentTimeMillis();
        assertEquals("re: later", template.sendAndReceive(App.topic("answers") + ":text", "later", String.class, 30000, 1));
        assertTrue(System.currentTimeMillis() - before >= 1000);
    }

    @Test
    void answersAreCalledBack() throws Exception {
        CompletableFuture<String> text = new CompletableFuture<>();
        template.sendAndReceive(App.topic("answers") + ":text", "async", new RocketMQLocalRequestCallback<String>() {
            @Override
            public void onSuccess(String message) {
                text.complete(message);
            }

            @Override
            public void onException(Throwable error) {
                text.completeExceptionally(error);
            }
        });
        CompletableFuture<Parcel> parcel = new CompletableFuture<>();
        template.sendAndReceive(App.topic("answers") + ":parcel", new Parcel("Bo", "2.0", List.of()), new RocketMQLocalRequestCallback<Parcel>() {
            @Override
            public void onSuccess(Parcel message) {
                parcel.complete(message);
            }

            @Override
            public void onException(Throwable error) {
                parcel.completeExceptionally(error);
            }
        }, 20000);
        assertEquals("re: async", text.get(60, TimeUnit.SECONDS));
        assertEquals(new Parcel("not Bo", "2.05", List.of()), parcel.get(60, TimeUnit.SECONDS));
    }

    @Test
    void anAnswerThatDoesNotComeIsAnError() {
        assertThrows(MessagingException.class, () -> template.sendAndReceive(App.topic("slow"), "hurry", String.class, 1000));
    }

    @Test
    void transactionsArriveWhenTheyAreCommittedAtOnceOrWhenAsked() {
        String topic = App.topic("deals");
        assertEquals(LocalTransactionState.COMMIT_MESSAGE, deal(topic + ":tag", "commit 1", "t1").getLocalTransactionState());
        assertEquals(LocalTransactionState.ROLLBACK_MESSAGE, deal(topic, "rollback 1", "t2").getLocalTransactionState());
        assertEquals(LocalTransactionState.UNKNOW, deal(topic, "open yes", "t3").getLocalTransactionState());
        assertEquals(LocalTransactionState.UNKNOW, deal(topic, "open no", "t4").getLocalTransactionState());
        Inbox.of("checked").await(List.of("open yes", "open no"));
        List<MessageExt> came = Inbox.of("deals").await(2).all(MessageExt.class);
        Inbox.pause(1000);
        assertEquals(2, Inbox.of("deals").all().size());
        assertEquals(Set.of("commit 1", "open yes"), came.stream().map(Listeners::body).collect(Collectors.toSet()));
        MessageExt first = came.stream().filter(message -> Listeners.body(message).equals("commit 1")).findFirst().get();
        assertEquals("tag", first.getTags());
        assertEquals("t1", first.getUserProperty("rocketmq_TRANSACTION_ID"));
        List<Object> executed = Inbox.of("executed").all();
        assertEquals(4, executed.size(), executed.toString());
        assertTrue(executed.stream().allMatch(one -> ((List<?>) one).get(1).equals("argument")), executed.toString());
    }

    private static TransactionSendResult deal(String topic, String body, String id) {
        return template.sendMessageInTransaction(topic, MessageBuilder.withPayload(body).setHeader("rocketmq_" + RocketMQHeaders.TRANSACTION_ID, id).build(), "argument");
    }

    @Test
    void aSecondTemplateHasItsOwnBooks() {
        RocketMQTemplate other = App.template("extTemplate");
        Set<String> wanted = new TreeSet<>();
        for (int i = 0; i < 5; i++) {
            TransactionSendResult sent = other.sendMessageInTransaction(App.topic("extdeals"), MessageBuilder.withPayload("open " + i).build(), null);
            assertEquals(LocalTransactionState.UNKNOW, sent.getLocalTransactionState());
            wanted.add("open " + i);
        }
        Inbox.of("extchecked").await(wanted);
        Inbox.of("extdeals").await(wanted);
        assertFalse(Inbox.of("checked").all().stream().anyMatch(wanted::contains));
    }

    @Test
    void whatFailsComesAgainSoOftenAndIsThenADeadLetter() {
        String topic = App.topic("failing");
        template.convertAndSend(topic, "good");
        template.convertAndSend(topic, "once");
        String id = template.syncSend(topic + ":tag", MessageBuilder.withPayload("bad").setHeader(RocketMQHeaders.KEYS, "bad-key").setHeader("mine", "yes").build()).getMsgId();
        MessageExt dead = Inbox.of("dead").await(1).all(MessageExt.class).get(0);
        assertEquals("bad", Listeners.body(dead));
        assertEquals("bad-key", dead.getKeys());
        assertEquals("tag", dead.getTags());
        assertEquals("yes", dead.getUserProperty("mine"));
        assertEquals(App.topic("failing"), dead.getProperty("RETRY_TOPIC"));
        assertEquals(id, dead.getMsgId());
        Inbox.of("failing").await(List.of("good/0", "once/1"));
        Inbox.pause(2000);
        assertEquals(List.of("bad/0", "bad/1", "bad/2", "good/0", "once/0", "once/1"),
                Inbox.of("failing").all(String.class).stream().sorted().collect(Collectors.toList()));
        assertEquals(1, Inbox.of("dead").all().size());
    }

    @Test
    void anOrderlyFailureIsTriedInPlaceAndThenADeadLetter() {
        String topic = App.topic("stuck");
        for (String body : List.of("before", "bad", "after")) {
            template.syncSendOrderly(topic, body, "one");
        }
        Inbox.of("deadstuck").await(List.of("bad"));
        Inbox.of("stuck").await(List.of("after/0"));
        Inbox.pause(1000);
        assertEquals(List.of("before/0", "bad/0", "bad/1", "bad/2", "after/0"), Inbox.of("stuck").all());
        assertEquals(1, Inbox.of("deadstuck").all().size());
    }
}
