// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;

/** Messages that fail: how often each is tried, what its neighbours see of it, and where it ends. */
class RetryTest {
    /** What the dead letters of a group say, read by a group of their own. */
    private static Cluster.Inbox dead(Cluster cluster, String group) throws Exception {
        Cluster.Inbox inbox = new Cluster.Inbox();
        DefaultMQPushConsumer reader = cluster.consumer(Cluster.name("G"));
        reader.subscribe("%DLQ%" + group, "*");
        reader.setMessageListener(inbox);
        reader.setPollNameServerInterval(1000);
        reader.start();
        return inbox;
    }

    @Test
    void anOrderlyFailureHoldsItsQueueThenIsDeadLettered() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            String group = Cluster.name("G");
            DefaultMQProducer producer = cluster.producer();
            List<String> seen = new CopyOnWriteArrayList<>();
            DefaultMQPushConsumer consumer = cluster.consumer(group);
            consumer.setMaxReconsumeTimes(2);
            consumer.setSuspendCurrentQueueTimeMillis(200);
            consumer.subscribe(topic, "*");
            consumer.setMessageListener((MessageListenerOrderly) (batch, context) -> {
                MessageExt message = batch.get(0);
                String body = new String(message.getBody());
                seen.add(body + "/" + message.getReconsumeTimes());
                return body.equals("1")
                        ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT
                        : ConsumeOrderlyStatus.SUCCESS;
            });
            for (int i = 0; i < 4; i++) {
                Message message = new Message(topic, "tag", "key" + i, String.valueOf(i).getBytes());
                message.putUserProperty("mine", "kept");
                producer.send(message);
            }
            consumer.start();
            Cluster.await("the queue to go on", () -> seen.contains("3/0"));
            assertEquals(List.of("0/0", "1/0", "1/1", "1/2", "2/0", "3/0"), new ArrayList<>(seen));
            Cluster.Inbox letters = dead(cluster, group);
            letters.awaitBodies(List.of("1"));
            MessageExt letter = letters.messages.take();
            assertEquals(topic, letter.getProperty("RETRY_TOPIC"));
            assertEquals("key1", letter.getKeys());
            assertEquals("tag", letter.getTags());
            assertEquals("kept", letter.getUserProperty("mine"));
            Thread.sleep(1000);
            assertEquals(6, seen.size(), "it comes no more");
        }
    }

    @Test
    void attemptsAreExactWhateverTheLimit() throws Exception {
        try (Cluster cluster = new Cluster()) {
            for (int limit : new int[] {0, 1, 3}) {
                String topic = cluster.topic(1);
                String group = Cluster.name("G");
                List<Integer> attempts = new CopyOnWriteArrayList<>();
                DefaultMQPushConsumer consumer = cluster.consumer(group);
                consumer.setMaxReconsumeTimes(limit);
                consumer.setPollNameServerInterval(1000);
                consumer.subscribe(topic, "*");
                consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
                    context.setDelayLevelWhenNextConsume(1);
                    attempts.add(batch.get(0).getReconsumeTimes());
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                });
                cluster.producer().send(new Message(topic, "fails".getBytes()));
                consumer.start();
                Cluster.await("the attempts", () -> attempts.size() == limit + 1);
                Cluster.Inbox letters = dead(cluster, group);
                letters.awaitBodies(List.of("fails"));
                assertEquals(IntStream.rangeClosed(0, limit).boxed().collect(Collectors.toList()), attempts);
                assertEquals(limit + 1, letters.messages.take().getReconsumeTimes());
            }
        }
    }

    @Test
    void onlyWhatFailedOfABatchComesAgainAndOnlyToItsGroup() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(1);
            DefaultMQProducer producer = cluster.producer();
            List<String> bodies = IntStream.range(0, 8).mapToObj(String::valueOf).collect(Collectors.toList());
            for (String body : bodies) {
                producer.send(new Message(topic, body.getBytes()));
            }
            Cluster.Inbox other = new Cluster.Inbox();
            DefaultMQPushConsumer content = cluster.consumer(Cluster.name("G"));
            content.subscribe(topic, "*");
            content.setMessageListener(other);
            content.start();
            List<MessageExt> again = new CopyOnWriteArrayList<>();
            List<String> failed = new CopyOnWriteArrayList<>();
            DefaultMQPushConsumer consumer = cluster.consumer(Cluster.name("G"));
            consumer.setConsumeMessageBatchMaxSize(8);
            consumer.setPollNameServerInterval(1000);
            consumer.subscribe(topic, "*");
            consumer.setMessageListener((MessageListenerConcurrently) (batch, context) -> {
                batch.stream().filter(message -> message.getReconsumeTimes() > 0).forEach(again::add);
                if (batch.get(0).getReconsumeTimes() == 0) {
                    context.setDelayLevelWhenNextConsume(1);
                    context.setAckIndex(batch.size() / 2 - 1);
                    batch.subList(batch.size() / 2, batch.size()).forEach(m -> failed.add(new String(m.getBody())));
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
            other.awaitBodies(bodies);
            Cluster.await("the failed half", () -> !failed.isEmpty() && again.size() >= failed.size());
            Thread.sleep(2000);
            assertEquals(failed.stream().sorted().collect(Collectors.toList()),
                    again.stream().map(m -> new String(m.getBody())).sorted().collect(Collectors.toList()));
            assertEquals(8, other.messages.size(), "other groups see nothing of it");
        }
    }

    /** Two members, one of them killed in the middle of a message: nothing is missing, turned around or done twice at once. */
    @Test
    void aKilledMemberLosesNoOrder() throws Exception {
        try (Cluster cluster = new Cluster()) {
            String topic = cluster.topic(4);
            String group = Cluster.name("G");
            DefaultMQProducer producer = cluster.producer();
            List<String> first = new CopyOnWriteArrayList<>();
            List<String> second = new CopyOnWriteArrayList<>();
            Process one = OrderlyMember.start(group, topic, 30, first);
            Process two = OrderlyMember.start(group, topic, 30, second);
            cluster.also(one::destroyForcibly);
            cluster.also(two::destroyForcibly);
            Cluster.await("both", () -> !first.isEmpty() && !second.isEmpty());
            int total = 400;
            for (int i = 0; i < total; i++) {
                producer.send(new Message(topic, String.valueOf(i).getBytes()),
                        (queues, m, arg) -> queues.get(((Integer) arg) % queues.size()), i);
                if (i % 40 == 0) {
                    Thread.sleep(500);
                }
            }
            Cluster.await("work on both sides", () -> first.size() > 20 && second.size() > 20);
            one.destroyForcibly().waitFor();
            Cluster.await("all of them, have " + first.size() + " and " + second.size(), Duration.ofSeconds(150),
                    () -> ended(first, second).values().stream().mapToInt(List::size).sum() >= total);
            Map<Integer, List<Integer>> ended = ended(first, second);
            for (List<Integer> queue : ended.values()) {
                assertEquals(total / 4, queue.size(), "no gap");
            }
            // What the killed one had begun may come again; everything else comes once, in order.
            long twice = begun(first).stream().filter(begun(second)::contains).count();
            assertTrue(twice <= 4 * 2, twice + " messages came to both");
        }
    }

    private static List<String> begun(List<String> lines) {
        return lines.stream().map(line -> line.substring(line.indexOf(' ') + 1))
                .filter(line -> line.startsWith("begin ")).map(line -> line.substring(6)).collect(Collectors.toList());
    }

    /** The numbers that ended, queue by queue, in the order of time; fails where two overlap or turn around. */
    private static Map<Integer, List<Integer>> ended(List<String> first, List<String> second) {
        List<String> lines = new ArrayList<>(first);
        lines.addAll(second);
        lines.removeIf(line -> !line.contains("end "));
        lines.sort((a, b) -> Long.compare(time(a), time(b)));
        Map<Integer, List<Integer>> ended = new HashMap<>();
        for (String line : lines) {
            String[] words = line.split(" ");
            List<Integer> queue = ended.computeIfAbsent(Integer.parseInt(words[2]), q -> new ArrayList<>());
            int number = Integer.parseInt(words[3]);
            // Progress is saved now and then: what the killed one ended since comes again, from there on in order.
            int known = queue.indexOf(number);
            if (known < 0) {
                assertTrue(queue.isEmpty() || queue.get(queue.size() - 1) == number - 4, line + " after " + queue);
                queue.add(number);
            }
        }
        return ended;
    }

    private static long time(String line) {
        return Long.parseLong(line.substring(1, line.indexOf(' ')));
    }
}
