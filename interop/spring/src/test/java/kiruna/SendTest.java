// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.apache.rocketmq.spring.support.RocketMQHeaders;
import org.junit.jupiter.api.Test;
import org.springframework.messaging.Message;
import org.springframework.messaging.MessageHeaders;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.util.MimeTypeUtils;

/** Every way in which the template sends, seen by listeners. */
class SendTest {
    private static final RocketMQTemplate template = App.template();

    /** A callback that is a future. */
    private static final class Sent extends CompletableFuture<SendResult> implements SendCallback {
        @Override
        public void onSuccess(SendResult result) {
            complete(result);
        }

        @Override
        public void onException(Throwable error) {
            completeExceptionally(error);
        }
    }

    private static Message<String> text(String body) {
        return MessageBuilder.withPayload(body).build();
    }

    private static List<Message<String>> batch(String prefix, int count) {
        return IntStream.range(0, count)
                .mapToObj(i -> MessageBuilder.withPayload(prefix + i).setHeader(RocketMQHeaders.KEYS, "key" + prefix + i).build())
                .collect(Collectors.toList());
    }

    @Test
    void textIsSentInEveryWayAndComesOnce() throws Exception {
        String topic = App.topic("plain");
        assertEquals(SendStatus.SEND_OK, template.syncSend(topic, "now").getSendStatus());
        assertEquals(SendStatus.SEND_OK, template.syncSend(topic, text("as a message"), 5000).getSendStatus());
        assertEquals(SendStatus.SEND_OK, App.template("extTemplate").syncSend(topic, MessageBuilder.withPayload("bytes åäö".getBytes("UTF-8")).build()).getSendStatus());
        template.convertAndSend(topic, "converted");
        template.send(topic, text("by the general way"));
        template.sendOneWay(topic, "one way");
        template.sendOneWay(topic, text("one way, a message"));
        Sent sent = new Sent();
        template.asyncSend(topic, "later told", sent);
        Sent other = new Sent();
        template.asyncSend(topic, text("later told, a message"), other, 5000);
        assertEquals(SendStatus.SEND_OK, sent.get(30, TimeUnit.SECONDS).getSendStatus());
        assertEquals(SendStatus.SEND_OK, other.get(30, TimeUnit.SECONDS).getSendStatus());
        SendResult batched = template.syncSend(topic, batch("batch ", 10), 60000);
        assertEquals(10, batched.getMsgId().split(",").length);
        assertEquals(10, batched.getOffsetMsgId().split(",").length);
        Sent many = new Sent();
        template.asyncSend(topic, batch("async batch ", 5), many);
        assertEquals(SendStatus.SEND_OK, many.get(30, TimeUnit.SECONDS).getSendStatus());
        Set<String> wanted = new TreeSet<>(List.of("now", "as a message", "bytes åäö", "converted", "by the general way", "one way",
                "one way, a message", "later told", "later told, a message"));
        IntStream.range(0, 10).forEach(i -> wanted.add("batch " + i));
        IntStream.range(0, 5).forEach(i -> wanted.add("async batch " + i));
        Inbox.of("plain").await(wanted);
        Inbox.pause(500);
        assertEquals(new ArrayList<>(wanted), Inbox.of("plain").all(String.class).stream().sorted().collect(Collectors.toList()));
    }

    @Test
    void objectsTravelAsJson() {
        Parcel one = new Parcel("Ada", "88.00", List.of("lamp", "kåta"));
        Parcel two = new Parcel("Bo", "0.01", List.of());
        template.syncSend(App.topic("objects"), one);
        template.syncSend(App.topic("objects"), MessageBuilder.withPayload(two).setHeader(MessageHeaders.CONTENT_TYPE, MimeTypeUtils.APPLICATION_JSON_VALUE).build());
        Inbox.of("objects").await(List.of(one, two));
    }

