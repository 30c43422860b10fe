// SPDX-License-Identifier: Apache-2.0
package kiruna;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.ServerSocket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The broker dies and comes back while an orderly group of two is at work. */
class RestartTest {
    private static final int KEYS = 4;
    private static final int DEATHS = 3;

    @TempDir
    Path dir;

    private final Map<Integer, Integer> next = new ConcurrentHashMap<>();
    private final Set<Integer> busy = ConcurrentHashMap.newKeySet();
    private final List<String> faults = new CopyOnWriteArrayList<>();
    private final Set<String> workers = ConcurrentHashMap.newKeySet();

    @Test
    void noGapNoInversionNoOverlap() throws Exception {
        int namesrvPort = freePort();
        int brokerPort = freePort();
        Path data = dir.resolve("data");
        Kiruna server = Kiruna.start(data, namesrvPort, brokerPort);
        String topic = "ordered";
        DefaultMQProducer producer = new DefaultMQProducer("P");
        producer.setNamesrvAddr(server.namesrv);
        producer.setInstanceName("producer");
        producer.start();
        producer.createTopic("TBW102", topic, KEYS, Map.of());
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        int[] sent = new int[1];
        AtomicBoolean enough = new AtomicBoolean();
        Thread sender = new Thread(() -> {
            while (!enough.get()) {
                for (int key = 0; key < KEYS; key++) {
                    send(producer, topic, key, sent[0]);
                }
                sent[0]++;
                pause(5);
            }
        });
        try {
            for (String name : List.of("one", "two")) {
                members.add(member(server.namesrv, topic, name));
            }
            sender.start();
            for (int death = 1; death <= DEATHS; death++) {
                int upto = death * 200;
                await("both at work and " + upto + " of each key", () -> workers.size() == 2 && next.size() == KEYS
                        && next.values().stream().allMatch(n -> n > upto));
                workers.clear();
                server.kill();
                pause(500);
                server = Kiruna.start(data, namesrvPort, brokerPort);
            }
            await("both at work again", () -> workers.size() == 2);
            enough.set(true);
            sender.join();
            await("all of " + sent[0] + ", have " + next, () -> next.values().stream().allMatch(n -> n == sent[0]));
            assertEquals(List.of(), faults);
        } finally {
            enough.set(true);
            sender.join();
            members.forEach(DefaultMQPushConsumer::shutdown);
            producer.shutdown();
            server.close();
        }
        assertTrue(sent[0] > DEATHS * 200);
    }

    private DefaultMQPushConsumer member(String namesrv, String topic, String name) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("G");
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(name);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.setPollNameServerInterval(1000);
        consumer.setPersistConsumerOffsetInterval(1000);
        consumer.subscribe(topic, "*");
        consumer.setMessageListener((MessageListenerOrderly) (batch, context) -> {
            String[] words = new String(batch.get(0).getBody()).split(":");
            int key = Integer.parseInt(words[0]);
            int number = Integer.parseInt(words[1]);
            if (!busy.add(key)) {
                faults.add(name + " began " + key + ":" + number + " while the other was at work");
            }
            pause(2);
            // Progress is saved now and then, and a send without an answer is repeated: what was seen may come again.
            int expected = next.getOrDefault(key, 0);
            if (number > expected) {
                faults.add(name + " had " + key + ":" + number + " before " + key + ":" + expected);
            }
            next.put(key, Math.max(expected, number + 1));
            workers.add(name);
            busy.remove(key);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    /** Sends one message of a key, again and again until it is stored. */
    private static void send(DefaultMQProducer producer, String topic, int key, int number) {
        Message message = new Message(topic, (key + ":" + number).getBytes());
        for (int attempt = 0; ; attempt++) {
            try {
                var result = producer.send(message, (queues, m, k) -> queues.get((Integer) k % queues.size()), key, 1000);
                if (result.getSendStatus() == SendStatus.SEND_OK) {
                    return;
                }
            } catch (Exception e) {
                if (attempt > 600) {
                    throw new IllegalStateException(e);
                }
            }
            pause(100);
        }
    }

    private interface Done {
        boolean get();
    }

    private void await(String what, Done done) {
        long end = System.nanoTime() + 150_000_000_000L;
        while (!done.get()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("waited 150 s for " + what + "; " + next + " " + workers + " " + faults);
            }
            pause(20);
        }
    }

    private static int freePort() throws Exception {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    private static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
