// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** What every scenario of the command-line tool needs: the tool itself, clients, names nobody used before, waiting with a limit. */
final class Tools {
    static final String NAMESRV = System.getenv().getOrDefault("KIRUNA_TEST_NAMESRV", "127.0.0.1:9876");
    private static final String RUN = Long.toString(System.currentTimeMillis() % 10_000_000, 36);
    private static final AtomicInteger NEXT = new AtomicInteger();

    private Tools() {}

    /** The tool keeps its commands between two runs, and not all of them work twice. */
    private static final class Startup extends MQAdminStartup {
        static void forget() {
            SUB_COMMANDS.clear();
        }
    }

    interface Done {
        boolean get() throws Exception;
    }

    /** Runs one command and returns what it printed. */
    static String mqadmin(String command, String... args) {
        List<String> line = new ArrayList<>(List.of(command));
        line.addAll(Arrays.asList(args));
        if (!line.contains("-n")) {
            line.addAll(List.of("-n", NAMESRV));
        }
        Startup.forget();
        PrintStream console = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        try {
            MQAdminStartup.main0(line.toArray(new String[0]), null);
        } finally {
            System.setOut(console);
        }
        String text = printed.toString(StandardCharsets.UTF_8);
        System.out.println("$ mqadmin " + String.join(" ", line) + "\n" + text);
        return text;
    }

    static String name(String what) {
        return what + "_" + RUN + "_" + NEXT.incrementAndGet();
    }

    /** Name of the cluster and address of its first broker. */
    static String[] clusterAndBroker() {
        String list = mqadmin("clusterList");
        Matcher row = Pattern.compile("(?m)^(\\S+)\\s+(\\S+)\\s+0\\s+(\\S+:\\d+)").matcher(list);
        if (!row.find()) {
            throw new AssertionError("no broker in " + list);
        }
        return new String[] {row.group(1), row.group(3), row.group(2)};
    }

    static DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(name("P"));
        producer.setNamesrvAddr(NAMESRV);
        producer.setInstanceName(name("i"));
        producer.start();
        return producer;
    }

    /** A consumer that begins at the first message; started. */
    static DefaultMQPushConsumer consumer(String group, String topic, MessageListenerConcurrently listener) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setInstanceName(name("i"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPersistConsumerOffsetInterval(1000);
        consumer.subscribe(topic, "*");
        consumer.setMessageListener(listener);
        consumer.start();
        return consumer;
    }

    static String clientId(DefaultMQPushConsumer consumer) {
        return consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
    }

    static void await(String what, Done done) throws Exception {
        long end = System.nanoTime() + 90_000_000_000L;
        while (!done.get()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("waited 90 s for " + what);
            }
            Thread.sleep(200);
        }
    }
}