    @Test
    void tagsSelectAndHeadersArriveOnATopicThatTheFirstMessageCreates() {
        String topic = App.topic("born");
        template.convertAndSend(topic + ":green", "not for us");
        template.convertAndSend(topic + ":red", "red one");
        Message<String> blue = MessageBuilder.withPayload("blue one").setHeader(RocketMQHeaders.KEYS, "k1 k2").setHeader("mine", "yes").setHeader("FLAG", "7").build();
        SendResult sent = template.syncSend(topic + ":blue", blue);
        List<MessageExt> seen = Inbox.of("tags").await(2).all(MessageExt.class);
        Inbox.pause(500);
        assertEquals(Set.of("red one", "blue one"), seen.stream().map(Listeners::body).collect(Collectors.toSet()));
        assertEquals(2, Inbox.of("tags").all().size());
        MessageExt message = seen.stream().filter(one -> "blue".equals(one.getTags())).findFirst().get();
        assertEquals(sent.getMsgId(), message.getMsgId());
        assertEquals("k1 k2", message.getKeys());
        assertEquals("yes", message.getUserProperty("mine"));
        assertEquals(7, message.getFlag());
        assertEquals(sent.getQueueOffset(), message.getQueueOffset());
    }

    @Test
    void expressionsSelectByHeaders() {
        send("Kiruna", 18, null, "just old enough");
        send("Luleå", 30, null, "just young enough");
        send("Kiruna", 31, null, "too old");
        send("Boden", 20, null, "elsewhere");
        send("Kiruna", 20, "yes", "banned");
        send(null, 20, null, "from nowhere");
        send("Kiruna", 25, null, "last");
        Inbox.of("cities").await(List.of("just old enough", "just young enough", "last"));
        Inbox.pause(500);
        assertEquals(3, Inbox.of("cities").all().size(), Inbox.of("cities").all().toString());
    }

    private static void send(String city, int age, String banned, String body) {
        MessageBuilder<String> message = MessageBuilder.withPayload(body).setHeader("age", age);
        if (city != null) {
            message.setHeader("city", city);
        }
        if (banned != null) {
            message.setHeader("banned", banned);
        }
        template.syncSend(App.topic("cities"), message.build());
    }

    @Test
    void oneKeyKeepsItsOrder() throws Exception {
        String topic = App.topic("ordered");
        for (int i = 0; i < 10; i++) {
            for (String key : List.of("a", "b", "c")) {
                template.syncSendOrderly(topic, key + i, key);
            }
        }
        Sent sent = new Sent();
        template.asyncSendOrderly(topic, "a10", "a", sent);
        sent.get(30, TimeUnit.SECONDS);
        template.sendOneWayOrderly(topic, text("b10"), "b");
        List<Message<String>> rest = IntStream.range(10, 16).mapToObj(i -> text("c" + i)).collect(Collectors.toList());
        SendResult batch = template.syncSendOrderly(topic, rest, "c", 60000);
        assertEquals(6, batch.getMsgId().split(",").length);
        List<MessageExt> seen = Inbox.of("ordered").await(38).all(MessageExt.class);
        Map<String, List<String>> byKey = new TreeMap<>();
        Map<String, Set<Integer>> queues = new TreeMap<>();
        for (MessageExt message : seen) {
            String key = Listeners.body(message).substring(0, 1);
            byKey.computeIfAbsent(key, one -> new ArrayList<>()).add(Listeners.body(message));
            queues.computeIfAbsent(key, one -> new TreeSet<>()).add(message.getQueueId());
        }
        Map.of("a", 11, "b", 11, "c", 16).forEach((key, count) -> {
            assertEquals(IntStream.range(0, count).mapToObj(i -> key + i).collect(Collectors.toList()), byKey.get(key));
            assertEquals(1, queues.get(key).size(), "one queue for " + key);
        });
    }

    @Test
    void laterMeansNotBeforeAndNotMuchAfter() {
        String topic = App.topic("later");
        Map<String, Long> due = new TreeMap<>();
        // A delay counts from the moment the broker has it, which is not before this one.
        due.put("level", System.currentTimeMillis() + 1000);
        template.syncSend(topic, text("level"), 3000, 1);
        due.put("seconds", System.currentTimeMillis() + 2000);
        template.syncSendDelayTimeSeconds(topic, "seconds", 2);
        due.put("millis", System.currentTimeMillis() + 2500);
        template.syncSendDelayTimeMills(topic, text("millis"), 2500);
        long moment = System.currentTimeMillis() + 3300;
        due.put("moment", moment);
        template.syncSendDeliverTimeMills(topic, "moment", moment);
        due.put("past", System.currentTimeMillis() - 5);
        template.syncSendDeliverTimeMills(topic, "past", System.currentTimeMillis() - 60_000);
        List<Listeners.Arrival> came = Inbox.of("later").await(due.size()).all(Listeners.Arrival.class);
        for (Listeners.Arrival one : came) {
            long late = one.at - due.get(one.body);
            // Apache's timer moves in whole seconds, rounded down for the deliver time.
            assertTrue(late > -1000 && late < 8000, one.body + " came " + late + " ms after its time");
        }
        assertEquals(due.keySet(), came.stream().map(one -> one.body).collect(Collectors.toCollection(TreeSet::new)));
    }

    @Test
    void aNamespaceKeepsItsTopicsApart() {
        String topic = App.topic("spaced");
        App.template("spacedTemplate").convertAndSend(topic, "inside");
        template.convertAndSend(topic, "outside");
        Inbox.of("spaced").await(List.of(topic + " inside"));
        Inbox.pause(1000);
        assertEquals(List.of(topic + " inside"), Inbox.of("spaced").all());
    }

    @Test
    void everyMemberHearsABroadcast() {
        for (int i = 0; i < 8; i++) {
            template.convertAndSend(App.topic("everybody"), "to all " + i);
        }
        for (String member : List.of("east", "west")) {
            Inbox.of(member).await(8);
            Inbox.pause(200);
            assertEquals(8, Inbox.of(member).all().size());
            assertEquals(8, Set.copyOf(Inbox.of(member).all()).size());
        }
    }

    @Test
    void theTemplatePulls() {
        List<String> wanted = IntStream.range(0, 20).mapToObj(i -> "pull " + i).collect(Collectors.toList());
        // A puller that is new begins with what comes after it.
        Set<String> got = new TreeSet<>();
        Inbox.await(() -> "the first pull", () -> {
            template.convertAndSend(App.topic("pulled"), "wake");
            return !template.receive(String.class, 500).isEmpty();
        });
        wanted.forEach(body -> template.convertAndSend(App.topic("pulled"), body));
        Inbox.await(() -> "pulls, have " + got, () -> {
            got.addAll(template.receive(String.class));
            return got.containsAll(wanted);
        });
        assertNotNull(template.getConsumer());
    }

    /** One group, two of its members: one is handed its messages, the other fetches them. */
    @Test
    void aListenerAndAPullerShareAGroup() {
        RocketMQTemplate puller = App.template("sharedPull");
        Set<String> pulled = new TreeSet<>();
        List<String> wanted = IntStream.range(0, 40).mapToObj(i -> "share " + i).collect(Collectors.toList());
        wanted.forEach(body -> template.convertAndSend(App.topic("shared"), body));
        Inbox.await(() -> "all, have " + pulled + " and " + Inbox.of("shared").all(), () -> {
            pulled.addAll(puller.receive(String.class, 200));
            Set<Object> both = new java.util.HashSet<>(pulled);
            both.addAll(Inbox.of("shared").all());
            return both.containsAll(wanted);
        });
        assertFalse(Inbox.of("shared").all().stream().anyMatch(body -> !wanted.contains(body)));
    }
}
